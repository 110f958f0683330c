"""Five hundred seeded corruptions of a restored table: each that is one is found and named, and no other is."""

from __future__ import annotations

import base64
import copy
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_bulk.canonical import canonical_key, readable_key
from dynamodb_bulk.compare import Comparison, Manifests, Outcome, judge
from dynamodb_bulk.fingerprint import Fingerprint, FingerprintBuilder, ManifestWriter, take_fingerprint

NAMES = ("order_id", "item_id")
SEEDS = range(500)
ITEMS = 60

Item = dict[str, Any]
Table = dict[bytes, Item]


def order(number: int) -> Item:
    """Return an item with a value of every type, some of them nested and some empty."""
    return {
        "order_id": {"S": f"o-{number // 3:03}"},
        "item_id": {"S": f"{number % 3:02}"},
        "amount": {"N": str(Decimal(number * 37) / 4)},
        "large": {"N": f"{number + 1}E{number % 100}"},
        "note": {"S": f"Salmon é {number}\n"},
        "nothing": {"S": ""},
        "raw": {"B": b64(bytes([number % 256, 0, 255, 7]))},
        "gone": {"NULL": True},
        "gift": {"BOOL": number % 2 == 0},
        "tags": {"SS": ["wild", "fresh", f"t{number}"]},
        "sizes": {"NS": ["1", "2.5", str(number + 10)]},
        "keys": {"BS": [b64(b"a"), b64(b"b" + bytes([number % 256]))]},
        "lines": {"L": [{"S": "x"}, {"N": "1"}, {"M": {"sku": {"S": f"s{number}"}, "empty": {"M": {}}}}]},
        "address": {"M": {"city": {"S": "Bergen"}, "geo": {"M": {"lat": {"N": "60.39"}, "lon": {"N": "5.32"}}}}},
    }


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def table_of(items: list[Item]) -> Table:
    return {canonical_key(item, NAMES): item for item in items}


@dataclass(frozen=True)
class Damage:
    """What a corruption should be found as; nothing, where it changes only how something is written."""

    kind: str | None
    key: bytes


Corruption = Callable[[Table, random.Random], Damage]


def lose(table: Table, chance: random.Random) -> Damage:
    key = chance.choice(list(table))
    del table[key]
    return Damage("missing", key)


def add(table: Table, chance: random.Random) -> Damage:
    item = {**copy.deepcopy(chance.choice(list(table.values()))), "item_id": {"S": f"new-{chance.random()}"}}
    table[canonical_key(item, NAMES)] = item
    return Damage("extra", canonical_key(item, NAMES))


def of_item(kind: str | None) -> Callable[[Callable[[Item, random.Random], None]], Corruption]:
    """Make a corruption of a table of one of an item."""

    def decorate(change: Callable[[Item, random.Random], None]) -> Corruption:
        def corrupt(table: Table, chance: random.Random) -> Damage:
            key = chance.choice(list(table))
            item = copy.deepcopy(table[key])
            change(item, chance)
            table[key] = item
            return Damage(kind, key)

        corrupt.__name__ = change.__name__
        return corrupt

    return decorate


@of_item("changed")
def change_attribute(item: Item, chance: random.Random) -> None:
    item["note"] = {"S": item["note"]["S"] + chance.choice([" ", "!", "\u0301", "\x00"])}


@of_item("changed")
def lose_attribute(item: Item, chance: random.Random) -> None:
    del item[chance.choice(["note", "gone", "nothing", "tags", "lines"])]


@of_item("changed")
def number_to_text(item: Item, chance: random.Random) -> None:
    item["amount"] = {"S": item["amount"]["N"]}


@of_item("changed")
def change_number_in_its_last_digit(item: Item, chance: random.Random) -> None:
    item["amount"] = {"N": str(Decimal(item["amount"]["N"]) + Decimal(1).scaleb(chance.choice([-20, -2, 0])))}


@of_item("changed")
def empty_string_to_nothing(item: Item, chance: random.Random) -> None:
    item["nothing"] = chance.choice([{"NULL": True}, {"S": " "}, {"L": []}, {"M": {}}])


@of_item("changed")
def text_to_empty_string(item: Item, chance: random.Random) -> None:
    item["note"] = {"S": ""}


