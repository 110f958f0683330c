from __future__ import annotations

import datetime as dt
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_backup.exceptions import IntentConflictError, IntentRecordError, UnknownStateError
from aws_backup.intents import (
    Decision,
    Intent,
    IntentIdentity,
    IntentQuestion,
    IntentRecord,
    IntentStore,
    MemoryIntentStore,
    S3IntentStore,
    decide,
    ensure_job,
    force_key,
    intent_token,
    peek_intent,
    record_job,
    resolve_intent,
)
from aws_backup.states import StateKind

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
IDENTITY = IntentIdentity("orders", "manual__1", "back_up.start", -1, "arn:aws:dynamodb:::table/orders")
DETAILS = {"resource_arn": IDENTITY.resource, "backup_vault_name": "orders-vault"}


def record(**overrides: Any) -> IntentRecord:
    fields: dict[str, Any] = {
        "base": IDENTITY.base,
        "generation": 2,
        "job_id": "job-2",
        "created_at": NOW - dt.timedelta(hours=1),
        "force_key": None,
        "details": DETAILS,
    }
    return IntentRecord(**fields | overrides)


class Jobs:
    """AWS as the intent rule sees it: one job for each token, and each job's state."""

    def __init__(self) -> None:
        self.by_token: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.gone: set[str] = set()

    def start(self, intent: Intent) -> str:
        job_id = self.by_token.setdefault(intent.token, f"job-{len(self.by_token)}")
        self.states.setdefault(job_id, "CREATED")
        return job_id

    def question(self, *, force: str | None = None, details: dict[str, str] | None = None) -> IntentQuestion:
        return IntentQuestion(
            identity=IDENTITY,
            kind=StateKind.BACKUP_JOB,
            describe_state=self.states.get,
            is_lost=lambda job_id: job_id in self.gone,
            details=DETAILS if details is None else details,
            force=force,
        )


def attempt(store: IntentStore, jobs: Jobs, *, now: dt.datetime = NOW, **question: Any) -> Intent:
    return ensure_job(store, jobs.question(**question), jobs.start, now=lambda: now)


# -- tokens


@given(st.text(), st.text(), st.text(), st.integers(-1, 5000), st.text(), st.integers(0, 999_999_999))
def test_a_token_is_what_aws_takes(
    dag_id: str, run_id: str, task_id: str, map_index: int, resource: str, generation: int
) -> None:
    token = intent_token(dag_id, run_id, task_id, map_index, resource, generation)
    assert re.fullmatch(r"[A-Za-z0-9\-_.]{1,50}", token)
    assert token == intent_token(dag_id, run_id, task_id, map_index, resource, generation)


@pytest.mark.parametrize(
    "other",
    [
        ("order", "smanual__1", "back_up.start", -1, IDENTITY.resource, 0),
        ("orders", "manual__2", "back_up.start", -1, IDENTITY.resource, 0),
        ("orders", "manual__1", "back_up.other", -1, IDENTITY.resource, 0),
        ("orders", "manual__1", "back_up.start", 0, IDENTITY.resource, 0),
        ("orders", "manual__1", "back_up.start", -1, "another", 0),
        ("orders", "manual__1", "back_up.start", -1, IDENTITY.resource, 1),
    ],
)
def test_whatever_differs_gives_another_token(other: tuple[Any, ...]) -> None:
    assert intent_token(*other) != IDENTITY.token(0)


def test_a_token_never_changes_between_releases() -> None:
    # A changed derivation would start every unfinished intent a second time after an upgrade.
    assert intent_token("d", "r", "t", -1, "a") == "92843ddd30f7fb4967ff1356e2c9147858004daa-0"


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (False, None),
        (None, None),
        ("", None),
        ("False", None),
        ("None", None),
        ("0", None),
        (" no ", None),
        (True, "true"),
        ("True", "true"),
        ("Again", "again"),
        ("2", "2"),
    ],
)
def test_force_key(given_value: bool | str | None, expected: str | None) -> None:
    assert force_key(given_value) == expected


# -- the rule


