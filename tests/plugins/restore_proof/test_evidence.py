"""Evidence packs: what they say, their schema, their chain, and the page."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest

from dynamodb_bulk.compare import Comparison, Manifests, judge
from dynamodb_bulk.fingerprint import Fingerprint, FingerprintBuilder, ManifestEntry, ManifestWriter
from restore_proof.evidence import (
    DIFFERENCE_CAP,
    Drill,
    Evidence,
    EvidenceFormatError,
    Link,
    Phase,
    make_evidence,
    pack_schema,
    pack_sha256,
    read_pack,
)
from restore_proof.report import render_report
from restore_proof.settings import DifferenceClass, SettingDifference, SettingsComparison
from restore_proof.verdict import Depth, Result, Subject, Verdict, verdict_from_comparison

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
EVIL = "<script>alert(\"1\")</script><img src='http://x/y'>&amp;"


def phase(name: str, start: float, seconds: float) -> Phase:
    began = NOW + dt.timedelta(seconds=start)
    return Phase(name, began, began + dt.timedelta(seconds=seconds))


def drill(**changes: Any) -> Drill:
    fields: dict[str, Any] = {
        "drill_id": "0a1b2c3d",
        "requested_by": "admin",
        "backup": {"job_id": "b-1", "size_bytes": 12, "completed_at": NOW.isoformat()},
        "restore": {"job_id": "r-1"},
        "phases": [phase("back up", 0, 10), phase("restore", 12, 30.5)],
        "versions": {"boto3": "1.2.3"},
    }
    return Drill(**fields | changes)


def taken(keys: list[str]) -> tuple[Fingerprint, bytes]:
    builder, sink = FingerprintBuilder(["id"]), io.BytesIO()
    with ManifestWriter(sink, ["id"]) as writer:
        for key in keys:
            bucket, digest = builder.add({"id": {"S": key}})
            writer.add(ManifestEntry(bucket, json.dumps({"id": {"S": key}}), digest))
    return builder.build(), sink.getvalue()


def compared(before: list[str], restored: list[str]) -> tuple[Comparison, dict[str, Fingerprint]]:
    (one, one_data), (other, other_data) = taken(before), taken(restored)
    manifests = Manifests(before=lambda: io.BytesIO(one_data), restored=lambda: io.BytesIO(other_data))
    comparison = judge(one, one, other, manifests=manifests, list_cap=1000)
    return comparison, {"before": one, "after": one, "restored": other}


def subject(table: str = "orders") -> Subject:
    return Subject(
        recovery_point_arn="arn:aws:backup:us-east-1:123456789012:recovery-point:0f1e",
        table_name=table,
        restored_table_name=f"{table}-restored-20261103-0a1b2c3d",
        as_of="2026-11-03",
        run="orders_backup_restore/manual__1",
    )


FIRST = Link("0" * 64, "evidence/orders/2026-11-02-0a1b2c3d/pack.json", 1)


def proven(previous: Link | None = None, **changes: Any) -> Evidence:
    comparison, fingerprints = compared(["a", "b"], ["b", "a"])
    return make_evidence(
        verdict_from_comparison(comparison, subject(), decided_at=NOW),
        drill(**changes),
        written_at=NOW,
        comparison=comparison,
        fingerprints=fingerprints,
        settings=SettingsComparison((), {}),
        previous=previous,
    )


def failed(count: int = 3, name: str = "k") -> Evidence:
    comparison, fingerprints = compared([f"{name}{number}" for number in range(count)], [])
    settings = SettingsComparison(
        (SettingDifference("tags", DifferenceClass.REPAIRABLE, {"a": EVIL}, {}, "remark"),),
        {"time_to_live": "AccessDeniedException"},
    )
    return make_evidence(
        verdict_from_comparison(comparison, subject(), decided_at=NOW),
        drill(),
        written_at=NOW,
        comparison=comparison,
        fingerprints=fingerprints,
        settings=settings,
        previous=FIRST,
        diff_sha256="1" * 64,
    )


def crashed() -> Evidence:
    verdict = Verdict(subject(), Result.FAILED, Depth.FULL, ("crashed",), NOW)
    return make_evidence(verdict, drill(phases=[], backup={}, restore={}), written_at=NOW)


EVERY_KIND = [
    pytest.param(proven, id="proven"),
    pytest.param(failed, id="failed"),
    pytest.param(partial(failed, 500), id="failed with many differences"),
    pytest.param(crashed, id="crashed"),
]


class TestPack:
    @pytest.mark.parametrize("make", EVERY_KIND)
    def test_it_fits_its_schema(self, make: Callable[[], Evidence]) -> None:
        jsonschema.Draft202012Validator(pack_schema()).validate(read_pack(make().pack))

    def test_the_schema_is_one_and_refuses_what_does_not_fit(self) -> None:
        schema, pack = pack_schema(), read_pack(proven().pack)
        jsonschema.Draft202012Validator.check_schema(schema)
        for broken in (
            {key: value for key, value in pack.items() if key != "verdict"},
            pack | {"extra": 1},
            pack | {"previous_sha256": "abc"},
            pack | {"verdict": pack["verdict"] | {"result": "FINE"}},
            pack | {"written_at": "2026-11-03 12:00"},
        ):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(broken, schema)

    def test_what_it_says(self) -> None:
        pack = read_pack(proven().pack)
        assert pack["verdict"]["label"] == "PROVEN"
        assert pack["verdict"]["recovery_point_arn"].endswith(":recovery-point:0f1e")
        assert (pack["requested_by"], pack["backup"]["job_id"], pack["versions"]) == (
            "admin",
            "b-1",
            {"boto3": "1.2.3"},
        )
        assert [(each["name"], each["seconds"]) for each in pack["phases"]] == [("back up", 10.0), ("restore", 30.5)]
        assert pack["seconds_total"] == 42.5
        digests = {name: each["digest"] for name, each in pack["fingerprints"].items()}
        assert len(set(digests.values())) == 1
        assert pack["comparison"]["compared"] == 2
        assert (pack["position"], pack["previous_key"], pack["previous_sha256"]) == (1, None, None)

    def test_it_tells_which_pack_it_follows(self) -> None:
        pack = read_pack(failed().pack)
        assert (pack["position"], pack["previous_key"], pack["previous_sha256"]) == (2, FIRST.key, FIRST.sha256)
        assert pack["diff_sha256"] == "1" * 64

    def test_the_cost_is_what_the_drill_says(self) -> None:
        assert read_pack(proven().pack)["cost"] is None
        cost = {"currency": "USD", "total": 0.42, "lines": [{"what": "restore", "amount": 1.5, "unit": "GB"}]}
        evidence = proven(cost=cost)
        pack = read_pack(evidence.pack)
        jsonschema.validate(pack, pack_schema())
        assert pack["cost"] == cost

    def test_the_same_drill_has_the_same_bytes(self) -> None:
        assert proven() == proven()

    def test_its_hash_is_that_of_the_stored_bytes(self) -> None:
        evidence = proven()
        assert evidence.sha256 == hashlib.sha256(evidence.pack).hexdigest() == pack_sha256(evidence.pack)

    def test_differences_are_capped_and_counted(self) -> None:
        comparison = read_pack(failed(DIFFERENCE_CAP + 1).pack)["comparison"]
        assert (len(comparison["differences"]), comparison["differences_total"]) == (100, 101)

    def test_a_phase_needs_time_zones(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            Phase("load", NOW.replace(tzinfo=None), NOW)

    @pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": "restore-evidence", "version": 3}'])
    def test_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(EvidenceFormatError):
            read_pack(data)


class TestEarlierVersions:
    def first_version(self) -> dict[str, Any]:
        """Return a pack as the first release wrote it."""
        new = ("cost", "diff_sha256", "earlier_attempts", "position", "previous_key")
        pack = {key: value for key, value in read_pack(failed().pack).items() if key not in new} | {"version": 1}
        for name in ("absent_deleted", "absent_added"):
            del pack["comparison"][name]
        return pack

    def test_a_pack_of_this_version_may_be_without_what_was_not_counted_at_first(self) -> None:
        pack = read_pack(failed().pack)
        for name in ("absent_deleted", "absent_added"):
            assert pack["comparison"].pop(name) == 0
        jsonschema.validate(pack, pack_schema())

    def test_they_are_read_and_shown(self) -> None:
        old = self.first_version()
        assert read_pack(json.dumps(old).encode()) == old
        assert "FAILED" in Page(render_report(old, "0" * 64).encode()).text

    def test_they_have_a_schema_of_their_own(self) -> None:
        jsonschema.Draft202012Validator.check_schema(pack_schema(1))
        jsonschema.validate(self.first_version(), pack_schema(1))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(self.first_version(), pack_schema())


class Page(HTMLParser):
    """Collects tags, attributes and text of a page, and checks that every tag is closed in order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, report: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(report.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


class TestPage:
    @pytest.mark.parametrize("make", EVERY_KIND)
    def test_it_is_well_formed_and_stands_alone(self, make: Callable[[], Evidence]) -> None:
        evidence = make()
        page = Page(evidence.report)
        assert page.open == []
        assert page.tags.isdisjoint({"script", "img", "link", "iframe", "object", "a"})
        assert {name for name, _ in page.attributes}.isdisjoint({"src", "href", "onclick"})
        assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
        assert b"url(" not in evidence.report
        assert b"@import" not in evidence.report

    def test_it_says_what_the_pack_says(self) -> None:
        evidence = proven()
        text = Page(evidence.report).text
        for said in ("PROVEN", "orders", "recovery-point:0f1e", "admin", "b-1", "42.5 s", "30.5 s", evidence.sha256):
            assert said in text
        assert "the first of the chain" in text

    def test_it_names_the_wrong_keys_and_the_cap(self) -> None:
        assert '{"id": {"S": "k1"}}' in Page(failed().report).text
        text = Page(failed(500).report).text
        assert "100 of 500 are listed" in text
        assert "diff.jsonl" in text

    def test_a_crash_has_a_page_too(self) -> None:
        text = Page(crashed().report).text
        for said in ("FAILED", "crashed", "not compared", "No timings", "not looked at"):
            assert said in text

    def test_every_value_is_escaped(self) -> None:
        comparison, fingerprints = compared([EVIL], [])
        verdict = Verdict(
            Subject(EVIL, EVIL, EVIL, EVIL, EVIL), Result.FAILED, Depth.FULL, (EVIL,), NOW, {EVIL: 1}, EVIL
        )
        settings = SettingsComparison(
            (SettingDifference(EVIL, DifferenceClass.ALARMING, EVIL, [EVIL], EVIL),), {EVIL: EVIL}
        )
        evidence = make_evidence(
            verdict,
            Drill(EVIL, EVIL, {EVIL: EVIL}, {EVIL: EVIL}, [phase(EVIL, 0, 1)], {EVIL: EVIL}),
            written_at=NOW,
            comparison=comparison,
            fingerprints=dict.fromkeys([EVIL], fingerprints["before"]),
            settings=settings,
            previous=Link(EVIL, EVIL, 1),
        )
        harmless, attacked = Page(proven().report), Page(evidence.report)
        assert attacked.open == []
        assert attacked.tags <= harmless.tags | {"p"}
        assert attacked.text.count(EVIL) >= 20
        assert b"<script" not in evidence.report

    @pytest.mark.parametrize(
        ("make", "mood"), [(proven, "verdict good"), (failed, "verdict bad"), (crashed, "verdict bad")]
    )
    def test_the_verdict_is_seen_at_a_glance(self, make: Callable[[], Evidence], mood: str) -> None:
        assert ("class", mood) in Page(make().report).attributes
