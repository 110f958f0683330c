from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from backup_flows.keys import restore_record_key
from backup_flows.protection_retention import RetentionRun
from backup_flows.restores import delete_restored_table
from backup_flows.retention.sweep import (
    SWEEPABLE,
    decide_sweep,
    drop_swept,
    file_limits,
    find_restored_tables,
    sweep_files,
)
from recovery_retention.names import UndeletableTableError, restored_table_name, run_tag

SOURCES = {"orders"}


@pytest.fixture
def left_behind(shop) -> str:
    """The restored table of a run that died before it could drop it, two hours ago."""
    target = shop.start_restore(shop.back_up())
    shop.flow.wait(7200)
    return str(target)


def decide(shop, *, active: bool = False, minutes: int = 60) -> tuple[list[str], dict[str, str]]:
    """Return what is swept, and why the rest is left."""
    asked: list[tuple[str, str]] = []

    def is_active(dag_id: str, run_id: str) -> bool:
        asked.append((dag_id, run_id))
        return active

    flow = shop.flow
    decided = decide_sweep(
        find_restored_tables(flow.dynamodb, flow.s3, bucket=flow.bucket, sources=SOURCES),
        sources=SOURCES,
        older_than=dt.timedelta(minutes=minutes),
        now=flow.now(),
        is_active=is_active,
    )
    assert set(asked) <= {("orders_backup_restore", "manual__1")}
    return (
        [decision.table.name for decision in decided.sweep],
        {decision.table.name: decision.reason for decision in decided.leave},
    )


class TestTables:
    def test_that_of_a_run_that_is_over_is_swept(self, shop, left_behind):
        assert decide(shop) == ([left_behind], {})

    def test_that_of_an_active_run_is_left(self, shop, left_behind):
        swept, left = decide(shop, active=True)
        assert swept == []
        assert "still active" in left[left_behind]

    def test_a_young_one_is_left(self, shop, left_behind):
        swept, left = decide(shop, minutes=180)
        assert swept == []
        assert "not yet older" in left[left_behind]

    def test_one_that_is_to_be_kept_is_left_until_the_tag_is_gone(self, shop, left_behind):
        dynamodb = shop.flow.dynamodb
        arn = dynamodb.describe_table(TableName=left_behind)["Table"]["TableArn"]
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "keep", "Value": "failed-proof"}])
        swept, left = decide(shop)
        assert swept == []
        assert "failed-proof" in left[left_behind]
        dynamodb.untag_resource(ResourceArn=arn, TagKeys=["keep"])
        assert decide(shop) == ([left_behind], {})

    def test_without_a_record_it_is_left_whatever_its_name_and_tags(self, shop, left_behind):
        flow = shop.flow
        flow.s3.delete_object(Bucket=flow.bucket, Key=restore_record_key(left_behind))
        swept, left = decide(shop)
        assert swept == []
        assert "neither our tag nor a record" in left[left_behind]
        arn = flow.dynamodb.describe_table(TableName=left_behind)["Table"]["TableArn"]
        tags = {"managed-by": "dynamodb-backup-proof", "run": run_tag("orders_backup_restore", "manual__1")}
        flow.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
        swept, left = decide(shop)
        assert swept == []
        assert "is not known" in left[left_behind]

    def test_other_tables_are_not_even_looked_at(self, shop, left_behind):
        flow = shop.flow
        foreign = restored_table_name("customers", dt.date(2026, 11, 1), "a/b")
        for name in (foreign, "orders-restored", "orders-restored-by-hand"):
            flow.make_table(name)
        found = find_restored_tables(flow.dynamodb, flow.s3, bucket=flow.bucket, sources=SOURCES)
        assert [table.name for table, _ in found] == [left_behind]

    def test_one_of_a_table_that_nobody_protects_is_swept_by_its_record_alone(self, shop):
        flow = shop.flow
        target = restored_table_name("customers", dt.date(2026, 11, 1), "a/b")
        flow.make_table(target)
        flow.wait(7200)
        assert shop.run()["swept"] == []
        record = {"table": target, "source": "customers", "run": "a/b", "dag_id": "a", "run_id": "b"}
        key = restore_record_key(target)
        for false in ({"source": "orders"}, {"table": "customers"}):
            flow.s3.put_object(Bucket=flow.bucket, Key=key, Body=json.dumps({**record, **false}).encode())
            assert shop.run(run={"run_id": f"manual__{false}"})["swept"] == []
        flow.s3.put_object(Bucket=flow.bucket, Key=key, Body=json.dumps(record).encode())
        assert shop.run(run={"run_id": "manual__2"})["swept"] == [target]
        assert target not in flow.tables()

    def test_a_run_with_an_odd_name_is_believed_by_its_record(self, shop, new_context):
        """A tag may not hold what a run's name may; the record spells it out."""
        flow = shop.flow
        target = shop.start_restore(shop.back_up(), new_context(run={"run_id": "manual__ü#1"}))
        asked: list[tuple[str, str]] = []

        def is_active(dag_id: str, run_id: str) -> bool:
            asked.append((dag_id, run_id))
            return True

        flow.wait(7200)
        tables = find_restored_tables(flow.dynamodb, flow.s3, bucket=flow.bucket, sources=SOURCES)
        decided = decide_sweep(tables, sources=SOURCES, older_than=dt.timedelta(0), now=flow.now(), is_active=is_active)
        assert asked == [("orders_backup_restore", "manual__ü#1")]
        assert [decision.table.name for decision in decided.leave] == [target]

    @pytest.mark.parametrize(
        ("mode", "run_type", "gone"),
        [("apply", "manual", True), ("preview", "manual", False), ("apply", "backfill", False)],
    )
    def test_the_cleanup_drops_it_unless_it_may_only_look(self, shop, left_behind, mode, run_type, gone):
        receipt = shop.run(mode=mode, run={"run_type": run_type, "logical_date": shop.flow.now()})
        assert (receipt["swept"], receipt["would_sweep"]) == (([left_behind], []) if gone else ([], [left_behind]))
        assert (left_behind not in shop.flow.tables()) is gone
        assert "orders" in shop.flow.tables()

    @pytest.mark.parametrize("entry", ["name: {table}", "arn: {arn}", "arn: {abroad}"])
    def test_one_that_an_entry_names_is_left_whatever_it_is_called(self, shop, left_behind, entry):
        """Somebody lives on with the restored copy after a loss, and protects it."""
        arn = shop.flow.dynamodb.describe_table(TableName=left_behind)["Table"]["TableArn"]
        words = entry.format(table=left_behind, arn=arn, abroad=arn.replace("us-east-1", "eu-west-1"))
        file = shop.folder / "protection.yaml"
        file.write_text(f"{file.read_text(encoding='utf-8')}\n  - {{{words}, tier: daily}}\n", encoding="utf-8")
        assert shop.run()["swept"] == []
        assert left_behind in shop.flow.tables()

    def test_the_cleanup_asks_airflow_about_the_run(self, shop, left_behind):
        shop.unfinished.add(("orders_backup_restore", "manual__1"))
        assert shop.run()["swept"] == []
        assert left_behind in shop.flow.tables()

    def test_the_guard_stands_before_the_deletion_itself(self, shop, left_behind):
        decided = decide_sweep(
            find_restored_tables(shop.flow.dynamodb, shop.flow.s3, bucket=shop.flow.bucket, sources=SOURCES),
            sources=SOURCES,
            older_than=dt.timedelta(0),
            now=shop.flow.now(),
            is_active=lambda *_: False,
        )
        with pytest.raises(UndeletableTableError):
            drop_swept(shop.flow.dynamodb, decided, sources={"customers"})
        with pytest.raises(UndeletableTableError):
            delete_restored_table(shop.flow.dynamodb, "orders", source="orders")
        assert {"orders", left_behind} <= set(shop.flow.tables())


