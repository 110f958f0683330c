"""Repair and undo, on tables of the local AWS: what is repaired, what is left, and that all of it can be taken back."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from dynamodb_bulk.canonical import canonical_item
from dynamodb_bulk.changes import Change, ChangesHeader, read_changes, write_change
from dynamodb_bulk.choice import Choice
from dynamodb_bulk.diff import DiffSettings, Side, TableDifferenceKind, diff_tables
from dynamodb_bulk.errors import TableMissingError
from dynamodb_bulk.outcomes import Done, Outcome, RepairResult
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.repair import RepairSettings, RepairStoppedError, make_changes
from local_aws import mock_aws
from local_aws.moto_fixes.write_faults import accept_writes, refuse_writes

pytestmark = pytest.mark.component

LIVE, RESTORED = "live", "restored"
HEADER = ChangesHeader(LIVE, ("id",), source=RESTORED)
APPLY = RepairSettings(dry_run=False, workers=4)
Content = dict[str, dict[str, Any]]


class Undo:
    """Keeps undo lines in memory; `seen` is called before they are kept."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.seen: Callable[[], None] = lambda: None

    def write(self, lines: Sequence[bytes]) -> None:
        self.seen()
        self.lines += lines

    def changes(self) -> list[Change]:
        return list(read_changes([HEADER.to_line(), *self.lines], "undo")[1])


class Tables:
    """Two tables, what they hold, and what users do to the live one meanwhile."""

    def __init__(self, session: boto3.Session) -> None:
        self.client = session.client("dynamodb", region_name="us-east-1")
        self.user = session.client("dynamodb", region_name="us-east-1")

    def make(self) -> None:
        for table in (LIVE, RESTORED):
            self.user.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )

    def hold(self, live: Content, restored: Content) -> None:
        for table, wanted in ((LIVE, live), (RESTORED, restored)):
            for name in self.content(table).keys() - wanted.keys():
                self.user.delete_item(TableName=table, Key={"id": {"S": name}})
            for name, rest in wanted.items():
                self.user.put_item(TableName=table, Item={"id": {"S": name}, **rest})

    def content(self, table: str = LIVE) -> Content:
        pages = self.user.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        items = [dict(item) for page in pages for item in page["Items"]]
        return {item.pop("id")["S"]: item for item in items}

    def changes(self) -> list[Change]:
        sink = io.BytesIO(HEADER.to_line())
        sink.seek(0, io.SEEK_END)
        diff_tables(
            Side(self.client, RESTORED),
            Side(self.client, LIVE),
            buckets=16,
            found=lambda one: write_change(sink, one),
            settings=DiffSettings(segments=1),
        )
        return list(read_changes(sink.getvalue().splitlines(keepends=True), "diff")[1])

    def equal(self) -> bool:
        return self.changes() == []

    def at(self, operation: str, act: Callable[[dict[str, Any]], None], *, times: int = 1) -> None:
        """Let something happen after a request was made and before DynamoDB gets it."""
        left = [times]

        def handler(request: Any, **_: Any) -> None:
            if left[0]:
                left[0] -= 1
                act(request)

        self.client.meta.events.register_first(f"before-send.dynamodb.{operation}", handler)


@pytest.fixture(scope="module")
def session() -> Iterator[boto3.Session]:
    with mock_aws():
        session = boto3.Session()
        Tables(session).make()
        yield session


@pytest.fixture
def tables(session: boto3.Session) -> Tables:
    """Both tables, empty, with clients that no other test has meddled with."""
    tables = Tables(session)
    tables.hold({}, {})
    return tables


def repair(tables: Tables, changes: Sequence[Change], **options: Any) -> tuple[RepairResult, Undo, list[Done]]:
    undo, told = Undo(), list[Done]()
    result = make_changes(
        tables.client, HEADER, changes, **{"undo": undo, "told": told.append, "settings": APPLY, **options}
    )
    return result, undo, told


def outcomes(told: Sequence[Done]) -> dict[str, str]:
    return {done.key[12:-3]: str(done.outcome) for done in told}


DAMAGED: Content = {
    "changed": {"v": {"S": "damaged"}, "added": {"N": "1"}},
    "extra": {"v": {"S": "new order"}},
    "same": {"v": {"S": "x"}},
}
GOOD: Content = {
    "changed": {"v": {"S": "good"}, "lost": {"L": [{"M": {"deep": {"BS": [b"\x00", b"\x01"]}}}]}},
    "missing": {"v": {"NULL": True}, "empty": {"S": ""}},
    "same": {"v": {"S": "x"}},
}


