"""Which tables of an account the file selects."""

from __future__ import annotations

import datetime as dt

from backup_flows.protected_tables import find_protected_tables
from backup_flows.protection import Protection
from recovery_retention.names import restored_table_name


def protection(*tables):
    return Protection.model_validate({"version": 1, "tables": list(tables)})


def make(clients, name, **tags):
    clients("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    return clients("dynamodb").describe_table(TableName=name)["Table"]["TableArn"]


def test_tables_are_found_by_name_arn_and_tags(aws):
    arns = {name: make(aws, name) for name in ("named", "by-arn", "plain")}
    for number in range(120):
        make(aws, f"tagged-{number:03}", backup="weekly", team="sales")
    make(aws, "half", backup="weekly")
    found = find_protected_tables(
        aws,
        protection(
            {"name": "named", "tier": "daily"},
            {"arn": arns["by-arn"], "tier": "daily"},
            {"tag": {"backup": "weekly", "team": "sales"}, "tier": "weekly"},
        ),
    )
    assert [table.name for table in found.tables] == ["by-arn", "named", *(f"tagged-{n:03}" for n in range(120))]
    assert {table.rule.tier for table in found.tables if table.selected_by == "tag"} == {"weekly"}
    assert found.missing == ()


def test_a_named_and_tagged_table_goes_by_its_name(aws):
    make(aws, "orders", backup="daily")
    (table,) = find_protected_tables(
        aws, protection({"tag": {"backup": "daily"}, "tier": "daily"}, {"name": "orders", "tier": "weekly"})
    ).tables
    assert (table.rule.tier, table.selected_by) == ("weekly", "name")


def test_tables_that_are_not_there_are_told(aws):
    arn = make(aws, "orders")
    found = find_protected_tables(
        aws,
        protection(
            {"name": "gone", "tier": "daily"},
            {"arn": arn.replace("us-east-1", "eu-west-1"), "tier": "daily"},
            {"tag": {"backup": "daily"}, "tier": "daily"},
        ),
    )
    assert found.tables == ()
    assert [entry.name or entry.arn for entry in found.missing] == ["gone", arn.replace("us-east-1", "eu-west-1")]


def test_restored_copies_are_left_out_although_they_carry_the_tag(aws):
    make(aws, "orders", backup="daily")
    make(aws, restored_table_name("orders", dt.date(2026, 11, 1), "manual__1"), backup="daily")
    make(aws, "awsbackup-restore-test-1", backup="daily", **{"awsbackup-restore-test": "yes"})
    found = find_protected_tables(aws, protection({"tag": {"backup": "daily"}, "tier": "daily"}))
    assert [table.name for table in found.tables] == ["orders"]


def test_what_is_named_like_a_restored_copy_counts_where_an_entry_names_it(aws):
    make(aws, "orders", backup="daily")
    copies = [restored_table_name("orders", dt.date(2026, 11, day), "manual__1") for day in (1, 2, 3)]
    arns = [make(aws, copy, backup="daily") for copy in copies]
    found = find_protected_tables(
        aws,
        protection(
            {"tag": {"backup": "daily"}, "tier": "daily"},
            {"name": copies[0], "tier": "weekly"},
            {"arn": arns[1], "tier": "monthly"},
        ),
    )
    tiers = {table.name: table.rule.tier for table in found.tables}
    assert tiers == {"orders": "daily", copies[0]: "weekly", copies[1]: "monthly"}


def test_the_protected_names_are_those_that_an_entry_names_too_whether_they_are_there_or_not(aws):
    arn = make(aws, "orders", backup="daily")
    found = find_protected_tables(
        aws,
        protection(
            {"tag": {"backup": "daily"}, "tier": "daily"},
            {"name": "gone", "tier": "daily"},
            {"arn": arn.replace("us-east-1", "eu-west-1").replace("orders", "abroad"), "tier": "daily"},
        ),
    )
    assert found.names == {"orders", "gone", "abroad"}