@pytest.mark.parametrize(
    ("found", "state", "lost", "force", "expected"),
    [
        pytest.param(None, None, False, None, (0, False), id="nothing recorded"),
        pytest.param(None, None, False, "true", (0, False), id="nothing recorded, forced"),
        pytest.param(record(), "CREATED", False, None, (2, True), id="created"),
        pytest.param(record(), "RUNNING", False, None, (2, True), id="running"),
        pytest.param(record(), "ABORTING", False, None, (2, True), id="aborting may complete yet"),
        pytest.param(record(), "COMPLETED", False, None, (2, True), id="completed"),
        pytest.param(record(), "COMPLETED", True, None, (3, False), id="product gone"),
        pytest.param(record(), "RUNNING", True, None, (2, True), id="no product yet is not lost"),
        pytest.param(record(), "FAILED", False, None, (3, False), id="failed"),
        pytest.param(record(), "ABORTED", False, None, (3, False), id="aborted"),
        pytest.param(record(), "EXPIRED", False, None, (3, False), id="expired"),
        pytest.param(record(), "PARTIAL", False, None, (3, False), id="partial"),
        pytest.param(record(), None, False, None, (3, False), id="unknown to AWS"),
        pytest.param(record(created_at=NOW), None, False, None, (2, True), id="unknown to AWS yet"),
        pytest.param(record(job_id=None), None, False, None, (2, False), id="reply lost: same generation"),
        pytest.param(record(), "COMPLETED", False, "true", (3, False), id="forced"),
        pytest.param(record(), "RUNNING", False, "true", (3, False), id="forced while running"),
        pytest.param(record(force_key="true"), "RUNNING", False, "true", (2, True), id="forced before"),
        pytest.param(record(force_key="true"), "FAILED", False, "true", (3, False), id="forced one failed"),
        pytest.param(record(force_key="true"), "RUNNING", False, "again", (3, False), id="forced anew"),
        pytest.param(record(force_key="true"), "RUNNING", False, None, (2, True), id="force withdrawn"),
        pytest.param(record(details={"x": "y"}), "RUNNING", False, None, (3, False), id="other request"),
    ],
)
def test_decide(
    found: IntentRecord | None, state: str | None, lost: bool, force: str | None, expected: tuple[int, bool]
) -> None:
    decision = decide(found, kind=StateKind.BACKUP_JOB, state=state, lost=lost, force=force, details=DETAILS, now=NOW)
    assert isinstance(decision, Decision)
    assert (decision.generation, decision.adopt) == expected
    assert decision.reason


def test_decide_refuses_an_unknown_state() -> None:
    with pytest.raises(UnknownStateError):
        decide(
            record(),
            kind=StateKind.BACKUP_JOB,
            state="HIBERNATING",
            lost=False,
            force=None,
            details=DETAILS,
            now=NOW,
        )


# -- attempts after one another


def test_a_retry_adopts_what_the_first_attempt_started() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    first = attempt(store, jobs)
    second = attempt(store, jobs)
    assert (first.job_id, first.adopt) == ("job-0", False)
    assert (second.job_id, second.adopt) == ("job-0", True)
    assert len(jobs.by_token) == 1


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETED"])
def test_a_clear_or_reprocess_adopts(state: str) -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    attempt(store, jobs)
    jobs.states["job-0"] = state
    assert attempt(store, jobs, now=NOW + dt.timedelta(days=3)).job_id == "job-0"


def test_a_bad_end_advances_each_time() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    generations = []
    for job in ("job-0", "job-1", "job-2"):
        intent = attempt(store, jobs)
        assert intent.job_id == job
        generations.append(intent.generation)
        jobs.states[job] = "FAILED"
    assert generations == [0, 1, 2]


def test_a_lost_product_advances() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    attempt(store, jobs)
    jobs.states["job-0"] = "COMPLETED"
    jobs.gone.add("job-0")
    assert attempt(store, jobs).job_id == "job-1"


@pytest.mark.parametrize("reached_aws", [True, False])
def test_a_crash_around_the_call_leaves_exactly_one_job(reached_aws: bool) -> None:
    store, jobs = MemoryIntentStore(), Jobs()

    def die(intent: Intent) -> str:
        if reached_aws:
            jobs.start(intent)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_job(store, jobs.question(), die, now=lambda: NOW)
    assert peek_intent(store, jobs.question(), now=NOW).reply_lost
    assert attempt(store, jobs, now=NOW + dt.timedelta(hours=1)).job_id == "job-0"
    assert attempt(store, jobs, now=NOW + dt.timedelta(hours=1)).adopt
    assert len(jobs.by_token) == 1


