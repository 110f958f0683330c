"""Intent tokens: a retry finds the job that it started, instead of starting a second one.

A task that starts a job at AWS can die at any moment, also between AWS's reply and the first word of it in
any database. So what the task *intends* gets a name made of nothing but what is the same at every attempt:
DAG, run, task, map index and the thing concerned. AWS gets that name as idempotency token, and answers a
repeated start with the job that it started first.
(https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartBackupJob.html, IdempotencyToken)

A token alone would tie a run to one job for ever, also when that job failed. So each intent has a
*generation*, part of the token, and a record in S3 of what was started for it. When the generation advances
is told by one function, ``decide``; nothing else advances it.

The record is written before AWS is called (job id still open) and completed after the reply. It is written
with conditions (``If-None-Match``, ``If-Match``), so that of two attempts at once only one can advance.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from botocore.exceptions import ClientError

from aws_backup.exceptions import IntentConflictError, IntentRecordError
from aws_backup.polling import NOT_FOUND_GRACE_SECONDS, error_code
from aws_backup.states import Outcome, StateKind, classify

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

log = logging.getLogger(__name__)

DEFAULT_PREFIX: Final = "intents/"
RECORD_VERSION: Final = 1
# AWS takes 1 to 50 characters of [A-Za-z0-9-_.]; 40 hex digits (160 bits) leave room for the generation.
BASE_LENGTH: Final = 40
# Attempts that race each other see each other's record at the next look; more rounds mean something is wrong.
MAX_ROUNDS: Final = 4
# What a template of an unset or unticked parameter renders to.
FALSE_WORDS: Final = frozenset({"", "0", "false", "no", "none", "off"})


@dataclass(frozen=True)
class IntentIdentity:
    """Who intends what; equal for all attempts, clears and reprocesses of one task instance.

    :param task_id: the full id, task group included.
    :param resource: what the job is about (ARN of the table, name of the table to make).
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    resource: str

    @property
    def base(self) -> str:
        """The token without generation, 40 hex digits."""
        # JSON keeps the borders between the parts, so that no two identities can be written alike.
        parts = [self.dag_id, self.run_id, self.task_id, self.map_index, self.resource]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:BASE_LENGTH]

    def token(self, generation: int) -> str:
        """The idempotency token of a generation."""
        return f"{self.base}-{generation}"


def intent_token(dag_id: str, run_id: str, task_id: str, map_index: int, resource: str, generation: int = 0) -> str:
    """Return the idempotency token of an intent, at most 50 characters of ``[a-z0-9-]``."""
    return IntentIdentity(dag_id, run_id, task_id, map_index, resource).token(generation)


def force_key(force_new: bool | str | None) -> str | None:
    """Tell what a ``force_new`` asks for: None for nothing, else the word that is honoured once.

    A run's parameters stay with it through retries, clears and reprocesses. So a word is honoured only where
    the recorded job does not answer it already: ``true`` forces one new job, and to force another one the
    parameter gets another word (``again``, ``2``, a ticket's number).
    """
    word = str(force_new).strip() if force_new is not None else ""
    return None if word.lower() in FALSE_WORDS else word.lower()


