"""The CloudFormation stack: deploy it, read its outputs, say what is missing.

The DAGs learn every name (bucket, tables, vault, role) from the stack's outputs, so a second stack under
another name works beside the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow.providers.amazon.aws.hooks.cloud_formation import CloudFormationHook
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from botocore.exceptions import ClientError

STACK_NAME = "orders-backup"
DEFAULT_VAULT = "orders-vault"
STACK_TEMPLATE = "include/cloudformation/orders_backup.yaml"
STACK_DAG_ID = "backup_stack"
DEPLOY_PRINCIPAL = "DeployPrincipalArn"
"""Template parameter: who may change the vault's protection, see the template."""


class StackTrigger(AwsBaseWaiterTrigger):
    """Wait for a stack with botocore's own waiters.

    :param stack_name: name of the stack.
    :param stack_waiter_name: ``stack_create_complete``, ``stack_update_complete`` or ``stack_delete_complete``.
    """

    aws_hook_class = CloudFormationHook

    def __init__(
        self,
        *,
        stack_name: str,
        stack_waiter_name: str,
        waiter_delay: int = 5,
        waiter_max_attempts: int = 720,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            serialized_fields={"stack_name": stack_name, "stack_waiter_name": stack_waiter_name},
            waiter_name=stack_waiter_name,
            waiter_args={"StackName": stack_name},
            failure_message=f"Stack {stack_name} failed",
            status_message=f"Stack {stack_name}",
            status_queries=["Stacks[0].StackStatus", "Stacks[0].StackStatusReason"],
            return_key="stack_name",
            return_value=stack_name,
            waiter_delay=waiter_delay,
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )


def describe_stack(cloudformation: Any, stack_name: str) -> dict[str, Any] | None:
    """Return the stack's description, or None if there is no such stack.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
    """
    try:
        stacks: list[dict[str, Any]] = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        # A missing stack is a ValidationError; the text is all that tells it from a bad name.
        if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    return stacks[0] if stacks else None


def stack_outputs(cloudformation: Any, stack_name: str) -> dict[str, str]:
    """Return the stack's outputs by key."""
    stack = describe_stack(cloudformation, stack_name) or {}
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def stack_parameters(cloudformation: Any, stack_name: str) -> dict[str, str]:
    """Return the values of the stack's parameters; empty if there is no such stack."""
    stack = describe_stack(cloudformation, stack_name) or {}
    return {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}


class UnconfirmedComplianceLockError(ValueError):
    """A lock that can never be taken off was asked for, without the words that say it is meant."""


