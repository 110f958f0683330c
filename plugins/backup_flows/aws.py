"""Clients, names and facts of the AWS account that a run works on.

One Airflow connection decides where everything happens; nothing below reads an endpoint or a region from
anywhere else.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlparse

AWS_CONN_ID = "aws_default"
"""The operator role: may load, back up and restore; is denied deletion of backups."""

RETENTION_CONN_ID = "aws_backup_retention"
"""The only role that may delete recovery points; falls back to the operator's where it is not defined."""

CONSOLE_CONN_ID = "aws_backup_console"
"""Reads for the console in Airflow's UI; falls back to the operator's where it is not defined."""

DEPLOY_CONN_ID = "aws_backup_deploy"
"""Who deploys the stack and may change the vault's protection; falls back to the operator's where it is not defined."""

REAL_AWS_SUFFIXES = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


@functools.lru_cache(maxsize=8)
def _sessions(_connection: str) -> dict[str, Any]:
    """Return the place where the session of one connection (told by its content) is kept in this process."""
    return {}


_reused: ContextVar[dict[tuple[str, str, str | None], Any] | None] = ContextVar("_reused", default=None)


@contextmanager
def reused_clients() -> Iterator[None]:
    """Let `client` make each client once within the block, for work that asks for them again and again."""
    token = _reused.set({})
    try:
        yield
    finally:
        _reused.reset(token)


def client(service: str, *, aws_conn_id: str = AWS_CONN_ID, region_name: str | None = None) -> Any:
    """Return a low-level boto3 client for ``service``, made from an Airflow connection.

    The clients of a process share one session per connection: a session of its own costs each client about a
    quarter of a second. A connection that was changed gets a new session.

    Botocore's standard retries with a short connect timeout: an endpoint that is down is reported in seconds, a
    throttled call is repeated.
    """
    kept = _reused.get()
    if kept is None:
        return _make_client(service, aws_conn_id, region_name)
    key = (service, aws_conn_id, region_name)
    if key not in kept:
        kept[key] = _make_client(*key)
    return kept[key]


def console_client(service: str, aws_conn_id: str) -> Any:
    """Return a client for a page that a person waits for: it gives up in seconds, not in minutes."""
    return _make_client(
        service,
        aws_conn_id,
        None,
        retries={"mode": "standard", "max_attempts": 2},
        connect_timeout=2,
        read_timeout=10,
        # The console's threads share its clients.
        max_pool_connections=20,
    )


def _make_client(service: str, aws_conn_id: str, region_name: str | None, **patience: Any) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.config import Config

    usual = {"retries": {"mode": "standard", "max_attempts": 5}, "connect_timeout": 10, "read_timeout": 60}
    hook: Any = AwsBaseHook(
        aws_conn_id=aws_conn_id,
        client_type=service,
        region_name=region_name,
        config=Config(**(patience or usual)),
    )
    config = hook.conn_config
    content = (aws_conn_id, region_name, config.login, config.password, config.extra_config)
    kept = _sessions(hashlib.sha256(repr(content).encode()).hexdigest())
    session = kept.get("session") or kept.setdefault("session", hook.get_session(region_name=hook.region_name))
    return session.client(
        service,
        endpoint_url=config.get_service_endpoint_url(service_name=service),
        config=hook.config,
        verify=hook.verify,
    )


def is_local(aws_client: Any) -> bool:
    """Say whether a client talks to an emulator rather than to AWS (judged by its endpoint's host)."""
    host = urlparse(aws_client.meta.endpoint_url).hostname or ""
    return not host.endswith(REAL_AWS_SUFFIXES)


def server_time(sts_client: Any) -> dt.datetime:
    """Return AWS's own clock (aware, UTC, whole seconds), read from the ``Date`` header of an answer.

    What a backup holds is decided by AWS's clock, so waiting is measured on it and a worker whose clock is
    off can't cut a wait short. ``sts:GetCallerIdentity`` needs no permission and touches no resource.
    """
    answer = sts_client.get_caller_identity()
    moment = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return moment.astimezone(dt.UTC)


def retention_conn_id() -> str:
    """Return the connection that may delete: ``aws_backup_retention`` if it is defined, else the operator's."""
    return _defined_or_default(RETENTION_CONN_ID)


def console_conn_id() -> str:
    """Return the connection that the console reads by: ``aws_backup_console`` if it is defined, else the operator's."""
    return _defined_or_default(CONSOLE_CONN_ID)


def deploy_conn_id() -> str:
    """Return the connection that deploys: ``aws_backup_deploy`` if it is defined, else the operator's."""
    return _defined_or_default(DEPLOY_CONN_ID)


def _defined_or_default(conn_id: str) -> str:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        Connection.get(conn_id)
    except AirflowNotFoundException:
        return AWS_CONN_ID
    return conn_id
