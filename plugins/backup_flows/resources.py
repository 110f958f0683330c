"""Pre-flight: what a run needs is looked at before the run touches anything."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from typing import Any

from airflow.sdk import get_current_context, task

from backup_flows.as_of import as_of_date, run_key
from backup_flows.aws import AWS_CONN_ID, client, is_local
from backup_flows.defaults import NO_RETRY
from backup_flows.guards import ensure_settle_allowed
from backup_flows.keys import restore_record_key
from backup_flows.preflight import Flight, Kept, check_opt_in, ensure_ready
from backup_flows.project_files import project_file
from backup_flows.protected_tables import rule_of
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.protection_proof import ProofSettings
from backup_flows.stack import (
    STACK_DAG_ID,
    MissingResourcesError,
    Resources,
    find_missing,
    read_resources,
)
from backup_flows.store import get_json
from recovery_retention.names import restored_table_name, run_tag

log = logging.getLogger(__name__)


class AwsUnreachableError(ConnectionError):
    """The connection's endpoint does not answer; one line with the address and the remedy."""


class BackupNotOptedInError(RuntimeError):
    """The account's AWS Backup settings leave DynamoDB out."""


def look_up(stack_name: str) -> Resources:
    """Read the stack's resources and check that each is there.

    :raises AwsUnreachableError: nothing listens at the endpoint.
    :raises MissingResourcesError: names all that is missing (be it the operator role), and the DAG that makes it.
    """
    from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

    clients = functools.cache(client)
    try:
        cloudformation = clients("cloudformation")
    except ClientError as error:
        if error.operation_name != "AssumeRole":
            raise
        raise MissingResourcesError(
            f"the connection {AWS_CONN_ID} can't take on its role: run the DAG {STACK_DAG_ID} first, which makes it, "
            f"or correct role_arn and the role's trust. AWS said: {error}"
        ) from None
    try:
        resources = read_resources(cloudformation, stack_name)
    except (EndpointConnectionError, ConnectTimeoutError):
        address = cloudformation.meta.endpoint_url
        remedy = (
            "start the local AWS with `make run` (or `PYTHONPATH=include python -m local_aws`)"
            if is_local(cloudformation)
            else "check the network"
        )
        # The chain of urllib3 errors behind it says nothing more.
        raise AwsUnreachableError(
            f"nothing answers at {address}: {remedy}, or correct the endpoint of the Airflow connection."
        ) from None
    missing = find_missing(resources, clients)
    if missing:
        raise MissingResourcesError(f"missing: {'; '.join(missing)}. Run the DAG {STACK_DAG_ID} to make them.")
    return resources


def ensure_opted_in(backup: Any) -> None:
    """Check that AWS Backup may back DynamoDB up in this Region.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/advanced-ddb-backup.html

    :raises BackupNotOptedInError: the service opt-in for DynamoDB is off.
    """
    settings = backup.describe_region_settings()
    for concern in check_opt_in(settings):
        raise BackupNotOptedInError(str(concern))
    if not settings.get("ResourceTypeManagementPreference", {}).get("DynamoDB", False):
        log.warning(
            "Advanced DynamoDB backup is off in this Region: recovery points get no tags, no cold storage, and "
            "are listed by the record in S3 alone."
        )


@task(task_id="check_resources", **NO_RETRY)
def check_resources(stack_name: str) -> dict[str, str]:
    """Check that everything that the stack promises is really there; return the names."""
    resources = look_up(stack_name)
    for name, value in resources.as_dict().items():
        log.info("%s: %s", name, value)
    return resources.as_dict()


@task(task_id="preflight", **NO_RETRY)
def preflight() -> dict[str, Any]:
    """Check everything that the run will need; return the names that the other tasks work on.

    :return: the stack's resources, plus ``as_of`` (date), ``run`` (as tags name it), ``run_key`` (8 hex digits),
        the ``lifecycle`` of the recovery point, and how deep its ``proof`` is to look.
    """
    context = get_current_context()
    params = context["params"]
    dag_run = context["dag_run"]
    resources = look_up(params["stack_name"])
    backup = client("backup")
    ensure_settle_allowed(params["settle_seconds"], local=is_local(backup))
    ensure_opted_in(backup)
    rule = rule_of(client, load_protection(project_file(PROTECTION_FILE)), resources.table_arn)
    proof = rule.proof if rule is not None else ProofSettings()
    # A template would make text of the number, which AWS refuses.
    lifecycle = {"DeleteAfterDays": params["delete_after_days"]}
    as_of, run = as_of_date(context), f"{dag_run.dag_id}/{dag_run.run_id}"
    target = restored_table_name(resources.table, dt.date.fromisoformat(as_of), run)
    record = get_json(client("s3"), resources.bucket, restore_record_key(target)) or {}
    ensure_ready(
        client,
        Flight(
            role_arn=resources.role_arn,
            vaults={resources.vault: [Kept("delete_after_days", lifecycle)]},
            table_arns=[resources.table_arn],
            targets=[target],
            # A run that is cleared finds its own table, and knows what to do with it.
            owned_targets=frozenset({target} if record.get("run") == run_tag(dag_run.dag_id, dag_run.run_id) else ()),
        ),
    )
    return {
        **resources.as_dict(),
        "lifecycle": lifecycle,
        "proof": proof.to_dict(),
        "as_of": as_of,
        "run": run_tag(dag_run.dag_id, dag_run.run_id),
        "run_key": run_key(dag_run.dag_id, dag_run.run_id),
    }
