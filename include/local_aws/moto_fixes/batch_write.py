"""Cure: moto takes batches that AWS refuses, refuses one that AWS takes, and applies half of a bad one.

moto accepts more than 25 writes, duplicate keys with other attributes, a put and a delete of one key; it
refuses equal keys in two tables; it writes the first items of a batch whose last one is too large; it never
leaves a write unprocessed and always reports capacity. AWS checks the whole batch first and then writes
each item by itself.

See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler, validate_put_has_empty_attrs, validate_put_has_empty_keys

from local_aws.moto_fixes import copy_on_write, scan_order, write_faults, write_journal

MAX_REQUESTS: Final = 25
MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024

_PLAIN_NUMBER: Final = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?")
_SHORT_KEY: Final = 256
"""Characters of a key that cannot exceed AWS's limit of 1,024 bytes, whatever they are."""

_EMPTY_KEY: Final = (
    "One or more parameter values are not valid. "
    "The AttributeValue for a key attribute cannot contain an empty string value. Key: {}"
)
_SINGLE_WRITES: Final = ("put_item", "update_item", "delete_item")
_MARK: Final = "_local_aws_batch_write"


@dataclass(frozen=True)
class _Write:
    """One checked write: `item` to put, or None to delete the key."""

    table: Table
    table_name: str
    key: tuple[DynamoType, DynamoType | None]
    item: Item | None
    request: Mapping[str, Any]

    def apply(self) -> None:
        if self.item is not None:
            copy_on_write.store(self.table, self.item)
        else:
            self.table.delete_item(*self.key)


def install() -> None:
    """Serve BatchWriteItem within AWS's limits, and let writes be refused on demand. Safe to call twice."""
    if hasattr(DynamoHandler.batch_write_item, _MARK):
        return
    setattr(_batch_write_item, _MARK, True)
    DynamoHandler.batch_write_item = _batch_write_item  # type: ignore[method-assign]
    for operation in _SINGLE_WRITES:
        _let_it_be_refused(operation)


def _batch_write_item(self: DynamoHandler) -> ActionResult:
    request_items: dict[str, list[dict[str, Any]]] = self.body["RequestItems"]
    _check_counts(request_items)
    if len(self.raw_body) > MAX_REQUEST_BYTES:
        raise MockValidationException(
            f"1 validation error detected: the request exceeds {MAX_REQUEST_BYTES} bytes, "
            "the most of a BatchWriteItem call"
        )
    writes = list(_checked_writes(self, request_items))
    _check_duplicates(writes)

    unprocessed: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for write in writes:
        if write_faults.is_refused(write.table.name):
            unprocessed[write.table_name].append(write.request)
        else:
            write.apply()
    if sum(map(len, unprocessed.values())) == len(writes):
        raise write_faults.ThroughputExceeded

    result: dict[str, Any] = {"UnprocessedItems": dict(unprocessed)}
    if capacity := _consumed_capacity(self.body.get("ReturnConsumedCapacity", "NONE"), request_items):
        result["ConsumedCapacity"] = capacity
    return ActionResult(result)