def test_all_differences_are_repaired_and_taken_back(tables: Tables) -> None:
    tables.hold(DAMAGED, GOOD)
    before = tables.content()
    result, undo, told = repair(tables, tables.changes())
    assert tables.content() == GOOD
    assert tables.equal()
    assert outcomes(told) == dict.fromkeys(["changed", "extra", "missing"], "repaired")
    assert (result.chosen, result.complete, result.classes) == (3, True, {"changed": 1, "extra": 1, "missing": 1})

    taken_back, redo, _ = repair(tables, undo.changes())
    assert (taken_back.complete, tables.content()) == (True, before)
    # An undo can be undone, too.
    assert repair(tables, redo.changes())[0].complete
    assert tables.equal()


def test_a_dry_run_writes_nothing(tables: Tables) -> None:
    tables.hold(DAMAGED, GOOD)
    result, undo, _ = repair(tables, tables.changes(), settings=RepairSettings())
    assert (result.count(Outcome.PLANNED), result.complete) == (3, False)
    assert (undo.lines, tables.content()) == ([], DAMAGED)


def test_nothing_is_written_without_a_place_for_the_undo(tables: Tables) -> None:
    with pytest.raises(ValueError, match="undo"):
        repair(tables, [], undo=None)


def test_what_only_the_live_table_has_stays_by_default(tables: Tables) -> None:
    tables.hold(DAMAGED, GOOD)
    repair(tables, list(Choice.of(("id",)).select(tables.changes())))
    assert tables.content() == {**GOOD, "extra": DAMAGED["extra"]}


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("changed", {"v": {"S": "changed again"}, "added": {"N": "1"}}),
        ("changed", {**DAMAGED["changed"], "another": {"S": "attribute"}}),
        ("changed", {"v": {"S": "damaged"}}),
        ("changed", {"v": {"S": "damaged"}, "added": {"S": "1"}}),
        ("changed", None),
        ("extra", {"v": {"S": "new order, shipped"}}),
        ("extra", {**DAMAGED["extra"], "another": {"S": "attribute"}}),
        ("missing", {"v": {"S": "made anew"}}),
    ],
)
@pytest.mark.parametrize("moment", ["before it is read", "after it was read"])
def test_an_item_that_changed_meanwhile_is_left_and_reported(
    tables: Tables, name: str, now: dict[str, Any] | None, moment: str
) -> None:
    tables.hold(DAMAGED, GOOD)
    changes = tables.changes()
    stands = {**DAMAGED, name: now} if now is not None else {n: v for n, v in DAMAGED.items() if n != name}
    undo = Undo()

    def meddle() -> None:
        tables.hold(stands, GOOD)  # type: ignore[arg-type]

    if moment == "before it is read":
        meddle()
    else:
        undo.seen = meddle
    (change,) = (one for one in changes if f'"{name}"' in one.key)
    told: list[Done] = []
    result = make_changes(tables.client, HEADER, [change], undo=undo, told=told.append, settings=APPLY)
    kept_by_the_update = name == "changed" and "another" in (now or {}) and moment == "after it was read"
    if kept_by_the_update:
        # No condition can speak of an attribute that nobody knew of, but an update leaves it alone.
        assert tables.content()["changed"] == {**GOOD["changed"], "another": {"S": "attribute"}}
        assert "another" in told[0].reason
        return
    assert outcomes(told) == {name: "left"}
    assert result.listed == tuple(told)
    assert told[0].reason
    assert tables.content() == stands


def wide(name: str, *, count: int = 150, **attributes: Any) -> dict[str, Any]:
    return {f"a{number:03}": {"S": name} for number in range(count)} | attributes


def test_items_of_more_attributes_than_a_condition_takes_are_repaired_and_taken_back(tables: Tables) -> None:
    live = {"changed": wide("old"), "extra": wide("old"), "little": wide("same", b={"S": "old"})}
    tables.hold(live, {"changed": wide("new"), "missing": wide("new"), "little": wide("same", b={"S": "new"})})
    result, undo, _ = repair(tables, tables.changes())
    assert result.complete
    assert tables.equal()
    assert repair(tables, undo.changes())[0].complete
    assert tables.content() == live


