"""What an entry of protection.yaml comes to, and which tables it selects."""

from __future__ import annotations

import datetime as dt
import itertools
import json

import pytest

from backup_flows.protection import PERIODS, SCHEDULES, Protection, ProtectionRuleError, Table
from backup_flows.protection_proof import ProofSettings
from dynamodb_bulk.samples import SampleSize
from restore_proof.verdict import Depth

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/"


def protection(*tables, **others):
    return Protection.model_validate({"version": 1, "tables": list(tables), **others})


def only_rule(*, defaults=None, tier=None, **entry):
    described = protection(
        {"name": "orders", "tier": "daily", **entry}, defaults=defaults or {}, tiers={"daily": tier or {}}
    )
    return described.rule(described.tables[0])


def table(name, **tags):
    return Table(name, ARN + name, tags)


def test_the_built_in_rule_is_that_of_a_daily_backup():
    rule = only_rule()
    assert rule.schedule == "cron(0 5 ? * * *)"
    assert rule.timezone == "Etc/UTC"
    assert (rule.start_minutes, rule.completion_minutes) == (60, 120)
    assert rule.lifecycle == {"DeleteAfterDays": 366}
    assert rule.rpo == dt.timedelta(hours=27)
    assert rule.rto == dt.timedelta(hours=4)
    assert rule.depth == "full"
    assert rule.vault is None
    assert rule.vault_or("of-the-stack") == "of-the-stack"


def test_the_more_particular_layer_wins_field_by_field():
    rule = only_rule(
        defaults={"vault": "first", "window": {"start_minutes": 90, "completion_minutes": 300}},
        tier={"vault": "second", "window": {"completion_minutes": 400}, "lifecycle": {"cold_after_days": 31}},
        lifecycle={"delete_after_days": 200},
        targets={"rpo_hours": 30},
    )
    assert rule.vault == "second"
    assert (rule.start_minutes, rule.completion_minutes) == (90, 400)
    assert rule.lifecycle == {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 200}
    assert rule.rpo == dt.timedelta(hours=30)
    assert only_rule(tier={"lifecycle": {"cold_after_days": 31}}, lifecycle={"cold_after_days": None}).lifecycle == {
        "DeleteAfterDays": 366
    }


def test_a_tier_may_have_a_schedule_and_time_zone_of_its_own():
    rule = only_rule(tier={"schedule": "cron(30 2 ? * * *)", "timezone": "Europe/Berlin"})
    (instant,) = rule.instants(
        dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 2, tzinfo=dt.UTC),
    )
    assert instant == dt.datetime(2026, 11, 1, 1, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize("tier", sorted(SCHEDULES))
def test_no_gap_of_a_tier_is_longer_than_its_period(tier):
    described = protection({"name": "orders", "tier": tier})
    rule = described.rule(described.tables[0])
    instants = rule.instants(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 3, 1, tzinfo=dt.UTC))
    gaps = {later - earlier for earlier, later in itertools.pairwise(instants)}
    assert max(gaps) == PERIODS[tier]
    assert rule.rpo == PERIODS[tier] + dt.timedelta(hours=3)


@pytest.mark.parametrize(
    ("entry", "section", "words"),
    [
        ({"window": {"start_minutes": 90}}, "window", "at least 150"),
        ({"lifecycle": {"cold_after_days": 31, "delete_after_days": 120}}, "lifecycle", "at least 121"),
        ({"lifecycle": {"delete_after_days": 1}}, "lifecycle", "more than 1"),
        ({"targets": {"rpo_hours": 23.5}}, "targets", "every 24 hours"),
    ],
)
def test_what_does_not_go_together_is_refused_by_section(entry, section, words):
    with pytest.raises(ProtectionRuleError, match=words) as refused:
        only_rule(**entry)
    assert refused.value.section == section


@pytest.mark.parametrize(
    "entry",
    [
        {"window": {"completion_minutes": 121, "start_minutes": 61}},
        {"lifecycle": {"cold_after_days": 31, "delete_after_days": 121}},
        {"lifecycle": {"delete_after_days": 2}},
        {"targets": {"rpo_hours": 24}},
    ],
)
def test_the_limits_themselves_are_allowed(entry):
    assert only_rule(**entry).tier == "daily"


def test_tables_are_selected_by_the_most_particular_entry():
    described = protection(
        {"tag": {"backup": "daily"}, "tier": "daily"},
        {"tag": {"backup": "daily", "team": "sales"}, "tier": "weekly"},
        {"tag": {"team": "sales"}, "tier": "monthly"},
        {"arn": f"{ARN}orders", "tier": "12-hourly"},
        {"name": "stock", "tier": "weekly"},
    )
    tables = [
        table("stock", backup="daily"),
        table("orders", backup="daily", team="sales"),
        table("leads", team="sales"),
        table("both", backup="daily", team="sales"),
        table("other", backup="weekly"),
        table("orders2"),
    ]
    chosen = {found.name: (found.rule.tier, found.selected_by, found.entry) for found in described.select(tables)}
    assert chosen == {
        "both": ("daily", "tag", "tag backup=daily"),
        "leads": ("monthly", "tag", "tag team=sales"),
        "orders": ("12-hourly", "arn", f"{ARN}orders"),
        "stock": ("weekly", "name", "stock"),
    }


def test_entries_whose_table_is_not_there_are_told():
    described = protection(
        {"name": "orders", "tier": "daily"},
        {"arn": f"{ARN}gone", "tier": "daily"},
        {"tag": {"a": "b"}, "tier": "daily"},
    )
    assert [entry.label for entry in described.unmatched([table("orders")])] == [f"{ARN}gone"]


class TestProof:
    def test_the_built_in_depth_is_full(self):
        assert only_rule().proof == ProofSettings()
        assert only_rule().depth is Depth.FULL

    def test_the_more_particular_word_for_the_size_of_a_sample_wins(self):
        rule = only_rule(defaults={"proof": {"depth": "sampled", "sample_share": 0.1}}, proof={"sample_items": 77})
        assert rule.proof.sample_size == SampleSize(items=77)
        rule = only_rule(
            defaults={"proof": {"depth": "sampled", "sample_items": 77}}, tier={"proof": {"sample_share": 0.1}}
        )
        assert (rule.depth, rule.proof.sample_size) == (Depth.SAMPLED, SampleSize(share=0.1))

    def test_an_empty_value_takes_the_built_in_one_back(self):
        rule = only_rule(
            defaults={"proof": {"depth": "canary", "canaries": 3, "canary_prefix": "mine"}}, proof={"canaries": None}
        )
        assert (rule.proof.canaries, rule.proof.canary_prefix) == (8, "mine")

    @pytest.mark.parametrize("settings", [ProofSettings(), ProofSettings(Depth.SAMPLED, 5, 0.5, 3, "mine")])
    def test_settings_travel_as_json(self, settings):
        assert ProofSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
        assert ProofSettings.from_dict(None) == ProofSettings()

    @pytest.mark.parametrize("depth", ["sampled", "canary", "schema"])
    def test_proofs_as_deep_as_asked_for_count_where_nothing_else_is_said(self, depth):
        assert only_rule(proof={"depth": depth}).keep.min_depth is Depth(depth)
        assert only_rule(proof={"depth": depth}, retention={"min_depth": "schema"}).keep.min_depth is Depth.SCHEMA

    def test_a_depth_that_no_proof_will_have_is_refused(self):
        with pytest.raises(ProtectionRuleError, match="Give min_depth sampled, or a deeper proof"):
            only_rule(proof={"depth": "sampled"}, retention={"min_depth": "full"})
