"""A load in several processes: plan, survey each shard, decide, write each shard, and put the results together.

::

    plan_load -> survey_planned_shard (each) -> decide_load -> write_planned_shard (each) -> finish_load

The processes share nothing but the file, the table and a checkpoint store (in S3, if they run on several machines).
What each step hands on is in the store, and small; a step that is run again gives the same result, so each may be a
task of its own that is retried. :func:`dynamodb_bulk.load.load_csv` does the same in one process.

A limit on the table's write capacity holds for each shard that is written; with several at a time, give each of
them its part of it.
"""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from dynamodb_bulk.accounting import ByteSink, LoadReport
from dynamodb_bulk.batches import BatchWriter, DynamoDBClient, LoadSettings
from dynamodb_bulk.checkpoints import CheckpointStore
from dynamodb_bulk.columns import RowConverter
from dynamodb_bulk.csv_blocks import CsvBlocks, Feed
from dynamodb_bulk.csv_split import cut_shards
from dynamodb_bulk.errors import CheckpointMissingError, SourceChangedError
from dynamodb_bulk.load import make_report
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.schema import TableSchema
from dynamodb_bulk.shard_writer import ShardResult, ShardWriter, find_result
from dynamodb_bulk.sources import OpenSource
from dynamodb_bulk.survey import (
    Decision,
    Layout,
    ShardSurvey,
    claim,
    decide_rows,
    document,
    find_survey,
    required,
    survey_shard,
)
from dynamodb_bulk.tables import check_table, write_limit
from dynamodb_bulk.wire import open_transport

