from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from backup_flows import loads
from backup_flows.defaults import LOAD_LIMIT, ORDERS_TABLE
from backup_flows.lease import LeaseLostError, LeaseStore
from backup_flows.leasing import lease_table, release_lease
from backup_flows.loads import BadLoadError, FencedCheckpoints, load, load_order_file, load_settings, make_job
from backup_flows.orders import VersionedObject, stage
from dynamodb_bulk import load as load_module
from dynamodb_bulk.checkpoints import LocalCheckpoints, S3Checkpoints

HEADER = "order_id,item_id,customer_id,product,amount,currency,time_stamp,transaction_date"
KEY = "staging/orders/as_of=2026-11-01/order_data.csv"
REJECTS = "rejects/orders/as_of=2026-11-01/0a1b2c3d.jsonl"


def row(order: str = "1", item: str = "1", *, product: str = "Salmon", amount: str = "10") -> str:
    return f"{order},{item},42,{product},{amount},USD,2026-11-01T03:54:12Z,11-1-2026"


def csv_of(*rows: str) -> bytes:
    return ("\n".join([HEADER, *rows]) + "\n").encode()


def job_of(flow: Any, staged: dict[str, Any], *, table: str, settings: Any) -> Any:
    """Return the load of a staged file, as one task does it."""
    return make_job(
        flow.s3, staged=staged, table=table, bucket=flow.bucket, prefix="loads/test/", fence=1, settings=settings
    )


@pytest.fixture
def load_file(flow, order_file, stage_file):
    """Stage and load an order file of this content; return the report."""

    def do(content: bytes, ratio: float = 0.5) -> dict[str, Any]:
        return load_order_file(
            flow.dynamodb,
            flow.s3,
            job=job_of(
                flow,
                stage_file(order_file(content)),
                table="orders",
                settings=load_settings(max_reject_ratio=ratio, max_wcu=None),
            ),
            rejects=(flow.bucket, REJECTS),
        )

    return do


def rejects(flow) -> list[dict[str, Any]]:
    return [json.loads(line) for line in flow.read(REJECTS).decode().splitlines()]


