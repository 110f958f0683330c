"""Backup plans and selections as CloudFormation resource types.

Both go through the backup backend's own operations, so that every rule of the API holds for templates too. A plan
is updated in place: it gets a version and keeps its selections. A selection that changes is replaced.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from moto.backup.models import backup_backends
from moto.core.common_models import CloudFormationModel

from local_aws.backup.models import BackupBackend
from local_aws.backup.plans import Plan
from local_aws.backup.selections import Selection
from local_aws.moto_fixes.cfn_models import AddedType, attribute
from local_aws.moto_fixes.cfn_properties import as_bool, refuse_unserved, replace_tags
from local_aws.moto_fixes.cfn_stacks import TemplateError

_PLAN_TYPE: Final = "AWS::Backup::BackupPlan"
_SELECTION_TYPE: Final = "AWS::Backup::BackupSelection"
_PLAN_MEMBERS: Final = frozenset({"AdvancedBackupSettings", "BackupPlanName", "BackupPlanRule"})
_RULE_MEMBERS: Final = frozenset(
    {
        "CompletionWindowMinutes",
        "CopyActions",
        "EnableContinuousBackup",
        "IndexActions",
        "Lifecycle",
        "RecoveryPointTags",
        "RuleName",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "StartWindowMinutes",
        "TargetBackupVault",
    }
)
_SELECTION_MEMBERS: Final = frozenset(
    {"Conditions", "IamRoleArn", "ListOfTags", "NotResources", "Resources", "SelectionName"}
)
_WINDOWS: Final = ("CompletionWindowMinutes", "StartWindowMinutes")
_OPT_IN: Final = "OptInToArchiveForSupportedResources"


class BackupPlan(AddedType, CloudFormationModel):
    """AWS::Backup::BackupPlan.

    See
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-backup-backupplan.html.
    """

    TYPE = _PLAN_TYPE
    ATTRIBUTES = frozenset({"BackupPlanArn", "BackupPlanId", "VersionId"})

    def __init__(self, plan: Plan, properties: Mapping[str, Any]) -> None:
        self.plan = plan
        self.properties = properties

    @property
    def physical_resource_id(self) -> str:
        return self.plan.plan_id

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """Return what Fn::GetAtt asks for."""
        values = {
            "BackupPlanArn": self.plan.arn,
            "BackupPlanId": self.plan.plan_id,
            "VersionId": self.plan.current.version_id,
        }
        return attribute(values, attribute_name, owner=_PLAN_TYPE)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "BackupPlan":
        properties = cloudformation_json["Properties"]
        refuse_unserved(_PLAN_TYPE, properties, {"BackupPlan", "BackupPlanTags"})
        backend = _backend(account_id, region_name)
        plan = backend.backup_plans.create(_plan_document(properties), properties.get("BackupPlanTags", {}), None)
        return cls(plan, properties)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "BackupPlan",
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "BackupPlan":
        properties, before = cloudformation_json["Properties"], original_resource.properties
        refuse_unserved(_PLAN_TYPE, properties, {"BackupPlan", "BackupPlanTags"})
        backend, plan = _backend(account_id, region_name), original_resource.plan
        document = _plan_document(properties)
        if document != _plan_document(before):  # else all that would change is the version
            backend.backup_plans.update(plan.plan_id, document)
        replace_tags(backend, plan.arn, before.get("BackupPlanTags", {}), properties.get("BackupPlanTags", {}))
        return cls(plan, properties)

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        plans = _backend(account_id, region_name).backup_plans
        if resource_name in {plan.plan_id for plan in plans.existing()}:  # else somebody has done the stack's work
            plans.delete(resource_name)


class BackupSelection(AddedType, CloudFormationModel):
    """AWS::Backup::BackupSelection.

    See
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-backup-backupselection.html.
    """

    TYPE = _SELECTION_TYPE
    ATTRIBUTES = frozenset({"BackupPlanId", "Id", "SelectionId"})

    def __init__(self, plan_id: str, selection: Selection, properties: Mapping[str, Any]) -> None:
        self.plan_id = plan_id
        self.selection = selection
        self.properties = properties

    @property
    def physical_resource_id(self) -> str:
        return self.selection.selection_id

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """Return what Fn::GetAtt asks for."""
        selection_id = self.selection.selection_id
        values = {"BackupPlanId": self.plan_id, "Id": selection_id, "SelectionId": selection_id}
        return attribute(values, attribute_name, owner=_SELECTION_TYPE)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "BackupSelection":
        properties = cloudformation_json["Properties"]
        refuse_unserved(_SELECTION_TYPE, properties, {"BackupPlanId", "BackupSelection"})
        document = _required(_SELECTION_TYPE, properties, "BackupSelection")
        refuse_unserved(f"{_SELECTION_TYPE} BackupSelection", document, _SELECTION_MEMBERS)
        plan_id = _required(_SELECTION_TYPE, properties, "BackupPlanId")
        selection = _backend(account_id, region_name).backup_plans.add_selection(plan_id, document, None)
        return cls(plan_id, selection, properties)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "BackupSelection",
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "BackupSelection":
        if cloudformation_json["Properties"] == original_resource.properties:
            return original_resource
        new = cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
        if cloudformation_json.get("UpdateReplacePolicy") != "Retain":
            old = original_resource.physical_resource_id
            cls.delete_from_cloudformation_json(old, cloudformation_json, account_id, region_name)
        return new

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        plans = _backend(account_id, region_name).backup_plans
        for plan in plans.existing():
            if resource_name in plan.selections:
                plans.remove_selection(plan.plan_id, resource_name)


def _backend(account_id: str, region_name: str) -> BackupBackend:
    return cast("BackupBackend", backup_backends[account_id][region_name])


def _required(resource_type: str, properties: Mapping[str, Any], name: str) -> Any:
    if name not in properties:
        raise TemplateError(f"Properties validation failed for {resource_type}: required key [{name}] not found")
    return properties[name]


def _plan_document(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a template says of a plan as the API's BackupPlanInput."""
    plan = _required(_PLAN_TYPE, properties, "BackupPlan")
    refuse_unserved(f"{_PLAN_TYPE} BackupPlan", plan, _PLAN_MEMBERS)
    return {
        "BackupPlanName": plan.get("BackupPlanName"),
        "Rules": [_rule_document(rule) for rule in plan.get("BackupPlanRule", [])],
        "AdvancedBackupSettings": plan.get("AdvancedBackupSettings", []),
    }


