"""The policy language: read whole, or refused with the field and a remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recovery_retention.durations import Duration
from recovery_retention.plan import PolicyError
from recovery_retention.policy import KeepPolicy, PolicySet
from restore_proof.verdict import Depth

EVERYTHING = {
    "last": 3, "hourly": 24, "daily": -1, "weekly": 5, "monthly": 12, "yearly": 7,
    "within": "7d", "within_hourly": "1d", "within_daily": "1m", "within_weekly": "3m", "within_monthly": "1y",
    "within_yearly": "10y", "tags": ["keep", "team=orders,quarter"], "keep_proven": 2, "min_depth": "sampled",
    "floor": 4, "min_age": "12h", "timezone": "Europe/Berlin", "manage": "all", "prove_first": False,
    "prove_ahead": "9d", "max_proof_attempts": 5,
}  # fmt: skip


def test_it_is_written_as_it_is_read() -> None:
    policy = KeepPolicy.from_dict(EVERYTHING)
    assert json.loads(json.dumps(policy.to_dict())) == EVERYTHING
    assert (policy.min_depth, policy.min_age, policy.zone.key) == (Depth.SAMPLED, Duration(hours=12), "Europe/Berlin")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_proven": 0}, "keep_proven must be 1 or more, not 0"),
        ({"floor": 0}, "floor must be 1 or more"),
        ({"floor": -1}, "floor must be 1 or more"),
        ({"max_proof_attempts": 0}, "max_proof_attempts must be 1"),
        ({"timezone": "Mars/Olympus"}, "IANA name"),
        ({"timezone": "../etc/passwd"}, "IANA name"),
        ({"timezone": 5}, "timezone: 5 is not str"),
        ({"manage": "none"}, "manage must be ours or all"),
        ({"daily": "5"}, "daily: '5' is not a whole number"),
        ({"daily": True}, "daily: True is not a whole number"),
        ({"daily": None}, "daily: None"),
        ({"within": "5 days"}, "within: '5 days' is not a duration"),
        ({"min_age": 5}, "min_age: 5 is not a duration"),
        ({"min_depth": "deep"}, "min_depth"),
        ({"tags": "keep"}, "not a list"),
        ({"tags": ["a,,b"]}, "empty tag"),
        ({"dialy": 5}, "dialy: not known in a policy"),
        ({"prove_first": 1}, "prove_first: 1 is not bool"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message.replace("(", r"\(")):
        KeepPolicy.from_dict({"last": 1} | changes)


@pytest.mark.parametrize("document", [{}, {"floor": 3}, {"daily": 0, "within": "0d"}, {"tags": []}])
def test_a_policy_without_a_keep_rule_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=r"no keep rule.*last: -1 keeps everything"):
        KeepPolicy.from_dict(document)


def test_a_table_has_its_own_or_the_default() -> None:
    policies = PolicySet(KeepPolicy(last=1), {"orders": KeepPolicy(last=2)})
    assert (policies.of("orders").last, policies.of("stock").last) == (2, 1)