@of_item("changed")
def null_to_something(item: Item, chance: random.Random) -> None:
    item["gone"] = chance.choice([{"BOOL": False}, {"S": ""}, {"S": "null"}, {"N": "0"}])


@of_item("changed")
def flip(item: Item, chance: random.Random) -> None:
    item["gift"] = chance.choice([{"BOOL": not item["gift"]["BOOL"]}, {"S": str(item["gift"]["BOOL"]).lower()}])


@of_item("changed")
def change_nested(item: Item, chance: random.Random) -> None:
    where = chance.randrange(4)
    if where == 0:
        item["address"]["M"]["geo"]["M"]["lat"] = {"N": "60.38"}
    elif where == 1:
        item["lines"]["L"][2]["M"]["empty"] = {"L": []}
    elif where == 2:
        item["lines"]["L"].reverse()
    else:
        item["address"]["M"]["geo"]["M"]["alt"] = {"NULL": True}


@of_item("changed")
def change_binary(item: Item, chance: random.Random) -> None:
    raw = bytearray(base64.b64decode(item["raw"]["B"]))
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    item["raw"] = chance.choice(
        [{"B": b64(bytes(raw))}, {"S": item["raw"]["B"]}, {"B": item["raw"]["B"][:-4] or "AA=="}]
    )


@of_item("changed")
def change_set(item: Item, chance: random.Random) -> None:
    name = chance.choice(["tags", "sizes", "keys"])
    ((kind, members),) = item[name].items()
    item[name] = chance.choice([{kind: members[1:]}, {"L": [{kind[0]: member} for member in members]}])


@of_item(None)
def write_number_otherwise(item: Item, chance: random.Random) -> None:
    number = Decimal(item["amount"]["N"])
    item["amount"] = {"N": chance.choice([f"{number:f}0" if "." in f"{number:f}" else f"{number}.0", f"0{number:f}",
                                          f"+{number:f}", f"{number.scaleb(2):f}E-2"])}  # fmt: skip
    item["large"] = {"N": f"{Decimal(item['large']['N']):E}"}
    item["sizes"] = {"NS": [f"{member}{'' if '.' in member else '.'}00" for member in item["sizes"]["NS"]]}


@of_item(None)
def order_sets_otherwise(item: Item, chance: random.Random) -> None:
    for name in ("tags", "sizes", "keys"):
        ((_, members),) = item[name].items()
        chance.shuffle(members)


@of_item(None)
def order_attributes_otherwise(item: Item, chance: random.Random) -> None:
    names = list(item)
    chance.shuffle(names)
    shuffled = {name: item.pop(name) for name in names}
    item.update(shuffled)
    item["address"]["M"] = dict(reversed(item["address"]["M"].items()))


CORRUPTIONS: tuple[Corruption, ...] = (
    lose, add, change_attribute, lose_attribute, number_to_text, change_number_in_its_last_digit,
    empty_string_to_nothing, text_to_empty_string, null_to_something, flip, change_nested, change_binary, change_set,
    write_number_otherwise, order_sets_otherwise, order_attributes_otherwise,
)  # fmt: skip
SOURCE = table_of([order(number) for number in range(ITEMS)])


def corrupted(seeds: Iterator[int] | range) -> tuple[Table, list[Damage]]:
    """Return a copy of the table with a corruption for each seed, no item being struck twice."""
    table, untouched, damages = dict(SOURCE), dict(SOURCE), []
    for seed in seeds:
        chance = random.Random(seed)
        before = dict(untouched)
        damage = CORRUPTIONS[seed % len(CORRUPTIONS)](untouched, chance)
        damages.append(damage)
        for key in before.keys() | untouched.keys():
            if before.get(key) is not untouched.get(key):
                table.pop(key, None)
                if key in untouched:
                    table[key] = untouched.pop(key)
    return table, damages


def read(table: Table, chance: random.Random) -> tuple[Fingerprint, bytes]:
    items, sink, builder = list(table.values()), io.BytesIO(), FingerprintBuilder(NAMES, buckets=64)
    # A restored table gives its items in another order.
    chance.shuffle(items)
    with ManifestWriter(sink, NAMES, buckets=64) as manifest:
        manifest.add_items(builder.add_items(items))
    return builder.build(), sink.getvalue()


