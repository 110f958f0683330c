"""CSV shards as a load in several processes cuts and reads them, held against one pass of csv.reader."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

import boto3
from botocore.config import Config
from made_data import nasty_files
from metering import CREDENTIALS, REGION, Job, Meter, Outcome

from dynamodb_bulk.csv_blocks import CsvBlocks, Feed
from dynamodb_bulk.csv_rows import Record
from dynamodb_bulk.csv_split import cut_shards
from dynamodb_bulk.schema import parse_schema
from dynamodb_bulk.sources import s3_source
from dynamodb_bulk.survey import Shard

_MAX_SHARDS = 1000
# Small, so that ranges end in the middle of records, of quotes and of characters.
_RANGE_BYTES = 4099


def shards(job: Job, meter: Meter) -> Outcome:
    """Cut nasty files into shards, read each by range requests, and compare with one pass of csv.reader."""
    s3 = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=job["endpoint"],
        config=Config(s3={"addressing_style": "path"}),
        **CREDENTIALS,
    )
    schema = parse_schema("{version: 1, columns: [{name: a, key: hash}, {name: b}, {name: c}]}", "nasty.yaml")
    runs = wrong = most = 0
    with meter.running():
        for number, (name, content) in enumerate(nasty_files(job["rows"])):
            expected = [row for row in csv.reader(_text(content)) if row][1:]
            source = s3_source(s3, "files", f"nasty-{number}.csv", range_bytes=_RANGE_BYTES)
            for wanted in job["shards"]:
                size = max(1, len(content) // wanted)
                with closing(source()) as stream:
                    layout = cut_shards(stream, schema, source_name=name, shard_bytes=size, max_shards=_MAX_SHARDS)
                rows: list[list[str]] = []
                for shard in layout.shards:
                    with closing(source()) as stream:
                        rows += _rows(stream, shard)
                runs += 1
                wrong += rows != expected
                most = max(most, len(layout.shards))
    return {"items": runs, "wrong": wrong, "most_shards": most}


def _rows(stream: BinaryIO, shard: Shard) -> list[list[str]]:
    stream.seek(shard.start)
    feed = Feed(stream, length=shard.end - shard.start, used_up=_ignore)
    rows: list[list[str]] = []
    for found in CsvBlocks(feed, ",", next_line=shard.first_line):
        records: Iterator[Record] = iter(found) if isinstance(found, list) else found.records()
        rows += [record.fields for record in records]
    return rows


def _text(content: bytes) -> io.TextIOBase:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")


def _ignore(_: bytes) -> None:
    """Take no note of bytes that were used up."""
