"""What a selection of a plan chooses, by AWS's rules; the local AWS decides the same with code of its own."""

from __future__ import annotations

import datetime as dt

import pytest

from aws_backup.selections import ChosenBy, chosen_by
from local_aws.backup.selections import read_selection

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
TAGS = {"backup": "daily", "team": "sales"}
ROLE = "arn:aws:iam::123456789012:role/AWSBackup"


def listed(key, value):
    return {"ConditionType": "STRINGEQUALS", "ConditionKey": key, "ConditionValue": value}


def condition(key, value):
    return {"ConditionKey": f"aws:ResourceTag/{key}", "ConditionValue": value}


CASES = [
    ({}, ChosenBy.TAG),
    ({"Resources": [ARN]}, ChosenBy.ARN),
    ({"Resources": [ARN + "2"]}, None),
    ({"Resources": ["arn:aws:dynamodb:*"]}, ChosenBy.ARN),
    ({"Resources": ["arn:aws:dynamodb:us-east-1:123456789012:table/*"]}, ChosenBy.ARN),
    ({"Resources": ["arn:aws:dynamodb:us-east-1:123456789012:table/ord*"]}, ChosenBy.ARN),
    ({"Resources": ["*"]}, ChosenBy.TAG),
    ({"Resources": ["*"], "NotResources": [ARN]}, None),
    ({"Resources": [ARN], "NotResources": ["arn:aws:dynamodb:us-east-1:123456789012:table/o*"]}, None),
    ({"ListOfTags": [listed("backup", "daily")]}, ChosenBy.TAG),
    ({"ListOfTags": [listed("aws:ResourceTag/backup", "daily")]}, ChosenBy.TAG),
    ({"ListOfTags": [listed("backup", "weekly"), listed("team", "sales")]}, ChosenBy.TAG),
    ({"ListOfTags": [listed("backup", "weekly")]}, None),
    ({"Resources": [ARN], "ListOfTags": [listed("backup", "weekly")]}, ChosenBy.ARN),
    ({"Conditions": {"StringEquals": [condition("backup", "daily"), condition("team", "sales")]}}, ChosenBy.TAG),
    ({"Conditions": {"StringEquals": [condition("backup", "daily"), condition("team", "hr")]}}, None),
    ({"Conditions": {"StringNotEquals": [condition("backup", "weekly")]}}, ChosenBy.TAG),
    ({"Conditions": {"StringNotEquals": [condition("none", "x")]}}, ChosenBy.TAG),
    ({"Conditions": {"StringLike": [condition("backup", "d*")]}}, ChosenBy.TAG),
    ({"Conditions": {"StringLike": [condition("backup", "d?ily")]}}, None),
    ({"Conditions": {"StringLike": [condition("none", "*")]}}, None),
    ({"Conditions": {"StringNotLike": [condition("backup", "w*")]}}, ChosenBy.TAG),
    ({"Conditions": {"StringNotLike": [condition("backup", "d*")]}}, None),
    ({"Resources": [ARN], "Conditions": {"StringEquals": [condition("team", "hr")]}}, None),
]


@pytest.mark.parametrize(("selection", "expected"), CASES)
def test_a_selection_chooses_by_arn_or_tag(selection, expected):
    assert chosen_by(selection, ARN, TAGS) is expected


# AWS does not say whether a bare service counts as a type that is named; the local AWS has it otherwise.
@pytest.mark.parametrize("selection", [selection for selection, _ in CASES if selection != CASES[3][0]])
def test_the_local_aws_chooses_the_same(selection):
    local = read_selection(
        {"SelectionName": "s", "IamRoleArn": ROLE, **selection},
        selection_id="1",
        sequence=1,
        now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        creator_request_id=None,
    )
    found = chosen_by(selection, ARN, TAGS)
    assert local.chooses(ARN, TAGS) is (found is not None)
    if found is not None:
        assert local.names_type_of(ARN) is (found is ChosenBy.ARN)


def test_what_restore_testing_made_is_left_alone():
    assert chosen_by({"Resources": [ARN]}, ARN, {"awsbackup-restore-test": "x"}) is None
