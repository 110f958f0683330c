from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest

from backup_flows import fingerprints
from backup_flows.fingerprints import (
    Binding,
    BindingContentionError,
    FingerprintAlteredError,
    FingerprintMissingError,
    FingerprintTooLateError,
    Taken,
    bind,
    ensure_taken_before,
    find,
    find_binding,
    load,
    load_bound,
    manifest_opener,
    take,
)
from dynamodb_bulk.fingerprint import read_manifest
from dynamodb_bulk.scan import ScanProgress

ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:1a2b"
BESIDE = "recovery-points/orders/1a2b/"


@pytest.fixture
def taken(flow):
    """Fingerprint the orders table below a prefix."""

    def do(prefix: str) -> Taken:
        found, _ = take(flow.dynamodb, flow.s3, bucket=flow.bucket, prefix=prefix, table="orders", clock=flow.now)
        return found

    return do


@pytest.fixture
def binding(taken) -> Binding:
    return Binding(
        recovery_point_arn=ARN,
        table="orders",
        table_arn="arn:aws:dynamodb:us-east-1:123456789012:table/orders",
        vault="orders-vault",
        backup_job_id="job-1",
        created_at="2026-11-02T06:00:00+00:00",
        size_bytes=2048,
        before=taken("intents/t-0/before."),
        after=taken("intents/t-0/after."),
        drifting=False,
        as_of="2026-11-01",
        dag_id="orders_backup_restore",
        run_id="manual__1",
    )


def test_a_fingerprint_is_taken_kept_and_found_again(flow, taken):
    flow.put("1", amount={"N": "1"})
    flow.put("2")
    flow.wait(7)
    found = taken("intents/t-0/before.")
    assert (found.items, found.taken_at) == (2, flow.now().isoformat())
    assert find(flow.s3, flow.bucket, "intents/t-0/before.") == found
    kept = load(flow.s3, flow.bucket, found.prefix)
    assert (kept.digest, kept.item_count, kept.key_names) == (found.digest, 2, ("order_id", "item_id"))
    assert load_bound(flow.s3, flow.bucket, found) == kept


def test_the_manifest_beside_it_holds_its_items(flow, taken, tmp_path: Path):
    flow.put("1")
    flow.put("2")
    found = taken("intents/t-0/before.")
    opener = manifest_opener(flow.s3, flow.bucket, found.prefix, tmp_path)
    for _ in range(2):
        with opener() as source:
            keys = {entry.key for entry in read_manifest(source, like=load(flow.s3, flow.bucket, found.prefix))}
        assert {json.loads(key)["order_id"]["S"] for key in keys} == {"1", "2"}
    assert len(list(tmp_path.iterdir())) == 1


def test_one_that_was_never_completed_is_not_found(flow, taken):
    """A worker that died left the fingerprint there, without the word that it is complete."""
    taken("intents/t-0/before.")
    flow.s3.delete_object(Bucket=flow.bucket, Key="intents/t-0/before.meta.json")
    assert find(flow.s3, flow.bucket, "intents/t-0/before.") is None


def test_the_word_that_it_is_complete_is_written_last(flow):
    written: list[str] = []

    class Watched:
        def __getattr__(self, name: str):
            return getattr(flow.s3, name)

        def put_object(self, **request):
            written.append(request["Key"])
            return flow.s3.put_object(**request)

        def upload_fileobj(self, sink, bucket, key, **more):
            written.append(key)
            return flow.s3.upload_fileobj(sink, bucket, key, **more)

    take(flow.dynamodb, Watched(), bucket=flow.bucket, prefix="p.", table="orders", clock=flow.now)
    assert sorted(written[:2]) == ["p.fingerprint.json.gz", "p.manifest.bin"]
    assert written[2:] == ["p.meta.json"]


def test_a_missing_fingerprint_is_named(flow):
    with pytest.raises(FingerprintMissingError, match=f"s3://{flow.bucket}/intents/x/fingerprint.json.gz is missing"):
        load(flow.s3, flow.bucket, "intents/x/")


