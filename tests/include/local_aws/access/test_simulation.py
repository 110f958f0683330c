"""iam:SimulatePrincipalPolicy, as a pre-flight asks it of the role that is handed to AWS Backup."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"


def decisions(iam, arn, *actions, resources=(TABLE,), **members):
    answer = iam.simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=list(actions), ResourceArns=list(resources), **members
    )
    return {
        (result["EvalActionName"], result["EvalResourceName"]): result["EvalDecision"]
        for result in answer["EvaluationResults"]
    }


def test_a_roles_policies_are_asked_for_each_action_and_resource(people):
    arn = people.role(
        "worker",
        {"Effect": "Allow", "Action": "dynamodb:*", "Resource": TABLE},
        {"Effect": "Deny", "Action": "dynamodb:DeleteTable", "Resource": "*"},
    )
    other = TABLE.replace("orders", "other")
    assert decisions(people.iam, arn, "dynamodb:Scan", "dynamodb:DeleteTable", resources=(TABLE, other)) == {
        ("dynamodb:Scan", TABLE): "allowed",
        ("dynamodb:Scan", other): "implicitDeny",
        ("dynamodb:DeleteTable", TABLE): "explicitDeny",
        ("dynamodb:DeleteTable", other): "explicitDeny",
    }


def test_awss_own_managed_policies_count(people):
    arn = people.role("AWSBackup-worker")
    policy = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
    people.iam.attach_role_policy(RoleName="AWSBackup-worker", PolicyArn=policy)
    assert decisions(people.iam, arn, "dynamodb:StartAwsBackupJob", "dynamodb:RestoreTableFromAwsBackup") == {
        ("dynamodb:StartAwsBackupJob", TABLE): "allowed",
        ("dynamodb:RestoreTableFromAwsBackup", TABLE): "implicitDeny",
    }


def test_conditions_are_asked_with_the_given_context(people):
    arn = people.role(
        "worker",
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "*",
            "Condition": {"StringEquals": {"iam:PassedToService": "backup.amazonaws.com"}},
        },
    )
    entry = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string"}
    for service, decision in (("backup.amazonaws.com", "allowed"), ("ec2.amazonaws.com", "implicitDeny")):
        found = decisions(
            people.iam, arn, "iam:PassRole", resources=("*",), ContextEntries=[{**entry, "ContextKeyValues": [service]}]
        )
        assert found == {("iam:PassRole", "*"): decision}


def test_a_user_may_be_asked_about_too(people):
    people.user("worker", {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": "*"})
    arn = people.iam.get_user(UserName="worker")["User"]["Arn"]
    assert decisions(people.iam, arn, "dynamodb:Scan") == {("dynamodb:Scan", TABLE): "allowed"}


@pytest.mark.parametrize(
    ("arn", "code"),
    [("arn:aws:iam::123456789012:role/none", "NoSuchEntity"), ("arn:aws:s3:::some-bucket", "ValidationError")],
)
def test_whoever_is_not_there_can_not_be_asked_about(people, arn, code):
    with pytest.raises(ClientError) as refused:
        decisions(people.iam, arn, "dynamodb:Scan")
    assert refused.value.response["Error"]["Code"] == code


def test_asking_takes_a_right_of_its_own(people, denied):
    arn = people.role("worker")
    nobody = people.assume(people.role("nobody"))("iam")
    with denied("iam:SimulatePrincipalPolicy", code="AccessDenied"):
        decisions(nobody, arn, "dynamodb:Scan")
    asker = people.role("asker", {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": arn})
    assert decisions(people.assume(asker)("iam"), arn, "dynamodb:Scan") == {("dynamodb:Scan", TABLE): "implicitDeny"}
