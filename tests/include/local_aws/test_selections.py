"""Which resources a selection chooses."""

from datetime import UTC, datetime

import pytest

from local_aws.backup.selections import read_selection

ORDERS = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
TAGS = {"backup": "daily", "stage": "production", "owner": "team one"}


def selection(**members):
    document = {"SelectionName": "s", "IamRoleArn": "arn:aws:iam::123456789012:role/AWSBackupRole", **members}
    return read_selection(
        document, selection_id="id", sequence=1, now=datetime(2026, 1, 1, tzinfo=UTC), creator_request_id=None
    )


def any_tag(**tags):
    return [
        {"ConditionType": "STRINGEQUALS", "ConditionKey": key, "ConditionValue": value} for key, value in tags.items()
    ]


def conditions(operator, **tags):
    return {
        operator: [{"ConditionKey": f"aws:ResourceTag/{key}", "ConditionValue": value} for key, value in tags.items()]
    }


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        ({}, True),
        # By ARN: one of them is enough.
        ({"Resources": [ORDERS]}, True),
        ({"Resources": [ORDERS + "-old"]}, False),
        ({"Resources": [ORDERS[:-1]]}, False),
        ({"Resources": ["arn:aws:dynamodb:us-east-1:123456789012:table/ord*"]}, True),
        ({"Resources": ["arn:aws:dynamodb:*:*:table/*"]}, True),
        ({"Resources": ["arn:aws:dynamodb:eu-west-1:*:table/*"]}, False),
        ({"Resources": ["arn:aws:dynamodb:*:210987654321:table/*"]}, False),
        ({"Resources": ["arn:aws:dynamodb:*"]}, True),
        ({"Resources": ["arn:aws:ec2:*"]}, False),
        ({"Resources": ["*"]}, True),
        ({"Resources": ["arn:aws:s3:::bucket", ORDERS]}, True),
        # What is excluded is out, however it was chosen.
        ({"Resources": ["*"], "NotResources": [ORDERS]}, False),
        ({"Resources": [ORDERS], "NotResources": ["arn:aws:dynamodb:*:*:table/ord*"]}, False),
        ({"NotResources": ["arn:aws:ec2:*:*:volume/*"]}, True),
        ({"ListOfTags": any_tag(backup="daily"), "NotResources": [ORDERS]}, False),
        # ListOfTags: one of them is enough, also beside Resources.
        ({"ListOfTags": any_tag(backup="daily")}, True),
        ({"ListOfTags": any_tag(backup="Daily")}, False),
        ({"ListOfTags": any_tag(Backup="daily")}, False),
        ({"ListOfTags": any_tag(backup="weekly", stage="production")}, True),
        ({"ListOfTags": any_tag(backup="d*")}, False),
        ({"ListOfTags": any_tag(**{"aws:ResourceTag/backup": "daily"})}, True),
        ({"Resources": [ORDERS], "ListOfTags": any_tag(backup="weekly")}, True),
        ({"Resources": ["arn:aws:s3:::bucket"], "ListOfTags": any_tag(backup="daily")}, True),
        ({"Resources": ["arn:aws:s3:::bucket"], "ListOfTags": any_tag(backup="weekly")}, False),
        # Conditions: all of them have to hold, beside whatever else chooses.
        ({"Conditions": conditions("StringEquals", backup="daily", stage="production")}, True),
        ({"Conditions": conditions("StringEquals", backup="daily", stage="test")}, False),
        ({"Conditions": conditions("StringEquals", missing="x")}, False),
        ({"Conditions": conditions("StringNotEquals", stage="test")}, True),
        ({"Conditions": conditions("StringNotEquals", stage="production")}, False),
        ({"Conditions": conditions("StringNotEquals", missing="x")}, True),
        ({"Conditions": conditions("StringLike", stage="prod*")}, True),
        ({"Conditions": conditions("StringLike", stage="*duct*")}, True),
        ({"Conditions": conditions("StringLike", stage="duct*")}, False),
        ({"Conditions": conditions("StringLike", owner="team*one")}, True),
        ({"Conditions": conditions("StringLike", owner="team.one")}, False),
        ({"Conditions": conditions("StringLike", stage="prod?ction")}, False),
        ({"Conditions": conditions("StringLike", missing="*")}, False),
        ({"Conditions": conditions("StringNotLike", stage="test*")}, True),
        ({"Conditions": conditions("StringNotLike", stage="prod*")}, False),
        ({"Conditions": conditions("StringNotLike", missing="*")}, True),
        ({"Resources": [ORDERS], "Conditions": conditions("StringEquals", backup="weekly")}, False),
        ({"Resources": ["arn:aws:s3:::b"], "Conditions": conditions("StringEquals", backup="daily")}, False),
        ({"ListOfTags": any_tag(backup="daily"), "Conditions": conditions("StringNotLike", owner="team*")}, False),
    ],
)
def test_what_is_chosen(members, chosen):
    assert selection(**members).chooses(ORDERS, TAGS) is chosen


def test_several_operators_hold_together():
    both = {**conditions("StringLike", stage="prod*"), **conditions("StringNotEquals", backup="weekly")}
    assert selection(Conditions=both).chooses(ORDERS, TAGS)
    assert not selection(Conditions=both).chooses(ORDERS, {**TAGS, "backup": "weekly"})
    assert not selection(Conditions=both).chooses(ORDERS, {**TAGS, "stage": "test"})


def test_what_restore_testing_made_is_left_alone():
    everything = selection(Resources=["*"])
    assert not everything.chooses(ORDERS, {"awsbackup-restore-test": "plan"})


@pytest.mark.parametrize(
    ("resources", "named"),
    [
        ([ORDERS], True),
        (["arn:aws:dynamodb:*:*:table/*"], True),
        (["arn:aws:dynamodb:*"], False),
        (["arn:aws:dynamodb:*:*:*"], False),
        (["*"], False),
        (["*", ORDERS], True),
        (["arn:aws:dynamodb:*:*:table/other"], False),
        ([], False),
    ],
)
def test_whether_the_type_is_named(resources, named):
    assert selection(Resources=resources).names_type_of(ORDERS) is named
