import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from dynamodb_bulk.batches import (
    MAX_BATCH_BYTES,
    BatchWriter,
    Landed,
    LoadSettings,
    Parcel,
    WriteCounts,
    bulk_client_config,
    pack,
)
from dynamodb_bulk.columns import encode
from dynamodb_bulk.errors import LoadDeadlineError, LoadStalledError, TableMissingError, WriteRefusedError
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.transport import ClientTransport

Item = tuple[list[int], list[bytes]]


def row(line: int, text: str = "v") -> Item:
    return [line], [encode({"k": {"S": str(line)}, "v": {"S": text}})]


def keys(parcel: Parcel) -> list[str]:
    return [json.loads(request)["PutRequest"]["Item"]["k"]["S"] for request in parcel.requests]


def error(code: str, status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "said AWS"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "BatchWriteItem")


class Time:
    """A clock that only sleeping and requests move, with full pauses."""

    def __init__(self, draw: float = 1.0) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self.draw = draw
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.pauses.append(seconds)
            self.now += seconds

    def effects(self) -> Effects:
        return Effects(clock=lambda: self.now, sleep=self.sleep, draw=lambda: self.draw)


Answer = Callable[[int, list[dict[str, Any]]], list[dict[str, Any]]]


class Table:
    """Keeps what is put; `answer` gets the number of the request and its items, and returns those refused."""

    def __init__(self, answer: Answer = lambda number, requests: []) -> None:
        self.answer = answer
        self.items: dict[str, Any] = {}
        self.requests: list[list[str]] = []
        self._lock = threading.Lock()

    def describe_table(self, **_: Any) -> Any:
        raise AssertionError("a writer does not describe")

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Any]]) -> Any:
        (sent,) = map(list, RequestItems.values())
        with self._lock:
            self.requests.append([request["PutRequest"]["Item"]["k"]["S"] for request in sent])
            refused = self.answer(len(self.requests), sent)
            for request in sent:
                if request not in refused:
                    item = request["PutRequest"]["Item"]
                    self.items[item["k"]["S"]] = item
        return {"UnprocessedItems": {"orders": refused} if refused else {}}


