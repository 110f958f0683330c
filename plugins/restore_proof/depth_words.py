"""What a comparison means at depths other than full: the sentences for a reader, and what it may be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dynamodb_bulk.compare import Comparison, Outcome
from restore_proof.confidence import Confidence
from restore_proof.verdict import Depth, Verdict

CLEAN = (Outcome.EQUAL, Outcome.EQUAL_DRIFTING)


def at_depth(verdict: Verdict, comparison: Comparison, about: Mapping[str, Any], notes: Sequence[str] = ()) -> Verdict:
    """Return a verdict in the words of its depth.

    Args:
        verdict: what `verdict_from_comparison` made of the comparison.
        comparison: of what was looked at.
        about: of a sample, its ``segments_read`` and ``segments``; of canaries, when they were ``written_at``.
        notes: what else the reader should know, as sentences.
    """
    reasons = (*verdict.reasons, *notes)
    if verdict.depth is Depth.SAMPLED:
        confidence = Confidence(
            items=comparison.stood_still or 0,
            segments_read=int(about.get("segments_read", 0)),
            segments=int(about.get("segments", 0)),
            changed_between=comparison.changed_between or 0,
        )
        if verdict.is_proven:
            reasons = (*reasons, *confidence.sentences())
        return replace(verdict, reasons=reasons, confidence=confidence.to_dict())
    if verdict.depth is Depth.CANARY:
        written = about.get("written_at", "a time that nobody recorded")
        reasons = (*reasons, f"These items are canaries, written at {written}. No other item was looked at.")
    if verdict.depth is Depth.SCHEMA:
        settings = tuple(reason for reason in verdict.reasons if reason not in comparison.reasons)
        told = "No item was looked at: this is about keys, indexes and settings alone."
        reasons = (told, *settings, *notes)
    return replace(verdict, reasons=reasons)


def nothing_to_go_by(depth: Depth, comparison: Comparison, *, settings_known: bool) -> str | None:
    """Say why nothing is proven by a look at nothing; None if there was something to look at.

    Args:
        depth: how deep the look went.
        comparison: what came of it.
        settings_known: whether the settings of the source were on record, and were compared.
    """
    if comparison.outcome not in CLEAN:
        return None
    if depth is Depth.SCHEMA and not settings_known:
        return "The source's settings were not on record, and no item was looked at: nothing was compared."
    if depth in (Depth.SAMPLED, Depth.CANARY) and not comparison.proven:
        return "Not one item could be compared, so nothing is proven."
    if depth is Depth.SAMPLED and not comparison.stood_still:
        return (
            f"All {comparison.compared} items of the sample changed while the backup was made, and damage to such an "
            "item can pass for a write, so nothing is proven. Back the table up at a quieter time, or at depth full."
        )
    return None
