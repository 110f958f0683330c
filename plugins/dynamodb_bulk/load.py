"""Loading a CSV file into a DynamoDB table, to the row.

A load reads its file twice. The first pass writes nothing: it finds the rows that cannot become items,
and for each key the line that wins, which is the last one. Only if not too many rows were rejected does
the second pass write the winning rows. So the result depends on the file alone, not on threads, batches
or resends; and since an item holds nothing but what its row says, loading a file twice changes nothing.

The first pass holds a 16-byte hash and a line number per distinct key in memory, about 200 bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from botocore.exceptions import ClientError

from dynamodb_bulk.accounting import (
    SAMPLE_SIZE,
    ByteSink,
    LoadReport,
    RejectLog,
    Replacement,
    check_accounting,
)
from dynamodb_bulk.batches import BatchWriter, DynamoDBClient, Effects, LoadSettings
from dynamodb_bulk.csv_rows import Reject, Row, SourceTap, no_rows, read_rows
from dynamodb_bulk.errors import (
    KeySchemaMismatchError,
    SourceChangedError,
    TableError,
    TableMissingError,
    TooManyRejectsError,
)
from dynamodb_bulk.patience import CONNECTION_ERRORS, error_code, full_jitter, is_retryable
from dynamodb_bulk.schema import TableSchema
from dynamodb_bulk.sources import OpenSource

_DESCRIBE_ATTEMPTS = 5
_USABLE = frozenset({"ACTIVE", "UPDATING"})


@dataclass(slots=True)
class Survey:
    """What the first pass found out about a file.

    Args:
        rows_in: rows read.
        rejected: rows that cannot become items.
        duplicates: rows that a later row with the same key replaces.
        winners: hash of each key to the line that is written for it.
        replacements: the first duplicates.
        bytes: length of the file in bytes.
        sha256: hash of the file's bytes, in hex.
    """

    rows_in: int = 0
    rejected: int = 0
    duplicates: int = 0
    winners: dict[bytes, int] = field(default_factory=dict)
    replacements: list[Replacement] = field(default_factory=list)
    bytes: int = 0
    sha256: str = ""


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
    progress: Callable[[int, int], None] | None = None,
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

    Raises:
        TableError: the table is missing, has other keys, refuses the items or stays behind the deadline.
        SourceError: the file is not there, not CSV, empty, or has a wrong header; nothing was written.
        TooManyRejectsError: nothing was written.
        SourceChangedError: the file was replaced between the two passes.
        AccountingError: rows_in is not written + rejected + duplicates.
    """
    settings = settings or LoadSettings()
    effects = effects or Effects()
    started = effects.clock()
    check_table(client, table_name, schema, effects=effects)
    log = RejectLog(rejects)
    survey = survey_csv(open_source, schema, source_name=source_name, rejects=log)
    if survey.rejected > settings.max_reject_ratio * survey.rows_in:
        raise TooManyRejectsError(source_name, survey.rows_in, survey.rejected, settings.max_reject_ratio, rejects_name)
    to_write = len(survey.winners)
    writer = BatchWriter(
        client,
        table_name,
        settings=settings,
        effects=effects,
        deadline=started + settings.deadline_seconds,
        progress=None if progress is None else lambda written: progress(written, to_write),
    )
    counts = writer.write(_winning_rows(open_source, schema, source_name, survey))
    check_accounting(
        source_name,
        rows_in=survey.rows_in,
        written=counts.written,
        rejected=log.count,
        duplicates=survey.duplicates,
    )
    return LoadReport(
        source=source_name,
        table=table_name,
        rows_in=survey.rows_in,
        written=counts.written,
        rejected=log.count,
        duplicates=survey.duplicates,
        bytes=survey.bytes,
        source_sha256=survey.sha256,
        seconds=effects.clock() - started,
        batches=counts.batches,
        resent=counts.resent,
        rejects_name=rejects_name,
        rejects_sample=log.sample,
        replacements_sample=tuple(survey.replacements),
    )