def test_a_fingerprint_that_was_replaced_by_another_vouches_for_nothing(flow, taken):
    bound = taken("one.")
    flow.put("1")
    other = taken("other.")
    source = {"Bucket": flow.bucket, "Key": f"{other.prefix}fingerprint.json.gz"}
    flow.s3.copy(source, flow.bucket, f"{bound.prefix}fingerprint.json.gz")
    with pytest.raises(FingerprintAlteredError, match=f"{other.digest}.*{bound.digest}"):
        load_bound(flow.s3, flow.bucket, bound)


@pytest.mark.parametrize(
    ("taken_at", "created_at", "too_late"),
    [
        ("2026-11-02T06:00:00+00:00", "2026-11-02T06:00:01+00:00", False),
        ("2026-11-02T06:00:00+00:00", "2026-11-02T06:00:00.400000+00:00", False),
        ("2026-11-02T06:00:00+00:00", "2026-11-02T06:00:00+00:00", False),
        ("2026-11-02T06:00:01+00:00", "2026-11-02T06:00:00.900000+00:00", True),
        ("2026-11-02T07:00:00+01:00", "2026-11-02T06:00:01+00:00", False),
        ("2026-11-02T06:00:00+00:00", "2026-11-02T06:30:00+01:00", True),
    ],
)
def test_a_fingerprint_must_precede_its_job(taken_at: str, created_at: str, too_late: bool):
    before = Taken(prefix="p.", taken_at=taken_at, digest="d", items=1)
    if not too_late:
        ensure_taken_before(before, created_at)
        return
    with pytest.raises(FingerprintTooLateError, match=r"taken at .*created at .*force_new"):
        ensure_taken_before(before, created_at)


def test_what_is_bound_comes_back_as_it_was(binding):
    assert Binding.from_dict(json.loads(json.dumps(binding.as_dict()))) == binding


def test_binding_copies_all_that_vouches_beside_the_recovery_point(flow, binding):
    bound = bind(flow.s3, flow.bucket, binding)
    prefix = bound.before.prefix.removesuffix("before.")
    assert prefix.startswith(f"{BESIDE}bound/")
    assert bound.after.prefix == f"{prefix}after."
    assert bound.before.digest == binding.before.digest
    names = ["fingerprint.json.gz", "manifest.bin", "meta.json"]
    assert sorted(flow.keys(BESIDE)) == sorted(
        [f"{BESIDE}binding.json", *(f"{prefix}{side}.{name}" for side in ("before", "after") for name in names)]
    )
    flow.forget("intents/")
    assert find_binding(flow.s3, flow.bucket, "orders", ARN) == bound
    assert load_bound(flow.s3, flow.bucket, bound.before).digest == binding.before.digest
    assert load_bound(flow.s3, flow.bucket, bound.after).digest == binding.after.digest


def test_nothing_is_bound_before(flow):
    assert find_binding(flow.s3, flow.bucket, "orders", ARN) is None


def test_the_first_binding_stands(flow, binding, taken):
    first = bind(flow.s3, flow.bucket, binding)
    kept = flow.etags(BESIDE)
    flow.put("1")
    later = replace(binding, after=taken("intents/t-1/after."), drifting=True, run_id="manual__2")
    assert bind(flow.s3, flow.bucket, later) == first
    assert flow.etags(BESIDE) == kept


@pytest.fixture
def rivals(flow, monkeypatch):
    """Let others bind right before the own binding is written, once."""

    def come(*bindings: Binding) -> None:
        real, waiting = fingerprints.put_if, list(bindings)

        def overtaken(*args, **more):
            if waiting:
                bind(flow.s3, flow.bucket, waiting.pop(0))
            return real(*args, **more)

        monkeypatch.setattr(fingerprints, "put_if", overtaken)

    return come


def ensure_whole(flow, bound: Binding) -> None:
    for taken in (bound.before, bound.after):
        assert load_bound(flow.s3, flow.bucket, taken).digest == taken.digest


def of_drill(binding: Binding, taken: Taken, *, bound_by: str, depth: str) -> Binding:
    """What a drill bound by another look at the table."""
    found = replace(taken, depth=depth)
    return replace(binding, before=found, after=found, bound_by=bound_by, depth=depth, run_id="drill")


