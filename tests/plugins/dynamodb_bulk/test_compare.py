"""Judging a restored table by what the source held before and after its backup."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_bulk.compare import (
    Comparison,
    DifferenceKind,
    Manifests,
    Outcome,
    judge,
)
from dynamodb_bulk.fingerprint import (
    Fingerprint,
    FingerprintBuilder,
    FingerprintMismatchError,
    ManifestEntry,
    ManifestError,
    ManifestWriter,
)

CALM = settings(deadline=None, max_examples=60)
"""No deadline an example: how long one takes says more about the machine's other work than about ours."""

Table = Mapping[str, str]
"""A table for these tests: key to content."""

QUIET = {f"k{number:03}": "content" for number in range(100)}


class Taken:
    """Fingerprint and manifest of a table, and how often the manifest was opened."""

    def __init__(self, table: Table, *, buckets: int = 32, twice: str | None = None) -> None:
        sink, builder = io.BytesIO(), FingerprintBuilder(["id"], buckets=buckets)
        with ManifestWriter(sink, ["id"], buckets=buckets) as writer:
            for key in [*table, *([twice] if twice else [])]:
                bucket, digest = builder.add({"id": {"S": key}, "content": {"S": table[key]}})
                writer.add(ManifestEntry(bucket, json.dumps({"id": {"S": key}}, separators=(",", ":")), digest))
        self.fingerprint: Fingerprint = builder.build()
        self.data = sink.getvalue()
        self.opened: list[io.BytesIO] = []

    def open(self) -> BinaryIO:
        self.opened.append(io.BytesIO(self.data))
        return self.opened[-1]


def compare(before: Table, after: Table, restored: Table, **options: Any) -> Comparison:
    taken = [Taken(table) for table in (before, after, restored)]
    fingerprints = [each.fingerprint for each in taken]
    manifests = Manifests(before=taken[0].open, after=taken[1].open, restored=taken[2].open)
    return judge(*fingerprints, manifests=manifests, **options)


def named(comparison: Comparison) -> dict[str, str]:
    return {json.loads(found.key)["id"]["S"]: str(found.kind) for found in comparison.differences}


def without(table: Table, *keys: str) -> dict[str, str]:
    return {key: content for key, content in table.items() if key not in keys}


