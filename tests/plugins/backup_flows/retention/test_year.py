"""A year of daily backups, weekly drills and nightly cleanups: what is left is what the rules say, every single day.

The flow's own functions, called with that clock's now; the operator around each deletion is tested elsewhere.
"""

from __future__ import annotations

import datetime as dt

import pytest

from backup_flows.protection_retention import RetentionRun
from backup_flows.retention.deletion import objection
from backup_flows.retention.inventory import Surroundings, take_inventory
from backup_flows.retention.planning import by_vault, make_plan
from backup_flows.retention.store import read_last, remember, remember_deletions
from recovery_retention.inventory import LastInventory
from recovery_retention.keep_rules import choose
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Result

DAY = 86400.0
DAYS = 366
POLICY = KeepPolicy(daily=7, weekly=5, monthly=6, timezone="Europe/Berlin", floor=2)
SETTINGS = RetentionRun(mode="apply", max_deletions=500, max_shrink_percent=10)


def never(_dag_id: str, _run_id: str) -> bool:
    return False


@pytest.mark.timeout(900)
def test_what_is_left_is_what_the_rules_choose_of_all_that_ever_was(shop):
    flow = shop.flow
    at = Surroundings(shop.hook, flow.s3, flow.dynamodb, flow.bucket, ["orders-vault"], never)
    every: list[RecoveryPoint] = []
    proven: list[str] = []
    asked = 0
    for day in range(DAYS):
        started = flow.now()
        arn = shop.back_up()
        every.insert(0, RecoveryPoint(arn, "orders", "COMPLETED", shop.describe(arn)["CreationDate"], managed=True))
        if day % 7 == 0:
            shop.judge(arn, Result.PROVEN)
            proven.append(arn)
        flow.wait(DAY / 2)

        now = flow.now()
        remembered = read_last(flow.s3, flow.bucket)
        inventory = take_inventory(at, now=now, strict=True)
        asked += len(inventory.tags.fresh)
        planned = make_plan(inventory, PolicySet(POLICY), now, SETTINGS, last=remembered.last)
        assert planned.wrong == (), day
        remember(flow.s3, flow.bucket, LastInventory.of(inventory.points, now), remembered.condition)
        remember_deletions(flow.s3, flow.bucket, by_vault(planned.due))
        for deletion in planned.due:
            tags = shop.hook.get_recovery_point_tags(deletion.arn)
            around = {"hook": shop.hook, "s3": flow.s3, "dynamodb": flow.dynamodb, "bucket": flow.bucket}
            assert objection(deletion, tags, is_active=never, now=now, **around) is None
            shop.hook.delete_recovery_point(deletion.vault, deletion.arn)

        wanted = set(choose(every, POLICY)) | set(proven[-1:]) | {point.arn for point in every[: POLICY.floor]}
        assert shop.there() == wanted, day
        flow.wait((started + dt.timedelta(days=1) - flow.now()).total_seconds())
    assert 12 < len(shop.there()) < 20
    # Tags: once for each point that is new, once more for each that goes or is seen for a month; not for each there is.
    assert asked < 3 * DAYS
