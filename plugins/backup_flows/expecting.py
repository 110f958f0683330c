"""Look up, before a drill starts, what its evidence is going to need: targets, newest backup, expected cost."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from aws_backup.hooks.backup import BackupHook
from backup_flows.costs import expected_work
from backup_flows.drills.points import list_points
from backup_flows.expectations import Expectation, keep_expectation, read_expectation
from backup_flows.keys import evidence_prefix, settings_key
from backup_flows.project_files import project_file
from backup_flows.protected_tables import rule_of
from backup_flows.protection import Protection
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.store import get_json
from restore_proof.history import Targets
from restore_proof.prices import PRICE_FILE, Prices, read_prices

log = logging.getLogger(__name__)

NOT_TO_BE_HAD = (ClientError, BotoCoreError, OSError, ValueError)
"""A file that is missing or wrong, or an answer that AWS does not give."""


@dataclass(frozen=True)
class Subject:
    """What is going to be drilled.

    Attributes:
        table_arn: of the table that was backed up.
        vault: that holds the recovery point.
        restore_test: whether AWS's own restore testing restores it.
    """

    bucket: str
    table: str
    table_arn: str
    vault: str
    as_of: str
    drill_id: str
    restore_test: bool = False

    @classmethod
    def of(cls, resources: Mapping[str, Any], drill_id: str) -> Subject:
        """Take it from a run's resources, or from the order of a drill."""
        return cls(
            bucket=resources["bucket"],
            table=resources["table"],
            table_arn=resources["table_arn"],
            vault=resources["vault"],
            as_of=resources["as_of"],
            drill_id=drill_id,
            restore_test=bool(resources.get("restore_job_id")),
        )

    @property
    def prefix(self) -> str:
        """Where the drill's evidence goes."""
        return evidence_prefix(self.table, self.as_of, self.drill_id)


@dataclass(frozen=True)
class World:
    """What is asked.

    Attributes:
        clients: returns a low-level client for a service name.
        clock: AWS's clock.
    """

    hook: BackupHook
    clients: Callable[[str], Any]
    clock: Callable[[], dt.datetime]


def expect(
    world: World, subject: Subject, binding: Mapping[str, Any], *, protection: Protection, prices: Prices | None
) -> Expectation:
    """Put together what holds before a drill, and keep it beside the evidence to come.

    Args:
        binding: what is bound to the recovery point (`backup_flows.fingerprints.Binding` as a dict).
        prices: None: not known.
    """
    s3, arn = world.clients("s3"), binding["recovery_point_arn"]
    rule = rule_of(world.clients, protection, subject.table_arn)
    points = list_points(world.hook, table_arn=subject.table_arn)
    work_of = partial(
        expected_work,
        binding,
        point=world.hook.find_recovery_point(subject.vault, arn) or {},
        settings=get_json(s3, subject.bucket, settings_key(subject.table, arn)),
        tested=subject.restore_test,
    )
    work = work_of()
    if work.restored_bytes is None:
        work = work_of(table_bytes=told_size(world.clients("dynamodb"), subject.table))
    expectation = Expectation(
        looked_at=world.clock(),
        targets=Targets(rule.rpo, rule.rto) if rule is not None else None,
        newest_usable_at=max((point.created_at for point in points if point.usable), default=None),
        work=work,
        prices=prices,
        region=subject.table_arn.split(":")[3],
    )
    keep_expectation(s3, subject.bucket, subject.prefix, expectation)
    return expectation


def told_size(dynamodb: Any, table: str) -> int | None:
    """Return a table's size as DynamoDB tells it, up to six hours late; None where it tells none.

    A size of zero is that of a table that is empty, or that DynamoDB has not measured yet.
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
    """
    try:
        described = dynamodb.describe_table(TableName=table)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    return int(described.get("TableSizeBytes") or 0) or None


def expect_if_unknown(world: World, subject: Subject, binding: Mapping[str, Any]) -> None:
    """See to it that it is on record what holds before a proof, unless it is already.

    A proof does not depend on it: what can't be had is logged, and missing from the history.
    """
    try:
        if read_expectation(world.clients("s3"), subject.bucket, subject.prefix) is None:
            protection = load_protection(project_file(PROTECTION_FILE))
            expect(world, subject, binding, protection=protection, prices=read_prices(project_file(PRICE_FILE)))
    except NOT_TO_BE_HAD as error:
        log.warning("The history of this drill has neither targets nor cost: %s", error)
