"""The guide to real AWS names each statement that the template grants Airflow's roles, and no other."""

from __future__ import annotations

import re

import pytest
from cfnlint.decode import decode

from stack_environment import PROJECT

GUIDE = PROJECT / "docs" / "real-aws.md"


@pytest.fixture(scope="module")
def resources():
    template, _ = decode(str(PROJECT / "include" / "cloudformation" / "orders_backup.yaml"))
    return template["Resources"]


def documented(heading):
    """Return the statements named in the first column of the table under a heading."""
    section = GUIDE.read_text(encoding="utf-8").split(f"### {heading}", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_operator(resources):
    granted = resources["OperatorPermissions"]["Properties"]["PolicyDocument"]["Statement"]
    assert sorted(documented("The operator")) == sorted(statement["Sid"] for statement in granted)


def test_retention_role(resources):
    (policy,) = resources["RetentionRole"]["Properties"]["Policies"]
    granted = policy["PolicyDocument"]["Statement"]
    assert sorted(documented("The retention role")) == sorted(statement["Sid"] for statement in granted)


@pytest.mark.parametrize("name", ["OperatorPermissions", "DeveloperPermissions", "DenyBackupDeletion"])
def test_no_action_is_listed_twice(resources, name):
    for statement in resources[name]["Properties"]["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        assert isinstance(actions, str) or len(set(actions)) == len(actions), statement["Sid"]
