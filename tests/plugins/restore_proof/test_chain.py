"""The chain of evidence: whole, and broken in every way that the verifier has to name."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_proof.__main__ import main
from restore_proof.chain import BrokenLink, ChainReport, Fault, Head, head_key, verify_chain
from restore_proof.chain_sources import FolderSource
from restore_proof.evidence import CLAIM, Drill, Evidence, EvidenceFormatError, Link, make_evidence, pack_sha256
from restore_proof.verdict import Depth, Result, Subject, Verdict

NOW = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)
TABLE = "orders"
LENGTH = 50
ROOT = f"evidence/{TABLE}/"
HEAD = head_key(TABLE)


def key_of(number: int) -> str:
    return f"{ROOT}2026-11-03-drill{number}/pack.json"


def make(number: int, previous: Link | None, **more: Any) -> Evidence:
    subject = Subject("arn:aws:backup:us-east-1:123456789012:recovery-point:0f1e", TABLE, "r", "2026-11-03", "run")
    verdict = Verdict(subject, Result.FAILED, Depth.FULL, (f"drill {number}",), NOW)
    return make_evidence(
        verdict, Drill(f"drill{number}", "admin", {}, {}, [], {}), written_at=NOW, previous=previous, **more
    )


class Store:
    """A table's evidence in a dictionary."""

    def __init__(self, length: int = LENGTH) -> None:
        self.objects: dict[str, bytes] = {}
        self.evidence: dict[int, Evidence] = {}
        previous = None
        for number in range(1, length + 1):
            diff = f"differences of {number}".encode()
            made = make(number, previous, diff_sha256=hashlib.sha256(diff).hexdigest())
            self.objects |= {
                key_of(number): made.pack,
                key_of(number).replace("pack.json", "report.html"): made.report,
                key_of(number).replace("pack.json", "diff.jsonl"): diff,
            }
            self.evidence[number] = made
            previous = Link(made.sha256, key_of(number), number)
        if previous is not None:
            self.set_head(previous.position, previous.sha256, previous.key)

    def set_head(self, count: int, sha256: str, pack: str) -> None:
        self.objects[HEAD] = Head(count, sha256, pack).to_json()

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def sha256(self, key: str) -> str | None:
        content = self.objects.get(key)
        return hashlib.sha256(content).hexdigest() if content is not None else None

    def packs(self) -> list[str]:
        return [key for key in self.objects if key.endswith("/pack.json")]

    def change(self, key: str) -> None:
        """Change one byte: a digit of the time at which the verdict was made."""
        content = self.objects[key]
        assert content.count(b"2026-11-03T12") >= 1
        self.objects[key] = content.replace(b"2026-11-03T12", b"2026-11-03T13", 1)


@pytest.fixture
def store() -> Store:
    return Store()


def broken(report: ChainReport) -> BrokenLink:
    assert report.broken is not None
    assert report.unlinked == {}
    assert report.diffs == ()
    return report.broken


@pytest.mark.parametrize("length", [1, 2, LENGTH])
def test_a_whole_chain_is_whole(length: int) -> None:
    report = verify_chain(Store(length), TABLE, diffs=True)
    assert report.is_whole
    assert report.verified == tuple(key_of(number) for number in range(length, 0, -1))
    assert report.to_dict() | {"head": None} == {
        "table": TABLE,
        "whole": True,
        "head": None,
        "verified": length,
        "broken": None,
        "diffs": [],
        "unlinked": {},
        "abandoned": [],
        "behind": [],
    }


def test_one_byte_changed_in_the_twentieth_of_fifty(store: Store) -> None:
    store.change(key_of(20))
    report = verify_chain(store, TABLE)
    found = broken(report)
    assert (found.fault, found.position, found.key) == (Fault.PACK_CHANGED, 20, key_of(20))
    assert store.evidence[20].sha256 in found.message
    assert pack_sha256(store.objects[key_of(20)]) in found.message
    assert len(report.verified) == 30
    assert [(each.newest, each.length, each.from_first) for each in report.behind] == [(key_of(19), 19, True)]


