from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup_flows.principals import (
    UnknownPrincipalError,
    is_denied,
    is_role,
    principal_arn,
    role_clients,
    session_role_name,
)
from local_aws import control

SESSION = "arn:aws:sts::123456789012:assumed-role/deployer/ann"
ROLE = "arn:aws:iam::123456789012:role/team/deployer"
DENY_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})


def sts(arn: str) -> Any:
    return SimpleNamespace(get_caller_identity=lambda: {"Arn": arn})


def iam(error: str | None = None) -> Any:
    def get_role(RoleName: str) -> dict[str, Any]:
        if error:
            raise ClientError({"Error": {"Code": error, "Message": "no"}}, "GetRole")
        assert RoleName == "deployer"
        return {"Role": {"Arn": ROLE}}

    return SimpleNamespace(get_role=get_role)


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root"),
        ("arn:aws:iam::123456789012:user/ann", "arn:aws:iam::123456789012:user/ann"),
        (SESSION, ROLE),
    ],
)
def test_policies_know_a_session_by_its_role(caller: str, principal: str):
    assert principal_arn(sts(caller), iam()) == principal


def test_a_role_that_may_not_look_at_itself_has_to_be_named():
    with pytest.raises(UnknownPrincipalError, match=r"assumed-role/deployer/ann.*DeployPrincipalArn"):
        principal_arn(sts(SESSION), iam("AccessDenied"))


def test_a_session_is_of_one_role_of_one_account():
    assert session_role_name(SESSION) == "deployer"
    assert session_role_name("arn:aws:iam::123456789012:user/assumed-role") is None
    assert is_role(SESSION, ROLE)
    assert not is_role(SESSION, ROLE.replace("deployer", "other"))
    assert not is_role(SESSION, ROLE.replace("123456789012", "210987654321"))
    assert not is_role("arn:aws:iam::123456789012:root", ROLE)


@pytest.mark.parametrize(
    ("code", "denied"),
    [
        ("AccessDenied", True),
        ("AccessDeniedException", True),
        ("ResourceNotFoundException", False),
        ("InvalidRequestException", False),
        ("UnrecognizedClientException", False),
    ],
)
def test_only_a_refusal_by_policy_counts_as_one(code: str, denied: bool):
    assert is_denied(ClientError({"Error": {"Code": code}}, "Call")) is denied


def test_a_role_is_taken_on_and_its_session_can_be_narrowed(flow):
    control.configure(enforce_iam=True)
    developer = role_clients(flow.clients, flow.resources["developer_role_arn"], session_name="trial")
    assert (
        developer("sts").get_caller_identity()["Arn"].endswith(":assumed-role/orders-backup-developer-us-east-1/trial")
    )
    assert developer("backup").list_backup_vaults()["BackupVaultList"]
    nothing = role_clients(flow.clients, flow.resources["developer_role_arn"], session_name="trial", policy=DENY_ALL)
    with pytest.raises(ClientError) as refused:
        nothing("backup").list_backup_vaults()
    assert is_denied(refused.value)