class TestQuietTable:
    def test_the_same_content_is_equal(self) -> None:
        result = compare(QUIET, QUIET, dict(reversed(QUIET.items())))
        assert result.outcome is Outcome.EQUAL
        assert (result.compared, result.proven, result.differences_total) == (100, 100, 0)
        assert not result.drifting
        assert "All 100 items" in result.reasons[0]

    def test_two_empty_tables_are_equal(self) -> None:
        result = compare({}, {}, {})
        assert (result.outcome, result.compared, result.unverifiable_ratio) == (Outcome.EQUAL, 0, 0.0)

    @pytest.mark.parametrize(
        ("restored", "expected"),
        [
            (without(QUIET, "k007"), {"k007": "missing"}),
            (QUIET | {"new": "x"}, {"new": "extra"}),
            (QUIET | {"k042": "other"}, {"k042": "changed"}),
            (without(QUIET | {"new": "x", "k042": "other"}, "k007"),
             {"k007": "missing", "k042": "changed", "new": "extra"}),
            ({}, dict.fromkeys(QUIET, "missing")),
        ],
    )  # fmt: skip
    def test_exactly_the_wrong_keys_are_named(self, restored: Table, expected: dict[str, str]) -> None:
        result = compare(QUIET, QUIET, restored)
        assert result.outcome is Outcome.DIFFERENT
        assert named(result) == expected
        kinds = [result.missing, result.extra, result.changed, result.unverifiable]
        assert kinds == [
            sum(kind == wanted for kind in expected.values())
            for wanted in ("missing", "extra", "changed", "unverifiable")
        ]

    def test_the_sentences_name_the_first_keys(self) -> None:
        (sentence, keys) = compare(QUIET, QUIET, without(QUIET | {"new": "x"}, "k007")).reasons
        assert sentence == "The restored table is not what was backed up: 1 missing, 1 extra, 0 changed."
        assert keys == 'By key: missing {"id":{"S":"k007"}}; extra {"id":{"S":"new"}}.'
        assert compare(QUIET, QUIET, {}).reasons[-1].endswith('missing {"id":{"S":"k004"}}; and 95 more.')

    def test_something_restored_from_nothing_is_extra(self) -> None:
        assert named(compare({}, {}, {"ghost": "x"})) == {"ghost": "extra"}

    def test_the_hashes_say_which_side_has_what(self) -> None:
        (found,) = compare(QUIET, QUIET, QUIET | {"k001": "other"}).differences
        assert found.before == found.after
        assert found.restored not in (None, found.before)
        assert found.to_dict()["key"] == {"id": {"S": "k001"}}

    def test_the_manifest_taken_after_is_not_needed(self) -> None:
        before, restored = Taken(QUIET), Taken(QUIET | {"k001": "other"})
        manifests = Manifests(before=before.open, restored=restored.open)
        result = judge(before.fingerprint, before.fingerprint, restored.fingerprint, manifests=manifests)
        assert named(result) == {"k001": "changed"}

    def test_manifests_are_read_only_where_something_differs(self) -> None:
        taken = Taken(QUIET)
        manifests = Manifests(before=taken.open, restored=taken.open)
        judge(taken.fingerprint, taken.fingerprint, taken.fingerprint, manifests=manifests)
        assert taken.opened == []

    def test_manifests_are_closed(self) -> None:
        before, restored = Taken(QUIET), Taken({})
        manifests = Manifests(before=before.open, restored=restored.open)
        judge(before.fingerprint, before.fingerprint, restored.fingerprint, manifests=manifests)
        assert [source.closed for source in before.opened + restored.opened] == [True, True]

    def test_without_manifests_it_is_still_judged(self) -> None:
        before, restored = Taken(QUIET).fingerprint, Taken(without(QUIET, "k001")).fingerprint
        assert judge(before, before, before).outcome is Outcome.EQUAL
        result = judge(before, before, restored)
        assert result.outcome is Outcome.DIFFERENT
        assert (result.keys_named, result.missing, result.differences_total, result.compared) == (False,) + (None,) * 3
        assert result.unequal_buckets == 1


