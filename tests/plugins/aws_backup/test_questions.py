from __future__ import annotations

import datetime as dt
from typing import Any
from unittest import mock

import pytest

from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import IntentIdentity, IntentRecord, MemoryIntentStore, peek_intent
from aws_backup.questions import backup_intent_question, restore_intent_question
from aws_backup.states import StateKind

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


@pytest.fixture
def identity(fake: Any) -> IntentIdentity:
    return IntentIdentity("orders", "manual__1", "back_up.start", -1, fake.table_arn)


@pytest.fixture
def table_status() -> Any:
    with (
        mock.patch("aws_backup.questions.table_status", autospec=True) as status,
        mock.patch.object(BackupHook, "sibling", autospec=True),
    ):
        yield status


def test_a_backup_is_asked_for_by_its_job(fake: Any, hook: BackupHook, identity: IntentIdentity) -> None:
    question = backup_intent_question(
        hook, identity, backup_vault_name="orders-vault", resource_arn=fake.table_arn, force_new="True"
    )
    assert question.kind is StateKind.BACKUP_JOB
    assert question.details == {"resource_arn": fake.table_arn, "backup_vault_name": "orders-vault"}
    assert question.force == "true"
    assert question.describe_state("job-0") is None
    fake.backup_jobs["job-0"] = {"BackupJobId": "job-0", "State": "RUNNING"}
    assert question.describe_state("job-0") == "RUNNING"


@pytest.mark.parametrize(
    ("status", "lost"),
    [
        ("COMPLETED", False),
        ("AVAILABLE", False),
        ("CREATING", False),
        ("EXPIRED", True),
        ("DELETING", True),
        (None, True),
    ],
)
def test_a_backup_is_lost_when_its_recovery_point_is_gone(
    fake: Any, hook: BackupHook, identity: IntentIdentity, status: str | None, lost: bool
) -> None:
    question = backup_intent_question(hook, identity, backup_vault_name="orders-vault", resource_arn=fake.table_arn)
    fake.backup_jobs["job-0"] = {"State": "COMPLETED", "RecoveryPointArn": fake.point_arn}
    if status is not None:
        fake.add_point(status=status)
    assert question.is_lost("job-0") is lost


@pytest.mark.parametrize(("status", "lost"), [("ACTIVE", False), ("CREATING", False), ("DELETING", True), (None, True)])
def test_a_restore_is_lost_when_its_table_is_gone(
    fake: Any,
    hook: BackupHook,
    identity: IntentIdentity,
    table_status: Any,
    status: str | None,
    lost: bool,
) -> None:
    table_status.return_value = status
    question = restore_intent_question(
        hook, identity, recovery_point_arn=fake.point_arn, target_table_name="orders-restored-1"
    )
    assert question.is_lost("restore-0") is lost
    assert table_status.call_args.args[1] == "orders-restored-1"
    assert question.kind is StateKind.RESTORE_JOB
    assert question.details["recovery_point_arn"] == fake.point_arn
    assert question.describe_state("restore-0") is None
    fake.restore_jobs["restore-0"] = {"Status": "PENDING"}
    assert question.describe_state("restore-0") == "PENDING"


def test_a_restore_without_a_table_is_never_lost(
    fake: Any, hook: BackupHook, identity: IntentIdentity, table_status: Any
) -> None:
    question = restore_intent_question(hook, identity, recovery_point_arn=fake.point_arn, target_table_name=None)
    assert question.is_lost("restore-0") is False
    table_status.assert_not_called()


def test_another_task_can_ask_whether_the_job_is_there(fake: Any, hook: BackupHook, identity: IntentIdentity) -> None:
    store = MemoryIntentStore()
    question = backup_intent_question(hook, identity, backup_vault_name="orders-vault", resource_arn=fake.table_arn)
    assert not peek_intent(store, question, now=NOW).may_have_started
    store.write(IntentRecord(identity.base, 0, "job-0", NOW, None, dict(question.details)), replacing=None)
    fake.backup_jobs["job-0"] = {"BackupJobId": "job-0", "State": "RUNNING"}
    intent = peek_intent(store, question, now=NOW)
    assert (intent.may_have_started, intent.job_id, intent.token) == (True, "job-0", identity.token(0))