def ensure_compliance_lock_is_meant(parameters: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Refuse a compliance lock unless the vault's name is repeated as its confirmation.

    The template's own rule says the same; here it is said before anything is sent.

    :param parameters: what a deployment gives.
    :param present: what the stack has; empty for a new one.
    :raises UnconfirmedComplianceLockError: says what to type.
    """
    wanted = {**present, **parameters}
    vault = wanted.get("VaultName", DEFAULT_VAULT)
    if wanted.get("VaultLockMode") == "compliance" and wanted.get("ComplianceLockConfirmation") != vault:
        raise UnconfirmedComplianceLockError(
            f"a compliance lock on {vault} could never be taken off after its days of grace, not even by AWS. If it "
            f"is meant, give the parameter ComplianceLockConfirmation the value {vault!r}; else use governance."
        )


def start_deployment(
    cloudformation: Any,
    *,
    stack_name: str,
    template_body: str,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    exists: bool,
) -> bool:
    """Start creating or updating the stack.

    :param parameters: those not named keep the value that the stack has, or get the template's default.
    :return: False if the stack is as the template wants it already.
    """
    given: list[dict[str, Any]] = [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(parameters.items())]
    request: dict[str, Any] = {
        "StackName": stack_name,
        "TemplateBody": template_body,
        "Parameters": given,
        "Tags": [{"Key": k, "Value": v} for k, v in sorted(tags.items())],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    if not exists:
        # A stack that fails is left as it is, with its reasons, rather than rolled back out of sight.
        cloudformation.create_stack(**request, OnFailure="DO_NOTHING")
        return True
    # Without this an update would quietly put back the template's defaults.
    summary = cloudformation.get_template_summary(TemplateBody=template_body)
    declared = {parameter["ParameterKey"] for parameter in summary["Parameters"]}
    known = stack_parameters(cloudformation, stack_name)
    given += [{"ParameterKey": k, "UsePreviousValue": True} for k in sorted((declared & set(known)) - set(parameters))]
    try:
        cloudformation.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return False
        raise
    return True


def failure_reasons(cloudformation: Any, stack_name: str, *, limit: int = 5) -> list[str]:
    """Return what CloudFormation says about the resources that failed last, newest first."""
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    return [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '-')}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
    ][:limit]


class MissingResourcesError(RuntimeError):
    """Something that the pipeline works on is missing; the message names all of it and the remedy."""


@dataclass(frozen=True)
class Resources:
    """What the stack made, by the names under which AWS knows it."""

    bucket: str
    table: str
    table_arn: str
    vault: str
    vault_arn: str
    role_arn: str
    lease_table: str
    key_arn: str
    plan_id: str
    probe_vault: str
    probe_table: str
    operator_role_arn: str
    retention_role_arn: str
    developer_role_arn: str
    region: str

    def as_dict(self) -> dict[str, str]:
        """Return the fields as a flat dict, for XCom."""
        return asdict(self)


OUTPUT_FIELDS = {
    "bucket": "BucketName",
    "table": "TableName",
    "table_arn": "TableArn",
    "vault": "VaultName",
    "vault_arn": "VaultArn",
    "role_arn": "BackupRoleArn",
    "lease_table": "LeaseTableName",
    "key_arn": "VaultKeyArn",
    "plan_id": "PlanId",
    "probe_vault": "ProbeVaultName",
    "probe_table": "ProbeTableName",
    "operator_role_arn": "OperatorRoleArn",
    "retention_role_arn": "RetentionRoleArn",
    "developer_role_arn": "DeveloperRoleArn",
}


def read_resources(cloudformation: Any, stack_name: str) -> Resources:
    """Read the names of the stack's resources from its outputs.

    :raises MissingResourcesError: no such stack, or outputs are missing.
    """
    region = cloudformation.meta.region_name
    stack = describe_stack(cloudformation, stack_name)
    if stack is None:
        raise MissingResourcesError(
            f"CloudFormation stack {stack_name} does not exist in {region}: run the DAG {STACK_DAG_ID} first."
        )
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    missing = sorted(set(OUTPUT_FIELDS.values()) - set(outputs))
    if missing:
        raise MissingResourcesError(
            f"stack {stack_name} ({stack['StackStatus']}) lacks the outputs {', '.join(missing)}: "
            f"run the DAG {STACK_DAG_ID} to bring it up to date."
        )
    return Resources(region=region, **{field: outputs[key] for field, key in OUTPUT_FIELDS.items()})


def find_missing(resources: Resources, clients: Callable[[str], Any]) -> list[str]:
    """Look at each resource that a run needs and name those that are not there.

    :param clients: returns a low-level client for a service name.
    """
    checks: dict[str, tuple[str, Callable[[], Any], set[str]]] = {
        f"bucket {resources.bucket}": (
            "s3",
            lambda: clients("s3").head_bucket(Bucket=resources.bucket),
            {"404", "NoSuchBucket", "NotFound"},
        ),
        f"table {resources.table}": (
            "dynamodb",
            lambda: clients("dynamodb").describe_table(TableName=resources.table),
            {"ResourceNotFoundException"},
        ),
        f"lease table {resources.lease_table}": (
            "dynamodb",
            lambda: clients("dynamodb").describe_table(TableName=resources.lease_table),
            {"ResourceNotFoundException"},
        ),
        f"backup vault {resources.vault}": (
            "backup",
            lambda: clients("backup").describe_backup_vault(BackupVaultName=resources.vault),
            # For a missing vault some accounts see AccessDenied instead of ResourceNotFound.
            {"ResourceNotFoundException", "AccessDeniedException"},
        ),
        f"role {resources.role_arn}": (
            "iam",
            lambda: clients("iam").get_role(RoleName=resources.role_arn.rsplit("/", 1)[-1]),
            {"NoSuchEntity"},
        ),
    }
    missing = []
    for name, (service, look, absent_codes) in checks.items():
        try:
            look()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in absent_codes:
                missing.append(name)
            elif not (service == "iam" and code in {"AccessDenied", "AccessDeniedException"}):
                # An operator role need not be allowed iam:GetRole; AWS Backup checks the role itself.
                raise
    return missing
