import json

import pytest

from local_aws.access.decisions import Denial, Policies, decide
from local_aws.access.policies import Ask, statements

ROLE = "arn:aws:iam::123456789012:role/operator"
POINT = "arn:aws:backup:us-east-1:123456789012:recovery-point:1"


def policy(*members):
    return statements(json.dumps({"Version": "2012-10-17", "Statement": list(members)}))


def ask(action="backup:DeleteRecoveryPoint", resource=POINT, **context):
    return Ask(action, resource, {"aws:username": ("ann",), **context}, frozenset({ROLE}), "123456789012")


def statement(effect, action="backup:*", **members):
    return {"Effect": effect, "Action": action, "Resource": "*", **members}


ALLOW, DENY = policy(statement("Allow")), policy(statement("Deny"))


def to(effect, principal):
    return policy(statement(effect, Principal=principal))


@pytest.mark.parametrize(
    ("policies", "denial"),
    [
        (Policies(), Denial("identity-based policy", explicit=False)),
        (Policies(identity=ALLOW), None),
        (Policies(identity=ALLOW + DENY), Denial("identity-based policy", explicit=True)),
        (Policies(identity=ALLOW, boundary=()), Denial("permissions boundary", explicit=False)),
        (Policies(identity=ALLOW, boundary=ALLOW + DENY), Denial("permissions boundary", explicit=True)),
        (Policies(identity=ALLOW, boundary=ALLOW, session=()), Denial("session policy", explicit=False)),
        (Policies(identity=ALLOW, boundary=ALLOW, session=ALLOW), None),
        (Policies(identity=ALLOW, resource=to("Deny", "*")), Denial("resource-based policy", explicit=True)),
        (Policies(identity=ALLOW, resource=to("Deny", {"AWS": ROLE})), Denial("resource-based policy", explicit=True)),
        (Policies(identity=ALLOW, resource=to("Deny", {"AWS": ROLE + "-other"})), None),
        (
            Policies(identity=ALLOW, resource=to("Deny", {"AWS": "123456789012"})),
            Denial("resource-based policy", explicit=True),
        ),
        (Policies(resource=to("Allow", {"AWS": [ROLE]})), None),
        (Policies(resource=to("Allow", {"AWS": "*"})), None),
        (
            Policies(resource=to("Allow", {"AWS": "arn:aws:iam::123456789012:root"})),
            Denial("identity-based policy", explicit=False),
        ),
        (Policies(identity=ALLOW, resource_must_allow=True), Denial("resource-based policy", explicit=False)),
        (
            Policies(identity=ALLOW, resource=to("Allow", {"AWS": "123456789012"}), resource_must_allow=True),
            None,
        ),
        (
            Policies(resource=to("Allow", {"AWS": ROLE}), crosses_accounts=True),
            Denial("identity-based policy", explicit=False),
        ),
        (Policies(identity=ALLOW, crosses_accounts=True), Denial("resource-based policy", explicit=False)),
        (Policies(everything_allowed=True), None),
        (
            Policies(everything_allowed=True, resource=to("Deny", "*")),
            Denial("resource-based policy", explicit=True),
        ),
    ],
)
def test_evaluation(policies, denial):
    assert decide(ask(), policies) == denial


@pytest.mark.parametrize(
    ("members", "matches"),
    [
        ({"Action": "backup:deleteRecoveryPOINT"}, True),
        ({"Action": ["s3:*", "backup:Delete*"]}, True),
        ({"Action": "backup:DeleteBackup*"}, False),
        ({"NotAction": "s3:*"}, True),
        ({"NotAction": "backup:*"}, False),
        ({"Resource": "arn:aws:backup:*:*:recovery-point:*"}, True),
        ({"Resource": POINT[:-1] + "?"}, True),
        ({"Resource": POINT + "1"}, False),
        ({"Resource": POINT.upper()}, False),
        ({"Resource": "arn:aws:backup:us-east-1:123456789012:recovery-point:[1]"}, False),
        ({"NotResource": POINT}, False),
        ({"NotResource": "arn:aws:s3:::*"}, True),
        ({"Condition": {"StringEquals": {"aws:username": "ann"}}}, True),
        ({"Condition": {"StringEquals": {"aws:username": "bob"}}}, False),
    ],
)
def test_what_a_statement_concerns(members, matches):
    base = statement("Allow")
    for name in members:
        base.pop(name.removeprefix("Not"), None)
    denial = decide(ask(), Policies(identity=policy({**base, **members})))
    assert (denial is None) is matches


def test_an_unknown_resource_is_allowed_by_any_and_denied_by_all():
    unknown = ask(resource=None)
    narrow = {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:sns:*:*:mine"}
    assert decide(unknown, Policies(identity=policy(narrow))) is None
    assert decide(unknown, Policies(identity=policy(narrow, {**narrow, "Effect": "Deny"}))) is None
    assert decide(unknown, Policies(identity=policy(narrow, statement("Deny", "*")))) == Denial(
        "identity-based policy", explicit=True
    )


def test_a_condition_that_iam_does_not_have_fails_closed():
    odd = {"Condition": {"StringResembles": {"aws:username": "ann"}}}
    assert decide(ask(), Policies(identity=policy(statement("Allow", **odd)))) is not None
    denied = decide(ask(), Policies(identity=policy(statement("Allow"), statement("Deny", **odd))))
    assert denied == Denial("identity-based policy", explicit=True)


def test_services_are_named_as_such():
    trust = policy({"Effect": "Allow", "Principal": {"Service": "backup.amazonaws.com"}, "Action": "sts:AssumeRole"})
    asked = Ask("sts:AssumeRole", ROLE, {}, service="backup.amazonaws.com")
    mandatory = Policies(resource=trust, resource_must_allow=True)
    assert decide(asked, mandatory) is None
    other = Ask("sts:AssumeRole", ROLE, {}, service="ec2.amazonaws.com")
    assert decide(other, mandatory) == Denial("resource-based policy", explicit=False)
    assert decide(ask("sts:AssumeRole", ROLE), mandatory) == Denial("resource-based policy", explicit=False)


@pytest.mark.parametrize(
    ("denial", "words"),
    [
        (Denial("identity-based policy", explicit=True), "with an explicit deny in an identity-based policy"),
        (Denial("resource-based policy", explicit=True), "with an explicit deny in a resource-based policy"),
        (Denial("session policy", explicit=False), "because no session policy allows the s3:GetObject action"),
    ],
)
def test_reasons_are_in_aws_words(denial, words):
    assert denial.reason("s3:GetObject") == words