class TestLoad:
    def test_each_row_becomes_an_item_of_the_schemas_types(self, flow, load_file):
        report = load_file(csv_of(row("1", "7", product='"Salmon, ""wild"""', amount="10.50")))
        assert (report["rows_in"], report["written"], report["rejected"], report["duplicates"]) == (1, 1, 0, 0)
        assert flow.scan() == {
            ("1", "7"): {
                "order_id": {"S": "1"},
                "item_id": {"S": "7"},
                "customer_id": {"S": "42"},
                "product": {"S": 'Salmon, "wild"'},
                "amount": {"N": "10.5"},
                "currency": {"S": "USD"},
                "time_stamp": {"S": "2026-11-01T03:54:12Z"},
                "time_stamp_utc": {"S": "2026-11-01T03:54:12Z"},
                "transaction_date": {"S": "11-1-2026"},
                "transaction_date_iso": {"S": "2026-11-01"},
            }
        }
        assert flow.keys("rejects/") == []

    def test_a_file_with_quotes_and_dates_of_all_kinds_loads_whole(self, flow, load_file):
        report = load_file(
            b"\n".join(
                [
                    HEADER.encode(),
                    b'3801,23,421,"Salmon",2756,USD,2020-09-02T03:54:12Z,9-2-2020',
                    b"9999,25,149,Lemonade,4427,USD,2020-09-02T07:19:53Z,09-02-2020",
                    b'"9999","26",149,"Lemonade, ""fizzy""",4427,USD,2020-09-02 07:19:53,2020-09-02',
                ]
            )
        )
        assert (report["rows_in"], report["written"]) == (3, 3)
        items = flow.scan()
        assert {item["transaction_date_iso"]["S"] for item in items.values()} == {"2020-09-02"}
        assert items["3801", "23"]["transaction_date"] == {"S": "9-2-2020"}
        assert items["9999", "26"]["product"] == {"S": 'Lemonade, "fizzy"'}
        assert items["9999", "26"]["time_stamp_utc"] == {"S": "2020-09-02T07:19:53Z"}

    @pytest.mark.parametrize(
        ("bad", "field", "reason"),
        [
            (b"9,1,42", None, "3"),
            (row("9").encode() + b",more", None, "9"),
            (row("9", amount="ten").encode(), "amount", "ten"),
            (row("").encode(), "order_id", "empty key"),
            (row("9", "").encode(), "item_id", "empty key"),
            (row("9", product="x" * (401 * 1024)).encode(), None, "bytes"),
            (row("9").encode().replace(b"Salmon", b"Sal\xffmon"), "product", "UTF-8"),
        ],
        ids=["short", "long", "bad number", "empty hash key", "empty range key", "over 400 KB", "invalid UTF-8"],
    )
    def test_a_bad_row_is_put_aside_with_line_and_reason_and_the_rest_loads(
        self, flow, load_file, bad: bytes, field: str | None, reason: str
    ):
        report = load_file(csv_of(row("1"), "BAD", row("2")).replace(b"BAD", bad))
        assert (report["rows_in"], report["written"], report["rejected"]) == (3, 2, 1)
        assert sorted(flow.scan()) == [("1", "1"), ("2", "1")]
        (found,) = rejects(flow)
        assert (found["line"], found["field"]) == (3, field)
        assert reason in found["reason"]
        assert report["rejects_name"] == f"s3://{flow.bucket}/{REJECTS}"

    def test_too_many_bad_rows_write_nothing_and_the_rejects_tell_why(self, flow, load_file):
        with pytest.raises(BadLoadError, match=rf"2 of 3 rows.*s3://{flow.bucket}/{REJECTS}"):
            load_file(csv_of(row("1"), row("2", amount="x"), row("3", amount="y")), ratio=0.5)
        assert flow.scan() == {}
        assert [(found["line"], found["field"]) for found in rejects(flow)] == [(3, "amount"), (4, "amount")]

    def test_as_many_bad_rows_as_allowed_are_allowed(self, flow, load_file):
        report = load_file(csv_of(row("1"), row("2", amount="x")), ratio=0.5)
        assert report["written"] == 1

    def test_the_last_row_of_a_key_wins_and_the_others_are_counted(self, flow, load_file):
        report = load_file(csv_of(row("1", amount="1"), row("2"), row("1", amount="2"), row("1", amount="3")))
        assert (report["rows_in"], report["written"], report["duplicates"]) == (4, 2, 2)
        assert flow.scan()["1", "1"]["amount"] == {"N": "3"}
        assert report["replacements_sample"][0] == {"line": 2, "replaced_by": 4, "key": ["1", "1"]}

    def test_loading_a_file_twice_changes_nothing(self, flow, load_file):
        content = csv_of(*[row(str(n), amount=f"{n}.10") for n in range(60)], row("7", amount="8"))
        first = load_file(content)
        items = flow.scan()
        second = load_file(content)
        assert flow.scan() == items
        assert len(items) == 60
        assert first["source_sha256"] == second["source_sha256"]

    def test_a_table_with_other_keys_is_refused(self, flow, order_file, stage_file):
        with pytest.raises(BadLoadError, match="orders-backup-leases"):
            load_order_file(
                flow.dynamodb,
                flow.s3,
                job=job_of(
                    flow,
                    stage_file(order_file(csv_of(row()))),
                    table="orders-backup-leases",
                    settings=load_settings(max_reject_ratio=0, max_wcu=None),
                ),
                rejects=(flow.bucket, REJECTS),
            )

    def test_a_run_loads_the_version_that_it_staged_itself(self, flow, order_file, stage_file):
        own = stage_file(order_file(csv_of(row("own"))))
        other = stage_file(order_file(csv_of(row("other"))))
        assert own["version_id"] != other["version_id"]
        load_order_file(
            flow.dynamodb,
            flow.s3,
            job=job_of(flow, own, table="orders", settings=load_settings(max_reject_ratio=0, max_wcu=None)),
            rejects=(flow.bucket, REJECTS),
        )
        assert sorted(flow.scan()) == [("own", "1")]
        pinned = VersionedObject(flow.s3, own["version_id"])
        assert pinned.head_object(Bucket=flow.bucket, Key=KEY)["ContentLength"] == own["bytes"]
        assert pinned.get_object(Bucket=flow.bucket, Key=KEY)["Body"].read() == csv_of(row("own"))


