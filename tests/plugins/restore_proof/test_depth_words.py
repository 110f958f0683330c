"""What is said of a proof that did not look at everything: never more than it would have found."""

from __future__ import annotations

import datetime as dt
import io

import pytest

from dynamodb_bulk.compare import Comparison, Manifests, Outcome, judge
from dynamodb_bulk.fingerprint import FingerprintBuilder, ManifestWriter
from restore_proof.confidence import detectable_share
from restore_proof.depth_words import at_depth, nothing_to_go_by
from restore_proof.verdict import Depth, Subject, Verdict, verdict_from_comparison

ABOUT = {"segments_read": 100, "segments": 1000}


def table(start: int, stop: int, content: str = "1") -> dict[str, str]:
    return {f"i-{number:04}": content for number in range(start, stop)}


def compare(before: dict[str, str], after: dict[str, str], restored: dict[str, str]) -> Comparison:
    fingerprints, manifests = [], []
    for items in (before, after, restored):
        builder, sink = FingerprintBuilder(["id"]), io.BytesIO()
        with ManifestWriter(sink, ["id"]) as writer:
            writer.add_items(builder.add_items([{"id": {"S": key}, "v": {"S": text}} for key, text in items.items()]))
        fingerprints.append(builder.build())
        manifests.append(sink.getvalue())
    first, second, third = (lambda data=data: io.BytesIO(data) for data in manifests)
    return judge(*fingerprints, manifests=Manifests(before=first, after=second, restored=third))


def said(comparison: Comparison, depth: Depth = Depth.SAMPLED) -> Verdict:
    subject = Subject("arn", "orders", "restored", "2026-11-02", "dag/run")
    verdict = verdict_from_comparison(comparison, subject, decided_at=dt.datetime.now(dt.UTC), depth=depth)
    return at_depth(verdict, comparison, ABOUT)


def test_a_quiet_sample_counts_in_full() -> None:
    quiet = table(0, 1000)
    verdict = said(compare(quiet, quiet, quiet))
    assert verdict.confidence is not None
    assert (verdict.confidence["items"], verdict.confidence["changed_between"]) == (1000, 0)
    assert nothing_to_go_by(Depth.SAMPLED, compare(quiet, quiet, quiet), settings_known=True) is None


def test_items_that_changed_meanwhile_do_not_count() -> None:
    """Forty of them came back damaged, and nothing was found: no promise may rest on them."""
    still = table(0, 600)
    restored = {**still, **table(600, 960), **table(960, 1000, "damaged")}
    comparison = compare({**still, **table(600, 1000)}, {**still, **table(600, 1000, "2")}, restored)
    assert (comparison.outcome, comparison.proven, comparison.stood_still) == (Outcome.EQUAL_DRIFTING, 960, 600)
    verdict = said(comparison)
    assert verdict.confidence is not None
    assert verdict.confidence["items"] == 600
    assert verdict.confidence["detectable_share"] == pytest.approx(detectable_share(600))
    assert "400 of them changed while the backup was made" in " ".join(verdict.reasons)


def test_a_sample_of_which_nothing_stood_still_proves_nothing() -> None:
    before = table(0, 100)
    comparison = compare(before, table(0, 100, "2"), before)
    assert comparison.outcome is Outcome.EQUAL_DRIFTING
    assert "All 100 items of the sample changed" in str(
        nothing_to_go_by(Depth.SAMPLED, comparison, settings_known=True)
    )


def test_a_sample_that_was_deleted_meanwhile_proves_nothing() -> None:
    comparison = compare(table(0, 100), {}, {})
    assert said(comparison).proof.label == "UNPROVEN@sampled"


def test_an_empty_look_proves_nothing() -> None:
    for depth in (Depth.SAMPLED, Depth.CANARY):
        assert nothing_to_go_by(depth, compare({}, {}, {}), settings_known=True) is not None


def test_canaries_that_were_written_anew_still_count() -> None:
    """Each is known in both of its contents, and has to come back: that is all a canary is for."""
    before = table(0, 8)
    comparison = compare(before, table(0, 8, "2"), before)
    assert nothing_to_go_by(Depth.CANARY, comparison, settings_known=True) is None


@pytest.mark.parametrize(
    ("restored", "still"),
    [(table(0, 100), 99), (table(1, 100), 98), ({**table(0, 100), "ghost": "x"}, 99), (table(0, 100, "3"), 0)],
)
def test_what_stood_still_and_came_back_is_counted_exactly(restored: dict[str, str], still: int) -> None:
    before, after = table(0, 100), {**table(0, 99), "i-0099": "2"}
    assert compare(before, after, restored).stood_still == still


def test_it_is_unknown_where_no_item_was_looked_at() -> None:
    builder = FingerprintBuilder(["id"])
    empty = builder.build()
    builder.add({"id": {"S": "one"}})
    assert judge(empty, builder.build(), empty).stood_still is None