def test_a_crash_in_a_later_generation_leaves_exactly_one_more_job() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    attempt(store, jobs)
    jobs.states["job-0"] = "FAILED"

    def die(intent: Intent) -> str:
        jobs.start(intent)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_job(store, jobs.question(), die, now=lambda: NOW)
    intent = attempt(store, jobs)
    assert (intent.generation, intent.job_id) == (1, "job-1")
    assert len(jobs.by_token) == 2


def test_a_job_of_a_lost_reply_that_failed_meanwhile_is_followed_by_a_new_one() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    announced = resolve_intent(store, jobs.question(), now=NOW)
    jobs.start(announced)
    jobs.states["job-0"] = "FAILED"
    intent = attempt(store, jobs, now=NOW + dt.timedelta(minutes=5))
    assert (intent.generation, intent.job_id) == (1, "job-1")


def test_a_job_started_late_after_its_announcement_is_not_lost_for_lag() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    resolve_intent(store, jobs.question(), now=NOW)
    later = NOW + dt.timedelta(hours=2)

    def start_invisibly(intent: Intent) -> str:
        return jobs.by_token.setdefault(intent.token, "job-x")

    intent = ensure_job(store, jobs.question(), start_invisibly, now=lambda: later)
    assert (intent.job_id, intent.generation) == ("job-x", 0)


def test_a_force_is_honoured_until_a_job_answers_its_word() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    ids = [
        attempt(store, jobs, force=force).job_id
        for force in (None, "true", "true", None, "true", "again", "again", "true")
    ]
    assert ids == ["job-0", "job-1", "job-1", "job-1", "job-1", "job-2", "job-2", "job-3"]


def test_another_request_is_not_adopted() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    attempt(store, jobs)
    other = attempt(store, jobs, details={**DETAILS, "backup_vault_name": "another"})
    assert other.job_id == "job-1"


def test_what_is_forbidden_before_announcing_leaves_no_record() -> None:
    store, jobs = MemoryIntentStore(), Jobs()

    def forbid(intent: Intent) -> None:
        raise PermissionError(intent.token)

    for _ in range(2):
        with pytest.raises(PermissionError, match=IDENTITY.token(0)):
            ensure_job(store, jobs.question(), jobs.start, now=lambda: NOW, before_announcing=forbid)
    assert store.read(IDENTITY.base) is None
    assert jobs.by_token == {}


def test_peek_changes_nothing_and_tells_what_an_attempt_would_do() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    before = peek_intent(store, jobs.question(), now=NOW)
    assert (before.adopt, before.may_have_started, before.token) == (False, False, IDENTITY.token(0))
    assert store.read(IDENTITY.base) is None
    attempt(store, jobs)
    after = peek_intent(store, jobs.question(), now=NOW)
    assert (after.adopt, after.may_have_started, after.job_id, after.state) == (True, True, "job-0", "CREATED")
    jobs.states["job-0"] = "EXPIRED"
    failed = peek_intent(store, jobs.question(), now=NOW)
    assert (failed.adopt, failed.job_id, failed.recorded_job_id, failed.token) == (
        False,
        None,
        "job-0",
        IDENTITY.token(1),
    )


# -- attempts at once


def test_many_attempts_at_once_start_one_job() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    lock, barrier = threading.Lock(), threading.Barrier(8)
    results: list[str | None] = []

    class LockedStore(MemoryIntentStore):
        def write(self, record: IntentRecord, *, replacing: str | None) -> Any:
            with lock:
                return super().write(record, replacing=replacing)

    store = LockedStore()

    def start(intent: Intent) -> str:
        with lock:
            return jobs.start(intent)

    def run() -> None:
        barrier.wait()
        results.append(ensure_job(store, jobs.question(), start, now=lambda: NOW).job_id)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert results == ["job-0"] * 8
    assert len(jobs.by_token) == 1