class TestSettings:
    def test_a_limit_is_shared_by_those_who_write_at_the_same_time(self):
        assert load_settings(max_reject_ratio=0.1, max_wcu=100, writers=4).max_wcu == 25
        assert load_settings(max_reject_ratio=0.1, max_wcu=None, writers=4).max_wcu is None

    def test_a_load_gives_up_before_airflow_kills_its_task(self):
        settings = load_settings(max_reject_ratio=0.1, max_wcu=None)
        assert settings.deadline_seconds < LOAD_LIMIT.total_seconds()


class TestLoadMeter:
    @pytest.fixture
    def meter(self, caplog, monkeypatch):
        """A meter whose clock the test sets, and what it told."""
        now = [100.0]
        caplog.set_level("INFO", logger="backup_flows.loads")
        found = loads.LoadMeter("orders", clock=lambda: now[0])

        def at(seconds: float, written: int, to_write: int = 100_000) -> list[str]:
            caplog.clear()
            now[0] = 100.0 + seconds
            found(written, to_write)
            return [record.getMessage() for record in caplog.records]

        return at

    def test_it_tells_rate_and_time_to_go(self, meter):
        assert meter(0, 0) == []
        assert meter(10, 20_000) == ["orders: 20000 of 100000 items written (20 %), 2000 items/s so far, 40 s to go"]

    def test_it_speaks_up_as_it_doubles_and_every_few_minutes(self, meter):
        told = [bool(meter(seconds, written)) for seconds, written in ((1, 10_000), (2, 19_000), (3, 20_000))]
        assert told == [True, False, True]
        assert not meter(200, 21_000)
        assert meter(304, 22_000)
        assert not meter(305, 22_100)

    def test_what_an_earlier_try_wrote_does_not_make_this_one_faster(self, meter):
        assert meter(0, 40_000) == ["orders: 40000 of 100000 items written (40 %)"]
        assert meter(40, 80_000) == ["orders: 80000 of 100000 items written (80 %), 1000 items/s so far, 20 s to go"]


class TestTimeLimits:
    @pytest.mark.parametrize("step", ["plan_load", "survey_shard", "decide_load", "write_shard", "load"])
    def test_each_step_of_a_large_load_has_the_time_of_a_large_load(self, step: str):
        assert getattr(loads, step).kwargs["execution_timeout"] == LOAD_LIMIT


class TestFencedCheckpoints:
    def test_what_is_written_counts_under_its_lease_only(self, tmp_path):
        kept = LocalCheckpoints(tmp_path)
        first, second = FencedCheckpoints(kept, 1), FencedCheckpoints(kept, 2)
        first.put("shards/00000/written.json", b"written")
        first.put("shards/00000/survey.json", b"survey")
        assert first.get("shards/00000/written.json") == b"written"
        assert first.get_range("shards/00000/written.json", 2, 3) == b"itt"
        assert second.get("shards/00000/written.json") is None
        assert second.get("shards/00000/survey.json") == b"survey"

    def test_it_is_forgotten_whole(self, tmp_path):
        kept = LocalCheckpoints(tmp_path)
        FencedCheckpoints(kept, 1).put("shards/00000/written.json", b"written")
        FencedCheckpoints(kept, 2).clear()
        assert FencedCheckpoints(kept, 1).get("shards/00000/written.json") is None