def write(
    table: Table,
    rows: Iterable[Item],
    *,
    time: Time | None = None,
    progress: Any = None,
    landed: Any = None,
    max_wcu: float | None = None,
    **limits: Any,
) -> WriteCounts:
    time = time or Time()
    settings = LoadSettings(**{"workers": 1, **limits})
    writer = BatchWriter(
        ClientTransport(table),
        "orders",
        key_names=("k",),
        settings=settings,
        effects=time.effects(),
        deadline=time.now + settings.deadline_seconds,
        progress=progress,
        max_wcu=max_wcu,
    )
    return writer.write(pack(rows), landed=landed)


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (25, [25]), (26, [25, 1]), (60, [25, 25, 10])])
def test_batches_have_at_most_25_items_in_order(count: int, sizes: list[int]) -> None:
    batches = list(pack(row(line) for line in range(count)))
    assert [batch.count for batch in batches] == sizes
    assert [key for batch in batches for key in keys(batch)] == [str(line) for line in range(count)]
    assert [(batch.first_line, batch.last_line) for batch in batches] == [
        (25 * number, 25 * number + size - 1) for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("sizes", [[7], [1, 30, 2, 60], [25, 25], [24, 2, 24]])
def test_it_does_not_matter_in_which_pieces_rows_come(sizes: list[int]) -> None:
    numbers = iter(range(sum(sizes)))
    groups = [[row(next(numbers)) for _ in range(size)] for size in sizes]
    joined = [([line for (line,), _ in group], [request for _, (request,) in group]) for group in groups]
    one_by_one = list(pack(row(line) for line in range(sum(sizes))))
    assert [keys(batch) for batch in pack(joined)] == [keys(batch) for batch in one_by_one]


@pytest.mark.parametrize("character", ["x", "\x01", "é", "烏", "🍮", '"'])
def test_batches_stay_below_16_mb_as_json(character: str) -> None:
    text = character * (400_000 // len(character.encode()))
    batches = list(pack(row(line, text) for line in range(30)))
    lengths = [sum(map(len, batch.requests)) + batch.count + 100 for batch in batches]
    assert max(lengths) <= 16 * 1024 * 1024
    assert sum(batch.count for batch in batches) == 30
    # No batch is smaller than it must be.
    assert all(
        length + len(batch.requests[0]) > MAX_BATCH_BYTES or batch.count == 25
        for length, batch in zip(lengths[:-1], batches[:-1], strict=True)
    )


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_every_row_is_written_once(workers: int) -> None:
    table = Table()
    assert write(table, [row(line) for line in range(260)], workers=workers) == WriteCounts(260, 11, 0)
    assert sorted(table.items, key=int) == [str(line) for line in range(260)]


def test_nothing_to_write_sends_nothing() -> None:
    table = Table()
    assert write(table, []) == WriteCounts(0, 0, 0)
    assert table.requests == []


@pytest.mark.parametrize("workers", [1, 4])
def test_only_what_was_refused_is_sent_again(workers: int) -> None:
    seen: set[str] = set()

    def refuse_each_second_item_once(_: int, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        refused = []
        for request in requests:
            key = request["PutRequest"]["Item"]["k"]["S"]
            if int(key) % 2 and key not in seen:
                seen.add(key)
                refused.append(request)
        return refused

    table = Table(refuse_each_second_item_once)
    counts = write(table, [row(line) for line in range(100)], workers=workers)
    assert counts._replace(batches=0) == WriteCounts(written=100, batches=0, resent=50)
    # What was refused is sent together with what is still to come: not one small request for each refusal.
    assert 6 <= counts.batches <= 7
    assert len(table.items) == 100
    sent = [key for request in table.requests for key in request]
    assert sorted(sent, key=int) == sorted([str(n) for n in range(100)] + [str(n) for n in range(1, 100, 2)], key=int)


def test_pauses_double_while_nothing_is_taken_and_start_small_when_something_is() -> None:
    def answer(number: int, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return {1: requests, 2: requests, 3: requests, 4: requests[:10], 5: requests}.get(number, [])

    time = Time()
    assert write(Table(answer), [row(line) for line in range(20)], time=time) == WriteCounts(20, 6, 80)
    assert time.pauses[:3] == pytest.approx([0.05, 0.1, 0.2])
    # Ten items in 0.35 seconds: that is how fast it goes on, nearly.
    assert time.pauses[3] == pytest.approx(20 / (10 / 0.35 * 0.97))


@pytest.mark.parametrize(
    "trouble",
    [
        error("ProvisionedThroughputExceededException"),
        error("ThrottlingException"),
        error("InternalServerError", 500),
        error("ServiceUnavailable", 503),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
    ],
    ids=lambda trouble: type(trouble).__name__ + str(trouble)[20:60],
)
def test_a_request_that_failed_is_sent_again_whole(trouble: Exception) -> None:
    def answer(number: int, _: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if number <= 3:
            raise trouble
        return []

    table = Table(answer)
    assert write(table, [row(line) for line in range(10)]) == WriteCounts(10, 4, 30)
    assert len(table.items) == 10


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    ("trouble", "expected", "message"),
    [
        (error("ResourceNotFoundException"), TableMissingError, "Table orders is not there any more"),
        (error("ValidationException"), WriteRefusedError, r"Table orders refused the items of lines \d+ to \d+: "),
        (error("AccessDeniedException"), WriteRefusedError, "the right to dynamodb:BatchWriteItem"),
    ],
)
def test_what_no_retry_can_mend_ends_the_load_at_once(
    workers: int, trouble: Exception, expected: type[Exception], message: str
) -> None:
    def answer(number: int, _: list[dict[str, Any]]) -> list[dict[str, Any]]:
        raise trouble

    table = Table(answer)
    with pytest.raises(expected, match=message) as raised:
        write(table, [row(line) for line in range(1000)], workers=workers)
    assert "said AWS" in str(raised.value)
    assert len(table.requests) <= 2 * workers


def test_a_table_that_takes_nothing_ends_with_a_clear_error_after_few_requests() -> None:
    time = Time()
    table = Table(lambda number, requests: requests)
    with pytest.raises(LoadStalledError) as raised:
        write(table, [row(line) for line in range(30)], time=time, stall_seconds=60, longest_pause_seconds=8)
    assert time.now == pytest.approx(1060)
    assert len(table.requests) <= 20
    assert "accepted nothing for 60 s" in str(raised.value)
    assert "0 items are written; 25 items of lines 0 to 24 still are not" in str(raised.value)
    assert "UnprocessedItems" in str(raised.value)


def test_a_table_that_dies_on_the_way_says_how_far_it_came() -> None:
    table = Table(lambda number, requests: requests if number > 2 else [])
    with pytest.raises(LoadStalledError, match="50 items are written; 25 items of lines 50 to 74"):
        write(table, [row(line) for line in range(100)])


def test_a_table_that_takes_one_item_at_a_time_is_not_stalled() -> None:
    table = Table(lambda number, requests: requests[1:])
    counts = write(table, [row(line) for line in range(50)], stall_seconds=1)
    assert counts.written == 50
    assert counts.batches == 50


def test_the_deadline_ends_a_load_that_only_crawls() -> None:
    time = Time()
    table = Table(lambda number, requests: requests[1:])
    with pytest.raises(LoadDeadlineError, match=r"took 1 s and is not done\. orders: \d+ items are written"):
        write(table, [row(line) for line in range(100)], time=time, deadline_seconds=1)
    assert time.now == pytest.approx(1001)


def test_the_deadline_ends_a_load_whose_requests_are_slow() -> None:
    time = Time()

    def answer(number: int, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        time.now += 10
        return []

    table = Table(answer)
    with pytest.raises(LoadDeadlineError, match="75 items are written"):
        write(table, [row(line) for line in range(1000)], time=time, deadline_seconds=30)
    assert len(table.requests) == 3


def test_a_slow_source_is_no_stalled_table() -> None:
    time = Time()

    def rows() -> Any:
        for line in range(50):
            if line == 30:
                time.now += 500
            yield row(line)

    table = Table(lambda number, requests: requests if number == 2 else [])
    assert write(table, rows(), time=time, stall_seconds=60).written == 50


def test_progress_is_reported() -> None:
    seen: list[int] = []
    write(Table(), [row(line) for line in range(60)], progress=seen.append)
    assert seen == [25, 50, 60]


def test_a_source_that_breaks_stops_the_workers() -> None:
    def rows() -> Any:
        yield from (row(line) for line in range(100))
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        write(Table(), rows(), workers=4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_reject_ratio", 1.5),
        ("max_reject_ratio", -0.1),
        ("workers", 0),
        ("deadline_seconds", 0),
        ("stall_seconds", -1),
        ("pause_seconds", 0),
        ("longest_pause_seconds", 0),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be"):
        LoadSettings(**{name: value})  # type: ignore[arg-type]


def test_the_clients_own_retries_are_off() -> None:
    config = bulk_client_config(workers=32)
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}  # type: ignore[attr-defined]
    assert config.max_pool_connections == 32  # type: ignore[attr-defined]


def test_the_line_up_to_which_all_is_written_is_told_whatever_the_order_of_the_answers() -> None:
    def answer(number: int, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return requests[:1] if number == 1 else []

    seen: list[Landed] = []
    write(Table(answer), [row(line) for line in range(100)], landed=seen.append)
    # The first item is refused once, so nothing counts as landed before it is.
    assert seen[0] == Landed(24, 25)
    assert seen[-1] == Landed(99, 100)
    assert seen == sorted(seen)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_what_is_told_to_have_landed_was_accepted(workers: int, share: float) -> None:
    draw = random.Random(share)
    table = Table(lambda number, requests: [one for one in requests if draw.random() < share])
    told: list[tuple[Landed, set[str]]] = []
    counts = write(
        table,
        [row(line) for line in range(300)],
        workers=workers,
        landed=lambda landed: told.append((landed, set(table.items))),
    )
    assert counts.written == 300
    for landed, there in told:
        assert {str(line) for line in range(landed.line + 1)} <= there
        assert landed.written == landed.line + 1


def test_an_answer_that_names_unknown_items_has_all_of_them_sent_again() -> None:
    stranger = json.loads(row(999)[1][0])
    answers = iter([[stranger]])
    table = Table()
    original = table.batch_write_item

    def batch_write_item(*, RequestItems: Mapping[str, Sequence[Any]]) -> Any:
        original(RequestItems=RequestItems)
        return {"UnprocessedItems": {"orders": next(answers, [])}}

    table.batch_write_item = batch_write_item  # type: ignore[method-assign]
    assert write(table, [row(line) for line in range(10)]) == WriteCounts(written=10, batches=2, resent=10)


class Metered(Table):
    """Says what it consumed: three units for each item."""

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Any]], ReturnConsumedCapacity: str = "") -> Any:
        assert ReturnConsumedCapacity == "TOTAL"
        answer = super().batch_write_item(RequestItems=RequestItems)
        units = 3.0 * len(self.requests[-1])
        return {**answer, "ConsumedCapacity": [{"TableName": "orders", "CapacityUnits": units}]}


def test_no_more_capacity_is_consumed_than_allowed() -> None:
    time = Time()
    table = Metered()
    assert write(table, [row(line) for line in range(1000)], time=time, max_wcu=100).written == 1000
    # 3000 units at 100 a second; the first request is not waited for, the last one not paid for yet.
    assert time.now - 1000 == pytest.approx(30, abs=1.5)


class Starved:
    """A table that takes a number of items per second, by a clock; the rest is unprocessed, or all of it refused."""

    def __init__(self, time: Time, rate: float, *, whole: bool, latency: float = 0.002) -> None:
        self.time = time
        self.rate = rate
        self.whole = whole
        self.latency = latency
        self.reserve = rate
        self.seen = time.now
        self.requests = 0
        self.items: list[str] = []

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Any]]) -> Any:
        self.time.now += self.latency
        self.requests += 1
        self.reserve = min(self.rate, self.reserve + (self.time.now - self.seen) * self.rate)
        self.seen = self.time.now
        sent = RequestItems["orders"]
        if self.whole and len(sent) > self.reserve:
            raise error("ProvisionedThroughputExceededException")
        taken = min(len(sent), int(self.reserve))
        self.reserve -= taken
        self.items += [request["PutRequest"]["Item"]["k"]["S"] for request in sent[:taken]]
        return {"UnprocessedItems": {"orders": sent[taken:]}} if taken < len(sent) else {}


