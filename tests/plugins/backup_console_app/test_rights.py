"""The policy that docs/console.md gives lets every page be shown, and lets nothing be changed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from backup_flows.protection_file import parse_protection
from local_aws import control

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    "/tables",
    "/tables/orders",
    "/jobs",
    "/findings",
    "/evidence/orders/2026-11-20-0a1b2c3d/pack.json",
]


def documented_policy(bucket):
    text = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    return block.replace("BUCKET", bucket)


@pytest.fixture
def reader(account):
    """The account with something on every page, seen by a user who has the documented policy and no other."""
    account.make_table("tagged", backup="daily")
    account.protection = parse_protection(
        "version: 1\ntables:\n  - {name: orders, tier: daily}\n  - {tag: {backup: daily}, tier: daily}\n"
    )
    arn = account.clients("dynamodb").describe_table(TableName="orders")["Table"]["TableArn"]
    account.drill("orders", account.back_up(arn))
    iam = account.clients("iam")
    iam.create_user(UserName="console")
    iam.put_user_policy(UserName="console", PolicyName="read", PolicyDocument=documented_policy("proofs"))
    key = iam.create_access_key(UserName="console")["AccessKey"]
    session = boto3.Session(
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"], region_name="us-east-1"
    )
    made = {}

    def clients(service):
        if service not in made:
            made[service] = session.client(service)
        return made[service]

    control.configure(enforce_iam=True)
    return replace(account, clients=clients)


@pytest.mark.parametrize("path", PAGES)
def test_it_lets_every_page_be_shown(reader, path):
    answer = reader.browser().get(path)
    assert answer.status_code == 200
    assert "Not allowed" not in answer.text
    assert "not all is known" not in answer.text
    assert ("tagged" in answer.text) or path != "/tables"


def test_it_lets_nothing_be_changed(reader):
    for action in json.loads(documented_policy("proofs"))["Statement"][0]["Action"]:
        assert re.match(r"[a-z0-9]+:(Describe|List|Get)", action), action
    with pytest.raises(ClientError) as refused:
        reader.clients("s3").put_object(Bucket="proofs", Key="evidence/x", Body=b"")
    assert refused.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}


# What else it allows is asked by Airflow's side, before the pages.
ASKED = set(json.loads(documented_policy("proofs"))["Statement"][0]["Action"]) - {"cloudformation:DescribeStacks"}


@pytest.mark.parametrize("action", sorted(ASKED))
def test_a_right_that_is_missing_is_told(account, reader, action):
    policy = json.loads(documented_policy("proofs"))
    policy["Statement"][0]["Action"].remove(action)
    account.clients("iam").put_user_policy(UserName="console", PolicyName="read", PolicyDocument=json.dumps(policy))
    told = [reader.browser().get(path).text for path in ("/tables", "/tables/orders", "/jobs")]
    assert any(f"Not allowed: {action.partition(':')[2]}" in text for text in told)