class Interfering(MemoryIntentStore):
    """Lets another attempt act right before a write."""

    def __init__(self) -> None:
        super().__init__()
        self.before_write: list[Callable[[], object]] = []

    def write(self, record: IntentRecord, *, replacing: str | None) -> Any:
        if self.before_write:
            self.before_write.pop(0)()
        return super().write(record, replacing=replacing)


def test_the_slower_of_two_takes_what_the_faster_announced() -> None:
    store, jobs = Interfering(), Jobs()
    store.before_write.append(lambda: attempt(store, jobs))
    intent = attempt(store, jobs)
    assert (intent.job_id, intent.adopt) == ("job-0", True)


def test_an_attempt_that_was_overtaken_by_a_generation_says_so() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    slow = resolve_intent(store, jobs.question(), now=NOW)
    attempt(store, jobs)
    jobs.states["job-0"] = "FAILED"
    attempt(store, jobs)
    with pytest.raises(IntentConflictError, match="generation 1"):
        record_job(store, slow, "job-0", now=NOW)


def test_two_jobs_for_one_generation_are_a_conflict() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    slow = resolve_intent(store, jobs.question(), now=NOW)
    attempt(store, jobs)
    with pytest.raises(IntentConflictError, match="job stranger was started, but job job-0 is recorded"):
        record_job(store, slow, "stranger", now=NOW)


def test_recording_the_same_job_twice_is_fine() -> None:
    store, jobs = MemoryIntentStore(), Jobs()
    slow = resolve_intent(store, jobs.question(), now=NOW)
    attempt(store, jobs)
    assert record_job(store, slow, "job-0", now=NOW).record.job_id == "job-0"


def test_endless_interference_ends_in_an_error() -> None:
    class Hostile(MemoryIntentStore):
        def write(self, record: IntentRecord, *, replacing: str | None) -> Any:
            raise IntentConflictError(key=record.base, detail="always")

    with pytest.raises(IntentConflictError, match="rounds were lost"):
        attempt(Hostile(), Jobs())


# -- records


def test_a_record_survives_json() -> None:
    written = record(force_key="again")
    assert IntentRecord.from_json(written.to_json(), key="k") == written
    assert json.loads(written.to_json())["token"] == IDENTITY.token(2)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"version": 99}', '{"version": 1, "base": "b", "generation": "x"}']
)
def test_a_damaged_record_is_named(text: str) -> None:
    with pytest.raises(IntentRecordError, match=r"s3://bucket/intents/b\.json"):
        IntentRecord.from_json(text, key="s3://bucket/intents/b.json")


@pytest.fixture
def s3_store(aws: None) -> S3IntentStore:
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="orders-backup")
    return S3IntentStore(client, "orders-backup")


def test_the_s3_store_writes_only_over_what_it_read(s3_store: S3IntentStore) -> None:
    assert s3_store.read(IDENTITY.base) is None
    first = s3_store.write(record(job_id=None), replacing=None)
    with pytest.raises(IntentConflictError, match=f"s3://orders-backup/intents/{IDENTITY.base}.json"):
        s3_store.write(record(job_id="other"), replacing=None)
    second = s3_store.write(record(job_id="job-2"), replacing=first.version)
    with pytest.raises(IntentConflictError):
        s3_store.write(record(job_id="other"), replacing=first.version)
    found = s3_store.read(IDENTITY.base)
    assert found == second
    assert found is not None
    assert found.record.job_id == "job-2"
    s3_store.client.delete_object(Bucket="orders-backup", Key=s3_store.key(IDENTITY.base))
    with pytest.raises(IntentConflictError):
        s3_store.write(record(), replacing=second.version)


def test_the_rule_works_over_s3(s3_store: S3IntentStore) -> None:
    jobs = Jobs()
    assert attempt(s3_store, jobs).job_id == "job-0"
    assert attempt(s3_store, jobs).adopt
    jobs.states["job-0"] = "FAILED"
    assert attempt(s3_store, jobs).job_id == "job-1"


def test_a_missing_bucket_is_no_missing_record(aws: None) -> None:
    client = boto3.client("s3", region_name="us-east-1")
    with pytest.raises(client.exceptions.NoSuchBucket):
        S3IntentStore(client, "nowhere").read(IDENTITY.base)
