"""What calls to DynamoDB need.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from moto.dynamodb.models import dynamodb_backends

from local_aws.access.permissions import Call, Permission, request_tags, resource_tags, tag_mapping

_ON_NO_RESOURCE: Final = frozenset(
    {"DescribeEndpoints", "DescribeLimits", "ListBackups", "ListExports", "ListImports", "ListStreams", "ListTables"}
)
_TRANSACT: Final = {"ConditionCheck": "ConditionCheckItem", "Delete": "DeleteItem", "Put": "PutItem", "Get": "GetItem"}
_ARN_PARAMETERS: Final = ("BackupArn", "ResourceArn", "ExportArn", "ImportArn", "StreamArn", "TableArn")


def permissions(call: Call) -> Iterable[Permission]:
    """Return what a call to DynamoDB needs, table by table."""
    if call.operation in _ON_NO_RESOURCE:
        yield Permission(f"dynamodb:{call.operation}")
    elif call.operation in ("BatchGetItem", "BatchWriteItem"):
        for table in call.parameters.get("RequestItems") or {}:
            yield _on_table(call, call.operation, table)
    elif call.operation in ("TransactGetItems", "TransactWriteItems"):
        yield from _transaction(call)
    elif call.operation == "RestoreTableFromBackup":
        yield Permission("dynamodb:RestoreTableFromBackup", call.text("BackupArn"))
        yield _on_table(call, call.operation, str(call.text("TargetTableName")))
    elif call.operation == "RestoreTableToPointInTime":
        yield _on_table(call, call.operation, call.text("SourceTableName") or str(call.text("SourceTableArn")))
        yield _on_table(call, call.operation, str(call.text("TargetTableName")))
    else:
        yield _single(call)


def _single(call: Call) -> Permission:
    if table := call.text("TableName"):
        return _on_table(call, call.operation, table, call.text("IndexName"))
    for name in _ARN_PARAMETERS:
        if arn := call.text(name):
            return Permission(f"dynamodb:{call.operation}", arn, _keys(call, arn))
    return Permission(f"dynamodb:{call.operation}", None)


def _on_table(call: Call, action: str, table: str, index: str | None = None) -> Permission:
    arn = table if table.startswith("arn:") else call.arn(f"table/{table}", service="dynamodb")
    resource = f"{arn}/index/{index}" if index else arn
    return Permission(f"dynamodb:{action}", resource, _keys(call, arn))


def _transaction(call: Call) -> Iterable[Permission]:
    needed = {
        (_TRANSACT.get(kind, f"{kind}Item"), str(request.get("TableName")))
        for item in call.parameters.get("TransactItems") or []
        for kind, request in _requests(item)
    }
    for action, table in sorted(needed):
        yield _on_table(call, action, table)


def _requests(item: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    return ((kind, request) for kind, request in item.items() if isinstance(request, Mapping))


def _keys(call: Call, arn: str) -> dict[str, tuple[str, ...]]:
    keys = request_tags(tag_mapping(call.parameters.get("Tags")))
    table_name = arn.partition(":table/")[2].split("/")[0]
    table = dynamodb_backends[call.account_id][call.region].tables.get(table_name)
    if table is not None:
        keys |= resource_tags(tag_mapping(table.tags))
    return keys