def test_of_two_that_bind_at_once_the_first_stands_with_its_own_fingerprints(flow, binding, taken, rivals):
    """The other one's binding comes up after the own look for one, and after the own fingerprints were copied."""
    flow.put("1")
    rival = replace(binding, before=taken("r.before."), after=taken("r.after."), run_id="rival")
    rivals(rival)
    bound = bind(flow.s3, flow.bucket, binding)
    assert (bound.run_id, bound.before.digest) == ("rival", rival.before.digest)
    assert find_binding(flow.s3, flow.bucket, "orders", ARN) == bound
    ensure_whole(flow, bound)


@pytest.mark.parametrize("at_once", [False, True], ids=["before", "at once"])
@pytest.mark.parametrize(
    ("bound_by", "depth", "holds"),
    [
        ("records", "schema", "run"),
        ("records", "canary", "run"),
        ("brackets", "sampled", "run"),
        ("brackets", "full", "drill"),
    ],
)
def test_what_a_drill_bound_gives_way_to_the_runs_own_unless_it_is_as_good(
    flow, binding, taken, rivals, bound_by: str, depth: str, holds: str, at_once: bool
):
    """A drill may come between the end of a backup job and the binding by its run."""
    flow.put("1")
    drill = of_drill(binding, taken("d.before."), bound_by=bound_by, depth=depth)
    if at_once:
        rivals(drill)
    else:
        bind(flow.s3, flow.bucket, drill)
    bound = bind(flow.s3, flow.bucket, binding)
    expected = binding if holds == "run" else drill
    assert (bound.bound_by, bound.depth, bound.run_id) == (expected.bound_by, expected.depth, expected.run_id)
    assert find_binding(flow.s3, flow.bucket, "orders", ARN) == bound
    ensure_whole(flow, bound)
    # Neither a drill that comes later, nor the run once more, changes it.
    assert bind(flow.s3, flow.bucket, drill) == bind(flow.s3, flow.bucket, binding) == bound


@pytest.mark.parametrize(("depth", "gives_way"), [("schema", True), ("canary", False)])
def test_a_run_that_keeps_no_more_than_records_takes_the_place_of_no_deeper_ones(
    flow, binding, taken, depth: str, gives_way: bool
):
    bound = bind(flow.s3, flow.bucket, of_drill(binding, taken("d."), bound_by="records", depth=depth))
    own = replace(binding, depth="schema", before=replace(binding.before, depth="schema"))
    assert (bind(flow.s3, flow.bucket, own) != bound) is gives_way


def test_what_never_rests_is_an_error_that_names_it(flow, binding, monkeypatch):
    monkeypatch.setattr(fingerprints, "put_if", lambda *_, **__: False)
    with pytest.raises(BindingContentionError, match=rf"{BESIDE}binding.json changed .*clear this task"):
        bind(flow.s3, flow.bucket, binding)


def test_the_progress_of_a_long_scan_is_told_as_it_doubles(caplog):
    report = fingerprints.ScanMeter("orders")
    with caplog.at_level("INFO", logger="backup_flows.fingerprints"):
        for items in (5_000, 10_000, 15_000, 20_000, 39_999, 40_000):
            report(ScanProgress(items=items, pages=items // 1000, segments_done=0, segments=4, seconds=2.0))
    assert [record.args[1] for record in caplog.records] == [10_000, 20_000, 40_000]
    assert "20000 items/s" in caplog.records[-1].message


def test_that_of_a_slow_scan_every_few_minutes(caplog):
    report = fingerprints.ScanMeter("orders")
    with caplog.at_level("INFO", logger="backup_flows.fingerprints"):
        for seconds in range(0, 1000, 100):
            report(ScanProgress(items=seconds, pages=seconds, segments_done=0, segments=4, seconds=float(seconds)))
    assert [record.args[1] for record in caplog.records] == [300, 600, 900]


def test_awss_time_is_what_counts(flow, taken):
    assert dt.datetime.fromisoformat(taken("p.").taken_at) == flow.now()
