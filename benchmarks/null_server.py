"""A server that speaks just enough of DynamoDB to measure clients: fast, without memory, and as unkind as asked.

It takes every signature, stores nothing, and hands out made tables in pages of 1 MB, as DynamoDB counts them.
``POST /control`` with a JSON object sets its mood and forgets its counts; ``GET /stats`` returns the counts. It also
serves files by range, as S3 would: ``GET /files/<name>``, from the folder given on the command line.

Moods of BatchWriteItem: ``accept`` takes everything. ``unprocessed`` takes `rate` items a second and returns the rest
as UnprocessedItems. ``throttle`` refuses a whole request unless there is capacity for all of it. ``dead`` takes
nothing and returns everything as UnprocessedItems.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from made_data import KEY_NAMES, PAGE_BYTES, MadeTable, index_of, key_of

_THROTTLED = (
    b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",'
    b'"message":"The level of configured provisioned throughput for the table was exceeded."}'
)
_CACHED_PAGES = 128
_MARK_BYTES = 130
"""JSON's and the wire form's marks in the text of a made item, which DynamoDB does not count."""

Answer = tuple[int, bytes]


class Mood:
    """How BatchWriteItem is answered, and what was asked of it so far."""

    def __init__(self) -> None:
        self.set({})

    def set(self, wanted: dict[str, Any]) -> None:
        """Change the mood and forget the counts."""
        self.mode: str = wanted.get("mode", "accept")
        self.rate = float(wanted.get("rate", 300))
        # A bucket that holds one second's capacity, full at first.
        self._room = self.rate
        self._filled_at = time.monotonic()
        self.counts = {"requests": 0, "offered": 0, "accepted": 0, "scans": 0}

    def room(self) -> float:
        """Return for how many items there is capacity now."""
        now = time.monotonic()
        self._room = min(self.rate, self._room + (now - self._filled_at) * self.rate)
        self._filled_at = now
        return self._room

    def batch_write(self, body: bytes) -> Answer:
        """Answer a BatchWriteItem."""
        offered = body.count(b'"PutRequest"')
        self.counts["requests"] += 1
        self.counts["offered"] += offered
        if self.mode == "accept":
            return self._accept(body, offered, b"{}")
        if self.mode == "throttle":
            if self.room() < offered:
                return 400, _THROTTLED
            self._room -= offered
            return self._accept(body, offered, b"{}")
        taken = 0 if self.mode == "dead" else min(offered, int(self.room()))
        self._room -= taken
        rest: dict[str, list[Any]] = {}
        skip = taken
        for table, requests in json.loads(body)["RequestItems"].items():
            left = requests[skip:]
            skip = max(0, skip - len(requests))
            if left:
                rest[table] = left
        return self._accept(body, taken, json.dumps(rest).encode())

    def _accept(self, body: bytes, taken: int, rest: bytes) -> Answer:
        self.counts["accepted"] += taken
        if b'"ReturnConsumedCapacity"' not in body:
            return 200, b'{"UnprocessedItems":' + rest + b"}"
        table = json.dumps(next(iter(json.loads(body)["RequestItems"]))).encode()
        used = b'[{"TableName":%s,"CapacityUnits":%d.0}]' % (table, taken)
        return 200, b'{"UnprocessedItems":' + rest + b',"ConsumedCapacity":' + used + b"}"


def scan(asked: dict[str, Any]) -> bytes:
    """Answer a Scan."""
    table = _made(asked["TableName"])
    total, segment = asked.get("TotalSegments", 1), asked.get("Segment", 0)
    start, end = table.end * segment // total, table.end * (segment + 1) // total
    if "ExclusiveStartKey" in asked:
        start = index_of(asked["ExclusiveStartKey"]) + 1
    return _page(asked["TableName"], start, end, asked.get("Limit", 0), "ReturnConsumedCapacity" in asked)


@lru_cache(maxsize=64)
def _made(name: str) -> MadeTable:
    return MadeTable(name)


@lru_cache(maxsize=_CACHED_PAGES)
def _page(name: str, start: int, end: int, limit: int, capacity: bool) -> bytes:
    table = _made(name)
    items: list[str] = []
    size = 0
    index = start
    while index < end and size < PAGE_BYTES and not (limit and len(items) == limit):
        if table.has(index):
            item = table.item(index)
            items.append(item)
            size += len(item.encode()) - _MARK_BYTES
        index += 1
    last = f',"LastEvaluatedKey":{json.dumps(key_of(index - 1))}' if index < end else ""
    used = f',"ConsumedCapacity":{{"TableName":"{name}","CapacityUnits":{size / 4096:.1f}}}' if capacity else ""
    count = len(items)
    return f'{{"Count":{count},"Items":[{",".join(items)}],"ScannedCount":{count}{last}{used}}}'.encode()


def describe(asked: dict[str, Any]) -> bytes:
    """Answer a DescribeTable."""
    name = asked["TableName"]
    table = _made(name)
    kinds = ("HASH", "RANGE")
    description = {
        "TableName": name,
        "TableStatus": "ACTIVE",
        "TableId": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "TableArn": f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}",
        "CreationDateTime": 1764547200,
        "ItemCount": table.items,
        "TableSizeBytes": table.items * 256,
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in KEY_NAMES],
        "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in zip(KEY_NAMES, kinds, strict=True)],
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0, "NumberOfDecreasesToday": 0},
    }
    return json.dumps({"Table": description}).encode()


class Connection(asyncio.Protocol):
    """One client's connection, kept open from request to request.

    Args:
        mood: how to answer.
        files: the folder whose files are served.
    """

    def __init__(self, mood: Mood, files: Path) -> None:
        self._mood = mood
        self._files = files
        self._held = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is there as a whole."""
        held = self._held
        held += data
        while (end := held.find(b"\r\n\r\n")) >= 0:
            head = bytes(held[:end])
            lower = head.lower()
            length = int(_header(lower, b"content-length") or 0)
            if len(held) < end + 4 + length:
                return
            body = bytes(held[end + 4 : end + 4 + length])
            del held[: end + 4 + length]
            self._answer(head, lower, body)

    def _answer(self, head: bytes, lower: bytes, body: bytes) -> None:
        method, path, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
        extra = b""
        if path == b"/control":
            self._mood.set(json.loads(body))
            status, content = 200, b"{}"
        elif path == b"/stats":
            status, content = 200, json.dumps(self._mood.counts).encode()
        elif path.startswith(b"/files/"):
            status, content, extra = self._file(path, _header(lower, b"range"))
        else:
            status, content = self._operation(lower, body)
            extra = b"x-amzn-RequestId: 0\r\nx-amz-crc32: %d\r\n" % zlib.crc32(content)
        kind = b"application/octet-stream" if path.startswith(b"/files/") else b"application/x-amz-json-1.0"
        start = b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (status, kind, len(content))
        if self._transport is not None:
            self._transport.write(start + extra + b"\r\n" + (b"" if method == b"HEAD" else content))

    def _operation(self, lower: bytes, body: bytes) -> Answer:
        name = _header(lower, b"x-amz-target").rpartition(b".")[2]
        if name == b"batchwriteitem":
            return self._mood.batch_write(body)
        reads: dict[bytes, Callable[[dict[str, Any]], bytes]] = {b"scan": scan, b"describetable": describe}
        if name not in reads:
            return 400, b'{"__type":"com.amazon.coral.service#UnknownOperationException"}'
        self._mood.counts["scans"] += name == b"scan"
        return 200, reads[name](json.loads(body))

    def _file(self, path: bytes, wanted: bytes) -> tuple[int, bytes, bytes]:
        file = self._files / Path(unquote(path.decode())).name
        content = file.read_bytes()
        whole = len(content)
        tag = b'ETag: "%d-%d"\r\n' % (whole, zlib.crc32(content))
        if not wanted:
            return 200, content, tag
        first, _, last = wanted.removeprefix(b"bytes=").partition(b"-")
        start, end = int(first), min(int(last or whole - 1), whole - 1)
        return 206, content[start : end + 1], tag + b"Content-Range: bytes %d-%d/%d\r\n" % (start, end, whole)


def _header(lower: bytes, name: bytes) -> bytes:
    """Return a header's value, in small letters, of a head in small letters."""
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    end = lower.find(b"\r\n", at + 2)
    return lower[at + len(name) + 3 : end if end >= 0 else len(lower)].strip()


async def serve(files: Path) -> None:
    """Serve on a free port, which is printed, until the standard input ends: with whoever started this."""
    mood = Mood()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(mood, files), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