PLANNED_SHARD_BYTES = 64 * 1024 * 1024
"""What one shard of a planned load has at least."""
MAX_SHARDS = 1000
"""More shards than that are never planned; they become larger instead."""


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What all steps of a load in several processes must agree on.

    Args:
        table_name: the table.
        open_source: opens the file, which can be read from any place.
        schema: what the columns are and become.
        source_name: the file's name for messages and the report.
        store: what the steps share.
        settings: limits and pauses.
        effects: clock, sleep and chance.
    """

    table_name: str
    open_source: OpenSource
    schema: TableSchema
    source_name: str
    store: CheckpointStore
    settings: LoadSettings = field(default_factory=LoadSettings)
    effects: Effects = field(default_factory=Effects)

    def layout(self) -> Layout:
        """Return what :func:`plan_load` found.

        Raises:
            CheckpointMissingError: it has not run.
        """
        return Layout.from_bytes(required(self.store, "file.json"))

    def decision(self) -> Decision:
        """Return what :func:`decide_load` found.

        Raises:
            CheckpointMissingError: it has not run.
        """
        return Decision.from_bytes(required(self.store, "decision.json"))

    def surveys(self) -> list[ShardSurvey]:
        """Return what :func:`survey_planned_shard` found, for all shards.

        Raises:
            CheckpointMissingError: it has not run for some shard.
        """
        return [
            ShardSurvey.from_bytes(required(self.store, document(shard.index, "survey.json")))
            for shard in self.layout().shards
        ]


def plan_load(client: DynamoDBClient, job: LoadJob, *, shard_bytes: int = PLANNED_SHARD_BYTES) -> int:
    """Check table and file, cut the file into shards, and return how many there are.

    The file is read once and parsed, but nothing is kept of its rows: where a record really ends can't be told from
    the bytes around a place, and a count of quotes is misled by a single stray one.

    Raises:
        TableError: the table is missing or has other keys.
        SourceError: the file is not there, not CSV, empty, or has a wrong header.
        CheckpointMismatchError: the store belongs to another load.
    """
    table = check_table(client, job.table_name, job.schema, effects=job.effects)
    claim(job.store, job.table_name, table, job.schema)
    known = job.store.get("file.json")
    if known is not None:
        return len(Layout.from_bytes(known).shards)
    with closing(job.open_source()) as stream:
        layout = cut_shards(
            stream, job.schema, source_name=job.source_name, shard_bytes=shard_bytes, max_shards=MAX_SHARDS
        )
    job.store.put("file.json", layout.to_bytes())
    return len(layout.shards)


def survey_planned_shard(job: LoadJob, index: int) -> ShardSurvey:
    """Find out what is in a shard; nothing is written to the table.

    Raises:
        SourceChangedError: the shard is not the one that was planned.
    """
    known = find_survey(job.store, index)
    if known is not None:
        return known
    layout = job.layout()
    shard = layout.shards[index]
    digest = hashlib.sha256()
    with closing(job.open_source()) as stream:
        stream.seek(shard.start)
        feed = Feed(stream, length=shard.end - shard.start, used_up=digest.update)
        reader = CsvBlocks(feed, job.schema.delimiter, next_line=shard.first_line)
        survey = survey_shard(
            iter(reader),
            reader,
            feed,
            RowConverter(job.schema, layout.columns),
            job.store,
            index=index,
            start=shard.start,
            shard_bytes=None,
            digest=digest.hexdigest,
            expected=shard,
        )
    if survey.shard != shard:
        raise SourceChangedError(
            f"{job.source_name} changed while it was being surveyed; start the load anew with an empty checkpoint"
        )
    return survey


def decide_load(job: LoadJob, *, rejects: ByteSink, rejects_name: str) -> Decision:
    """Decide which rows of all shards are written, and hand on the rejected ones.

    Raises:
        TooManyRejectsError: nothing was written.
        CheckpointMissingError: a shard was not surveyed.
    """
    return decide_rows(
        job.store,
        job.surveys(),
        max_reject_ratio=job.settings.max_reject_ratio,
        source_name=job.source_name,
        rejects=rejects,
        rejects_name=rejects_name,
    )


def write_planned_shard(
    client: DynamoDBClient, job: LoadJob, index: int, *, progress: Callable[[int, int], None] | None = None
) -> ShardResult:
    """Write the rows of a shard that were chosen; one that was interrupted goes on where it stood.

    Args:
        client: boto3's low-level DynamoDB client.
        job: the load.
        index: the shard.
        progress: called with items written and items to write of this shard, after each batch.

    Raises:
        TableError: the table is gone, refuses the items or stays behind the deadline.
        SourceChangedError: the shard is not the one surveyed; rows of it may have been written.
        CheckpointMissingError: nothing was decided yet.
    """
    known = find_result(job.store, index)
    if known is not None and known.done:
        return known
    started = job.effects.clock()
    table = check_table(client, job.table_name, job.schema, effects=job.effects)
    claim(job.store, job.table_name, table, job.schema)
    layout, decision = job.layout(), job.decision()
    shard = layout.shards[index]
    before, total = known.written if known else 0, decision.to_write[index]
    writer = BatchWriter(
        open_transport(client, pool=job.settings.workers, effects=job.effects),
        job.table_name,
        key_names=job.schema.key_names,
        settings=job.settings,
        effects=job.effects,
        deadline=started + job.settings.deadline_seconds,
        progress=None if progress is None else lambda written: progress(before + written, total),
        max_wcu=write_limit(job.settings, job.table_name, table),
    )
    shard_writer = ShardWriter(
        writer,
        job.schema,
        job.store,
        layout,
        decision,
        source_name=job.source_name,
        effects=job.effects,
        checkpoint_seconds=job.settings.checkpoint_seconds,
    )
    with closing(writer), closing(job.open_source()) as stream:
        stream.seek(shard.start)
        return shard_writer.write(stream, shard, known)


def finish_load(job: LoadJob, *, rejects_name: str, seconds: float) -> LoadReport:
    """Account for each row of the file, once all shards are written.

    Args:
        job: the load.
        rejects_name: where the rejected rows were written to.
        seconds: how long all steps took.

    Raises:
        CheckpointMissingError: a shard is not written to its end.
        AccountingError: rows_in is not written + rejected + duplicates.
    """
    layout = job.layout()
    results = [ShardResult.from_bytes(required(job.store, document(at.index, "written.json"))) for at in layout.shards]
    undone = [shard.index for shard, result in zip(layout.shards, results, strict=True) if not result.done]
    if undone:
        raise CheckpointMissingError(
            f"{job.source_name}: {len(undone)} of {len(results)} shards are not written to their end, the first is "
            f"{undone[0]}; write them before the load is finished."
        )
    return make_report(
        layout,
        job.surveys(),
        job.decision(),
        results,
        source_name=job.source_name,
        table_name=job.table_name,
        rejects_name=rejects_name,
        seconds=seconds,
    )