@pytest.mark.parametrize("name", ["changed", "extra"])
def test_what_no_condition_could_see_is_put_back(tables: Tables, name: str) -> None:
    """The last attributes of a wide item change between the read and the write that replaces it as a whole."""
    live = {"changed": wide("old"), "extra": wide("old")}
    tables.hold(live, {"changed": wide("new")})
    changes = [one for one in tables.changes() if f'"{name}"' in one.key]
    undo = Undo()
    stands = {**live, name: wide("old") | {"a149": {"S": "just changed"}}}
    undo.seen = lambda: tables.hold(stands, {})
    _, _, told = repair(tables, changes, undo=undo)
    assert outcomes(told) == {name: "left"}
    assert "a149" in told[0].reason
    assert tables.content() == stands


MET = {"a149": {"S": "just changed"}, "ordered": {"S": "by a user"}}


@pytest.mark.parametrize(("name", "puts"), [("changed", 2), ("extra", 1)])
def test_killed_before_it_put_back_what_it_met_that_is_in_the_undo(tables: Tables, name: str, puts: int) -> None:
    live = {"changed": wide("old"), "extra": wide("old")}
    stands = {**live, name: wide("old") | MET}
    tables.hold(live, {"changed": wide("new")})
    changes = [one for one in tables.changes() if f'"{name}"' in one.key]
    undo, made = Undo(), [0]

    def kill_the_last(_: Any) -> None:
        made[0] += 1
        if made[0] == puts:
            raise Killed

    undo.seen = lambda: None if undo.lines else tables.hold(stands, {})
    tables.at("PutItem", kill_the_last, times=puts)
    with pytest.raises(Killed):
        repair(tables, changes, undo=undo)
    assert tables.content() == ({**live, "changed": wide("new")} if name == "changed" else {"changed": wide("old")})

    # Run again, it finds the item as it shall be, and nobody to put it back; the undo does.
    _, second, told = repair(tables, changes)
    assert (outcomes(told), second.lines) == ({name: "already"}, [])
    _, _, told = repair(tables, undo.changes()[::-1])
    assert [done.outcome for done in told] == [Outcome.REPAIRED, Outcome.LEFT]
    assert tables.content() == stands


def test_what_it_met_is_put_back_though_the_undo_file_does_not_take_it(tables: Tables) -> None:
    tables.hold({"extra": wide("old")}, {})
    changes = tables.changes()
    undo = Undo()
    stands = {"extra": wide("old") | MET}

    def full() -> None:
        if undo.lines:
            raise OSError("no space left on device")
        tables.hold(stands, {})

    undo.seen = full
    with pytest.raises(OSError, match="no space"):
        repair(tables, changes, undo=undo)
    assert tables.content() == stands


def test_workers_keep_what_they_met_one_at_a_time(tables: Tables) -> None:
    """A sink need not stand two writes at once."""
    live = {f"k{number}": wide("old", count=101) for number in range(12)}
    tables.hold(live, {})
    changes = tables.changes()
    stands = {name: item | MET for name, item in live.items()}
    undo, inside, most = Undo(), [0], [0]
    keep = undo.write

    def write(lines: Sequence[bytes]) -> None:
        if not undo.lines:
            tables.hold(stands, {})
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        keep(lines)
        threading.Event().wait(0.01)
        inside[0] -= 1

    undo.write = write  # type: ignore[method-assign]
    _, _, told = repair(tables, changes, undo=undo)
    assert (most, len(undo.changes())) == ([1], 24)
    assert set(outcomes(told).values()) == {"left"}
    assert tables.content() == stands


def test_what_can_not_be_put_back_is_told_with_what_stood_there(tables: Tables) -> None:
    tables.hold({"extra": wide("old")}, {})
    changes = tables.changes()
    undo = Undo()
    undo.seen = lambda: tables.hold({"extra": wide("old") | {"a149": {"S": "just changed"}}}, {})
    tables.at("PutItem", lambda _: tables.hold({"extra": {"v": {"S": "made anew"}}}, {}))
    _, _, told = repair(tables, changes, undo=undo)
    assert outcomes(told) == {"extra": "failed"}
    assert told[0].to_dict()["stood"]["a149"] == {"S": "just changed"}
    assert tables.content() == {"extra": {"v": {"S": "made anew"}}}


