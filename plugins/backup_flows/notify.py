"""The notifier seam: failures and missed deadlines go to an SNS topic, if one is configured. Silent otherwise.

``[backup_flows] notify_topic_arn`` in ``airflow.cfg`` (or ``AIRFLOW__BACKUP_FLOWS__NOTIFY_TOPIC_ARN``) names
the topic; what subscribes to it (mail, chat, pager) is not the DAGs' business.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk.configuration import conf

from backup_flows.aws import AWS_CONN_ID

log = logging.getLogger(__name__)

MAX_SUBJECT = 100
"""SNS refuses longer subjects: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""


def topic_arn() -> str | None:
    """Return the configured topic, or None where nobody asked to be notified."""
    return conf.get("backup_flows", "notify_topic_arn", fallback="") or None


def failure_message(context: Mapping[str, Any]) -> tuple[str, str]:
    """Return subject and body that tell which task of which run failed, with what, and where to look."""
    ti = context["ti"]
    error = context.get("exception")
    where = f"{ti.dag_id}.{ti.task_id}"
    subject = f"Failed: {where}"
    lines = [f"Task {where} failed.", f"Run: {ti.run_id}", f"Try: {ti.try_number}"]
    if error is not None:
        lines.append(f"{type(error).__name__}: {error}")
    lines.append(f"Log: {getattr(ti, 'log_url', '-')}")
    return subject[:MAX_SUBJECT], "\n".join(lines)


def notify(subject: str, message: str) -> bool:
    """Publish a message to the configured topic.

    :return: False where no topic is configured.
    """
    target = topic_arn()
    if target is None:
        return False
    from airflow.providers.amazon.aws.hooks.sns import SnsHook

    SnsHook(aws_conn_id=AWS_CONN_ID).publish_to_target(
        target_arn=target, message=message, subject=subject[:MAX_SUBJECT]
    )
    return True


def on_task_failure(context: Mapping[str, Any]) -> None:
    """Callback of every task that failed for good."""
    subject, message = failure_message(context)
    if notify(subject, message):
        log.info("Notified %s", topic_arn())


async def on_deadline_missed(**kwargs: Any) -> None:
    """Callback of a run that takes longer than it should; runs in the triggerer.

    A ``dagrun_timeout`` would mark the teardowns as skipped and leak the restored table, so a late run is
    announced, never cut off.
    """
    run = (kwargs.get("context") or {}).get("dag_run") or {}
    subject = f"Late: {run.get('dag_id', 'a DAG run')}"
    message = f"Run {run.get('dag_run_id', run.get('run_id', '?'))} is past its deadline and still going on."
    log.warning("%s. %s", subject, message)
    target = topic_arn()
    if target is None:
        return
    from airflow.providers.amazon.aws.hooks.sns import SnsHook

    await SnsHook(aws_conn_id=AWS_CONN_ID).apublish_to_target(
        target_arn=target, message=message, subject=subject[:MAX_SUBJECT]
    )