class TestDriftingTable:
    BEFORE = QUIET | {"edited": "1", "gone": "1"}
    AFTER = without(QUIET | {"edited": "2", "born": "1"}, "gone")

    @pytest.mark.parametrize("edited", ["1", "2"])
    @pytest.mark.parametrize("gone", ["1", None])
    @pytest.mark.parametrize("born", ["1", None])
    def test_before_or_after_is_right(self, edited: str, gone: str | None, born: str | None) -> None:
        restored = QUIET | {"edited": edited} | ({"gone": gone} if gone else {}) | ({"born": born} if born else {})
        result = compare(self.BEFORE, self.AFTER, restored)
        assert result.outcome is Outcome.EQUAL_DRIFTING
        assert (result.drifting, result.changed_between, result.unverifiable) == (True, 3, 0)
        assert (result.absent_deleted, result.absent_added) == (int(gone is None), int(born is None))
        assert result.compared == 103
        assert result.proven == 103 - (gone is None) - (born is None)

    @pytest.mark.parametrize(
        ("restored", "key"),
        [
            (BEFORE | {"edited": "1.5"}, "edited"),
            (without(BEFORE, "edited"), "edited"),
            (QUIET | {"edited": "2", "gone": "1.5"}, "gone"),
            (QUIET | {"edited": "2", "born": "0.5"}, "born"),
        ],
    )
    def test_a_third_content_is_unverifiable(self, restored: Table, key: str) -> None:
        result = compare(self.BEFORE, self.AFTER, restored)
        assert result.outcome is Outcome.EQUAL_DRIFTING
        assert named(result) == {key: "unverifiable"}
        assert result.unverifiable_ratio == pytest.approx(1 / 103)
        assert result.proven == 101

    @pytest.mark.parametrize(
        ("restored", "expected"),
        [
            (without(BEFORE, "k001"), {"k001": "missing"}),
            (BEFORE | {"k001": "other"}, {"k001": "changed"}),
            (BEFORE | {"ghost": "x"}, {"ghost": "extra"}),
            (BEFORE | {"ghost": "x", "edited": "1.5"}, {"ghost": "extra", "edited": "unverifiable"}),
        ],
    )
    @pytest.mark.parametrize("buckets", [1, 32, 4096])
    def test_what_did_not_change_must_be_right(self, restored: Table, expected: dict[str, str], buckets: int) -> None:
        taken = [Taken(table, buckets=buckets) for table in (self.BEFORE, self.AFTER, restored)]
        manifests = Manifests(before=taken[0].open, after=taken[1].open, restored=taken[2].open)
        result = judge(*(each.fingerprint for each in taken), manifests=manifests)
        assert result.outcome is Outcome.DIFFERENT
        assert named(result) == expected

    @pytest.mark.parametrize(
        ("limit", "outcome"),
        [(0.0, Outcome.UNDECIDED), (0.01, Outcome.UNDECIDED), (0.02, Outcome.EQUAL_DRIFTING)],
    )
    def test_too_many_unverifiable_items_prove_too_little(self, limit: float, outcome: Outcome) -> None:
        before, after = QUIET | {"a": "1", "b": "1"}, QUIET | {"a": "3", "b": "3"}
        result = compare(before, after, QUIET | {"a": "2", "b": "2"}, max_unverifiable_ratio=limit)
        assert result.outcome is outcome
        assert (result.unverifiable, result.compared) == (2, 102)

    def test_the_default_limit_is_stated(self) -> None:
        before, after = dict.fromkeys("abcdefghij", "1"), dict.fromkeys("abcdefghij", "3")
        result = compare(before, after, before | {"a": "2"})
        assert (result.outcome, result.max_unverifiable_ratio) == (Outcome.UNDECIDED, 0.05)
        assert "1 of 10 items can't be verified" in result.reasons[-1]
        assert "5.00%" in result.reasons[-1]

    def test_without_manifests_only_a_settled_bucket_can_be_wrong(self) -> None:
        before, after = Taken(self.BEFORE, buckets=4096).fingerprint, Taken(self.AFTER, buckets=4096).fingerprint
        for came_back in (before, after):
            undecided = judge(before, after, came_back)
            assert (undecided.outcome, undecided.keys_named) == (Outcome.UNDECIDED, False)
        wrong = Taken(without(self.BEFORE, "k001"), buckets=4096).fingerprint
        assert judge(before, after, wrong).outcome is Outcome.DIFFERENT

    def test_the_manifest_taken_after_is_needed(self) -> None:
        before, after = Taken(self.BEFORE), Taken(self.AFTER)
        manifests = Manifests(before=before.open, restored=before.open)
        with pytest.raises(ManifestError, match="manifest taken after"):
            judge(before.fingerprint, after.fingerprint, before.fingerprint, manifests=manifests)


