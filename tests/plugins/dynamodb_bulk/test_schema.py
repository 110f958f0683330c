import json
from pathlib import Path
from typing import Any

import pytest

from dynamodb_bulk.errors import SchemaError
from dynamodb_bulk.schema import TableSchema, load_schema, parse_schema

ORDERS = Path(__file__).parents[3] / "include" / "data" / "orders_schema.yaml"


def schema_text(*columns: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"version": 1, "columns": [{"name": "id", "key": "hash"}, *columns], **fields})


def test_the_orders_schema() -> None:
    schema = load_schema(ORDERS)
    assert schema.key_names == ("order_id", "item_id")
    assert [column.attribute_type for column in schema.key_columns] == ["S", "S"]
    types = {column.name: column.type for column in schema.columns}
    assert types["amount"] == "number"
    assert types["transaction_date"] == "date"
    assert types["customer_id"] == "string"
    twins = {column.name: column.normalised_as for column in schema.columns if column.normalised_as}
    assert twins == {"time_stamp": "time_stamp_utc", "transaction_date": "transaction_date_iso"}


def test_json_and_yaml_say_the_same() -> None:
    text = schema_text({"name": "n", "type": "number", "required": False})
    assert parse_schema(text, "s.json") == parse_schema(text, "s.yaml")


def test_the_hash_key_comes_first_whatever_the_order_of_columns() -> None:
    text = json.dumps({"version": 1, "columns": [{"name": "r", "key": "range"}, {"name": "h", "key": "hash"}]})
    assert parse_schema(text, "s.json").key_names == ("h", "r")


@pytest.mark.parametrize(
    ("column", "default", "expected"),
    [
        ({"name": "a"}, None, "omit"),
        ({"name": "a"}, "store", "store"),
        ({"name": "a"}, "reject", "reject"),
        ({"name": "a", "empty": "omit"}, "reject", "omit"),
        ({"name": "a", "type": "number"}, "store", "omit"),
        ({"name": "a", "type": "number", "empty": "reject"}, "store", "reject"),
    ],
)
def test_what_an_empty_cell_becomes(column: dict[str, Any], default: str | None, expected: str) -> None:
    schema = parse_schema(schema_text(column, **({"empty_values": default} if default else {})), "s.json")
    assert schema.empty_rule(schema.columns[1]) == expected
    assert schema.empty_rule(schema.columns[0]) == "reject"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (schema_text({"name": "a", "typ": "number"}), r"columns\.1\.typ: .*not permitted"),
        (schema_text({"name": "a", "type": "float"}), r"columns\.1\.type: .*'number'.*given: 'float'"),
        (schema_text({"name": ""}), r"columns\.1\.name: "),
        (schema_text(version=2), "version: "),
        (schema_text(delimiter=",,"), "delimiter: "),
        (schema_text(delimiter='"'), "'delimiter' cannot be a quote"),
        (schema_text(delimiter="\0"), "'delimiter' cannot be .* a NUL"),
        (schema_text(empty_values="null"), "empty_values: "),
        (schema_text({"name": "b", "key": "hash"}), "2 columns have 'key: hash' .*exactly one hash key"),
        (
            schema_text({"name": "b", "key": "range"}, {"name": "c", "key": "range"}),
            "2 columns have 'key: range' .*at most one range key",
        ),
        ('{"version": 1, "columns": [{"name": "a"}]}', "0 columns have 'key: hash'"),
        ('{"version": 1, "columns": []}', "columns: "),
        (schema_text({"name": "b", "key": "range", "required": False}), "is a key and cannot be optional"),
        (schema_text({"name": "b", "key": "range", "empty": "omit"}), "an empty key is always rejected"),
        (schema_text({"name": "b", "type": "number", "empty": "store"}), "a number cannot be stored empty"),
        (schema_text({"name": "b", "formats": ["%Y"]}), "takes no 'formats'"),
        (schema_text({"name": "b", "type": "number", "normalised_as": "c"}), "no 'normalised_as'"),
        (schema_text({"name": "b", "type": "date"}), "needs 'formats'"),
        (schema_text({"name": "b", "type": "date", "formats": ["%d %b %Y"]}), "uses %b; only %"),
        (schema_text({"name": "b", "type": "date", "formats": ["%Y-%m-%d%"]}), "uses %; only"),
        (schema_text({"name": "b", "type": "date", "formats": ["%m-%d"]}), "does not name year, month and day"),
        (
            schema_text({"name": "b", "type": "date", "formats": ["%m-%d-%Y", "%d-%m-%Y"]}),
            "is a different day by '%m-%d-%Y' and by '%d-%m-%Y'",
        ),
        (
            schema_text({"name": "b", "type": "date", "formats": ["%Y-%m-%d"], "normalised_as": "id"}),
            "used twice: id",
        ),
        (schema_text({"name": "id"}), "used twice: id"),
        ("{", "is not valid JSON"),
        ("[]", "dictionary"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as raised:
        parse_schema(text, "shop.json")
    assert "shop.json" in str(raised.value)


def test_broken_yaml_is_named() -> None:
    with pytest.raises(SchemaError, match=r"shop\.yaml is not valid YAML"):
        parse_schema("columns: [", "shop.yaml")


def test_a_schema_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"nothing\.yaml does not exist"):
        load_schema(tmp_path / "nothing.yaml")


def test_a_schema_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SchemaError, match="cannot be read as UTF-8"):
        load_schema(path)


def test_a_schema_does_not_change() -> None:
    schema = load_schema(ORDERS)
    with pytest.raises(ValueError, match="frozen"):
        schema.delimiter = ";"
    assert isinstance(schema, TableSchema)
