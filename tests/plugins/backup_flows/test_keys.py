from __future__ import annotations

import pytest

from backup_flows import keys

ADVANCED = "arn:aws:backup:us-east-1:123456789012:recovery-point:1A2B-3C"
PLAIN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/backup/01575-9af1"


@pytest.mark.parametrize(
    ("made", "key"),
    [
        (keys.staged_key("2026-11-01"), "staging/orders/as_of=2026-11-01/order_data.csv"),
        (keys.rejects_key("2026-11-01", "0a1b2c3d"), "rejects/orders/as_of=2026-11-01/0a1b2c3d.jsonl"),
        (keys.intent_prefix("abc-0"), "intents/abc-0/"),
        (
            keys.restore_record_key("orders-restored-20261101-0a1b2c3d"),
            "restores/orders-restored-20261101-0a1b2c3d.json",
        ),
        (keys.recovery_point_prefix("orders", ADVANCED), "recovery-points/orders/1A2B-3C/"),
        (keys.settings_key("orders", PLAIN), "recovery-points/orders/01575-9af1/settings.json"),
        (keys.verdict_key("orders", PLAIN), "recovery-points/orders/01575-9af1/verdict.json"),
        (
            keys.drill_verdict_key("orders", PLAIN, "2026-11-01", "0a1b"),
            "recovery-points/orders/01575-9af1/verdicts/2026-11-01-0a1b.json",
        ),
        (keys.evidence_prefix("orders", "2026-11-01", "0a1b"), "evidence/orders/2026-11-01-0a1b/"),
    ],
)
def test_where_things_lie(made: str, key: str):
    assert made == key


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a b", "ä", "a\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str):
    with pytest.raises(keys.StateKeyError):
        keys.staged_key(name)
    with pytest.raises(keys.StateKeyError):
        keys.evidence_prefix("orders", "2026-11-01", name)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
        "arn:aws:ec2:us-east-1::snapshot/snap-1",
        "arn:aws:backup:us-east-1:123456789012:recovery-point:a/b",
        "1A2B-3C",
        "",
    ],
)
def test_what_is_no_recovery_point_of_a_table_is_refused_by_name(arn: str):
    with pytest.raises(keys.StateKeyError) as refused:
        keys.recovery_point_id(arn)
    assert repr(arn) in str(refused.value)