class Run:
    """A run's load, task by task as the DAG has them."""

    def __init__(self, flow: Any, in_task: Callable[..., Any], context: dict[str, Any]) -> None:
        self.flow, self.in_task, self.context = flow, in_task, context
        context["ti"].xcom_pull.side_effect = lambda task_ids: self.lease
        self.staged = in_task(stage, context, flow.resources)
        self.take_lease()

    def take_lease(self) -> None:
        self.lease = lease_table(self.flow.resources).execute(self.context)

    def do(self, task: Any, *args: Any) -> Any:
        return self.in_task(task, self.context, *args)

    @property
    def common(self) -> tuple[dict[str, Any], ...]:
        return (self.flow.resources, self.staged, self.lease)

    def plan(self) -> list[int]:
        return list(self.do(loads.plan_load, *self.common))

    def survey(self, planned: list[int]) -> None:
        for shard in planned:
            self.do(loads.survey_shard, shard, *self.common)

    def write(self, shard: int, planned: list[int]) -> None:
        self.do(loads.write_shard, shard, planned, *self.common)

    def load(self, planned: list[int]) -> dict[str, Any]:
        return dict(self.do(load, planned, self.flow.resources, self.staged))

    def all(self) -> dict[str, Any]:
        planned = self.plan()
        if planned:
            self.survey(planned)
            self.do(loads.decide_load, *self.common)
            for shard in planned:
                self.write(shard, planned)
        return self.load(planned)