def test_a_write_whose_answer_is_lost_is_counted_once(tables: Tables) -> None:
    tables.hold(DAMAGED, GOOD)
    changes = tables.changes()
    for operation in ("PutItem", "UpdateItem", "DeleteItem"):

        def twice(request: Any, operation: str = operation) -> None:
            headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
            _send(tables, operation, request.body, headers)

        tables.at(operation, twice)
    result, _, told = repair(tables, changes)
    assert (result.complete, result.count(Outcome.REPAIRED)) == (True, 3)
    # What the delete met is told by nothing but its first answer.
    assert outcomes([done for done in told if "answer was lost" in done.reason]) == {"extra": "repaired"}
    assert tables.content() == GOOD


def _send(tables: Tables, operation: str, body: bytes, _headers: dict[str, str]) -> None:
    from dynamodb_bulk.wire import open_transport

    open_transport(tables.user).attempt(operation, body)


def many(count: int, text: str) -> Content:
    return {f"k{number:04}": {"v": {"S": text}, "n": {"N": str(number)}} for number in range(count)}


class Killed(BaseException):
    """What ends a process."""


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before the undo", "after the undo", "in the middle of the writes"])
def test_killed_and_run_again_all_is_repaired_and_all_can_be_undone(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, batch: int, moment: str
) -> None:
    monkeypatch.setattr("dynamodb_bulk.repair.BATCH_ITEMS", 10)
    live, good = many(25, "old"), many(25, "new")
    tables.hold(live, good)
    changes = tables.changes()
    undo, seen = Undo(), [0]

    def before() -> None:
        seen[0] += 1
        if seen[0] == batch and moment == "before the undo":
            raise Killed

    undo.seen = before
    original = undo.write

    def write(lines: Sequence[bytes]) -> None:
        original(lines)
        if seen[0] == batch and moment == "after the undo":
            raise Killed
        if seen[0] == batch:
            tables.at("UpdateItem", _kill, times=4)

    undo.write = write  # type: ignore[method-assign]
    with pytest.raises(Killed):
        repair(tables, changes, undo=undo)
    kept = Undo()
    kept.lines = list(undo.lines)
    assert tables.content() != good
    result, second, _ = repair(tables, changes)
    assert (result.complete, tables.content()) == (True, good)
    assert result.count(Outcome.ALREADY) + result.count(Outcome.REPAIRED) == 25
    # Both runs' undo lines together take all of it back.
    assert repair(tables, [*kept.changes(), *second.changes()])[0].complete
    assert tables.content() == live


def _kill(_: Any) -> None:
    raise Killed


def test_throttling_is_waited_out_and_nothing_is_done_twice(tables: Tables) -> None:
    tables.hold(many(40, "old"), many(40, "new"))
    changes = tables.changes()
    slept: list[float] = []
    refuse_writes(0.6, seed=7)
    try:
        result, _, _ = repair(tables, changes, effects=Effects(sleep=slept.append))
    finally:
        accept_writes()
    assert result.count(Outcome.REPAIRED) == 40
    assert len(slept) > 10
    assert tables.equal()


