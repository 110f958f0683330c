from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from backup_flows.notify import MAX_SUBJECT, failure_message, notify, on_deadline_missed, on_task_failure, topic_arn

SETTING = "AIRFLOW__BACKUP_FLOWS__NOTIFY_TOPIC_ARN"


@pytest.fixture
def failed(context) -> dict[str, Any]:
    context["ti"] = SimpleNamespace(
        dag_id="orders", task_id="prove", run_id="manual__1", try_number=2, log_url="http://localhost:8080/log"
    )
    return {**context, "exception": ValueError("it is wrong")}


@pytest.fixture
def topic(aws, monkeypatch) -> Any:
    """A topic with a queue that subscribed to it; returns what reads the messages."""
    sns, sqs = aws("sns"), aws("sqs")
    arn = sns.create_topic(Name="alarms")["TopicArn"]
    queue = sqs.create_queue(QueueName="alarms")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    monkeypatch.setenv(SETTING, arn)

    def received() -> list[dict[str, Any]]:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    return received


def test_a_failure_is_told_in_full(failed):
    subject, body = failure_message(failed)
    assert subject == "Failed: orders.prove"
    for part in ("orders.prove", "manual__1", "Try: 2", "ValueError: it is wrong", "http://localhost:8080/log"):
        assert part in body


def test_a_failure_without_an_exception_is_told_too(failed):
    del failed["exception"]
    assert "None" not in failure_message(failed)[1]


def test_sns_takes_no_longer_subject_so_it_is_cut(failed):
    failed["ti"].task_id = "t" * 200
    assert len(failure_message(failed)[0]) == MAX_SUBJECT == 100


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_topic_all_is_silent(failed, monkeypatch, value: str | None):
    """No connection is defined and no AWS is there: a call would fail."""
    if value is None:
        monkeypatch.delenv(SETTING, raising=False)
    else:
        monkeypatch.setenv(SETTING, value)
    assert topic_arn() is None
    assert notify("subject", "message") is False
    on_task_failure(failed)
    asyncio.run(on_deadline_missed())


def test_a_failed_task_is_published_once(topic, failed):
    failed["ti"].dag_id = "d" * 150
    on_task_failure(failed)
    (message,) = topic()
    assert message["Subject"] == ("Failed: " + "d" * 150)[:100]
    assert "ValueError: it is wrong" in message["Message"]


def test_a_missed_deadline_is_published_with_the_run(topic, monkeypatch):
    from airflow.providers.amazon.aws.hooks.sns import SnsHook

    async def publish(hook: SnsHook, **message: Any) -> Any:
        return hook.publish_to_target(**message)

    # The asynchronous client reaches no in-process AWS; what it is given is what the synchronous one would be.
    monkeypatch.setattr(SnsHook, "apublish_to_target", publish)
    asyncio.run(on_deadline_missed(context={"dag_run": {"dag_id": "orders", "dag_run_id": "manual__1"}}))
    (message,) = topic()
    assert message["Subject"] == "Late: orders"
    assert "manual__1" in message["Message"]
    assert "still going on" in message["Message"]


def test_a_missed_deadline_without_a_known_run_is_published_all_the_same(topic, monkeypatch):
    from airflow.providers.amazon.aws.hooks.sns import SnsHook

    async def publish(hook: SnsHook, **message: Any) -> Any:
        return hook.publish_to_target(**message)

    monkeypatch.setattr(SnsHook, "apublish_to_target", publish)
    asyncio.run(on_deadline_missed())
    (message,) = topic()
    assert message["Subject"] == "Late: a DAG run"
