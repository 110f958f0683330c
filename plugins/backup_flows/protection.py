"""What ``include/protection.yaml`` says: which tables are protected, and how. One source for plans, backups, watch.

What a table gets is built up, the later winning field by field: the built-in values, the file's ``defaults``, its
``tiers`` entry, the table's own entry. A table that several entries fit goes by the most particular one: its ARN or
name before a tag, and of two tags the entry that stands first.

No Airflow import.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backup_flows.protection_proof import BUILT_IN_PROOF, ProofPart, ProofSettings, merge_proof
from backup_flows.protection_retention import BUILT_IN_RETENTION, RetentionPart, RetentionRun, keep_policy
from backup_flows.schedules import DEFAULT_TIMEZONE, Schedule, parse_schedule
from recovery_retention.plan import PolicyError
from recovery_retention.policy import KeepPolicy
from restore_proof.verdict import Depth

TierName = Literal["12-hourly", "daily", "weekly", "monthly"]
SelectedBy = Literal["arn", "name", "tag"]

MAX_DAYS: Final = 36_500
MAX_WINDOW_MINUTES: Final = 52_560_000
MIN_START_MINUTES: Final = 60
MIN_WINDOW_GAP: Final = 60
COLD_DAYS: Final = 90
"""What has gone to cold storage stays there for so many days:
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html"""

SCHEDULES: Final[Mapping[TierName, str]] = {
    "12-hourly": "cron(0 5,17 ? * * *)",
    "daily": "cron(0 5 ? * * *)",
    "weekly": "cron(0 5 ? * SUN *)",
    "monthly": "cron(0 5 1 * ? *)",
}
PERIODS: Final[Mapping[TierName, dt.timedelta]] = {
    "12-hourly": dt.timedelta(hours=12),
    "daily": dt.timedelta(days=1),
    "weekly": dt.timedelta(days=7),
    "monthly": dt.timedelta(days=31),
}
"""The longest time from one backup of a tier to the next."""

BUILT_IN: Final[Mapping[str, Mapping[str, Any]]] = {
    "window": {"start_minutes": 60, "completion_minutes": 120},
    "lifecycle": {"cold_after_days": None, "delete_after_days": 366},
    "targets": {"rpo_hours": None, "rto_minutes": 240},
    "proof": BUILT_IN_PROOF,
    "drill": {"on_new_point": False},
    "retention": BUILT_IN_RETENTION,
}

BUILT_IN_KEEP: Final = keep_policy(BUILT_IN_RETENTION)
BUILT_IN_PROOF_SETTINGS: Final = ProofSettings()

_VAULT: Final = r"^[a-zA-Z0-9_-]{2,50}$"
_TABLE: Final = r"^[a-zA-Z0-9_.-]{3,255}$"
_TABLE_ARN: Final = r"^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]{3,255}$"

Days = Annotated[int, Field(ge=1, le=MAX_DAYS, strict=True)]
TagText = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowPart(_Section):
    """Minutes within which AWS Backup has to start a job, and to complete it."""

    start_minutes: Annotated[int, Field(ge=MIN_START_MINUTES, le=MAX_WINDOW_MINUTES, strict=True)] | None = None
    completion_minutes: Annotated[int, Field(ge=1, le=MAX_WINDOW_MINUTES, strict=True)] | None = None


class LifecyclePart(_Section):
    """Days from its creation after which a recovery point goes to cold storage (null: never), and is deleted."""

    cold_after_days: Days | None = None
    delete_after_days: Days = 366


class TargetsPart(_Section):
    """How old the newest usable recovery point may get, and how long a restore may take."""

    rpo_hours: Annotated[float, Field(gt=0, le=24 * MAX_DAYS)] | None = None
    rto_minutes: Annotated[float, Field(gt=0)] | None = None


class DrillPart(_Section):
    """Whether a new recovery point is restored and proven at once, by the DAG ``restore_drill``."""

    on_new_point: bool | None = None


class Settings(_Section):
    """What defaults, tiers and tables may say alike. ``vault`` left out means the stack's vault."""

    vault: Annotated[str, StringConstraints(pattern=_VAULT)] | None = None
    window: WindowPart = WindowPart()
    lifecycle: LifecyclePart = LifecyclePart()
    targets: TargetsPart = TargetsPart()
    proof: ProofPart = ProofPart()
    drill: DrillPart = DrillPart()
    retention: RetentionPart = RetentionPart()


class TierEntry(Settings):
    """A tier's schedule, and what its tables have in common."""

    schedule: str | None = None
    timezone: str = DEFAULT_TIMEZONE

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.schedule is not None:
            parse_schedule(self.schedule, self.timezone)
        elif self.timezone != DEFAULT_TIMEZONE:
            parse_schedule(SCHEDULES["daily"], self.timezone)
        return self