@pytest.mark.parametrize("number", range(1, 7))
def test_every_single_byte_of_every_pack_counts(number: int) -> None:
    store = Store(6)
    whole = dict(store.objects)
    for position in range(0, len(whole[key_of(number)]), 37):
        content = bytearray(whole[key_of(number)])
        content[position] ^= 1
        store.objects = whole | {key_of(number): bytes(content)}
        found = broken(verify_chain(store, TABLE))
        assert (found.fault, found.position, found.key) == (Fault.PACK_CHANGED, number, key_of(number))


def test_the_last_pack_removed(store: Store) -> None:
    del store.objects[key_of(50)]
    report = verify_chain(store, TABLE)
    found = broken(report)
    assert (found.fault, found.position, found.key) == (Fault.PACK_MISSING, 50, key_of(50))
    assert report.verified == ()
    assert [(each.newest, each.length, each.from_first) for each in report.behind] == [(key_of(49), 49, True)]


@pytest.mark.parametrize("number", [1, 2, 25, 49])
def test_a_pack_missing_in_the_middle(store: Store, number: int) -> None:
    del store.objects[key_of(number)]
    report = verify_chain(store, TABLE)
    found = broken(report)
    assert (found.fault, found.position, found.key) == (Fault.PACK_MISSING, number, key_of(number))
    assert len(report.verified) == 50 - number
    assert [(each.length, each.from_first) for each in report.behind] == ([(number - 1, True)] if number > 1 else [])


def test_two_things_wrong_are_told_from_one(store: Store) -> None:
    store.change(key_of(20))
    store.change(key_of(10))
    report = verify_chain(store, TABLE)
    assert broken(report).key == key_of(20)
    assert [(each.newest, each.length, each.from_first) for each in report.behind] == [
        (key_of(10), 10, True),
        (key_of(19), 9, False),
    ]


def test_a_pack_that_is_not_in_the_chain(store: Store) -> None:
    forged = f"{ROOT}2026-11-03-forged/pack.json"
    store.objects[forged] = make(99, Link("f" * 64, "evidence/orders/x/pack.json", 7)).pack
    report = verify_chain(store, TABLE)
    assert report.broken is None
    assert not report.is_whole
    assert list(report.unlinked) == [forged]
    assert "somebody else put it there" in report.unlinked[forged]


@pytest.mark.parametrize(
    ("previous", "said"),
    [(50, "It was to follow the newest pack"), (20, "lost a race"), (0, "lost a race")],
)
def test_a_pack_that_was_written_but_never_linked(store: Store, previous: int, said: str) -> None:
    link = Link(store.evidence[previous].sha256, key_of(previous), previous) if previous else None
    store.objects[key_of(51)] = make(51, link).pack
    report = verify_chain(store, TABLE)
    assert (report.broken, list(report.unlinked)) == (None, [key_of(51)])
    assert said in report.unlinked[key_of(51)]


@pytest.mark.parametrize(("content", "said"), [(CLAIM, "just writing"), (b"x", "no evidence pack")])
def test_what_lies_in_a_packs_place(store: Store, content: bytes, said: str) -> None:
    store.objects[key_of(51)] = content
    report = verify_chain(store, TABLE)
    assert said in report.unlinked[key_of(51)]


def test_a_dead_attempt_is_no_fault_once_a_later_one_is_in_the_chain(store: Store) -> None:
    dead, newest = f"{ROOT}2026-11-03-dead/pack.json", Link(store.evidence[50].sha256, key_of(50), 50)
    store.objects[dead] = make(99, newest).pack
    assert list(verify_chain(store, TABLE).unlinked) == [dead]
    again = make(51, newest, earlier_attempts=[dead])
    store.objects[key_of(51)] = again.pack
    store.set_head(51, again.sha256, key_of(51))
    report = verify_chain(store, TABLE)
    assert report.is_whole
    assert report.abandoned == (dead,)