def survey_csv(open_source: OpenSource, schema: TableSchema, *, source_name: str, rejects: RejectLog) -> Survey:
    """Read a file once, write its rejects, and decide which line wins for each key.

    Raises:
        SourceError: the file is not there, not CSV, empty, or has a wrong header.
    """
    survey = Survey()
    with closing(open_source()) as stream:
        tap = SourceTap(stream)
        for row in read_rows(tap, schema, source_name):
            survey.rows_in += 1
            if isinstance(row, Reject):
                survey.rejected += 1
                rejects.add(row)
            else:
                _enter(survey, row, schema)
        survey.bytes = tap.bytes_read
        survey.sha256 = tap.sha256()
    if not survey.rows_in and not schema.allow_no_rows:
        raise no_rows(source_name)
    return survey


def _enter(survey: Survey, row: Row, schema: TableSchema) -> None:
    before = survey.winners.get(row.key)
    survey.winners[row.key] = row.line
    if before is None:
        return
    survey.duplicates += 1
    if len(survey.replacements) < SAMPLE_SIZE:
        key = tuple(chain.from_iterable(row.item[name].values() for name in schema.key_names))
        survey.replacements.append(Replacement(before, row.line, key))


def _winning_rows(open_source: OpenSource, schema: TableSchema, source_name: str, survey: Survey) -> Iterator[Row]:
    """Yield the rows that the survey chose, and notice a file that is not the one surveyed."""
    with closing(open_source()) as stream:
        tap = SourceTap(stream)
        for row in read_rows(tap, schema, source_name):
            if isinstance(row, Row):
                winner = survey.winners.get(row.key)
                if winner is None:
                    raise _changed(source_name)
                if winner == row.line:
                    yield row
        if tap.sha256() != survey.sha256:
            raise _changed(source_name)


def _changed(source_name: str) -> SourceChangedError:
    return SourceChangedError(
        f"{source_name} changed while it was being loaded, so the table may hold rows of both versions; "
        "load the file again once it rests"
    )


def check_table(
    client: DynamoDBClient, table_name: str, schema: TableSchema, *, effects: Effects | None = None
) -> None:
    """Make sure that a table is there and has the schema's keys.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html

    Raises:
        TableMissingError: no such table, or it is not usable yet or any more.
        KeySchemaMismatchError: the table's keys have other names or types.
        TableError: the table may not be described, or nothing answers.
    """
    table = _describe(client, table_name, effects or Effects())
    if table["TableStatus"] not in _USABLE:
        raise TableMissingError(
            f"Table {table_name} is {table['TableStatus']}; wait until it is ACTIVE, or create it anew"
        )
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    actual = {
        (entry["KeyType"].lower(), entry["AttributeName"], types[entry["AttributeName"]])
        for entry in table["KeySchema"]
    }
    expected: set[tuple[str, str, str]] = {
        (column.key or "", column.name, column.attribute_type) for column in schema.key_columns
    }
    if actual != expected:
        raise KeySchemaMismatchError(
            f"Table {table_name} has the keys {_listed(actual)}, the schema has {_listed(expected)}; load "
            "into another table, or correct the schema"
        )


def _describe(client: DynamoDBClient, table_name: str, effects: Effects) -> Any:
    # The client is made for a load and retries nothing itself, so one bad moment is forgiven here.
    for attempt in range(1, _DESCRIBE_ATTEMPTS + 1):
        try:
            return client.describe_table(TableName=table_name)["Table"]
        except (ClientError, *CONNECTION_ERRORS) as error:
            if isinstance(error, ClientError) and error_code(error) == "ResourceNotFoundException":
                raise TableMissingError(
                    f"Table {table_name} does not exist; create it, or check name, region and account"
                ) from error
            if attempt == _DESCRIBE_ATTEMPTS or not is_retryable(error):
                raise TableError(
                    f"Table {table_name} cannot be described: {error}; check that the endpoint answers and "
                    "the right to dynamodb:DescribeTable"
                ) from error
        effects.sleep(full_jitter(attempt, first=0.2, longest=2.0, draw=effects.draw))
    raise TableError(f"Table {table_name} was not described")


def _listed(keys: set[tuple[str, str, str]]) -> str:
    return ", ".join(f"{name} ({kind}, {type_})" for kind, name, type_ in sorted(keys))
