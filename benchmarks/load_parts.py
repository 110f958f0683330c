"""Where the CPU of a load goes: each part of it alone, against the null server.

::

    PYTHONPATH=plugins python benchmarks/load_parts.py [ROWS]

Each figure is the least of nine runs: on a busy machine that is the one with the least of the others' work in it.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import made_data
from measuring import HERE, environment

from dynamodb_bulk.batches import BatchWriter, LoadSettings, bulk_client_config, pack
from dynamodb_bulk.columns import BuiltRows, RowConverter
from dynamodb_bulk.csv_blocks import Block, CsvBlocks, Feed
from dynamodb_bulk.csv_rows import Record
from dynamodb_bulk.load import load_csv
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.schema import parse_schema
from dynamodb_bulk.signing import Signer
from dynamodb_bulk.sources import local_source
from dynamodb_bulk.wire import open_transport

_RUNS = 9
_SCHEMA = parse_schema(made_data.SCHEMA_YAML, "bench.yaml")
_TABLE = made_data.table_name(0)
_NOTHING_LEFT = b'{"UnprocessedItems":{}}'


class Blocks:
    """A file's blocks, read anew each time.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[tuple[RowConverter, Block | list[Record]]]:
        with self._path.open("rb") as file:
            reader = CsvBlocks(Feed(file, used_up=len), _SCHEMA.delimiter)
            converter = RowConverter(_SCHEMA, reader.read_header(_SCHEMA, "bench").columns)
            for block in reader:
                yield converter, block


class Sink:
    """Takes everything; signs it before, if there is a signer."""

    def __init__(self, signer: Signer | None = None) -> None:
        self._signer = signer

    def attempt(self, operation: str, body: bytes, *, timeout: float | None = None) -> bytes:
        """Take a batch."""
        if self._signer is not None:
            self._signer.sign(body)
        return _NOTHING_LEFT

    def call(self, operation: str, body: bytes, *, deadline: float | None = None) -> bytes:
        """Take a batch."""
        return self.attempt(operation, body)

    def close(self) -> None:
        """Do nothing."""


def least(work: Callable[[], object], rows: int) -> float:
    """Return the CPU microseconds a row of the best of some runs."""
    found = []
    for _ in range(_RUNS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found) / rows * 1e6


def measure(path: Path, rows: int, endpoint: str) -> dict[str, float]:
    """Return the CPU microseconds a row of each part, by its name."""
    blocks = Blocks(path)
    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=endpoint,
        config=bulk_client_config(),
        aws_access_key_id="AKIDBENCH",
        aws_secret_access_key="bench-secret",
        aws_session_token="t" * 400,
    )
    signer = Signer(
        boto3.Session(
            aws_access_key_id="AKIDBENCH", aws_secret_access_key="s", aws_session_token="t" * 400
        ).get_credentials(),
        region="us-east-1",
        service="dynamodb",
        path="/",
        headers={"Host": "localhost", "X-Amz-Target": "x", "Content-Type": "application/x-amz-json-1.0"},
    )
    built: list[BuiltRows] = [converter.requests_of(block, None) for converter, block in blocks]

    def write(transport: Any, workers: int) -> None:
        writer = BatchWriter(
            transport,
            _TABLE,
            key_names=_SCHEMA.key_names,
            settings=LoadSettings(workers=workers),
            effects=Effects(),
            deadline=time.monotonic() + 3600,
        )
        writer.write(pack(built))
        writer.close()

    def load() -> None:
        load_csv(
            client, _TABLE, local_source(path), _SCHEMA, source_name="bench", rejects=io.BytesIO(), rejects_name="none"
        )

    parse = least(lambda: [None for _ in blocks], rows)
    check = least(lambda: [converter.keys_of(block) and None for converter, block in blocks], rows)
    build = least(lambda: [converter.requests_of(block, None) and None for converter, block in blocks], rows)
    batch = least(lambda: write(Sink(), 1), rows)
    sign = least(lambda: write(Sink(signer), 1), rows)
    inline = least(lambda: write(open_transport(client, pool=1), 1), rows)
    threads = least(lambda: write(open_transport(client, pool=4), 4), rows)
    return {
        "parse the CSV (done twice)": 2 * parse,
        "first pass: check each cell, hash the keys": check - parse,
        "second pass: build the requests": build - parse,
        "batch, pace, account": batch,
        "sign": sign - batch,
        "send over HTTP and read the answer, one connection": inline - sign,
        "four connections in threads of their own instead": threads - inline,
        "a whole load": least(load, rows),
    }


def main(rows: int) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "rows.csv"
        made_data.write_csv(path, rows)
        command = [sys.executable, str(HERE / "null_server.py"), folder]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment({})
        ) as server:
            port = server.stdout.readline().strip() if server.stdout else ""
            found = measure(path, rows, f"http://127.0.0.1:{port}")
            # The end of its input ends it.
            server.communicate()
    print("| part | CPU µs an item |\n| --- | --- |")
    for name, cost in found.items():
        print(f"| {name} | {cost:.1f} |")
    print(f"\n{rows:,} rows, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