def _rule_document(rule: Mapping[str, Any]) -> dict[str, Any]:
    refuse_unserved(f"{_PLAN_TYPE} BackupPlanRule", rule, _RULE_MEMBERS)
    document = {name: value for name, value in rule.items() if name != "TargetBackupVault"}
    document["TargetBackupVaultName"] = rule.get("TargetBackupVault")
    document |= _as_numbers(rule, _WINDOWS)
    document["EnableContinuousBackup"] = as_bool(rule.get("EnableContinuousBackup", False))
    document["Lifecycle"] = _lifecycle_document(rule.get("Lifecycle", {}))
    document["CopyActions"] = [
        {**action, "Lifecycle": _lifecycle_document(action.get("Lifecycle", {}))}
        for action in rule.get("CopyActions", [])
    ]
    return document


def _lifecycle_document(lifecycle: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = _as_numbers(lifecycle, ("DeleteAfterDays", "MoveToColdStorageAfterDays"))
    if _OPT_IN in lifecycle:
        document[_OPT_IN] = as_bool(lifecycle[_OPT_IN])
    return document


def _as_numbers(owner: Mapping[str, Any], names: Collection[str]) -> dict[str, int]:
    # A parameter of a template gives a number as text.
    try:
        return {name: int(owner[name]) for name in names if name in owner}
    except (TypeError, ValueError) as error:
        raise TemplateError(f"{', '.join(names)} must be whole numbers: {error}") from error
