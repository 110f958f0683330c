"""Cure: moto's Scan takes minutes for 100,000 items, and ends a page at a limit without LastEvaluatedKey.

moto sorts the whole table anew for each page, comparing keys in Python, walks from the first item to the
page's start, copies every item, and looks each attribute value up in the service model to write it as JSON.
All of this happens with everybody else waiting. Here a page is cut out of the order by bisection, items are
not copied (they never change, see `local_aws.moto_fixes.copy_on_write`), and attribute values, which
already have the form they are sent in, are sent.

AWS counts Limit before any filter and returns LastEvaluatedKey whenever a page ends at Limit or at 1 MB,
even if nothing follows. See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html.
"""

from base64 import b64encode
from collections.abc import Mapping
from functools import wraps
from typing import Any, Final

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb import responses as dynamodb_responses
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

from local_aws.moto_fixes import scan_order
from local_aws.moto_fixes.item_size import stored_size
from local_aws.moto_fixes.locking import state_lock

MAX_PAGE_BYTES: Final = 1024 * 1024
"""Where a page of a scan ends, by the size of what was read before any filter."""

_MARK: Final = "_local_aws_reads"

ScanPage = tuple[list[Item], int, dict[str, Any] | None]


def install() -> None:
    """Scan and serialise fast. Safe to call twice."""
    if hasattr(Table.scan, _MARK):
        return
    _install_scan()
    _install_serializer()


def _install_scan() -> None:
    stock = Table.scan

    @wraps(stock)
    def scan(
        self: Table,
        filters: dict[str, Any],
        limit: int | None,
        exclusive_start_key: dict[str, Any] | None,
        filter_expression: Any = None,
        index_name: str | None = None,
        consistent_read: bool = False,
        projection_expression: list[list[str]] | None = None,
        segments: tuple[None, None] | tuple[int, int] = (None, None),
    ) -> ScanPage:
        if index_name:
            return stock(
                self,
                filters,
                limit,  # type: ignore[arg-type]
                exclusive_start_key,  # type: ignore[arg-type]
                filter_expression,
                index_name,
                consistent_read,
                projection_expression,
                segments,
            )
        page, last_key = _page(self, limit, exclusive_start_key, segments)
        found = [item for item in page if _passes(item, filters)]
        if filter_expression is not None:
            found = [item for item in found if filter_expression.expr(item)]
        if projection_expression:
            found = [item.project(projection_expression) for item in found]
        return found, len(page), last_key

    setattr(scan, _MARK, True)
    Table.scan = scan  # type: ignore[method-assign]
    Table.all_items = all_items  # type: ignore[method-assign]


def all_items(self: Table) -> list[Item]:
    """Return every item of a table, in the order of its keys."""
    with state_lock:  # moto exports tables from a thread of its own
        return list(scan_order.order_of(self).after(None))


def _page(
    table: Table,
    limit: int | None,
    start_key: Mapping[str, Any] | None,
    segments: tuple[None, None] | tuple[int, int],
) -> tuple[list[Item], dict[str, Any] | None]:
    page: list[Item] = []
    page_bytes = 0
    for item in scan_order.order_of(table).after(start_key):
        if not item.is_within_segment(segments):
            continue
        page_bytes += stored_size(item)
        if page and page_bytes > MAX_PAGE_BYTES:
            return page, _key_of(table, page[-1])
        page.append(item)
        if len(page) == limit:
            return page, _key_of(table, item)
    return page, None


def _key_of(table: Table, item: Item) -> dict[str, Any]:
    return {name: item.attrs[name] for name in table.table_key_attrs}


def _passes(item: Item, filters: Mapping[str, tuple[str, list[DynamoType]]]) -> bool:
    for name, (operator, operands) in filters.items():
        attribute = item.attrs.get(name)
        if attribute is None:
            if operator != "NULL":
                return False
        elif not attribute.compare(operator, operands):
            return False
    return True


def _install_serializer() -> None:
    stock_structure = BaseJSONSerializer._serialize_type_structure
    stock_map = BaseJSONSerializer._serialize_type_map
    responses: Any = dynamodb_responses  # what it imports for its own use is replaced below
    stock_result = responses.dynamo_to_dict

    @wraps(stock_structure)
    def serialize_structure(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and key and type(value) is dict:
            serialized[self.get_serialized_name(shape, key)] = _as_sent(value)
        else:
            stock_structure(self, serialized, value, shape, key)

    @wraps(stock_map)
    def serialize_map(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.value.name == "AttributeValue" and type(value) is dict:
            sent = {name: _as_sent(element) for name, element in value.items()}
            serialized[self.get_serialized_name(shape, key)] = sent
        else:
            stock_map(self, serialized, value, shape, key)

    @wraps(stock_result)
    def to_plain(result: Any) -> Any:
        if not isinstance(result, dict) or "Items" not in result:
            return stock_result(result)
        # Items of a page are attribute maps of DynamoTypes; they are written out by _as_sent without a
        # detour.
        rest = {name: value for name, value in result.items() if name != "Items"}
        return {"Items": [dict(attributes) for attributes in result["Items"]], **stock_result(rest)}

    BaseJSONSerializer._serialize_type_structure = serialize_structure  # type: ignore[method-assign]
    BaseJSONSerializer._serialize_type_map = serialize_map  # type: ignore[method-assign]
    responses.dynamo_to_dict = to_plain


def _as_sent(value: "DynamoType | Mapping[str, Any]") -> dict[str, Any]:
    if isinstance(value, DynamoType):
        kind, content = value.type, value.value
    else:
        ((kind, content),) = value.items()
    if kind == "M":
        return {kind: {name: _as_sent(element) for name, element in content.items()}}
    if kind == "L":
        return {kind: [_as_sent(element) for element in content]}
    if kind == "B":
        return {kind: _base64(content)}
    if kind == "BS":
        return {kind: [_base64(element) for element in content]}
    return {kind: content}


def _base64(content: bytes | str) -> str:
    # moto holds binary as bytes, or as base64 text where it came through one of its own conversions.
    return b64encode(content).decode() if isinstance(content, bytes) else content
