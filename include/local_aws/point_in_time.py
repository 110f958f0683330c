"""Point-in-time recovery with a real history: a table is restored as it was at any second of its window.

moto restores a copy of the table as it is now, whatever time is asked for. Here a table with recovery switched on
keeps what each write replaced (see `local_aws.moto_fixes.write_journal`), for as long as its recovery period is;
restoring undoes the writes after the time asked for. The price is memory: one replaced item for each write of the
window.

Items are as they were then; indexes, throughput and encryption are those that the table has now, unless the request
overrides them. See
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html and
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_RestoreTableToPointInTime.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final

from moto.backup.models import backup_backends
from moto.dynamodb.exceptions import (
    DynamodbException,
    MockValidationException,
    PointInTimeRecoveryUnavailable,
    ResourceNotFoundException,
    SourceTableNotFoundException,
    TableAlreadyExistsException,
)
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler, DynamoResult

from local_aws import tables
from local_aws.clock import CLOCK
from local_aws.moto_fixes import write_journal
from local_aws.settings import SETTINGS

DEFAULT_PERIOD: Final = timedelta(days=35)
_ENABLED_AT: Final = "local_aws_recovery_enabled_at"
_MARK: Final = "_local_aws_point_in_time"


class InvalidRestoreTime(DynamodbException):
    """AWS's answer to a time outside of a table's window."""

    def __init__(self, wanted: datetime, window: "Window") -> None:
        super().__init__(
            "com.amazonaws.dynamodb.v20120810#InvalidRestoreTimeException",
            f"An invalid restore time was specified: {wanted.isoformat()}. RestoreDateTime must be between "
            f"EarliestRestorableDateTime {window.earliest.isoformat()} and LatestRestorableDateTime "
            f"{window.latest.isoformat()}.",
        )


@dataclass(frozen=True)
class Window:
    """What times a table can be restored to."""

    earliest: datetime
    latest: datetime

    @classmethod
    def of(cls, table: Table, now: datetime) -> "Window | None":
        """Return the window of a table, None where recovery is off."""
        enabled_at: datetime | None = getattr(table, _ENABLED_AT, None)
        if enabled_at is None:
            return None
        earliest = max(enabled_at, now - _period(table))
        return cls(earliest, max(earliest, now - timedelta(seconds=SETTINGS.recovery_lag_seconds)))


def install() -> None:
    """Give tables a history and restore from it. Safe to call twice."""
    if hasattr(DynamoDBBackend.update_continuous_backups, _MARK):
        return
    _install_switch()
    _install_description()
    handler: Any = DynamoHandler
    handler.restore_table_to_point_in_time = _restore_table_to_point_in_time


def _period(table: Table) -> timedelta:
    description: Mapping[str, Any] = table.continuous_backups["PointInTimeRecoveryDescription"]
    return timedelta(days=description.get("RecoveryPeriodInDays", DEFAULT_PERIOD.days))


def _install_switch() -> None:
    stock = DynamoDBBackend.update_continuous_backups

    @wraps(stock)
    def update_continuous_backups(
        self: DynamoDBBackend, table_name: str, point_in_time_spec: dict[str, Any]
    ) -> dict[str, Any]:
        days = point_in_time_spec.get("RecoveryPeriodInDays", DEFAULT_PERIOD.days)
        if not 1 <= days <= DEFAULT_PERIOD.days:
            raise MockValidationException(
                f"1 validation error detected: Value '{days}' at 'pointInTimeRecoverySpecification."
                "recoveryPeriodInDays' failed to satisfy constraint: Member must have value between 1 and 35"
            )
        stock(self, table_name, point_in_time_spec)
        table = self.get_table(table_name)
        if not point_in_time_spec["PointInTimeRecoveryEnabled"]:
            table.__dict__.pop(_ENABLED_AT, None)
            write_journal.keep_for(table, None)
        else:
            # Switched on anew, the history begins anew.
            table.__dict__.setdefault(_ENABLED_AT, CLOCK.now())
            write_journal.keep_for(table, _period(table))
        return self.describe_continuous_backups(table_name)

    setattr(update_continuous_backups, _MARK, True)
    DynamoDBBackend.update_continuous_backups = update_continuous_backups  # type: ignore[method-assign]


def _install_description() -> None:
    stock = DynamoDBBackend.describe_continuous_backups

    @wraps(stock)
    def describe_continuous_backups(self: DynamoDBBackend, table_name: str) -> dict[str, Any]:
        described = stock(self, table_name)
        window = Window.of(self.get_table(table_name), CLOCK.now())
        if window is None:
            return described
        # AWS tells both times in whole seconds.
        times = {
            "EarliestRestorableDateTime": _upper_second(window.earliest),
            "LatestRestorableDateTime": window.latest.replace(microsecond=0),
        }
        return {
            **described,
            "PointInTimeRecoveryDescription": {**described["PointInTimeRecoveryDescription"], **times},
        }

    DynamoDBBackend.describe_continuous_backups = describe_continuous_backups  # type: ignore[method-assign]


def _upper_second(instant: datetime) -> datetime:
    return instant if not instant.microsecond else instant.replace(microsecond=0) + timedelta(seconds=1)


def _restore_table_to_point_in_time(self: DynamoHandler) -> DynamoResult:
    body = self.body
    source = _source_table(self.dynamodb_backend, body)
    target = body["TargetTableName"]
    now = CLOCK.now()
    instant = _instant(source, body, now)
    account_id, region = self.current_account, self.region
    snapshot = tables.snapshot_table(account_id, region, source.name, now=now, skew=now - instant)
    try:
        tables.begin_restore(
            account_id,
            region,
            _overridden(snapshot, body),
            target,
            encryption_type=None,
            kms_key_arn=None,
            tags=None,
            source_backup_arn=None,
            now=now,
        )
    except tables.TableAlreadyExists as error:
        raise TableAlreadyExistsException(target) from error

    def finish(at: datetime) -> None:
        if tables.table_exists(account_id, region, target):
            tables.finish_restore(account_id, region, target, now=at)

    agenda: Any = backup_backends[account_id][region]
    agenda.agenda.add(now + timedelta(seconds=SETTINGS.restore_seconds), finish)
    return DynamoResult(self.dynamodb_backend.get_table(target).describe())


def _source_table(backend: DynamoDBBackend, body: Mapping[str, Any]) -> Table:
    name = body.get("SourceTableArn") or body.get("SourceTableName")
    if not name:
        raise MockValidationException("Either SourceTableName or SourceTableArn must be specified")
    try:
        table = backend.get_table(name)
    except ResourceNotFoundException as error:
        raise SourceTableNotFoundException(name) from error
    return table


def _instant(table: Table, body: Mapping[str, Any], now: datetime) -> datetime:
    window = Window.of(table, now)
    if window is None:
        raise PointInTimeRecoveryUnavailable(table.name)
    latest, wanted = body.get("UseLatestRestorableTime", False), body.get("RestoreDateTime")
    if bool(latest) == (wanted is not None):
        raise MockValidationException("Specify either RestoreDateTime or UseLatestRestorableTime, and not both")
    if wanted is None:
        return window.latest
    instant: datetime = wanted if wanted.tzinfo is not None else wanted.replace(tzinfo=UTC)
    if not window.earliest <= instant <= window.latest:
        raise InvalidRestoreTime(instant, window)
    return instant


def _overridden(snapshot: tables.TableSnapshot, body: Mapping[str, Any]) -> tables.TableSnapshot:
    changes: dict[str, Any] = {}
    if (mode := body.get("BillingModeOverride")) is not None:
        changes["billing_mode"] = mode
        if mode == "PAY_PER_REQUEST":
            changes["throughput"] = {}
        elif not (body.get("ProvisionedThroughputOverride") or snapshot.throughput):
            raise MockValidationException("BillingModeOverride PROVISIONED needs a ProvisionedThroughputOverride")
    if throughput := body.get("ProvisionedThroughputOverride"):
        changes["throughput"] = throughput
    for override, member in (
        ("GlobalSecondaryIndexOverride", "global_indexes"),
        ("LocalSecondaryIndexOverride", "local_indexes"),
    ):
        if override in body:
            changes[member] = _chosen_indexes(getattr(snapshot, member), body[override])
    if (encryption := body.get("SSESpecificationOverride")) is not None:
        changes["sse_specification"] = dict(encryption) if encryption.get("Enabled") else None
    return replace(snapshot, **changes)


def _chosen_indexes(present: tuple[Mapping[str, Any], ...], wanted: list[dict[str, Any]]) -> tuple[Any, ...]:
    # "The indexes provided should match existing secondary indexes": some can be left out, none can be new.
    names = {index["IndexName"] for index in present}
    for index in wanted:
        if index["IndexName"] not in names:
            raise MockValidationException(f"The source table has no index {index['IndexName']}")
    return tuple(wanted)