class TestFiles:
    OLD = (
        "staging/orders/as_of=2026-01-05/order_data.csv",
        "rejects/orders/as_of=2026-01-05/0a1b2c3d.jsonl",
        "loads/orders/0a1b2c3d-0123456789abcdef/shard-0.json",
        "fleet/2026-01-05-0a1b2c3d/jobs.json",
        "intents/0123abcd/before.meta.json",
        "brackets/1/0a1b2c3d/before.meta.json",
        "evidence/orders/2026-01-05-0a1b2c3d/restored.parts/0a1b2c3d/0000.shard.json.gz",
    )
    KEPT = (
        "recovery-points/orders/1/verdict.json",
        "evidence/orders/2026-01-05-0a1b2c3d/pack.json",
        "evidence/orders/2026-01-05-0a1b2c3d/restored.manifest.bin",
        "history/orders/2026-01-05-0a1b2c3d.json",
        "retention/2026-01-05-0a1b2c3d/receipt.json",
        "restores/orders-restored-20260105-0a1b2c3d.json",
        "staging/readme.txt",
        "loads/orders/notes.txt",
    )

    @pytest.fixture
    def files(self, shop) -> Any:
        for key in (*self.OLD, *self.KEPT):
            shop.flow.s3.put_object(Bucket=shop.flow.bucket, Key=key, Body=b"{}")
        return shop

    def sweep(self, shop, *, days: float, delete: bool = True):
        newest = max(
            entry["LastModified"] for entry in shop.flow.s3.list_objects_v2(Bucket=shop.flow.bucket)["Contents"]
        )
        now = newest + dt.timedelta(days=days)
        return sweep_files(shop.flow.s3, shop.flow.bucket, file_limits(RetentionRun()), now=now, delete=delete)

    def test_what_is_old_and_allowed_goes_and_nothing_else(self, files):
        swept = self.sweep(files, days=181)
        assert {entry.prefix: entry.deleted for entry in swept} == dict.fromkeys(SWEEPABLE, 1)
        left = set(files.flow.keys())
        assert set(self.KEPT) <= left
        assert not set(self.OLD) & left

    def test_each_kind_has_its_own_limit(self, files):
        swept = self.sweep(files, days=91)
        assert {entry.prefix for entry in swept if entry.deleted} == set(SWEEPABLE) - {"rejects/"}
        assert self.OLD[1] in set(files.flow.keys())

    def test_a_preview_only_counts(self, files):
        before = set(files.flow.keys())
        swept = self.sweep(files, days=181, delete=False)
        assert [(entry.found, entry.size_bytes, entry.deleted) for entry in swept] == [(1, 2, 0)] * len(SWEEPABLE)
        assert set(files.flow.keys()) == before

    def test_a_run_tells_what_it_swept(self, files):
        receipt = files.run()
        assert [entry["prefix"] for entry in receipt["files"]] == list(file_limits(RetentionRun()))