@pytest.fixture
def run_of(flow, order_file, in_task, new_context):
    """Begin a run that loads an order file of this content."""

    def begin(content: bytes, **params: Any) -> Run:
        return Run(flow, in_task, new_context(source=order_file(content), **params))

    return begin


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 2 KB of a file be a shard."""
    monkeypatch.setenv("AIRFLOW__BACKUP_FLOWS__LOAD_SHARD_MB", str(2 / 1024))


MANY = csv_of(*[row(str(n % 90), product=f"round {n // 90}, or\nso".join('""')) for n in range(200)])
"""Duplicates far apart, and newlines within quotes."""


class TestTasks:
    def test_a_small_file_is_loaded_by_one_task(self, flow, run_of):
        run = run_of(csv_of(row("1"), row("2"), row("3", amount="x")), max_reject_ratio=0.5)
        assert run.plan() == []
        flow.wait(5)
        report = run.load([])
        assert report["ended_at"] == flow.now().isoformat()
        assert json.loads(json.dumps(report)) == report
        assert (report["written"], report["rejected"], report["shards"]) == (2, 1, 1)
        assert run.context["outlet_events"][ORDERS_TABLE].extra == {
            "table": "orders",
            "as_of": "2026-11-01",
            "written": 2,
        }
        assert flow.keys("rejects/") == [REJECTS]
        assert flow.keys("loads/") == []

    def test_a_large_one_by_many_comes_to_the_same(self, flow, run_of, small_shards):
        run = run_of(MANY)
        assert len(run.plan()) == 4
        report = run.all()
        assert {name: report[name] for name in ("rows_in", "written", "rejected", "duplicates")} == {
            "rows_in": 200,
            "written": 90,
            "rejected": 0,
            "duplicates": 110,
        }
        assert report["shards"] == len(run.plan())
        assert report["seconds"] == 0
        items = flow.scan()
        assert len(items) == 90
        assert {items[str(n), "1"]["product"]["S"] for n in range(20)} == {"round 2, or\nso"}
        assert {items[str(n), "1"]["product"]["S"] for n in range(20, 90)} == {"round 1, or\nso"}

    def test_what_the_steps_handed_on_is_forgotten_when_the_load_is_complete(self, flow, run_of, small_shards):
        run_of(MANY).all()
        assert flow.keys("loads/") == []

    def test_too_many_bad_rows_anywhere_write_nothing(self, flow, run_of, small_shards):
        run = run_of(csv_of(*[row(str(n), amount="x" if n % 2 else "1") for n in range(100)]), max_reject_ratio=0.4)
        planned = run.plan()
        run.survey(planned)
        with pytest.raises(BadLoadError, match=r"50 of 100 rows"):
            run.do(loads.decide_load, *run.common)
        assert len(rejects(flow)) == 50
        assert flow.scan() == {}

    def test_a_step_that_is_repeated_changes_nothing(self, flow, run_of, small_shards):
        run = run_of(MANY)
        planned = run.plan()
        for _ in range(2):
            assert run.plan() == planned
            run.survey(planned)
            run.do(loads.decide_load, *run.common)
            run.write(1, planned)
        flow.remove("89")
        run.write(1, planned)
        for shard in planned:
            run.write(shard, planned)
        assert run.load(planned)["written"] == 90

    def test_a_shard_that_was_written_under_a_lost_lease_is_written_again(self, flow, run_of, small_shards, in_task):
        """Another run may have loaded its own file in between."""
        run = run_of(MANY)
        planned = run.plan()
        run.survey(planned)
        run.do(loads.decide_load, *run.common)
        for shard in planned:
            run.write(shard, planned)
        in_task(release_lease, run.context, flow.resources)
        for order, item in flow.scan():
            flow.remove(order, item)
        run.take_lease()
        for shard in planned:
            run.write(shard, planned)
        assert run.load(planned)["written"] == 90
        assert len(flow.scan()) == 90

    def test_a_load_that_lacks_a_shard_is_not_called_complete(self, run_of, small_shards):
        run = run_of(MANY)
        planned = run.plan()
        run.survey(planned)
        run.do(loads.decide_load, *run.common)
        for shard in planned[:-1]:
            run.write(shard, planned)
        with pytest.raises(Exception, match=r"written\.json"):
            run.load(planned)

    def test_a_checkpoint_of_a_table_that_was_made_anew_since_is_dropped(self, flow, run_of, small_shards):
        run = run_of(MANY)
        planned = run.plan()
        run.survey(planned)
        flow.dynamodb.update_table(TableName="orders", DeletionProtectionEnabled=False)
        flow.dynamodb.delete_table(TableName="orders")
        flow.make_table("orders")
        assert run.plan() == planned
        assert run.all()["written"] == 90

    def test_the_ratio_of_the_run_holds(self, flow, run_of):
        run = run_of(csv_of(row("1"), row("2"), row("3", amount="x")), max_reject_ratio=0.3)
        with pytest.raises(BadLoadError, match=r"allowed share of 0\.3"):
            run.load([])
        assert flow.scan() == {}

    def test_a_load_that_was_accounted_for_and_is_tried_again_comes_to_the_same(self, flow, run_of, small_shards):
        """The task may die after it has forgotten what the steps handed on, and before Airflow knows of its end."""
        run = run_of(MANY)
        first = run.all()
        items = flow.scan()
        again = run.load(list(range(first["shards"])))
        figures = ("rows_in", "written", "rejected", "duplicates", "bytes", "source_sha256", "shards")
        assert {name: again[name] for name in figures} == {name: first[name] for name in figures}
        assert flow.scan() == items
        assert flow.keys("loads/") == []

    @pytest.mark.parametrize("left", ["shards/", "started"], ids=["shards", "nothing else"])
    def test_one_that_died_while_it_forgot_does_too(self, flow, run_of, small_shards, left: str):
        run = run_of(MANY)
        planned = run.plan()
        run.survey(planned)
        run.do(loads.decide_load, *run.common)
        for shard in planned:
            run.write(shard, planned)
        flow.delete([key for key in flow.keys("loads/") if f"/{left}" not in key and not key.endswith("/started")])
        assert run.load(planned)["written"] == 90
        assert len(flow.scan()) == 90
        assert flow.keys("loads/") == []

    def test_a_load_that_is_repeated_by_one_task_goes_on_where_it_stood(self, flow, run_of, small_shards, monkeypatch):
        run = run_of(MANY)
        planned = list(range(run.all()["shards"]))
        real = load_module.ShardWriter.write

        def killed(*_: Any) -> None:
            raise SystemExit(143)

        monkeypatch.setattr(load_module.ShardWriter, "write", killed)
        with pytest.raises(SystemExit):
            run.load(planned)
        surveyed = [key for key in flow.keys("loads/") if key.endswith("survey.json")]
        kept = flow.etags("loads/")
        monkeypatch.setattr(load_module.ShardWriter, "write", real)
        monkeypatch.setattr(S3Checkpoints, "clear", lambda _: None)
        assert run.load(planned)["written"] == 90
        assert surveyed
        assert {key: flow.etags("loads/")[key] for key in kept} == kept

    def test_a_shard_of_a_lost_lease_says_which_tasks_to_clear(self, run_of, small_shards, flow, in_task):
        run = run_of(MANY)
        planned = run.plan()
        run.survey(planned)
        run.do(loads.decide_load, *run.common)
        for shard in planned:
            run.write(shard, planned)
        in_task(release_lease, run.context, flow.resources)
        run.take_lease()
        with pytest.raises(BadLoadError, match=r"written\.json.*earlier lease.*[Cc]lear .*write_shard"):
            run.load(planned)

    @pytest.mark.parametrize("sharded", [False, True])
    def test_who_loses_the_lease_while_writing_stops(self, flow, run_of, request, monkeypatch, in_task, sharded: bool):
        """A worker that was cut off for long wakes up: another run holds the table by now."""
        if sharded:
            request.getfixturevalue("small_shards")
        run = run_of(csv_of(*[row(str(n)) for n in range(1000)]))
        planned = run.plan()
        assert bool(planned) is sharded
        run.survey(planned)
        if sharded:
            run.do(loads.decide_load, *run.common)
        monkeypatch.setattr(loads, "LEASE_CHECK_SECONDS", 0.0)
        told = loads.LoadMeter.__call__

        def lost(meter: Any, written: int, to_write: int) -> None:
            in_task(release_lease, run.context, flow.resources)
            told(meter, written, to_write)

        monkeypatch.setattr(loads.LoadMeter, "__call__", lost)
        with pytest.raises(LeaseLostError):
            run.write(0, planned) if sharded else run.load([])
        assert len(flow.scan()) < 1000

    def test_a_load_of_hours_keeps_its_lease(self, flow, run_of, monkeypatch):
        run = run_of(csv_of(row("1")))
        monkeypatch.setattr(loads, "LEASE_CHECK_SECONDS", 0.0)
        monkeypatch.setattr(loads.LoadMeter, "__call__", lambda *_: flow.wait(600))
        run.load([])
        held = LeaseStore(flow.dynamodb, run.lease["lease_table"], clock=flow.now).read("orders")
        assert held.expires_at == int(flow.now().timestamp()) + 900

    def test_a_staged_file_that_is_gone_is_not_tried_again(self, flow, run_of, small_shards):
        run = run_of(MANY)
        planned = run.plan()
        flow.s3.delete_object(Bucket=flow.bucket, Key=KEY, VersionId=run.staged["version_id"])
        with pytest.raises(BadLoadError, match=KEY):
            run.survey(planned)
        with pytest.raises(BadLoadError, match=KEY):
            run.write(0, planned)

    @pytest.mark.parametrize("sharded", [False, True])
    def test_without_the_lease_nothing_is_written(self, flow, run_of, small_shards, sharded: bool):
        run = run_of(MANY)
        planned = run.plan()
        run.survey(planned)
        run.do(loads.decide_load, *run.common)
        run.lease = {**run.lease, "fence": run.lease["fence"] - 1}
        with pytest.raises(LeaseLostError):
            run.write(0, planned)
        with pytest.raises(LeaseLostError):
            run.load(planned if sharded else [])
        assert flow.scan() == {}

    def test_what_is_wrong_with_a_load_is_not_tried_again(self):
        assert issubclass(BadLoadError, AirflowFailException)
