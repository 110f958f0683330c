"""Loading a CSV file into a DynamoDB table, to the row.

A load reads its file twice. The first pass writes nothing: it finds the rows that cannot become items, and for each
key the row that wins, which is the last one. Only if not too many rows were rejected does the second pass write the
winning rows. So the result depends on the file alone, not on shards, threads, batches or resends; and since an item
holds nothing but what its row says, loading a file twice changes nothing.

With a checkpoint store, a load that was killed goes on where it stood: what was surveyed is not surveyed again, and
of each shard all rows up to the last line that is known to be written are left out. A row that was written without
being known so is written once more, with the same content, and counted once.

Memory does not grow with the file, but for one bit per line.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing

from dynamodb_bulk.accounting import SAMPLE_SIZE, ByteSink, LoadReport, Replacement, check_accounting
from dynamodb_bulk.batches import BatchWriter, DynamoDBClient, LoadSettings
from dynamodb_bulk.checkpoints import CheckpointStore, LocalCheckpoints
from dynamodb_bulk.patience import Effects
from dynamodb_bulk.schema import TableSchema
from dynamodb_bulk.shard_writer import ShardResult, ShardWriter, changed, find_result
from dynamodb_bulk.sources import OpenSource
from dynamodb_bulk.survey import Decision, Layout, ShardSurvey, claim, decide_rows, survey_file
from dynamodb_bulk.tables import check_table, write_limit
from dynamodb_bulk.wire import open_transport

SHARD_BYTES = 8 * 1024 * 1024
"""What a load in one process reads between two checkpoints of its first pass."""

Progress = Callable[[int, int], None]


def load_csv(
    client: DynamoDBClient,
    table_name: str,
    open_source: OpenSource,
    schema: TableSchema,
    *,
    source_name: str,
    rejects: ByteSink,
    rejects_name: str,
    settings: LoadSettings | None = None,
    effects: Effects | None = None,
    progress: Progress | None = None,
    checkpoint: CheckpointStore | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> LoadReport:
    """Load a CSV file into a table and account for each of its rows.

    The rejects are complete before the first item is written, also where this fails: a caller keeps
    what it finds in `rejects` in every case.

    Args:
        client: boto3's low-level DynamoDB client, best made with ``batches.bulk_client_config``.
        table_name: the table, whose keys must be those of `schema`.
        open_source: opens the file; called twice, and must give the same bytes both times.
        schema: what the columns are and become.
        source_name: the file's name for messages and the report.
        rejects: takes the rejected rows as JSON lines.
        rejects_name: where the caller keeps the rejects, for messages and the report.
        settings: limits and pauses.
        effects: clock, sleep and chance.
        progress: called with items written and items to write, after each batch.
        checkpoint: keeps what was done, so that the same call goes on with it after this one was killed or
            failed; emptied when the load is complete.
        shard_bytes: how much of the file is surveyed between two checkpoints.

    Raises:
        TableError: the table is missing, has other keys, refuses the items or stays behind the deadline.
        SourceError: the file is not there, not CSV, empty, or has a wrong header; nothing was written.
        TooManyRejectsError: nothing was written.
        SourceChangedError: the file was replaced between the two passes.
        CheckpointError: the checkpoint belongs to another load.
        AccountingError: rows_in is not written + rejected + duplicates.
    """
    settings = settings or LoadSettings()
    effects = effects or Effects()
    started = effects.clock()
    table = check_table(client, table_name, schema, effects=effects)
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        store = checkpoint if checkpoint is not None else LocalCheckpoints(folder, durable=False)
        claim(store, table_name, table, schema)
        layout, surveys = survey_file(open_source, schema, store, source_name=source_name, shard_bytes=shard_bytes)
        decision = decide_rows(
            store,
            surveys,
            max_reject_ratio=settings.max_reject_ratio,
            source_name=source_name,
            rejects=rejects,
            rejects_name=rejects_name,
        )
        results = _write_all(
            client,
            table_name,
            open_source,
            schema,
            store,
            layout,
            decision,
            source_name=source_name,
            settings=settings,
            effects=effects,
            deadline=started + settings.deadline_seconds,
            max_wcu=write_limit(settings, table_name, table),
            progress=progress,
            keep_progress=checkpoint is not None,
        )
        report = make_report(
            layout,
            surveys,
            decision,
            results,
            source_name=source_name,
            table_name=table_name,
            rejects_name=rejects_name,
            seconds=effects.clock() - started,
        )
        store.clear()
    return report


def _write_all(
    client: DynamoDBClient,
    table_name: str,
    open_source: OpenSource,
    schema: TableSchema,
    store: CheckpointStore,
    layout: Layout,
    decision: Decision,
    *,
    source_name: str,
    settings: LoadSettings,
    effects: Effects,
    deadline: float,
    max_wcu: float | None,
    progress: Progress | None,
    keep_progress: bool,
) -> list[ShardResult]:
    """Write what is not written yet, shard after shard, and notice a file that is not the one surveyed."""
    total = sum(decision.to_write)
    results: list[ShardResult] = []
    known = {shard.index: find_result(store, shard.index) for shard in layout.shards} if keep_progress else {}
    before = sum(result.written for result in known.values() if result is not None)
    writer = BatchWriter(
        open_transport(client, pool=settings.workers, effects=effects),
        table_name,
        key_names=schema.key_names,
        settings=settings,
        effects=effects,
        deadline=deadline,
        progress=None if progress is None else lambda written: progress(before + written, total),
        max_wcu=max_wcu,
    )
    shard_writer = ShardWriter(
        writer,
        schema,
        store,
        layout,
        decision,
        source_name=source_name,
        effects=effects,
        checkpoint_seconds=settings.checkpoint_seconds if keep_progress else None,
    )
    with closing(writer), closing(open_source()) as stream:
        shard_writer.skip_header(stream)
        results.extend(shard_writer.write(stream, shard, known.get(shard.index)) for shard in layout.shards)
        if stream.read(1):
            raise changed(source_name)
    return results


def make_report(
    layout: Layout,
    surveys: Sequence[ShardSurvey],
    decision: Decision,
    results: Sequence[ShardResult],
    *,
    source_name: str,
    table_name: str,
    rejects_name: str,
    seconds: float,
) -> LoadReport:
    """Put together what became of each row of a file.

    Raises:
        AccountingError: rows_in is not written + rejected + duplicates.
    """
    rows_in = sum(survey.rows_in for survey in surveys)
    rejected = sum(survey.rejected for survey in surveys)
    written = sum(result.written for result in results)
    check_accounting(source_name, rows_in=rows_in, written=written, rejected=rejected, duplicates=decision.duplicates)
    keys = dict(entry for result in results for entry in result.replaced_keys)
    return LoadReport(
        source=source_name,
        table=table_name,
        rows_in=rows_in,
        written=written,
        rejected=rejected,
        duplicates=decision.duplicates,
        bytes=layout.size,
        source_sha256=layout.sha256,
        seconds=seconds,
        batches=sum(result.batches for result in results),
        resent=sum(result.resent for result in results),
        rejects_name=rejects_name,
        rejects_sample=tuple(entry for survey in surveys for entry in survey.rejects_sample)[:SAMPLE_SIZE],
        replacements_sample=tuple(
            Replacement(line, replaced_by, keys[line]) for line, replaced_by in decision.replacements
        ),
    )
