import pytest

from local_aws.access.conditions import UnknownOperator, conditions_hold

CONTEXT = {
    "aws:principalarn": ("arn:aws:iam::123456789012:role/admin",),
    "aws:tagkeys": ("team", "tier"),
    "aws:sourceip": ("10.1.2.3",),
    "aws:currenttime": ("2026-03-01T12:00:00+00:00",),
    "aws:securetransport": ("true",),
    "aws:username": ("ann",),
    "backup:minretentiondays": ("7",),
}


@pytest.mark.parametrize(
    ("operator", "key", "wanted", "holds"),
    [
        ("StringEquals", "aws:username", "ann", True),
        ("StringEquals", "AWS:UserName", ["bob", "ann"], True),
        ("StringEquals", "aws:username", "Ann", False),
        ("StringEquals", "aws:username", "a*", False),
        ("StringEquals", "aws:username", "${aws:username}", True),
        ("StringEqualsIgnoreCase", "aws:username", "ANN", True),
        ("StringNotEquals", "aws:username", "bob", True),
        ("StringNotEquals", "aws:username", ["bob", "ann"], False),
        ("StringNotEqualsIgnoreCase", "aws:username", "ANN", False),
        ("StringLike", "aws:username", "a?n", True),
        ("StringLike", "aws:username", "a", False),
        ("StringNotLike", "aws:username", "b*", True),
        ("ArnEquals", "aws:principalarn", "arn:aws:iam::*:role/admin", True),
        ("ArnLike", "aws:principalarn", "arn:aws:iam::123456789012:role/*", True),
        ("ArnLike", "aws:principalarn", "arn:aws:iam:*:role/admin", False),
        ("ArnNotLike", "aws:principalarn", "arn:aws:iam::123456789012:role/adm*", False),
        ("ArnNotEquals", "aws:principalarn", "arn:aws:iam::123456789012:role/other", True),
        ("Bool", "aws:securetransport", True, True),
        ("Bool", "aws:securetransport", "false", False),
        ("Null", "aws:username", "false", True),
        ("Null", "aws:username", True, False),
        ("Null", "aws:mfa", "true", True),
        ("NumericEquals", "backup:minretentiondays", 7, True),
        ("NumericLessThan", "backup:minretentiondays", "7", False),
        ("NumericLessThanEquals", "backup:minretentiondays", "7", True),
        ("NumericGreaterThan", "backup:minretentiondays", "6", True),
        ("NumericGreaterThanEquals", "backup:minretentiondays", "8", False),
        ("NumericNotEquals", "backup:minretentiondays", "8", True),
        ("NumericEquals", "backup:minretentiondays", "seven", False),
        ("DateGreaterThan", "aws:currenttime", "2026-01-01T00:00:00Z", True),
        ("DateLessThan", "aws:currenttime", "2026-01-01T00:00:00Z", False),
        ("DateLessThanEquals", "aws:currenttime", "2026-03-01T12:00:00Z", True),
        ("IpAddress", "aws:sourceip", "10.1.0.0/16", True),
        ("NotIpAddress", "aws:sourceip", "10.1.0.0/16", False),
        ("IpAddress", "aws:sourceip", ["192.168.0.0/16"], False),
        ("ForAllValues:StringEquals", "aws:tagkeys", ["team", "tier", "more"], True),
        ("ForAllValues:StringEquals", "aws:tagkeys", ["team"], False),
        ("ForAnyValue:StringEquals", "aws:tagkeys", ["team"], True),
        ("ForAnyValue:StringLike", "aws:tagkeys", ["x*"], False),
        ("ForAnyValue:StringNotEquals", "aws:tagkeys", ["team"], True),
        ("ForAllValues:StringNotEquals", "aws:tagkeys", ["team"], False),
    ],
)
def test_operators(operator, key, wanted, holds):
    assert conditions_hold({operator: {key: wanted}}, CONTEXT) is holds


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("StringEquals", False),
        ("StringEqualsIfExists", True),
        ("StringNotEquals", True),
        ("StringLike", False),
        ("ArnNotLike", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("Bool", False),
        ("BoolIfExists", True),
    ],
)
def test_a_key_that_the_request_lacks(operator, holds):
    assert conditions_hold({operator: {"aws:absent": "x"}}, CONTEXT) is holds


def test_all_conditions_must_hold():
    both = {"StringEquals": {"aws:username": "ann", "aws:principalarn": "nobody"}}
    assert not conditions_hold(both, CONTEXT)
    assert not conditions_hold({"Bool": {"aws:securetransport": "true"}, **both}, CONTEXT)
    assert conditions_hold({}, CONTEXT)


def test_a_variable_without_a_value_matches_nothing_but_by_its_default():
    assert not conditions_hold({"StringLike": {"aws:username": "${aws:absent}"}}, CONTEXT)
    assert conditions_hold({"StringLike": {"aws:username": "${aws:absent, 'ann'}"}}, CONTEXT)


def test_unknown_operators_are_named():
    with pytest.raises(UnknownOperator, match="StringResembles"):
        conditions_hold({"StringResembles": {"aws:username": "ann"}}, CONTEXT)
