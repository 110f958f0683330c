"""Reading chosen items of a table by their keys: BatchGetItem, a hundred at a time, until each key has its answer.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamodb_bulk.canonical import Item, canonical_keys, parse_form
from dynamodb_bulk.errors import BulkError
from dynamodb_bulk.patience import Effects, error_code, full_jitter
from dynamodb_bulk.read_pace import ReadPace
from dynamodb_bulk.scan import DEFAULT_PATIENCE_SECONDS, ScanAnswerError, missing_table, parsed_answer
from dynamodb_bulk.wire import open_transport

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_KEYS = 100
"""BatchGetItem takes no more at a time."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 10.0


class KeysUnansweredError(BulkError):
    """DynamoDB kept leaving keys unprocessed for longer than the caller would wait."""


@dataclass(frozen=True)
class PointPage:
    """What one BatchGetItem brought.

    Attributes:
        items: those that are there, in wire form.
        keys: their keys in canonical form, in the same order.
        absent: the keys, in canonical form, of which the table has no item.
        size: the length of the answer in bytes.
        capacity_units: read capacity used, as DynamoDB says; an estimate where it does not.
    """

    items: Sequence[Item]
    keys: Sequence[bytes]
    absent: Sequence[bytes]
    size: int
    capacity_units: float


def read_points(
    client: DynamoDBClient,
    table_name: str,
    keys: Iterable[bytes],
    *,
    key_names: Sequence[str],
    consistent_read: bool = True,
    max_rcu: float | None = None,
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
    effects: Effects | None = None,
) -> Iterator[PointPage]:
    """Yield the items that have some keys, and the keys that have none; each key is answered exactly once.

    Args:
        client: a low-level DynamoDB client.
        table_name: the table to read.
        keys: keys in canonical form, no key twice.
        key_names: the table's key attributes, hash key first.
        consistent_read: whether each answer shows all writes that had succeeded before. It costs twice as much.
        max_rcu: read capacity units a second to stay below; without limit when None.
        patience_seconds: for so long it is tried again while DynamoDB throttles, or processes no key at all.
        effects: clock, sleep and chance.

    Raises:
        TableMissingError: if there is no such table, or there is none any more.
        ScanAnswerError: if an answer has an item that was not asked for.
        KeysUnansweredError, CallDeadlineError: if no answer came for `patience_seconds`.
        botocore.exceptions.ClientError: for any other refusal by DynamoDB.
    """
    effects = effects or Effects()
    pace = ReadPace(max_rcu, effects=effects)
    transport = open_transport(client, pool=1, effects=effects)
    waiting, open_keys = iter(keys), list[bytes]()
    fruitless, patient_until = 0, effects.clock() + patience_seconds
    try:
        while True:
            most = min(MAX_KEYS, pace.page_items or MAX_KEYS)
            open_keys += islice(waiting, max(0, most - len(open_keys)))
            if not open_keys:
                return
            pace.wait()
            asked, later = open_keys[:most], open_keys[most:]
            body = _body(table_name, asked, consistent_read)
            deadline = effects.clock() + patience_seconds
            answer = transport.call("BatchGetItem", body, deadline=deadline)
            page, left = _read(answer, table_name, asked, key_names, consistent_read)
            pace.spent(page.capacity_units, len(page.items) + len(page.absent), page.size, consistent_read)
            open_keys = left + later
            yield page
            if len(left) < len(asked):
                fruitless, patient_until = 0, effects.clock() + patience_seconds
            if left:
                # What DynamoDB did not process it had no capacity for: at once, it would not have any either.
                fruitless += 1
                if effects.clock() >= patient_until:
                    raise KeysUnansweredError(
                        f"DynamoDB processed none of {len(asked)} keys of table {table_name!r} for "
                        f"{patience_seconds:.0f} s. Give the table more read capacity, or read with less (max_rcu)."
                    )
                effects.sleep(full_jitter(fruitless, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, draw=effects.draw))
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            raise missing_table(table_name) from error
        raise
    finally:
        transport.close()


def _body(table_name: str, keys: Sequence[bytes], consistent_read: bool) -> bytes:
    request = {
        "RequestItems": {table_name: {"Keys": [parse_form(key) for key in keys], "ConsistentRead": consistent_read}},
        "ReturnConsumedCapacity": "TOTAL",
    }
    # Escaped to ASCII, so that a key which UTF-8 can't hold gets through as well.
    return json.dumps(request, separators=(",", ":")).encode("ascii")


def _read(
    answer: bytes, table_name: str, asked: Sequence[bytes], key_names: Sequence[str], consistent_read: bool
) -> tuple[PointPage, list[bytes]]:
    """Return what was answered, and the keys that were not processed."""
    parsed = parsed_answer(answer, "BatchGetItem")
    items: list[Item] = (parsed.get("Responses") or {}).get(table_name) or []
    unprocessed: Mapping[str, Any] = (parsed.get("UnprocessedKeys") or {}).get(table_name) or {}
    found = canonical_keys(items, key_names) if items else []
    left = canonical_keys(unprocessed.get("Keys") or [], key_names)
    answered, open_ = set(found), set(left)
    unasked = (answered | open_) - set(asked)
    if unasked or answered & open_ or len(answered) != len(found):
        wrong = next(iter(unasked or answered & open_), b"the same key twice")
        raise ScanAnswerError(
            f"DynamoDB's answer to a BatchGetItem contradicts what it was asked: {wrong!a}. Nothing may be "
            "concluded from it; read again."
        )
    capacity = parsed.get("ConsumedCapacity") or []
    stated = capacity[0].get("CapacityUnits") if capacity else None
    absent = [key for key in asked if key not in answered and key not in open_]
    units = (1.0 if consistent_read else 0.5) * len(asked) if stated is None else float(stated)
    return PointPage(items, found, absent, len(answer), units), list(left)