class TestAbsentItemsOfADriftingTable:
    """What was deleted or added during the backup may be absent, but nobody saw it come back."""

    OLD: ClassVar[Table] = {f"old-{number}": "1" for number in range(50)}
    NEW: ClassVar[Table] = {f"new-{number}": "1" for number in range(50)}

    def test_nothing_in_place_of_all_that_was_is_not_proven(self) -> None:
        result = compare(self.OLD, self.NEW, {})
        assert (result.outcome, result.proven, result.compared) == (Outcome.UNDECIDED, 0, 100)
        assert (result.absent_deleted, result.absent_added, result.unverifiable) == (50, 50, 0)
        assert "Not one of the 100 items came back" in result.reasons[-1]
        assert "came back as they were" not in " ".join(result.reasons)

    @pytest.mark.parametrize(
        ("before", "after"),
        [({}, OLD), (OLD, {}), ({"one": "1"}, NEW), (NEW, {"one": "1"}), ({"one": "1"}, {"one": "2"})],
    )
    def test_nor_is_nothing_in_place_of_few_or_of_none(self, before: Table, after: Table) -> None:
        result = compare(before, after, {}, max_unverifiable_ratio=1.0)
        assert (result.outcome, result.proven) == (Outcome.UNDECIDED, 0)

    def test_a_restore_that_lost_all_that_moved_is_not_proven(self) -> None:
        result = compare({**QUIET, **self.OLD}, {**QUIET, **self.NEW}, QUIET)
        assert (result.outcome, result.proven, result.compared) == (Outcome.UNDECIDED, 100, 200)
        assert result.unverifiable_ratio == 50 / 200
        told = " ".join(result.reasons)
        assert "50 items that were deleted and 50 that were added meanwhile did not come back" in told
        assert "50 of 200 items can't be verified" in told

    @pytest.mark.parametrize(
        ("restored", "deleted", "added"),
        [({**QUIET, **OLD}, 0, 50), ({**QUIET, **NEW}, 50, 0), ({**QUIET, **OLD, **NEW}, 0, 0)],
    )
    def test_a_backup_of_one_end_of_the_window_is_proven_however_much_moved(
        self, restored: Table, deleted: int, added: int
    ) -> None:
        result = compare({**QUIET, **self.OLD}, {**QUIET, **self.NEW}, restored)
        assert (result.outcome, result.unverifiable_ratio) == (Outcome.EQUAL_DRIFTING, 0.0)
        assert (result.absent_deleted, result.absent_added) == (deleted, added)
        assert result.proven == 200 - deleted - added
        assert f"{result.proven} of 200 items came back" in " ".join(result.reasons)

    def test_a_table_that_only_grows_is_proven_by_what_it_had(self) -> None:
        result = compare(QUIET, {**QUIET, **self.NEW}, QUIET)
        assert (result.outcome, result.proven, result.absent_added) == (Outcome.EQUAL_DRIFTING, 100, 50)
        assert "50 items that were added meanwhile did not come back" in " ".join(result.reasons)
        assert "deleted" not in " ".join(result.reasons)

    @pytest.mark.parametrize(("moved", "outcome"), [(5, Outcome.EQUAL_DRIFTING), (6, Outcome.UNDECIDED)])
    def test_both_kinds_may_be_absent_up_to_the_limit(self, moved: int, outcome: Outcome) -> None:
        """Of 100 items that are compared, of which the limit excuses five."""
        still = dict(list(QUIET.items())[: 100 - 2 * moved])
        before, after = (still | dict(list(items.items())[:moved]) for items in (self.OLD, self.NEW))
        result = compare(before, after, still)
        assert (result.compared, result.absent_deleted, result.absent_added) == (100, moved, moved)
        assert result.outcome is outcome

    def test_they_and_the_unverifiable_ones_share_the_limit(self) -> None:
        before, after = QUIET | {"gone": "1", "edited": "1"}, QUIET | {"born": "1", "edited": "3"}
        restored = QUIET | {"edited": "2"}
        alone, together = (compare(before, after, restored, max_unverifiable_ratio=limit) for limit in (0.02, 0.01))
        assert (alone.outcome, together.outcome) == (Outcome.EQUAL_DRIFTING, Outcome.UNDECIDED)
        assert alone.unverifiable == 1
        assert "2 can't be verified" in alone.reasons[-1]
        assert alone.unverifiable_ratio == pytest.approx(2 / 103)


class TestAgainstTheRuleItself:
    tables = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=6)

    @CALM
    @given(tables, tables, tables, st.sampled_from([1, 4, 64]), st.sampled_from([1, 1 << 20]))
    def test_every_item_gets_what_the_rule_says(
        self, before: Table, after: Table, restored: Table, buckets: int, memory: int
    ) -> None:
        taken = [Taken(table, buckets=buckets) for table in (before, after, restored)]
        manifests = Manifests(before=taken[0].open, after=taken[1].open, restored=taken[2].open)
        result = judge(
            *(each.fingerprint for each in taken), manifests=manifests, max_unverifiable_ratio=1.0, memory_bytes=memory
        )
        expected, absent = {}, 0
        for key in before.keys() | after.keys() | restored.keys():
            was, became, came = before.get(key), after.get(key), restored.get(key)
            if came in (was, became):
                absent += came is None
                continue
            if was != became:
                expected[key] = "unverifiable"
            else:
                expected[key] = "missing" if came is None else "extra" if was is None else "changed"
        assert named(result) == expected
        assert result.proven is not None
        assert (result.absent_deleted or 0) + (result.absent_added or 0) == absent
        assert result.compared == result.proven + absent + len(expected)
        wrong = any(kind != "unverifiable" for kind in expected.values())
        drifted = Outcome.EQUAL_DRIFTING if result.proven else Outcome.UNDECIDED
        clean = drifted if before != after else Outcome.EQUAL
        assert result.outcome is (Outcome.DIFFERENT if wrong else clean)