@pytest.mark.parametrize(("whole", "most"), [(False, 1.1), (True, 1.3)])
@pytest.mark.parametrize("seed", range(5))
def test_a_starved_table_is_asked_little_more_than_needed_and_kept_busy(whole: bool, most: float, seed: int) -> None:
    time = Time()
    draw = random.Random(seed).random
    table = Starved(time, 300, whole=whole)
    settings = LoadSettings(workers=1)
    writer = BatchWriter(
        ClientTransport(table),
        "orders",
        key_names=("k",),
        settings=settings,
        effects=Effects(clock=lambda: time.now, sleep=time.sleep, draw=draw),
        deadline=time.now + 3600,
    )
    assert writer.write(pack(row(line) for line in range(3000))).written == 3000
    assert sorted(table.items, key=int) == [str(line) for line in range(3000)]
    assert table.requests <= most * 3000 / 25
    # 300 items are there from the start, so 9 seconds are ideal.
    assert time.now - 1000 <= 1.05 * 9


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("stall", [5, 60, 600])
@pytest.mark.parametrize("seed", range(3))
def test_a_dead_table_is_not_asked_often_whatever_chance_says(workers: int, stall: float, seed: int) -> None:
    time = Time()
    table = Table(lambda number, requests: requests)
    draw = random.Random(seed).random
    settings = LoadSettings(workers=workers, stall_seconds=stall)
    writer = BatchWriter(
        ClientTransport(table),
        "orders",
        key_names=("k",),
        settings=settings,
        effects=Effects(clock=lambda: time.now, sleep=time.sleep, draw=draw),
        deadline=time.now + 3600,
    )
    with pytest.raises(LoadStalledError):
        writer.write(pack(row(line) for line in range(3000)))
    assert len(table.requests) <= 20 + 2 * (workers - 1)
    assert time.now == pytest.approx(1000 + stall)