class TestHead:
    def test_removed(self, store: Store) -> None:
        del store.objects[HEAD]
        found = broken(verify_chain(store, TABLE))
        assert (found.fault, found.key) == (Fault.HEAD_MISSING, HEAD)

    @pytest.mark.parametrize("content", [b"", b"x", b"[]", b"{}", b'{"count": "x", "sha256": "", "pack": ""}'])
    def test_unreadable(self, store: Store, content: bytes) -> None:
        store.objects[HEAD] = content
        found = broken(verify_chain(store, TABLE))
        assert (found.fault, found.key) == (Fault.HEAD_UNREADABLE, HEAD)

    @pytest.mark.parametrize("count", [1, 49, 51])
    def test_with_another_count(self, store: Store, count: int) -> None:
        store.set_head(count, store.evidence[50].sha256, key_of(50))
        found = broken(verify_chain(store, TABLE))
        assert (found.fault, found.key) == (Fault.HEAD_CHANGED, HEAD)
        assert str(count) in found.message

    def test_with_another_hash(self, store: Store) -> None:
        """The report beside the newest pack states the pack's hash; so it is the head that was changed."""
        store.set_head(50, "f" * 64, key_of(50))
        found = broken(verify_chain(store, TABLE))
        assert (found.fault, found.key) == (Fault.HEAD_CHANGED, HEAD)

    def test_the_newest_pack_changed_is_not_taken_for_a_changed_head(self, store: Store) -> None:
        store.change(key_of(50))
        found = broken(verify_chain(store, TABLE))
        assert (found.fault, found.position, found.key) == (Fault.PACK_CHANGED, 50, key_of(50))

    @pytest.mark.parametrize("key", [key_of(49), f"{ROOT}nowhere/pack.json", "../../../etc/passwd"])
    def test_with_another_key(self, store: Store, key: str) -> None:
        store.set_head(50, store.evidence[50].sha256, key)
        found = broken(verify_chain(store, TABLE))
        assert (found.fault, found.key) == (Fault.HEAD_CHANGED, HEAD)
        assert key in found.message

    def test_set_back(self, store: Store) -> None:
        store.set_head(49, store.evidence[49].sha256, key_of(49))
        report = verify_chain(store, TABLE)
        assert (report.broken, list(report.unlinked)) == (None, [key_of(50)])
        assert "the head was set back" in report.unlinked[key_of(50)]

    def test_set_back_with_the_tail_removed_shows_against_a_hash_noted_elsewhere(self, store: Store) -> None:
        store.set_head(49, store.evidence[49].sha256, key_of(49))
        del store.objects[key_of(50)]
        assert verify_chain(store, TABLE).is_whole, "nothing that is left tells of the fiftieth"
        found = broken(verify_chain(store, TABLE, noted=store.evidence[50].sha256))
        assert (found.fault, found.key) == (Fault.CUT, HEAD)
        assert verify_chain(store, TABLE, noted=store.evidence[20].sha256).is_whole


class TestDiffs:
    def test_a_changed_one_and_a_missing_one_are_named(self, store: Store) -> None:
        changed, missing = (key_of(number).replace("pack.json", "diff.jsonl") for number in (20, 30))
        store.objects[changed] = b"nothing was wrong"
        del store.objects[missing]
        assert verify_chain(store, TABLE).is_whole, "they were not read"
        report = verify_chain(store, TABLE, diffs=True)
        assert (report.broken, report.is_whole, report.unlinked) == (None, False, {})
        assert [(each.fault, each.position, each.key) for each in report.diffs] == [
            (Fault.DIFF_MISSING, 30, missing),
            (Fault.DIFF_CHANGED, 20, changed),
        ]