@dataclass(frozen=True)
class IntentRecord:
    """What was started for an intent.

    :param base: the token without generation.
    :param generation: counts from 0.
    :param job_id: None while AWS's reply is still out, or was lost.
    :param created_at: when this generation was announced or, once ``job_id`` is known, when AWS replied.
    :param force_key: the ``force_new`` word that this generation answers, if any.
    :param details: what was asked for (ARNs, names); a record with other details is superseded.
    """

    base: str
    generation: int
    job_id: str | None
    created_at: datetime
    force_key: str | None = None
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def token(self) -> str:
        """The idempotency token that was sent."""
        return f"{self.base}-{self.generation}"

    def to_json(self) -> str:
        """Write the record as JSON."""
        return json.dumps(
            {
                "version": RECORD_VERSION,
                "token": self.token,
                "base": self.base,
                "generation": self.generation,
                "job_id": self.job_id,
                "created_at": self.created_at.isoformat(),
                "force_key": self.force_key,
                "details": dict(self.details),
            },
            indent=2,
        )

    @classmethod
    def from_json(cls, text: str, *, key: str) -> IntentRecord:
        """Read a record.

        :raises IntentRecordError: if it is damaged, or of a version that this code does not know.
        """
        try:
            raw = json.loads(text)
            if raw["version"] != RECORD_VERSION:
                raise IntentRecordError(key=key, detail=f"unknown version {raw['version']!r}")
            return cls(
                base=str(raw["base"]),
                generation=int(raw["generation"]),
                job_id=raw["job_id"],
                created_at=datetime.fromisoformat(raw["created_at"]),
                force_key=raw["force_key"],
                details={str(name): str(value) for name, value in raw["details"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntentRecordError(key=key, detail=f"{type(error).__name__}: {error}") from error


class StoredIntent(NamedTuple):
    """A record as it lies in the store, with the version that a conditional write names."""

    record: IntentRecord
    version: str


class IntentStore(Protocol):
    """Keeps one record for each intent."""

    def read(self, base: str) -> StoredIntent | None:
        """Return the record, or None."""
        ...

    def write(self, record: IntentRecord, *, replacing: str | None) -> StoredIntent:
        """Write a record if the stored one is still the named version (None: if there is none).

        :raises IntentConflictError: if it is not.
        """
        ...


class S3IntentStore:
    """Keeps the records in an S3 bucket, one object each.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

    :param client: a boto3 S3 client.
    :param bucket: the bucket's name.
    :param prefix: put before each key, with its own ending slash.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str = DEFAULT_PREFIX) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix

    def key(self, base: str) -> str:
        """Return the object key of a record."""
        return f"{self.prefix}{base}.json"

    def read(self, base: str) -> StoredIntent | None:
        """Return the record, or None."""
        key = self.key(base)
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error_code(error) in {"NoSuchKey", "404"}:
                return None
            raise
        text = answer["Body"].read().decode("utf-8", errors="replace")
        return StoredIntent(IntentRecord.from_json(text, key=f"s3://{self.bucket}/{key}"), answer["ETag"])

    def write(self, record: IntentRecord, *, replacing: str | None) -> StoredIntent:
        """Write a record under the condition that nobody else did."""
        key = self.key(record.base)
        condition: dict[str, Any] = {"IfMatch": replacing} if replacing else {"IfNoneMatch": "*"}
        try:
            answer = self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=record.to_json().encode(),
                ContentType="application/json",
                **condition,
            )
        except ClientError as error:
            # 404 is If-Match on a record that was deleted meanwhile; 409 is a write at the very same time.
            if error_code(error) in {
                "PreconditionFailed",
                "ConditionalRequestConflict",
                "NoSuchKey",
                "412",
                "409",
                "404",
            }:
                raise IntentConflictError(key=f"s3://{self.bucket}/{key}", detail=error_code(error)) from error
            raise
        return StoredIntent(record, answer["ETag"])


class MemoryIntentStore:
    """Keeps the records in memory, for tests and for tasks without a bucket within one attempt."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredIntent] = {}
        self._writes = 0

    def read(self, base: str) -> StoredIntent | None:
        """Return the record, or None."""
        return self._stored.get(base)

    def write(self, record: IntentRecord, *, replacing: str | None) -> StoredIntent:
        """Write a record under the condition that nobody else did."""
        found = self._stored.get(record.base)
        if (found.version if found else None) != replacing:
            raise IntentConflictError(key=record.base, detail="the stored version is another one")
        self._writes += 1
        self._stored[record.base] = StoredIntent(record, str(self._writes))
        return self._stored[record.base]


class Decision(NamedTuple):
    """What an attempt has to do.

    :param generation: the generation that it works in.
    :param adopt: True to take the recorded job, False to call AWS with the generation's token.
    :param reason: why, for the log.
    """

    generation: int
    adopt: bool
    reason: str


def decide(
    record: IntentRecord | None,
    *,
    kind: StateKind,
    state: str | None,
    lost: bool,
    force: str | None,
    details: Mapping[str, str],
    now: datetime,
) -> Decision:
    """Tell whether an attempt adopts the recorded job or starts one, and in which generation: THE rule.

    1. Nothing recorded: start generation 0.
    2. ``force_new`` says a word that the record does not answer yet: start the next generation. The same word
       again changes nothing, so that a forced run can be retried (see ``force_key``).
    3. The record is of another request (vault or recovery point changed): start the next generation.
    4. Announced, but no job id recorded: the reply may have been lost. Start again in the *same* generation;
       AWS answers the same token with the same job.
    5. AWS does not know the job: for a minute after the announcement that is lag, adopt it; later it is
       lost, start the next generation.
    6. The job ended badly: start the next generation.
    7. The job ended well, but what it made is gone (``lost``): start the next generation.
    8. Everything else, running or completed: adopt it. A retry, a plain clear of this or any other task and
       a backfill's reprocess all come here.

    :param record: what is recorded, or None.
    :param kind: backup job or restore job.
    :param state: the recorded job's state now; None if AWS does not know the job, or none is recorded.
    :param lost: whether what a completed job made is gone.
    :param force: the ``force_key`` of the run.
    :param details: what this attempt would ask for.
    :param now: the time of asking.
    :raises UnknownStateError: for a state that ``states`` does not know.
    """
    if record is None:
        return Decision(0, False, "nothing was started yet")
    following = record.generation + 1
    if force is not None and force != record.force_key:
        return Decision(following, False, f"force_new asks for a new job ({force!r})")
    if dict(record.details) != dict(details):
        return Decision(following, False, f"the recorded request was another one ({dict(record.details)})")
    if record.job_id is None:
        return Decision(record.generation, False, "a start was announced and its reply is not recorded; asking again")
    if state is None:
        if (now - record.created_at).total_seconds() < NOT_FOUND_GRACE_SECONDS:
            return Decision(record.generation, True, f"job {record.job_id} was started a moment ago")
        return Decision(following, False, f"AWS does not know job {record.job_id} any more")
    outcome = classify(kind, state)
    if outcome is Outcome.FAILURE:
        return Decision(following, False, f"job {record.job_id} ended {state}")
    if outcome is Outcome.SUCCESS and lost:
        return Decision(following, False, f"job {record.job_id} is {state}, but what it made is gone")
    return Decision(record.generation, True, f"job {record.job_id} is {state}")


@dataclass(frozen=True)
class Intent:
    """An intent as it stands.

    :param identity: whose it is.
    :param generation: the generation to work in.
    :param adopt: True if ``job_id`` is to be taken as it is, False if a job has to be started.
    :param job_id: the job to adopt; None where one has to be started.
    :param state: that job's state, or None if AWS does not know it (yet).
    :param reason: why, for the log.
    :param reply_lost: True if this generation was announced before and AWS's reply is not recorded, so that
        AWS may have a job for its token.
    :param stored: what is recorded (of this or an earlier generation), or None.
    """

    identity: IntentIdentity
    generation: int
    adopt: bool
    job_id: str | None
    state: str | None
    reason: str
    reply_lost: bool
    stored: StoredIntent | None

    @property
    def token(self) -> str:
        """The idempotency token to send."""
        return self.identity.token(self.generation)

    @property
    def recorded_job_id(self) -> str | None:
        """The job of the record, adopted or not."""
        return self.stored.record.job_id if self.stored else None

    @property
    def may_have_started(self) -> bool:
        """Whether this generation's job is, or may be, at AWS already."""
        return self.adopt or self.reply_lost


@dataclass(frozen=True)
class IntentQuestion:
    """What has to be known to resolve an intent.

    :param identity: whose it is.
    :param kind: backup job or restore job.
    :param describe_state: returns a job's state, or None if AWS does not know the job.
    :param is_lost: tells whether what a completed job (by id) made is gone; asked only about such a job.
    :param details: what an attempt would ask for.
    :param force: the ``force_key`` of the run.
    """

    identity: IntentIdentity
    kind: StateKind
    describe_state: Callable[[str], str | None]
    is_lost: Callable[[str], bool]
    details: Mapping[str, str]
    force: str | None = None


def peek_intent(store: IntentStore, question: IntentQuestion, *, now: datetime) -> Intent:
    """Tell what an attempt would do now, without recording anything.

    Other tasks of the run ask this too: one that must run *before* the job starts learns whether it started.
    """
    stored = store.read(question.identity.base)
    record = stored.record if stored else None
    state: str | None = None
    lost = False
    if record is not None and record.job_id is not None:
        state = question.describe_state(record.job_id)
        completed = state is not None and classify(question.kind, state) is Outcome.SUCCESS
        lost = completed and question.is_lost(record.job_id)
    decision = decide(
        record,
        kind=question.kind,
        state=state,
        lost=lost,
        force=question.force,
        details=question.details,
        now=now,
    )
    return Intent(
        identity=question.identity,
        generation=decision.generation,
        adopt=decision.adopt,
        job_id=record.job_id if record and decision.adopt else None,
        state=state if decision.adopt else None,
        reason=decision.reason,
        reply_lost=record is not None and not decision.adopt and decision.generation == record.generation,
        stored=stored,
    )


def resolve_intent(
    store: IntentStore,
    question: IntentQuestion,
    *,
    now: datetime,
    before_announcing: Callable[[Intent], None] | None = None,
) -> Intent:
    """Decide (see ``decide``) and, if a job is to be started, announce it in the record.

    :param before_announcing: called with an intent that is to be announced; raises to forbid it. What it
        forbids leaves no record, so that a later attempt is asked the same question again.
    :return: the intent; unless ``adopt``, the caller starts a job with its token and calls ``record_job``.
    :raises IntentConflictError: if other attempts keep changing the record.
    """
    for _ in range(MAX_ROUNDS):
        intent = peek_intent(store, question, now=now)
        if intent.may_have_started:
            return intent
        if before_announcing is not None:
            before_announcing(intent)
        record = IntentRecord(
            base=question.identity.base,
            generation=intent.generation,
            job_id=None,
            created_at=now,
            force_key=question.force,
            details=dict(question.details),
        )
        try:
            announced = store.write(record, replacing=intent.stored.version if intent.stored else None)
        except IntentConflictError:
            # Another attempt was faster; what it wrote decides.
            continue
        return replace(intent, stored=announced)
    raise IntentConflictError(key=question.identity.base, detail=f"{MAX_ROUNDS} rounds were lost")


def record_job(store: IntentStore, intent: Intent, job_id: str, *, now: datetime) -> StoredIntent:
    """Complete the record of an announced intent with the job that AWS answered.

    The record's time becomes the time of the reply: a job may be unknown to AWS's describe for a moment after
    it was started, however long ago it was announced.

    :raises IntentConflictError: if another attempt recorded another job, or moved on meanwhile.
    """
    stored = intent.stored
    for _ in range(MAX_ROUNDS):
        if stored is None or stored.record.generation != intent.generation:
            found = f"generation {stored.record.generation}" if stored else "no record"
            raise IntentConflictError(
                key=intent.identity.base,
                detail=f"job {job_id} is of generation {intent.generation}, found {found}",
            )
        if stored.record.job_id == job_id:
            return stored
        if stored.record.job_id is not None:
            raise IntentConflictError(
                key=intent.identity.base,
                detail=f"job {job_id} was started, but job {stored.record.job_id} is recorded",
            )
        try:
            completed = replace(stored.record, job_id=job_id, created_at=now)
            return store.write(completed, replacing=stored.version)
        except IntentConflictError:
            stored = store.read(intent.identity.base)
    raise IntentConflictError(key=intent.identity.base, detail=f"{MAX_ROUNDS} rounds were lost")


def ensure_job(
    store: IntentStore,
    question: IntentQuestion,
    start: Callable[[Intent], str],
    *,
    now: Callable[[], datetime],
    before_announcing: Callable[[Intent], None] | None = None,
) -> Intent:
    """Adopt the intent's job, or start it and record it.

    :param start: calls AWS with the intent's token and returns the job id.
    :param now: the clock.
    :return: the intent with its job id.
    """
    for _ in range(MAX_ROUNDS):
        intent = resolve_intent(store, question, now=now(), before_announcing=before_announcing)
        log.info("Intent %s, generation %d: %s", intent.identity.base, intent.generation, intent.reason)
        if intent.adopt:
            return intent
        job_id = start(intent)
        stored = record_job(store, intent, job_id, now=now())
        if not intent.reply_lost:
            return replace(intent, job_id=job_id, stored=stored)
        # AWS may have answered with a job that has ended badly since: the rule has to see it once more.
    raise IntentConflictError(key=question.identity.base, detail=f"{MAX_ROUNDS} rounds were lost")