def compare(source: tuple[Fingerprint, bytes], restored: tuple[Fingerprint, bytes]) -> Comparison:
    manifests = Manifests(before=lambda: io.BytesIO(source[1]), restored=lambda: io.BytesIO(restored[1]))
    return judge(source[0], source[0], restored[0], manifests=manifests, list_cap=10_000)


def found_in(result: Comparison) -> Counter[tuple[str, str]]:
    return Counter((difference.kind.value, difference.key) for difference in result.differences)


def expected_of(damages: list[Damage]) -> Counter[tuple[str, str]]:
    return Counter((damage.kind, damage.key.decode()) for damage in damages if damage.kind is not None)


def test_each_of_five_hundred_corruptions_is_found_and_named_and_nothing_else_is() -> None:
    source = read(SOURCE, random.Random(0))
    missed, false_alarms, kinds = [], [], Counter[str]()
    for seed in SEEDS:
        table, damages = corrupted([seed])  # type: ignore[arg-type]
        result = compare(source, read(table, random.Random(seed)))
        found, expected = found_in(result), expected_of(damages)
        name = CORRUPTIONS[seed % len(CORRUPTIONS)].__name__
        kinds[name] += 1
        if expected - found or (expected and result.outcome is not Outcome.DIFFERENT):
            missed.append((seed, name))
        if found - expected or (not expected and result.outcome is not Outcome.EQUAL):
            false_alarms.append((seed, name, found - expected))
    assert (missed, false_alarms) == ([], [])
    assert (kinds.total(), len(kinds)) == (500, len(CORRUPTIONS))
    assert min(kinds.values()) >= 31


def test_the_corruptions_are_what_they_are_called() -> None:
    """Else the test above would show nothing: what is to be found must differ as Python sees it, and in its values."""
    for seed in SEEDS:
        table, (damage,) = corrupted([seed])  # type: ignore[arg-type]
        assert table != SOURCE or damage.kind is None
        assert plain(table.get(damage.key)) != plain(SOURCE.get(damage.key)) or damage.kind is None
        assert plain(table.get(damage.key)) == plain(SOURCE.get(damage.key)) or damage.kind is not None


def plain(value: Any) -> Any:
    """Return a value in wire form as Python compares it: numbers by their worth, sets as such, types kept apart."""
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "N":
            return kind, Decimal(content)
        if kind in ("SS", "BS"):
            return kind, frozenset(content)
        if kind == "NS":
            return kind, frozenset(map(Decimal, content))
        if kind == "L":
            return kind, [plain(part) for part in content]
        if kind in ("S", "B", "BOOL", "NULL"):
            return kind, content
    return {name: plain(part) for name, part in value.items()}


@pytest.mark.component
@mock_aws
def test_forty_at_once_in_a_table_that_is_scanned() -> None:
    client: Any = boto3.client("dynamodb", region_name="us-east-1")
    table, damages = corrupted(range(40))
    found = {}
    for name, content in {"orders": SOURCE, "restored": table}.items():
        client.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(NAMES, ("HASH", "RANGE"), strict=True)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in NAMES],
            BillingMode="PAY_PER_REQUEST",
        )
        for item in content.values():
            client.put_item(TableName=name, Item=as_boto3(item))
        sink = io.BytesIO()
        found[name] = (take_fingerprint(client, name, key_names=NAMES, manifest_sink=sink), sink.getvalue())
    result = compare(found["orders"], found["restored"])
    assert found_in(result) == expected_of(damages)
    assert len(damages) == 40
    assert sum(damage.kind is None for damage in damages) >= 6
    assert all(json.loads(difference.key) for difference in result.differences)
    assert {difference.key for difference in result.differences} <= {
        readable_key(item, NAMES) for item in [*SOURCE.values(), *table.values()]
    }


def as_boto3(value: Any) -> Any:
    """Return an item with its binary as bytes, as boto3 takes it."""
    if isinstance(value, list):
        return [as_boto3(part) for part in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("B"), str):
        return {"B": base64.b64decode(value["B"])}
    if "BS" in value:
        return {"BS": [base64.b64decode(part) for part in value["BS"]]}
    return {name: as_boto3(part) for name, part in value.items()}
