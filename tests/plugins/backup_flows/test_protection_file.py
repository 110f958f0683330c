"""protection.yaml is read whole or refused whole: every mistake with file, line and remedy."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from backup_flows.protection_file import PROTECTION_FILE, ProtectionFileError, load_protection, parse_protection

ROOT = Path(__file__).resolve().parents[3]

HEAD = "version: 1\ntables:\n  - name: orders\n    tier: daily\n"


def refusal(text):
    with pytest.raises(ProtectionFileError) as refused:
        parse_protection(text, "p.yaml")
    return refused.value


def test_the_file_of_the_project_is_good_and_protects_the_orders_daily():
    protection = load_protection(ROOT / PROTECTION_FILE)
    assert [entry.label for entry in protection.tables] == ["orders", "tag backup=daily"]
    for entry in protection.tables:
        rule = protection.rule(entry)
        assert (rule.tier, rule.schedule, rule.start_minutes, rule.completion_minutes) == (
            "daily",
            "cron(0 5 ? * * *)",
            60,
            120,
        )
        assert rule.lifecycle == {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 366}


@pytest.mark.parametrize(
    ("text", "line", "place", "remedy"),
    [
        ("tables: []\n", 1, "version", "write `version: 1`"),
        ("version: 2\n" + HEAD[11:], 1, "version", "write `version: 1`"),
        ("version: 1\ntables: []\n", 2, "tables", "at least one table"),
        ("version: 1\n", 1, "tables", "at least one table"),
        (HEAD.replace("daily", "dally"), 4, "tables[0].tier", "12-hourly, daily, weekly or monthly"),
        (HEAD.replace("orders", "orders*"), 3, "tables[0].name", "by `tag`"),
        (HEAD + "    arn: orders\n", 5, "tables[0].arn", "arn:aws:dynamodb"),
        (HEAD + "    tag: {backup: 5}\n", 5, "tables[0].tag.backup", "values in quotes"),
        (HEAD + "    vault: a vault\n", 5, "tables[0].vault", "2 to 50 letters"),
        (HEAD + "    window:\n      start_minutes: 59\n", 6, "tables[0].window.start_minutes", "from 60 on"),
        (HEAD + "    window:\n      start_minutes: 60.5\n", 6, "tables[0].window.start_minutes", "whole minutes"),
        (
            HEAD + "    lifecycle:\n      delete_after_days: 36501\n",
            6,
            "tables[0].lifecycle.delete_after_days",
            "36500",
        ),
        (HEAD + "    proof:\n      depth: deep\n", 6, "tables[0].proof.depth", "`full`, `sampled`, `canary`, `schema`"),
        (HEAD + "    proof:\n      sample_items: 0\n", 6, "tables[0].proof.sample_items", "from 1 on"),
        (HEAD + "    proof:\n      sample_share: 1.5\n", 6, "tables[0].proof.sample_share", "such as 0.01"),
        (HEAD + "    proof:\n      canaries: 101\n", 6, "tables[0].proof.canaries", "from 1 to 100"),
        (HEAD + "    proof:\n      canary_prefix: x\n", 6, "tables[0].proof.canary_prefix", "4 to 100 letters"),
        (HEAD + "    proof: {sample_items: 5, sample_share: 0.1}\n", 5, "tables[0].proof", "either sample_items or"),
        (HEAD + "    proof:\n      deth: full\n", 6, "tables[0].proof.deth", "correct its spelling"),
        (HEAD + "    retention:\n      mode: apply\n", 6, "tables[0].retention.mode", "correct its spelling"),
        (HEAD + "    retention:\n      daily: -2\n", 6, "tables[0].retention.daily", "-1 for all"),
        (HEAD + "    retention:\n      daily: 1.5\n", 6, "tables[0].retention.daily", "whole number"),
        (HEAD + "    retention:\n      within: 5 days\n", 6, "tables[0].retention.within", "such as 1y6m"),
        (HEAD + "    retention:\n      min_age: 5\n", 6, "tables[0].retention.min_age", "such as 1y6m"),
        (HEAD + "    retention:\n      floor: 0\n", 6, "tables[0].retention.floor", "from 1 on"),
        (HEAD + "    retention:\n      min_depth: deep\n", 6, "tables[0].retention.min_depth", "choose full"),
        (HEAD + "    retention:\n      tags: keep\n", 6, "tables[0].retention.tags", "give a list"),
        (HEAD + "    retention:\n      dialy: 5\n", 6, "tables[0].retention.dialy", "correct its spelling"),
        (HEAD + "retention: {mode: delete}\n", 5, "retention.mode", "preview (show only) or apply (delete)"),
        (HEAD + "retention:\n  max_deletions: 0\n", 6, "retention.max_deletions", "from 1 to 500"),
        (HEAD + "tiers:\n  hourly: {}\n", 6, "tiers.hourly", "12-hourly, daily, weekly and monthly"),
        (HEAD + "tiers:\n  daily:\n    schedule: rate(1 day)\n", 6, "tiers.daily", "12-hourly"),
        (HEAD + "  - name: orders\n    tier: weekly\n", 5, "tables[1]", "drop one"),
        (HEAD + "    tier: weekly\n", 5, "tables[0].tier", "keep one of them"),
        (HEAD + "  -\tname: x\n", 5, "", "correct this line"),
    ],
)
def test_a_mistake_is_told_with_file_line_place_and_remedy(text, line, place, remedy):
    error = refusal(text)
    told = next(problem for problem in error.problems if problem.line == line and problem.place == place)
    assert remedy in told.remedy
    assert f"p.yaml:{line}:" in str(error)
    assert f"Remedy: {told.remedy}." in str(error)


def test_a_depth_that_is_not_there_yet_is_refused_by_name():
    assert "proof depth 'metadata' is not available; there is full, sampled, canary, schema" in str(
        refusal(HEAD + "    proof: {depth: metadata}\n")
    )


@pytest.mark.parametrize(
    ("text", "line", "place"),
    [
        (HEAD + "    targets: {rpo_hours: 1}\n", 5, "tables[0].targets"),
        (HEAD + "tiers:\n  daily:\n    targets: {rpo_hours: 1}\n", 7, "tiers.daily.targets"),
        (HEAD + "    retention: {timezone: Mars/Olympus}\n", 5, "tables[0].retention"),
        (
            HEAD + "    retention: {daily: 0, weekly: 0, monthly: 0, tags: [], min_age: 0d}\n",
            5,
            "tables[0].retention",
        ),
        (HEAD + "defaults:\n  targets:\n    rpo_hours: 1\n", 6, "defaults.targets"),
    ],
)
def test_what_does_not_go_together_is_told_where_it_stands(text, line, place):
    (problem,) = refusal(text).problems
    assert (problem.line, problem.place) == (line, place)
    assert "for orders:" in problem.message


def test_all_mistakes_are_told_at_once_in_order_of_lines():
    error = refusal("version: 3\ntables:\n  - tier: never\n    name: x\n    colour: red\n")
    assert [(problem.line, problem.place) for problem in error.problems] == [
        (1, "version"),
        (3, "tables[0].tier"),
        (4, "tables[0].name"),
        (5, "tables[0].colour"),
    ]


@pytest.mark.parametrize("entry", ["tier: daily", "name: orders\n    tag: {a: b}\n    tier: daily"])
def test_an_entry_selects_by_exactly_one_means(entry):
    assert "exactly one of name, arn and tag" in str(refusal(f"version: 1\ntables:\n  - {entry}\n"))


@pytest.mark.parametrize("text", ["", "[]", "just words", "- 1\n- 2\n"])
def test_what_is_no_mapping_is_refused(text):
    assert refusal(text).problems[0].line == 1


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ProtectionFileError, match=r"none\.yaml:1:.*can't be read"):
        load_protection(tmp_path / "none.yaml")


def test_the_error_travels_between_processes():
    error = refusal("version: 3\n")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems) == (str(error), error.problems)


def test_nothing_here_imports_airflow():
    modules = "protection, protection_file, protection_policies, protection_retention, schedules, protected_tables"
    code = f"import sys; from backup_flows import {modules}; print('airflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONPATH": str(ROOT / "plugins")},
    )
    assert done.stdout.strip() == "False"
