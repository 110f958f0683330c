"""Cure: moto's AWS::DynamoDB::Table ignores half of its properties and cannot be updated.

Ignored without a word: PointInTimeRecoverySpecification, TimeToLiveSpecification, SSESpecification (it has
other member names than the API's), TableClass. An update turns the table into nothing.

See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table

from local_aws.moto_fixes import table_status
from local_aws.moto_fixes.cfn_properties import as_bool, refuse_unserved, same_name, undone_on_failure
from local_aws.moto_fixes.cfn_stacks import TemplateError

_TYPE: Final = "AWS::DynamoDB::Table"
_SERVED: Final = frozenset(
    {
        "AttributeDefinitions",
        "BillingMode",
        "DeletionProtectionEnabled",
        "GlobalSecondaryIndexes",
        "KeySchema",
        "LocalSecondaryIndexes",
        "PointInTimeRecoverySpecification",
        "ProvisionedThroughput",
        "SSESpecification",
        "StreamSpecification",
        "TableClass",
        "TableName",
        "Tags",
        "TimeToLiveSpecification",
        "WarmThroughput",
    }
)
_REPLACING: Final = ("KeySchema", "LocalSecondaryIndexes")
_TEMPLATE_TAGS: Final = "local_aws_template_tags"
_MARK: Final = "_local_aws_cfn_tables"


def install() -> None:
    """Apply every property that is served, at creation and at update; refuse others. Safe to call twice."""
    if hasattr(Table.update_from_cloudformation_json, _MARK):
        return
    stock_create = Table.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def create(
        cls: type[Table],
        /,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Table:
        properties = _cleaned(cloudformation_json)
        at_creation = {name: value for name, value in properties.items() if name != "SSESpecification"}
        table: Table = stock_create(cls, resource_name, {"Properties": at_creation}, account_id, region_name, **kwargs)
        with undone_on_failure(lambda: dynamodb_backends[account_id][region_name].tables.pop(table.name)):
            _apply_settings(dynamodb_backends[account_id][region_name], table, properties)
        return table

    def update(
        cls: type[Table],
        /,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Table:
        backend = dynamodb_backends[account_id][region_name]
        properties = _cleaned(cloudformation_json)
        table = backend.get_table(original_resource.name)
        if not same_name(properties.get("TableName"), table.name):
            new: Table = create(cls, properties["TableName"], cloudformation_json, account_id, region_name)
            if cloudformation_json.get("UpdateReplacePolicy") != "Retain":
                backend.delete_table(table.name)
            return new
        _refuse_replacement(table, properties)
        _update_in_place(backend, table, properties)
        _apply_settings(backend, table, properties)
        return table

    def delete(self: Table, account_id: str, region_name: str) -> None:
        backend = dynamodb_backends[account_id][region_name]
        if self.name in backend.tables:  # whoever deleted it by hand has done the stack's work
            backend.delete_table(self.name)

    setattr(update, _MARK, True)
    Table.create_from_cloudformation_json = classmethod(create)  # type: ignore[assignment]
    Table.update_from_cloudformation_json = classmethod(update)  # type: ignore[assignment]
    Table.delete = delete  # type: ignore[method-assign]


def _cleaned(cloudformation_json: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = deepcopy(dict(cloudformation_json["Properties"]))
    refuse_unserved(_TYPE, properties, _SERVED)
    properties["DeletionProtectionEnabled"] = as_bool(properties.get("DeletionProtectionEnabled", False))
    for owner in (properties, *properties.get("GlobalSecondaryIndexes", ())):
        if "ProvisionedThroughput" in owner:
            owner["ProvisionedThroughput"] = {unit: int(n) for unit, n in owner["ProvisionedThroughput"].items()}
    return properties


def _refuse_replacement(table: Table, properties: Mapping[str, Any]) -> None:
    now: dict[str, Any] = {
        "KeySchema": table.schema,
        "LocalSecondaryIndexes": [index.describe() for index in table.indexes],
    }
    changed = [name for name in _REPLACING if properties.get(name, []) != now[name]]
    if changed:
        raise TemplateError(
            "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
            f"Rename {table.table_arn} and update the stack again. Changed: {', '.join(changed)}"
        )


def _update_in_place(backend: DynamoDBBackend, table: Table, properties: Mapping[str, Any]) -> None:
    table.attr = properties["AttributeDefinitions"]
    _update_global_indexes(backend, table, properties.get("GlobalSecondaryIndexes", []))
    table.billing_mode = properties.get("BillingMode", "PROVISIONED")
    capacity = properties.get("ProvisionedThroughput", {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0})
    table.throughput = {**capacity, "NumberOfDecreasesToday": 0}
    table.deletion_protection_enabled = properties["DeletionProtectionEnabled"]
    stream = properties.get("StreamSpecification")
    if (stream or {}).get("StreamViewType") != (table.stream_specification or {}).get("StreamViewType"):
        table.set_stream_specification(stream)


def _update_global_indexes(backend: DynamoDBBackend, table: Table, wanted: list[dict[str, Any]]) -> None:
    present = {index.name for index in table.global_indexes}
    names = {index["IndexName"] for index in wanted}
    changes = [{"Delete": {"IndexName": name}} for name in sorted(present - names)]
    changes += [{"Update" if index["IndexName"] in present else "Create": index} for index in wanted]
    backend.update_table_global_indexes(table, changes)


def _apply_settings(backend: DynamoDBBackend, table: Table, properties: Mapping[str, Any]) -> None:
    _apply_recovery(backend, table, properties.get("PointInTimeRecoverySpecification", {}))
    _apply_time_to_live(backend, table, properties.get("TimeToLiveSpecification"))
    _apply_encryption(table, properties.get("SSESpecification", {}))
    _apply_tags(table, properties.get("Tags", []))
    table_status.set_table_class(table, properties.get("TableClass"))
    table_status.table_id(table)  # drawn with the request that made it, not by whoever asks first


def _apply_recovery(backend: DynamoDBBackend, table: Table, specification: Mapping[str, Any]) -> None:
    wanted: dict[str, Any] = {
        "PointInTimeRecoveryEnabled": as_bool(specification.get("PointInTimeRecoveryEnabled", False))
    }
    if "RecoveryPeriodInDays" in specification:
        wanted["RecoveryPeriodInDays"] = int(specification["RecoveryPeriodInDays"])
    backend.update_continuous_backups(table.name, wanted)


def _apply_time_to_live(backend: DynamoDBBackend, table: Table, specification: Mapping[str, Any] | None) -> None:
    if specification is not None:
        backend.update_time_to_live(
            table.name, {**specification, "Enabled": as_bool(specification.get("Enabled", False))}
        )
    else:
        table.ttl = {"TimeToLiveStatus": "DISABLED"}


def _apply_encryption(table: Table, specification: Mapping[str, Any]) -> None:
    renamed = {name: value for name, value in specification.items() if name != "SSEEnabled"}
    if enabled := as_bool(specification.get("SSEEnabled", False)):
        renamed.setdefault("SSEType", "KMS")
    table_status.set_encryption(table, {**renamed, "Enabled": enabled})


def _apply_tags(table: Table, tags: list[dict[str, str]]) -> None:
    # A tag that the template names no more goes; a tag that somebody else has put on stays.
    replaced = {*getattr(table, _TEMPLATE_TAGS, ()), *(tag["Key"] for tag in tags)}
    table.tags = [tag for tag in table.tags if tag["Key"] not in replaced] + deepcopy(tags)
    setattr(table, _TEMPLATE_TAGS, frozenset(tag["Key"] for tag in tags))