class TableEntry(Settings):
    """Which tables, by exactly one of name, ARN and tags (all of them have to be there), and their tier."""

    name: Annotated[str, StringConstraints(pattern=_TABLE)] | None = None
    arn: Annotated[str, StringConstraints(pattern=_TABLE_ARN)] | None = None
    tag: Annotated[dict[TagText, str], Field(min_length=1)] | None = None
    tier: TierName

    @model_validator(mode="after")
    def _one_selector(self) -> Self:
        given = [field for field in ("name", "arn", "tag") if getattr(self, field) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of name, arn and tag, and has {', '.join(given) or 'none'}")
        return self

    @property
    def selected_by(self) -> SelectedBy:
        """Which of the three it has."""
        return "name" if self.name else "arn" if self.arn else "tag"

    @property
    def label(self) -> str:
        """Name the entry in messages."""
        if self.tag:
            return "tag " + ", ".join(f"{key}={value}" for key, value in sorted(self.tag.items()))
        return str(self.name or self.arn)

    def fits(self, table: Table) -> bool:
        """Tell whether it selects a table."""
        if self.tag:
            return all(table.tags.get(key) == value for key, value in self.tag.items())
        return table.name == self.name or table.arn == self.arn


@dataclass(frozen=True)
class Table:
    """A table as AWS knows it, as far as selecting it goes."""

    name: str
    arn: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ProtectionRule:
    """What one entry of the file comes to, with everything filled in.

    Attributes:
        vault: the vault; None means that of the stack.
        proof: how deep its restores are proven.
        keep: what keeps its recovery points.
        drill_on_new_point: whether each new one is drilled at once.
    """

    tier: TierName
    schedule: str
    timezone: str
    vault: str | None
    start_window: dt.timedelta
    completion_window: dt.timedelta
    cold_after_days: int | None
    delete_after_days: int
    rpo: dt.timedelta
    rto: dt.timedelta
    proof: ProofSettings = BUILT_IN_PROOF_SETTINGS
    keep: KeepPolicy = BUILT_IN_KEEP
    drill_on_new_point: bool = False

    def instants(self, start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
        """Return when it is due, from ``start`` on and before ``end`` (UTC)."""
        return list(self.parsed_schedule.between(start, end))

    @property
    def depth(self) -> Depth:
        """How deep its restores are proven."""
        return self.proof.depth

    @property
    def parsed_schedule(self) -> Schedule:
        """The schedule, read."""
        return parse_schedule(self.schedule, self.timezone)

    @property
    def lifecycle(self) -> dict[str, int]:
        """The lifecycle as AWS Backup takes it."""
        days = {"MoveToColdStorageAfterDays": self.cold_after_days, "DeleteAfterDays": self.delete_after_days}
        return {name: value for name, value in days.items() if value is not None}

    @property
    def start_minutes(self) -> int:
        """The start window in minutes."""
        return int(self.start_window.total_seconds() // 60)

    @property
    def completion_minutes(self) -> int:
        """The completion window in minutes."""
        return int(self.completion_window.total_seconds() // 60)

    def vault_or(self, stack_vault: str) -> str:
        """Return the vault's name."""
        return self.vault or stack_vault


@dataclass(frozen=True)
class ProtectedTable:
    """A table that exists (or is named by the file), with its rule and the entry it goes by."""

    name: str
    arn: str
    rule: ProtectionRule
    selected_by: SelectedBy
    entry: str


class BudgetRun(_Section):
    """What the restore drills of a calendar month (UTC) may cost by ``include/prices.yaml``; None: any sum."""

    monthly_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Protection(_Section):
    """The whole file. Read it with :func:`backup_flows.protection_file.load_protection`."""

    version: Literal[1]
    defaults: Settings = Settings()
    tiers: dict[TierName, TierEntry] = Field(default_factory=dict)
    retention: RetentionRun = RetentionRun()
    budget: BudgetRun = BudgetRun()
    tables: Annotated[tuple[TableEntry, ...], Field(min_length=1)]

    def rule(self, entry: TableEntry) -> ProtectionRule:
        """Return what an entry comes to.

        Raises:
            ProtectionRuleError: AWS, or good sense, would refuse the combination.
        """
        layers: list[Settings] = [self.defaults, self.tiers.get(entry.tier, TierEntry()), entry]
        window = _merged("window", layers)
        lifecycle = _merged("lifecycle", layers)
        targets = _merged("targets", layers)
        tier = self.tiers.get(entry.tier)
        period = PERIODS[entry.tier]
        start, completion = (dt.timedelta(minutes=window[f"{name}_minutes"]) for name in ("start", "completion"))
        rpo_hours = targets["rpo_hours"]
        proof = merge_proof([layer.proof.model_dump(exclude_unset=True) for layer in layers])
        rule = ProtectionRule(
            tier=entry.tier,
            schedule=(tier and tier.schedule) or SCHEDULES[entry.tier],
            timezone=tier.timezone if tier else DEFAULT_TIMEZONE,
            vault=next((layer.vault for layer in reversed(layers) if layer.vault), None),
            start_window=start,
            completion_window=completion,
            cold_after_days=lifecycle["cold_after_days"],
            delete_after_days=lifecycle["delete_after_days"],
            # A backup counts from its start, and the next may take both windows to be there.
            rpo=period + start + completion if rpo_hours is None else dt.timedelta(hours=rpo_hours),
            rto=dt.timedelta(minutes=targets["rto_minutes"]),
            proof=proof,
            keep=_keep(layers, proof.depth),
            drill_on_new_point=_merged("drill", layers)["on_new_point"],
        )
        _check_rule(rule, period)
        return rule

    def default_keep(self) -> KeepPolicy:
        """Return what keeps the recovery points of tables that no entry fits, such as those of a dropped entry.

        Raises:
            ProtectionRuleError: the file's defaults do not go together.
        """
        return _keep([self.defaults])

    def select(self, tables: Iterable[Table]) -> list[ProtectedTable]:
        """Return those of some tables that are protected, in order of their names.

        Restored copies carry their source's tags as the case may be; leave them out before.
        """
        ranked = sorted(self.tables, key=lambda entry: entry.selected_by == "tag")
        found = []
        for table in tables:
            entry = next((entry for entry in ranked if entry.fits(table)), None)
            if entry is not None:
                found.append(ProtectedTable(table.name, table.arn, self.rule(entry), entry.selected_by, entry.label))
        return sorted(found, key=lambda protected: protected.name)

    def unmatched(self, tables: Iterable[Table]) -> list[TableEntry]:
        """Return the entries by name or ARN that no table fits: protected by word only."""
        known = list(tables)
        return [entry for entry in self.tables if entry.selected_by != "tag" and not any(entry.fits(t) for t in known)]

    @property
    def by_tag(self) -> bool:
        """Whether tags of tables have to be known to select."""
        return any(entry.selected_by == "tag" for entry in self.tables)


class ProtectionRuleError(ValueError):
    """Parts of a rule do not go together; ``section`` is the part of the file that is to be changed."""

    def __init__(self, section: str, message: str) -> None:
        super().__init__(message)
        self.section = section


def _merged(section: str, layers: Iterable[Settings]) -> dict[str, Any]:
    merged = dict(BUILT_IN[section])
    for layer in layers:
        merged.update(getattr(layer, section).model_dump(exclude_unset=True))
    for name, value in BUILT_IN[section].items():
        # An empty value takes the built-in one back, where there is one.
        if merged[name] is None:
            merged[name] = value
    return merged


def _keep(layers: Sequence[Settings], depth: Depth = Depth.FULL) -> KeepPolicy:
    """Return what keeps a table's recovery points.

    Where the file does not say how deep a proof has to be to count, those that are as deep as asked for do.
    """
    merged = _merged("retention", layers)
    if not any(layer.retention.min_depth for layer in layers):
        merged["min_depth"] = depth
    try:
        return keep_policy(merged)
    except PolicyError as error:
        raise ProtectionRuleError("retention", str(error)) from error


def _check_rule(rule: ProtectionRule, period: dt.timedelta) -> None:
    if rule.keep.min_depth.rank > rule.depth.rank:
        raise ProtectionRuleError(
            "retention",
            f"min_depth {rule.keep.min_depth} can't be met by restores that are proven {rule.depth}: no recovery point "
            f"would ever count as proven. Give min_depth {rule.depth}, or a deeper proof",
        )
    if rule.completion_minutes < rule.start_minutes + MIN_WINDOW_GAP:
        raise ProtectionRuleError(
            "window",
            f"completion_minutes {rule.completion_minutes} leaves a job that starts at the end of its start window "
            f"({rule.start_minutes} minutes) no time: give at least {rule.start_minutes + MIN_WINDOW_GAP}",
        )
    if rule.cold_after_days is not None and rule.delete_after_days < rule.cold_after_days + COLD_DAYS:
        raise ProtectionRuleError(
            "lifecycle",
            f"delete_after_days {rule.delete_after_days} is less than {COLD_DAYS} days after cold_after_days "
            f"{rule.cold_after_days}, which AWS refuses: give at least {rule.cold_after_days + COLD_DAYS}, or "
            "leave cold_after_days out",
        )
    if dt.timedelta(days=rule.delete_after_days) <= period:
        raise ProtectionRuleError(
            "lifecycle",
            f"delete_after_days {rule.delete_after_days} deletes a recovery point before the tier {rule.tier} makes "
            f"the next: give more than {period.days}",
        )
    if rule.rpo < period:
        hour = dt.timedelta(hours=1)
        raise ProtectionRuleError(
            "targets",
            f"rpo_hours {rule.rpo / hour:g} can't be met by the tier {rule.tier}, which backs up every "
            f"{period / hour:g} hours: choose a more frequent tier, or give at least that many",
        )


def table_name(arn: str) -> str:
    """Return a table's name from its ARN, or the whole ARN of what is no table."""
    match = re.search(r":table/([^/]+)$", arn)
    return match.group(1) if match else arn
