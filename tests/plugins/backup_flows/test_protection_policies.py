"""The policies that protection.yaml comes to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backup_flows.protection import BUILT_IN_KEEP, Table
from backup_flows.protection_file import PROTECTION_FILE, load_protection, parse_protection
from backup_flows.protection_policies import keep_policies, named_policies, read_any_policies
from recovery_retention.documents import DocumentError
from recovery_retention.durations import Duration

ROOT = Path(__file__).resolve().parents[3]
TEXT = """\
version: 1
defaults:
  retention: {daily: 7, floor: 5, within: 3d}
tiers:
  weekly:
    retention: {weekly: 52}
tables:
  - name: orders
    tier: weekly
    retention: {daily: 0, floor: null, tags: [gold]}
  - tag: {team: stock}
    tier: daily
    retention: {last: -1}
  - arn: arn:aws:dynamodb:us-east-1:123456789012:table/parcels
    tier: daily
"""


def table(name: str, **tags: str) -> Table:
    return Table(name, f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}", tags)


def test_the_later_wins_field_by_field_and_null_brings_the_built_in_back() -> None:
    keep = keep_policies(parse_protection(TEXT), [table("orders"), table("bins", team="stock"), table("parcels")])
    orders = keep.of("orders")
    assert (orders.daily, orders.weekly, orders.floor, orders.within) == (0, 52, BUILT_IN_KEEP.floor, Duration(days=3))
    assert orders.tags == ("gold",)
    assert (keep.of("bins").last, keep.of("bins").daily) == (-1, 7)
    assert keep.of("parcels") == keep.default


def test_a_table_that_no_entry_fits_goes_by_the_defaults() -> None:
    keep = keep_policies(parse_protection(TEXT), [table("orders")])
    assert (keep.of("dropped").daily, keep.of("dropped").floor, keep.of("dropped").weekly) == (7, 5, 12)


def test_without_aws_the_named_tables_are_known() -> None:
    keep = named_policies(parse_protection(TEXT))
    assert set(keep.tables) == {"orders", "parcels"}
    assert keep.of("orders").weekly == 52


def test_the_file_of_the_project_only_previews_and_says_what_is_built_in() -> None:
    protection = load_protection(ROOT / PROTECTION_FILE)
    assert protection.retention.mode == "preview"
    assert protection.default_keep() == BUILT_IN_KEEP


def test_the_built_in_rules_agree_with_the_built_in_lifecycle() -> None:
    protection = parse_protection("version: 1\ntables:\n  - name: orders\n    tier: daily\n")
    rule = protection.rule(protection.tables[0])
    assert max(rule.keep.daily, 7 * rule.keep.weekly, 31 * rule.keep.monthly) <= rule.delete_after_days


def test_a_file_of_policies_alone_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("daily: 3\n")
    assert read_any_policies(path).default.daily == 3
    path.write_text(TEXT)
    assert read_any_policies(path).of("orders").weekly == 52


@pytest.mark.parametrize(("text", "message"), [("version: 2\n", r":1: version:"), ("dialy: 3\n", "dialy: not known")])
def test_a_mistake_is_told_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError, match=message) as refused:
        read_any_policies(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="can't be read"):
        read_any_policies(tmp_path / "none.yaml")


def test_the_command_takes_the_file_of_the_project(tmp_path: Path) -> None:
    points = tmp_path / "points.json"
    points.write_text(
        '{"RecoveryPoints": [{"RecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:a", "Status": '
        '"COMPLETED", "CreationDate": "2026-11-01T05:00:00Z", "Managed": true, "ResourceArn": '
        '"arn:aws:dynamodb:us-east-1:123456789012:table/orders"}]}'
    )
    done = subprocess.run(
        [
            sys.executable, "-m", "recovery_retention", "plan", "--policy", str(ROOT / PROTECTION_FILE),
            "--points", str(points), "--now", "2026-11-30T12:00:00+00:00",
        ],
        capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(ROOT / "plugins")},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "keep  orders  2026-11-01 05:00  a               daily weekly monthly floor" in done.stdout
    assert "0 to delete, 0 blocked, 1 kept." in done.stdout
