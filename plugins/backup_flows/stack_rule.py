"""The rule of the stack's plan comes out of ``protection.yaml``, unless a run names it itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import get_current_context, task

from backup_flows.aws import client, deploy_conn_id
from backup_flows.defaults import NO_RETRY
from backup_flows.project_files import project_file
from backup_flows.protection import Protection, Table
from backup_flows.protection_file import PROTECTION_FILE, load_protection
from backup_flows.protection_plans import NoStackRuleError, template_parameters
from backup_flows.stack import stack_parameters

log = logging.getLogger(__name__)

TABLE_DEFAULTS = {"TableName": "orders", "BackupTag": "daily"}
"""What the template takes where nobody says otherwise; a test holds it against the template."""


def merge_parameters(
    protection: Protection, given: Mapping[str, Any], present: Mapping[str, str], *, arn_prefix: str
) -> dict[str, str]:
    """Return the parameters of a deployment: what the run gives, and of the plan's rule what the file says.

    :param protection: the file.
    :param given: by the run; goes before the file.
    :param present: what the stack has; empty for a new one.
    :param arn_prefix: what ARNs of the Region's tables begin with.
    """
    named = {name: str(value) for name, value in given.items() if value not in (None, "")}
    known = {**TABLE_DEFAULTS, **present, **named}
    name = known["TableName"]
    table = Table(name, f"{arn_prefix}{name}", {"backup": known["BackupTag"]})
    try:
        rule = template_parameters(protection, table)
    except NoStackRuleError as error:
        log.warning("The stack's plan keeps its own rule: %s", error)
        return named
    return {**rule, **named}


@task(task_id="rule_parameters", **NO_RETRY)
def rule_parameters() -> dict[str, str]:
    """Read the file, and return the template parameters that the run is to deploy."""
    params = get_current_context()["params"]
    conn_id = deploy_conn_id()
    cloudformation = client("cloudformation", aws_conn_id=conn_id)
    caller = client("sts", aws_conn_id=conn_id).get_caller_identity()
    partition, region = caller["Arn"].split(":")[1], cloudformation.meta.region_name
    parameters = merge_parameters(
        load_protection(project_file(PROTECTION_FILE)),
        params["parameters"],
        stack_parameters(cloudformation, params["stack_name"]),
        arn_prefix=f"arn:{partition}:dynamodb:{region}:{caller['Account']}:table/",
    )
    for name, value in sorted(parameters.items()):
        log.info("%s: %s", name, value)
    return parameters
