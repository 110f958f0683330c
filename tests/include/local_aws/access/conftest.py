"""IAM users and roles for tests of what they may do, on an AWS that enforces it."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_aws import control

ACCOUNT = "123456789012"
REGION = "us-east-1"
Statements = dict[str, Any] | list[dict[str, Any]]


def document(statements: Statements) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@dataclass
class People:
    """Makes users and roles as the account's root user, and clients that call as them."""

    endpoint_url: str | None
    iam: Any
    sts: Any

    def client(self, service: str, key: str, secret: str, token: str | None = None) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def user(self, name: str, *statements: dict[str, Any]) -> Callable[[str], Any]:
        """Make a user with an inline policy; returns what makes clients that call as it."""
        self.iam.create_user(UserName=name)
        if statements:
            self.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(list(statements)))
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return lambda service: self.client(service, key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, name: str, *statements: dict[str, Any], trust: dict[str, Any] | None = None, **members: Any) -> str:
        """Make a role with an inline policy, assumable by the whole account unless `trust` says who."""
        principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        trusted = trust or {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trusted), **members)
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(list(statements)))
        return str(made["Role"]["Arn"])

    def assume(self, role_arn: str, sts: Any = None, **members: Any) -> Callable[[str], Any]:
        """Assume a role, by default as the root user; returns what makes clients that call as it."""
        answer = (sts or self.sts).assume_role(RoleArn=role_arn, RoleSessionName="session", **members)
        keys = answer["Credentials"]
        return lambda service: self.client(service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


class Denied(Protocol):
    def __call__(self, text: str = "", code: str = "AccessDeniedException") -> AbstractContextManager[None]: ...


@pytest.fixture
def denied() -> Denied:
    """Expect the calls in a `with` block to be denied, with that text in the message."""

    @contextmanager
    def expect(text: str = "", code: str = "AccessDeniedException") -> Iterator[None]:
        with pytest.raises(ClientError) as raised:
            yield
        assert raised.value.response["Error"]["Code"] == code
        assert text in raised.value.response["Error"]["Message"]

    return expect


@pytest.fixture
def people(aws: Any, clients: Callable[..., Any], endpoint_url: str | None) -> People:
    """Users and roles of an AWS that enforces IAM; it has the orders table, a vault, and a role for AWS Backup."""
    control.configure(enforce_iam=True)
    made = People(endpoint_url, clients("iam"), clients("sts"))
    trust = {"Effect": "Allow", "Principal": {"Service": "backup.amazonaws.com"}, "Action": "sts:AssumeRole"}
    name = aws.role.rpartition("/")[2]
    made.role(name, trust=trust, Path="/service-role/")
    for purpose in ("Backup", "Restores"):
        policy = f"arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyFor{purpose}"
        made.iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    return made
