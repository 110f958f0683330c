"""What a report says in plain words, and to auditors: never more than the drill found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from restore_proof.controls import controls
from restore_proof.report import render_report
from restore_proof.report_words import NOT_LOOKED, duration, label, meaning, moment, story, value


def pack(result: str = "PROVEN", depth: str = "full", *, looked: bool = True, **comparison: Any) -> dict[str, Any]:
    """Return what the words rest on of an evidence pack."""
    counts = {"compared": 1200, "proven": 1200, "missing": 0, "extra": 0, "changed": 0, "unverifiable": 0}
    more = {
        "drifting": False,
        "outcome": "equal",
        "changed_between": 0,
        "unverifiable_ratio": 0.0,
        "max_unverifiable_ratio": 0.05,
        "unequal_buckets": 0,
        "buckets": 4096,
        "keys_named": True,
        "differences": [],
        "differences_total": 0,
    }
    return {
        "version": 2,
        "written_at": "2026-11-03T12:00:00+00:00",
        "drill_id": "0a1b2c3d",
        "requested_by": "admin",
        "verdict": {
            "result": result,
            "depth": depth,
            "label": result,
            "as_of": "2026-11-03",
            "table_name": "orders",
            "restored_table_name": "orders-restored-20261103-0a1b2c3d",
            "recovery_point_arn": "arn:aws:backup:eu-central-1:111122223333:recovery-point:1f2c",
            "decided_at": "2026-11-03T11:54:12+00:00",
            "run": "dag/run",
            "reasons": ["because"],
            "blind_to": "x",
        },
        "backup": {"created_at": "2026-11-03T09:12:44+00:00"},
        "restore": {},
        "phases": [
            {
                "name": "restore",
                "started_at": "2026-11-03T11:20:00+00:00",
                "ended_at": "2026-11-03T11:51:30+00:00",
                "seconds": 1890.0,
            }
        ]
        if looked
        else [],
        "seconds_total": 1890.0 if looked else None,
        "figures": {},
        "fingerprints": {},
        "comparison": {**counts, **more, **comparison} if looked else None,
        "diff_file": "diff.jsonl",
        "settings": None,
        "versions": {},
        "cost": None,
        "position": 1,
        "previous_sha256": None,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pack(), "Every item was compared, 1,200 in all. 1,200 came back exactly as they were"),
        (pack(depth="sampled"), "A random sample of 1,200 items was compared."),
        (pack(depth="canary"), "1,200 items that had been written for this purpose were compared."),
        (pack(depth="schema"), "Keys, indexes and settings were compared, and no item."),
        (pack("PROVEN_DRIFTING", drifting=True, unverifiable=7), "7 items changed meanwhile"),
        (
            pack("PROVEN_DRIFTING", drifting=True, proven=1100, absent_deleted=98, absent_added=2),
            "100 are absent from the restored table: 98 that were deleted meanwhile and 2 that were added.",
        ),
        (pack("FAILED", missing=3, extra=1), "Of the items, 3 did not come back, 1 should not be there."),
        (pack("FAILED", changed=1000), "1,000 came back otherwise than they were"),
        (pack("FAILED", compared=None, proven=None), "The contents were compared as a whole."),
        (pack("FAILED", looked=False), "No restored data was held against what the table held."),
    ],
)
def test_what_was_found(given: dict[str, Any], said: str) -> None:
    assert said in " ".join(story(given))


def test_nothing_is_said_of_absent_items_where_there_are_none_or_nobody_counted_them() -> None:
    for counts in ({}, {"absent_deleted": 0, "absent_added": 0}, {"absent_deleted": None, "absent_added": None}):
        given = pack("PROVEN_DRIFTING", drifting=True, **counts)
        assert "absent" not in " ".join(story(given))
        assert "Items compared" in render_report(given, "0" * 64)


def test_a_failure_is_never_told_as_items_that_came_back() -> None:
    for counts in ({"missing": 1}, {"extra": 1}, {"changed": 1}):
        assert "exactly as they were" not in " ".join(story(pack("FAILED", **counts)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pack(), "is right."),
        (pack("PROVEN_DRIFTING"), "as far as it can be known"),
        (pack("UNPROVEN"), "not proven either"),
        (pack("FAILED"), "Do not rely on this recovery point"),
        (pack("FAILED", looked=False), NOT_LOOKED),
    ],
)
def test_what_it_means(given: dict[str, Any], said: str) -> None:
    assert said in meaning(given)


class TestControls:
    def test_each_is_named_with_what_it_shows_and_what_it_does_not(self) -> None:
        found = controls(pack())
        assert [each.name for each in found] == ["SOC 2, A1.3", "ISO/IEC 27001:2022, A.8.13", "DORA, article 12"]
        assert all(each.asks and each.shows and each.lacks for each in found)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (pack(), "It was restored, and proven right."),
            (pack(depth="sampled"), "as far as a proof of depth 'sampled' sees"),
            (pack("UNPROVEN"), "not a successful one"),
            (pack("FAILED", missing=1), "not a successful recovery"),
            (pack("FAILED", looked=False), "broke off before the data was compared"),
        ],
    )
    def test_the_outcome_is_that_of_the_drill(self, given: dict[str, Any], said: str) -> None:
        soc, iso, _ = controls(given)
        assert said in soc.shows
        assert said in iso.shows

    @pytest.mark.parametrize("result", ["FAILED", "UNPROVEN"])
    def test_nothing_unproven_is_called_proven(self, result: str) -> None:
        for given in (pack(result), pack(result, looked=False)):
            assert all("proven right" not in each.shows for each in controls(given))

    def test_integrity_and_time_are_claimed_only_where_they_were_looked_at(self) -> None:
        assert "1,200 restored items were held" in controls(pack())[2].shows
        assert "The restore took 31 min 30 s" in controls(pack())[2].shows
        broken_off = controls(pack("FAILED", looked=False))[2].shows
        assert broken_off == (
            "The integrity of the restored data was not checked. How long a restore takes was not measured."
        )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (42.54, "42.5 s"), (60, "1 min"), (1890, "31 min 30 s"), (90061, "1 d 1 h 1 min 1 s")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
    assert duration(-seconds) == (f"-{said}" if seconds else "0.0 s")


def test_moments_are_utc_to_the_second() -> None:
    assert moment("2026-11-03T10:12:44.120000+01:00") == "2026-11-03 09:12:44 UTC"
    assert moment("2026-11-03") == "2026-11-03"
    assert moment("orders") == "orders"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (True, "yes"),
        (False, "no"),
        (1234567, "1,234,567"),
        (0.000152, "0.000152"),
        (12.5, "12.5"),
        (["a", 2], "a, 2"),
        ("", "–"),  # noqa: RUF001
        (None, "–"),  # noqa: RUF001
    ],
)
def test_values(content: object, said: str) -> None:
    assert value(content) == said


def test_labels() -> None:
    assert [label(name) for name in ("completion_date", "table_arn", "total_usd")] == [
        "completion date",
        "table ARN",
        "total USD",
    ]


class TestCostOnThePage:
    COST = {
        "region": "eu-central-1",
        "total_usd": 0.1255,
        "parts": [{"what": "restored <data>", "amount": 0.684, "unit": "GB", "usd": 0.1255}],
    }

    def test_a_plain_reckoning(self) -> None:
        page = render_report(pack() | {"cost": self.COST}, "0" * 64)
        assert "<dd>0.1255 USD</dd>" in page
        assert "restored &lt;data&gt;" in page
        assert "<td>0.684</td>" in page

    def test_estimate_and_actual(self) -> None:
        cost = {"estimated": self.COST | {"total_usd": 0.2}, "actual": self.COST}
        page = render_report(pack() | {"cost": cost}, "0" * 64)
        assert "<dd>0.1255 USD</dd>" in page
        assert page.index("<h3>estimated</h3>") < page.index("<h3>actual</h3>")

    @pytest.mark.parametrize(
        "cost", [{}, {"note": None}, {"parts": []}, {"actual": {}}, {"total_usd": "?"}, {"x": [1]}]
    )
    def test_whatever_is_in_it_makes_a_page(self, cost: dict[str, Any]) -> None:
        page = render_report(pack() | {"cost": json.loads(json.dumps(cost))}, "0" * 64)
        assert "cost, reckoned" not in page
        assert "</html>" in page
