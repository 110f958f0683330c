"""What a teardown may delete, decided before anything is: pure, each decision with its reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from backup_flows.ownership import Origin, is_ours, plan_arn_of

DELETE = "delete"
KEEP = "keep"

FOREIGN = "not made by this project"
LOCKED = "the vault is locked"
HELD = "under a legal hold"
RESTORING = "a restore reads it"


@dataclass(frozen=True)
class PointDecision:
    """What happens to one recovery point, and why."""

    vault: str
    arn: str
    action: str
    reason: str


@dataclass(frozen=True)
class Stock:
    """What is there, and what is to happen to it.

    :param stack: name of the stack.
    :param status: the stack's status, None if it does not exist.
    :param resources: physical names by logical ones, of what the stack still has.
    :param tables: restored copies of the orders table, which the DAGs made.
    :param objects: number of object versions in the bucket.
    """

    stack: str
    status: str | None
    resources: Mapping[str, str] = field(default_factory=dict)
    points: tuple[PointDecision, ...] = ()
    tables: tuple[str, ...] = ()
    objects: int = 0

    @property
    def due(self) -> list[PointDecision]:
        """The recovery points that go."""
        return [point for point in self.points if point.action == DELETE]

    @property
    def kept(self) -> list[PointDecision]:
        """The recovery points that stay."""
        return [point for point in self.points if point.action == KEEP]

    @property
    def keeps_own_points(self) -> bool:
        """Whether points of this project stay, whose fingerprints and evidence must then stay, too."""
        return any(point.reason != FOREIGN for point in self.kept)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data, for XCom."""
        return {**asdict(self), "points": [asdict(point) for point in self.points], "tables": list(self.tables)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stock:
        """Read what `as_dict` wrote."""
        points = tuple(PointDecision(**point) for point in data["points"])
        return cls(**{**data, "points": points, "tables": tuple(data["tables"])})

    def describe(self) -> str:
        """Return what is to be deleted and what stays, as Markdown for the person who approves it."""
        lines = [f"**{self.stack}** ({self.status or 'does not exist'})", ""]
        lines += [f"* {name}: `{physical}`" for name, physical in sorted(self.resources.items())]
        lines += [f"* restored table `{name}`" for name in self.tables]
        lines += [f"* {self.objects} object versions in the bucket"] if self.objects else []
        lines += [f"* recovery point `{point.arn}`" for point in self.due]
        if self.kept:
            lines += ["", "**Kept**, with the vault, its key and its roles:", ""]
            lines += [f"* `{point.arn}`: {point.reason}" for point in self.kept]
        return "\n".join(lines)


def decide_points(
    points: Iterable[Mapping[str, Any]],
    *,
    tags: Mapping[str, Mapping[str, str]],
    bound: Collection[str],
    plans: Collection[str],
    locked: Collection[str],
    held: Collection[str],
    restoring: Collection[str],
) -> tuple[PointDecision, ...]:
    """Decide about each recovery point; what is not surely ours stays.

    :param points: as AWS lists them.
    :param tags: by ARN.
    :param bound: ARNs that our records name a run for, which made them.
    :param plans: ARNs of the backup plans that are ours.
    :param locked: vaults with a lock.
    :param held: ARNs under a legal hold.
    :param restoring: ARNs that a restore reads.
    """
    decisions = []
    for point in points:
        arn, vault = point["RecoveryPointArn"], point["BackupVaultName"]
        ours = is_ours(arn, tags.get(arn, {}), Origin.of(point, vouched=arn in bound or plan_arn_of(point) in plans))
        reasons = [
            reason
            for reason, applies in (
                (FOREIGN, not ours),
                (LOCKED, vault in locked),
                (HELD, arn in held),
                (RESTORING, arn in restoring),
            )
            if applies
        ]
        decisions.append(PointDecision(vault, arn, KEEP if reasons else DELETE, reasons[0] if reasons else "ours"))
    return tuple(sorted(decisions, key=lambda decision: (decision.vault, decision.arn)))