class TestFirstVersion:
    """Packs of version 1 tell the hash of the one before them, but neither its key nor their own position."""

    def first_versions(self, length: int, then: int) -> Store:
        store, previous = Store(0), None
        for number in range(1, length + then + 1):
            document = json.loads(make(number, previous).pack)
            if number <= length:
                document = document | {"version": 1}
                for name in ("position", "previous_key", "earlier_attempts", "diff_sha256", "cost"):
                    del document[name]
            pack = json.dumps(document).encode()
            store.objects[key_of(number)] = pack
            previous = Link(pack_sha256(pack), key_of(number), number)
        assert previous is not None
        store.set_head(previous.position, previous.sha256, previous.key)
        return store

    @pytest.mark.parametrize(("length", "then"), [(1, 0), (5, 0), (5, 3), (1, 1)])
    def test_a_chain_that_began_with_them_is_walked(self, length: int, then: int) -> None:
        report = verify_chain(self.first_versions(length, then), TABLE)
        assert report.is_whole
        assert len(report.verified) == length + then

    @pytest.mark.parametrize("count", [4, 6])
    def test_the_count_is_held_against_them(self, count: int) -> None:
        store = self.first_versions(5, 0)
        head = json.loads(store.objects[HEAD])
        store.set_head(count, head["sha256"], head["pack"])
        assert broken(verify_chain(store, TABLE)).fault is Fault.HEAD_CHANGED

    @pytest.mark.parametrize("spoil", [Store.change, lambda store, key: store.objects.pop(key)])
    def test_a_changed_or_missing_one_breaks_the_chain(self, spoil: Callable[[Store, str], Any]) -> None:
        store = self.first_versions(5, 1)
        spoil(store, key_of(3))
        report = verify_chain(store, TABLE)
        assert report.broken is not None
        assert (report.broken.position, len(report.verified)) == (3, 3)


class TestCommand:
    """On a copy in a folder; on a bucket see the drills' own tests."""

    @pytest.fixture
    def folder(self, store: Store, tmp_path: Path) -> Path:
        for key, content in store.objects.items():
            path = tmp_path / key.removeprefix(ROOT)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return tmp_path

    def verify(self, folder: Path, *more: str) -> int:
        return main(["verify-chain", "--folder", str(folder), "--table", TABLE, *more])

    def test_a_whole_chain(self, folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.verify(folder, "--diffs", "--noted", store.evidence[50].sha256) == 0
        assert capsys.readouterr().out == (
            f"whole: 50 packs of orders; the newest has SHA-256 {store.evidence[50].sha256}\n"
        )

    def test_a_broken_one(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = folder / "2026-11-03-drill20" / "pack.json"
        path.write_bytes(path.read_bytes().replace(b"drill20", b"drill02"))
        assert self.verify(folder) == 1
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith(f"broken: Pack 20, {key_of(20)}, was changed")
        assert said[1:] == [
            "The 30 newest of 50 packs, written after it, are as they were written.",
            f"Behind it 19 packs up to {key_of(19)} hold together, down to the first.",
        ]

    def test_as_json(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "2026-11-03-drill50" / "pack.json").unlink()
        assert self.verify(folder, "--json") == 1
        said = json.loads(capsys.readouterr().out)
        assert (said["whole"], said["broken"]["fault"], said["broken"]["position"]) == (False, "pack_missing", 50)

    def test_a_pack_beside_the_chain(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "2026-11-04-x").mkdir()
        (folder / "2026-11-04-x" / "pack.json").write_bytes(CLAIM)
        assert self.verify(folder) == 1
        assert f"unlinked: {ROOT}2026-11-04-x/pack.json lies beside the chain." in capsys.readouterr().out

    def test_where_nothing_is(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.verify(tmp_path) == 2
        assert self.verify(tmp_path / "absent") == 2
        assert "There is no evidence of table 'orders'" in capsys.readouterr().err

    @pytest.mark.parametrize("more", [["--noted", "abc"], ["--bucket", "b"]])
    def test_wrong_usage(self, tmp_path: Path, more: list[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            self.verify(tmp_path, *more)
        assert stopped.value.code == 2


@pytest.mark.parametrize("key", ["evidence/orders/../../secret", "/etc/passwd", "secret", f"{ROOT}absent/pack.json"])
def test_a_forged_key_leads_out_of_no_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    source = FolderSource(folder, TABLE)
    assert (source.read(key), source.sha256(key)) == (None, None)


def test_a_head_is_written_as_it_is_read() -> None:
    head = Head(3, "a" * 64, key_of(3))
    assert Head.read(head.to_json()) == head
    with pytest.raises(EvidenceFormatError, match="head of a chain"):
        Head.read(b'{"count": 1}')