def test_a_table_that_takes_nothing_ends_the_run_and_the_next_one_goes_on(tables: Tables) -> None:
    tables.hold(many(5, "old"), many(5, "new"))
    changes = tables.changes()
    now = [0.0]
    effects = Effects(clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    refuse_writes(1.0)
    try:
        with pytest.raises(RepairStoppedError, match="run it again"):
            repair(tables, changes, effects=effects)
    finally:
        accept_writes()
    assert now[0] >= 290
    assert repair(tables, changes)[0].complete


def test_it_keeps_below_the_write_units_that_it_may_use(tables: Tables) -> None:
    tables.hold(many(60, "old"), many(60, "new"))
    changes = tables.changes()
    now = [0.0]
    effects = Effects(clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    paced = RepairSettings(dry_run=False, workers=4, max_wcu=10)
    result, _, _ = repair(tables, changes, settings=paced, effects=effects)
    assert result.complete
    # Half a unit an item, by the local AWS's count.
    assert result.units == 30
    assert 5.0 <= now[0] <= 7.0


def test_a_dry_run_keeps_below_the_read_units_that_it_may_use(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamodb_bulk.repair.BATCH_ITEMS", 10)
    tables.hold(many(40, "old" * 2000), many(40, "new" * 2000))
    changes = tables.changes()
    now = [0.0]
    effects = Effects(clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    repair(tables, changes, settings=RepairSettings(max_rcu=10), effects=effects)
    # Forty items of 6 KB are 80 units, of which the last 20 are paid for when all is done.
    assert 5.5 <= now[0] <= 6.1


def answer(status: int, code: str) -> Callable[..., AWSResponse]:
    body = f'{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"no"}}'.encode()
    raw = Mock(stream=lambda **_: iter([body]))
    return lambda **_: AWSResponse("http://x", status, {}, raw)


def test_an_item_that_dynamodb_refuses_fails_alone(tables: Tables) -> None:
    tables.hold({}, many(3, "new"))
    tables.client.meta.events.register_first("before-send.dynamodb.PutItem", _once(answer(400, "ValidationException")))
    result, _, told = repair(tables, tables.changes(), settings=RepairSettings(dry_run=False, workers=1))
    assert (result.count(Outcome.FAILED), result.count(Outcome.REPAIRED)) == (1, 2)
    assert "ValidationException" in next(done.reason for done in told if done.outcome == "failed")


def _once(respond: Callable[..., AWSResponse]) -> Callable[..., AWSResponse | None]:
    left = [1]

    def handler(**arguments: Any) -> AWSResponse | None:
        left[0] -= 1
        return respond(**arguments) if left[0] >= 0 else None

    return handler


@pytest.mark.parametrize(
    ("operation", "code", "error"),
    [
        ("PutItem", "AccessDeniedException", RepairStoppedError),
        ("BatchGetItem", "AccessDeniedException", RepairStoppedError),
        ("PutItem", "ResourceNotFoundException", TableMissingError),
    ],
)
def test_what_has_nothing_to_do_with_the_item_ends_the_run(
    tables: Tables, operation: str, code: str, error: type[Exception]
) -> None:
    tables.hold({}, many(3, "new"))
    changes = tables.changes()
    tables.client.meta.events.register_first(f"before-send.dynamodb.{operation}", answer(400, code))
    with pytest.raises(error, match="live"):
        repair(tables, changes)


def test_one_item_named_twice_is_handled_twice(tables: Tables) -> None:
    tables.hold({}, many(1, "new"))
    (change,) = tables.changes()
    result, _, _ = repair(tables, [change, change])
    assert (result.chosen, result.count(Outcome.REPAIRED), result.count(Outcome.ALREADY)) == (2, 1, 1)


def some_value(chance: random.Random, depth: int = 2) -> dict[str, Any]:
    """Return a value of any type that DynamoDB has, often one that is hard to tell from another."""
    kind = chance.choice(["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", *(["L", "M"] * 2 if depth else [])])
    content: Any = {
        "S": lambda: chance.choice(["", "1", "a", "ü", "\U0001f600", 'quo"te']),
        "N": lambda: chance.choice(["1", "0", "-0.25", "1E+20", "3.1415926535897932384626433832795028842"]),
        "B": lambda: chance.randbytes(chance.randrange(3)),
        "BOOL": lambda: chance.random() < 0.5,
        "NULL": lambda: True,
        "SS": lambda: chance.sample(["", "a", "b", "ü"], 2),
        "NS": lambda: chance.sample(["10", "9", "-1", "0.5"], 3),
        "BS": lambda: chance.sample([b"", b"\x00", b"\xff"], 2),
        "L": lambda: [some_value(chance, depth - 1) for _ in range(chance.randrange(3))],
        "M": lambda: {name: some_value(chance, depth - 1) for name in chance.sample(NAMES, chance.randrange(3))},
    }[kind]()
    return {kind: content}


NAMES = ["a", "a.b", "size", "#0", ":o0", "name with spaces", "ü", "0"]


def some_items(chance: random.Random, share: float) -> Content:
    return {
        f"k{number}": {name: some_value(chance) for name in chance.sample(NAMES, chance.randrange(5))}
        for number in range(60)
        if chance.random() < share
    }


def forms(content: Content) -> dict[str, bytes]:
    return {name: canonical_item(rest) for name, rest in content.items()}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_tables_hold_they_become_equal_and_are_taken_back(tables: Tables, seed: int) -> None:
    chance = random.Random(seed)
    live = some_items(chance, 0.8)
    tables.hold(live, some_items(chance, 0.8) | dict(list(live.items())[:10]))
    changes = tables.changes()
    assert {change.kind for change in changes} == set(TableDifferenceKind)
    result, undo, _ = repair(tables, changes)
    assert result.complete
    assert forms(tables.content()) == forms(tables.content(RESTORED))
    assert repair(tables, undo.changes())[0].complete
    assert forms(tables.content()) == forms(live)


def whole(number: int) -> dict[str, Any]:
    return {
        "n": {"N": str(number)},
        "s": {"S": f"text {number}"},
        "tags": {"SS": ["a", "b", "c"]},
        "deep": {"M": {"list": {"L": [{"N": "1"}, {"M": {"x": {"S": "y"}}}]}}},
        "blob": {"B": b"\x00\x01"},
        "empty": {"S": ""},
        "none": {"NULL": True},
    }


CORRUPTIONS: dict[str, tuple[bool, Callable[[dict[str, Any]], dict[str, Any] | None]]] = {
    "lost": (True, lambda _: None),
    "attribute lost": (True, lambda item: {name: value for name, value in item.items() if name != "s"}),
    "attribute added": (True, lambda item: {**item, "more": {"S": ""}}),
    "number to text": (True, lambda item: {**item, "n": {"S": item["n"]["N"]}}),
    "number spelled otherwise": (False, lambda item: {**item, "n": {"N": f"{item['n']['N']}.00"}}),
    "set in another order": (False, lambda item: {**item, "tags": {"SS": ["c", "a", "b"]}}),
    "set to list": (True, lambda item: {**item, "tags": {"L": [{"S": "a"}, {"S": "b"}, {"S": "c"}]}}),
    "empty text to null": (True, lambda item: {**item, "empty": {"NULL": True}}),
    "null to text": (True, lambda item: {**item, "none": {"S": ""}}),
    "nested": (True, lambda item: {**item, "deep": {"M": {"list": {"L": [{"N": "1"}, {"M": {"x": {"S": "z"}}}]}}}}),
    "binary": (True, lambda item: {**item, "blob": {"B": b"\x00\x02"}}),
    "binary to text": (True, lambda item: {**item, "blob": {"S": "AAE="}}),
}


def test_seeded_corruptions_are_all_repaired_and_nothing_else_is_touched(tables: Tables) -> None:
    chance = random.Random(6)
    good = {f"k{number:03}": whole(number) for number in range(150)}
    live: Content = {"added": whole(0)}
    wrong = {"added"}
    for name, item in good.items():
        real, corrupt = CORRUPTIONS[chance.choice(sorted(CORRUPTIONS))]
        corrupted = corrupt(item)
        live |= {} if corrupted is None else {name: corrupted}
        wrong |= {name} if real else set()
    tables.hold(live, good)
    changes = tables.changes()
    assert {change.key_item["id"]["S"] for change in changes} == wrong
    result, undo, _ = repair(tables, changes)
    assert (result.count(Outcome.REPAIRED), len(undo.changes())) == (len(wrong), len(wrong))
    assert forms(tables.content()) == forms(good)
    assert repair(tables, undo.changes())[0].complete
    assert forms(tables.content()) == forms(live)


def test_users_who_write_all_the_time_lose_nothing(tables: Tables) -> None:
    """Between any two requests somebody writes to some item: what was written stays, the rest is repaired."""
    chance = random.Random(20260105)
    live, good = many(60, "old"), many(60, "new")
    tables.hold(live, good)
    changes = tables.changes()
    written: Content = {}

    def meddle(request: Any) -> None:
        name = f"k{chance.randrange(60):04}"
        written[name] = {"v": {"S": f"user's {len(written)}"}}
        tables.user.put_item(TableName=LIVE, Item={"id": {"S": name}, **written[name]})

    tables.at("UpdateItem", meddle, times=30)
    result, _, told = repair(tables, changes, settings=RepairSettings(dry_run=False, workers=1))
    content = tables.content()
    ends = outcomes(told)
    assert content == {**good, **written}
    assert {name for name, end in ends.items() if end == "left"} <= written.keys()
    assert result.count(Outcome.LEFT) > 5
    assert result.count(Outcome.LEFT) + result.count(Outcome.REPAIRED) == 60