class TestReport:
    def test_the_list_is_capped_and_the_stream_is_not(self) -> None:
        sink = io.BytesIO()
        result = compare(QUIET, QUIET, {}, list_cap=7, diff_sink=sink)
        assert (len(result.differences), result.differences_total, result.missing) == (7, 100, 100)
        lines = [json.loads(line) for line in sink.getvalue().splitlines()]
        assert [line["key"]["id"]["S"] for line in lines] == sorted(QUIET)
        assert lines[0] == result.differences[0].to_dict()
        assert {line["kind"] for line in lines} == {"missing"}

    def test_the_stream_is_empty_when_nothing_differs(self) -> None:
        sink = io.BytesIO()
        compare(QUIET, QUIET, QUIET, diff_sink=sink)
        assert sink.getvalue() == b""
        assert not sink.closed

    def test_what_does_not_fit_into_memory_goes_to_the_folder(self, tmp_path: Path) -> None:
        spilled, held = io.BytesIO(), io.BytesIO()
        options = {"memory_bytes": 3000, "spill_folder": tmp_path}
        assert compare(QUIET, {}, {}, diff_sink=spilled, max_unverifiable_ratio=1.0, **options) == compare(
            QUIET, {}, {}, diff_sink=held, max_unverifiable_ratio=1.0
        )
        assert spilled.getvalue() == held.getvalue()
        assert list(tmp_path.iterdir()) == []

    def test_keys_of_any_characters_are_named(self) -> None:
        wrong = {"é": "x", '"quoted"': "x", "line\n": "x", "\ud800": "x"}
        assert named(compare(QUIET, QUIET, QUIET | wrong)) == dict.fromkeys(wrong, "extra")

    def test_it_is_json_ready(self) -> None:
        result = compare(QUIET, QUIET, without(QUIET, "k001"))
        document = json.loads(json.dumps(result.to_dict()))
        assert (document["outcome"], document["missing"]) == ("different", 1)
        assert document["differences"][0]["key"] == {"id": {"S": "k001"}}

    def test_kinds_are_all_reachable(self) -> None:
        drifting = compare({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "3", "c": "1"})
        changed = compare({"a": "1"}, {"a": "1"}, {"a": "2"})
        assert {*named(drifting).values(), *named(changed).values()} == {str(kind) for kind in DifferenceKind}


class TestRefusals:
    @pytest.mark.parametrize("limit", [-0.1, 1.1, float("nan")])
    def test_a_limit_is_a_share(self, limit: float) -> None:
        with pytest.raises(ValueError, match="max_unverifiable_ratio"):
            compare(QUIET, QUIET, QUIET, max_unverifiable_ratio=limit)

    def test_fingerprints_taken_otherwise_are_not_judged(self) -> None:
        one, other = Taken(QUIET).fingerprint, Taken(QUIET, buckets=64).fingerprint
        with pytest.raises(FingerprintMismatchError):
            judge(one, one, other)

    def test_a_manifest_of_another_scan_is_not_believed(self) -> None:
        before, restored, other = Taken(QUIET), Taken({}), Taken(QUIET | {"k001": "forged"})
        with pytest.raises(ManifestError, match="does not add up"):
            judge(
                before.fingerprint,
                before.fingerprint,
                restored.fingerprint,
                manifests=Manifests(before=other.open, restored=restored.open),
            )

    def test_a_key_that_comes_twice_is_not_believed(self) -> None:
        before, restored = Taken(QUIET), Taken(QUIET, twice="k001")
        with pytest.raises(ManifestError, match=r"\"k001\".*twice"):
            judge(
                before.fingerprint,
                before.fingerprint,
                restored.fingerprint,
                manifests=Manifests(before=before.open, restored=restored.open),
            )
