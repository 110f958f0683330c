"""What can go wrong with a bulk load, each by its own name; every message says what to do."""


class BulkError(Exception):
    """Base of every error that the bulk load raises on purpose."""


class SchemaError(BulkError):
    """The schema file is missing, unreadable or says something impossible."""


class SourceError(BulkError):
    """The file that was to be loaded cannot be loaded at all; nothing was written."""


class SourceNotFoundError(SourceError):
    """There is no file or S3 object at the given place."""


class NotCsvError(SourceError):
    """The file is binary, not UTF-8, or its first record is no CSV header."""


class EmptyFileError(SourceError):
    """The file holds no byte, or a header and no row."""


class HeaderError(SourceError):
    """The header has wrong, missing or repeated columns."""


class SourceUnavailableError(BulkError):
    """The file's store does not answer or its answers break off; unlike a SourceError, this may pass."""


class SourceChangedError(BulkError):
    """The file was replaced between the pass that checked it and the pass that wrote it."""


class TooManyRejectsError(BulkError):
    """More rows were rejected than the caller allows; nothing was written.

    Args:
        source: the file's name.
        rows_in: rows read.
        rejected: rows rejected.
        max_reject_ratio: the share of `rows_in` that was allowed.
        rejects_name: where the rejected rows were written to.
    """

    def __init__(self, source: str, rows_in: int, rejected: int, max_reject_ratio: float, rejects_name: str) -> None:
        super().__init__(source, rows_in, rejected, max_reject_ratio, rejects_name)
        self.source = source
        self.rows_in = rows_in
        self.rejected = rejected
        self.max_reject_ratio = max_reject_ratio
        self.rejects_name = rejects_name

    def __str__(self) -> str:
        return (
            f"{self.source}: {self.rejected} of {self.rows_in} rows were rejected, more than the allowed "
            f"share of {self.max_reject_ratio:g}; nothing was written. Each rejected row, with its line, "
            f"field and reason, is in {self.rejects_name}: repair the file, or raise max_reject_ratio."
        )


class TableError(BulkError):
    """The table cannot take the file's items."""


class TableMissingError(TableError):
    """The table does not exist, or is still being made or already being deleted."""


class KeySchemaMismatchError(TableError):
    """The table's key attributes are not those of the schema."""


class CapacityUnknownError(TableError):
    """A share of the table's provisioned capacity was asked for, and it has none."""


class WriteRefusedError(TableError):
    """DynamoDB refused a batch for a reason that trying again does not change."""


class LoadStalledError(TableError):
    """DynamoDB accepted not one item for as long as the caller was ready to wait."""


class LoadDeadlineError(TableError):
    """The load did not come to its end within its deadline."""


class AccountingError(BulkError):
    """The figures of a load do not add up: rows_in must be written + rejected + duplicates."""


class CallDeadlineError(BulkError):
    """A call did not come through before its deadline, though it was tried again and again."""


class UnknownSignatureError(BulkError):
    """The client is set to a way of signing that the raw transport does not know."""


class CheckpointError(BulkError):
    """A load's checkpoint cannot be used."""


class CheckpointMissingError(CheckpointError):
    """A document of the checkpoint that should be there is not."""


class CheckpointMismatchError(CheckpointError):
    """The checkpoint belongs to a load of another table, by another schema, or of another file."""