def _check_counts(request_items: Mapping[str, list[Any]]) -> None:
    if not request_items:
        raise MockValidationException(
            "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        )
    if any(not 1 <= len(requests) <= MAX_REQUESTS for requests in request_items.values()):
        raise MockValidationException(
            "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Map value "
            f"must satisfy constraint: [Member must have length less than or equal to {MAX_REQUESTS}, "
            "Member must have length greater than or equal to 1]"
        )
    if sum(map(len, request_items.values())) > MAX_REQUESTS:
        raise MockValidationException("Too many items requested for the BatchWriteItem call")


def _checked_writes(handler: DynamoHandler, request_items: Mapping[str, list[Any]]) -> Iterator[_Write]:
    for table_name, requests in request_items.items():
        table = handler.dynamodb_backend.get_table(table_name)
        scratch = _scratch(table)
        keys = _key_types(table)
        index_keys = frozenset(table.attribute_keys) - set(keys)
        for request in requests:
            if set(request) == {"PutRequest"}:
                attributes = request["PutRequest"]["Item"]
                item = _plain_item(keys, index_keys, attributes) or _checked_item(table, scratch, attributes)
                yield _Write(table, table_name, (item.hash_key, item.range_key), item, request)
            elif set(request) == {"DeleteRequest"}:
                key = _checked_key(table, request["DeleteRequest"]["Key"])
                yield _Write(table, table_name, key, None, request)
            else:
                raise MockValidationException(
                    "Supplied WriteRequest must contain exactly one of PutRequest and DeleteRequest"
                )


def _key_types(table: Table) -> dict[str, str | None]:
    types: dict[str, str | None] = {table.hash_key_attr: table.hash_key_type}
    if table.range_key_attr is not None:
        types[table.range_key_attr] = table.range_key_type
    return types


def _scratch(table: Table) -> Table:
    # moto checks an item only while it stores it; a table without rows and stream lets it check, and keeps
    # ours clean.
    scratch = copy(table)
    scratch.items = defaultdict(dict)
    scratch.stream_shard = None
    for ours in (write_journal.ATTRIBUTE, scan_order.ATTRIBUTE):
        scratch.__dict__.pop(ours, None)
    return scratch


def _plain_item(
    keys: Mapping[str, str | None], index_keys: frozenset[str], attributes: Mapping[str, dict[str, Any]]
) -> Item | None:
    # Most items are plain in a way that leaves nothing to check; moto's checks take longer than all the rest.
    for name, value in attributes.items():
        kind, content = next(iter(value.items()))
        if kind == "S":
            if type(content) is not str or (not content and name in index_keys):
                return None
        elif kind == "N":
            if type(content) is not str or not _PLAIN_NUMBER.fullmatch(content):
                return None
        elif kind != "BOOL":
            return None
    for name, key_type in keys.items():
        content = attributes.get(name, {}).get(key_type or "")
        if not content or len(content) > _SHORT_KEY:
            return None
    hash_key, *range_key = (DynamoType(attributes[name]) for name in keys)
    return Item(hash_key, range_key[0] if range_key else None, dict(attributes))


def _checked_item(table: Table, scratch: Table, attributes: dict[str, Any]) -> Item:
    validate_put_has_empty_keys(attributes, table, custom_error_msg=_EMPTY_KEY)
    validate_put_has_empty_attrs(attributes, table)
    return scratch.put_item(attributes, overwrite=True)


def _checked_key(table: Table, key: Mapping[str, Any]) -> tuple[DynamoType, DynamoType | None]:
    types = _key_types(table)
    if set(key) != set(table.table_key_attrs) or any(next(iter(value)) != types[name] for name, value in key.items()):
        raise MockValidationException("The provided key element does not match the schema")
    found = copy_on_write.key_of(table, key)
    if found is None:
        raise MockValidationException("The provided key element does not match the schema")
    return found


def _check_duplicates(writes: list[_Write]) -> None:
    keys = {(id(write.table), *write.key) for write in writes}
    if len(keys) < len(writes):
        raise MockValidationException("Provided list of item keys contains duplicates")


def _consumed_capacity(level: str, request_items: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    if level == "NONE":
        return []
    capacity = [
        {"TableName": table_name, "CapacityUnits": float(len(requests))}
        for table_name, requests in request_items.items()
    ]
    if level == "INDEXES":
        return [{**entry, "Table": {"CapacityUnits": entry["CapacityUnits"]}} for entry in capacity]
    return capacity


def _let_it_be_refused(operation: str) -> None:
    stock: Any = getattr(DynamoHandler, operation)

    @wraps(stock)
    def refusable(self: DynamoHandler) -> ActionResult:
        if write_faults.is_refused(self.body["TableName"].rsplit("/", 1)[-1]):
            raise write_faults.ThroughputExceeded
        result: ActionResult = stock(self)
        return result

    setattr(DynamoHandler, operation, refusable)
