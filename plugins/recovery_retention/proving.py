"""Prove before you lose: which points wait for a drill, and what keeps AWS's lifecycle from them until then.

A point awaits proof when it can be restored, is not known to be bad, was not proven deep enough, and no newer point
of its table was that is there to stay. When such a point is about to be deleted, by us or by AWS, a drill is asked
for, of the *newest* point that awaits proof: proven, it releases all older ones, so one drill is enough. Should it
fail, it counts as bad and the next one's turn comes. The newest proven point is kept from AWS's lifecycle, too, until
a newer one is.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from recovery_retention.plan import USABLE_STATUSES
from recovery_retention.policy import KeepPolicy
from recovery_retention.recovery_point import RecoveryPoint
from restore_proof.verdict import Proof, Result

MAX_DAYS = 36_500
COLD_DAYS = 90
"""What has gone to cold storage stays there for so many days:
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html"""
DAY = dt.timedelta(days=1)
PROOFS = (Result.PROVEN, Result.PROVEN_DRIFTING)
"""Results that prove a point; the latter counts where none has the former."""


@dataclass(frozen=True)
class Vault:
    """What a vault's lock forbids (DescribeBackupVault).

    Attributes:
        locked: neither deletions nor changes of a lifecycle go through.
        min_days: the least retention that it takes, if limited.
        max_days: the most.
    """

    locked: bool = False
    min_days: int | None = None
    max_days: int | None = None


@dataclass(frozen=True)
class Circumstances:
    """What a plan has to know beside the points and the policy.

    Attributes:
        verdicts: result and depth of what was proven, by recovery point ARN.
        attempts: how many drills each point had, by ARN.
        in_use: ARNs of points that a running restore or drill uses.
        vaults: by name; one that is not named has no lock.
        our_holds: legal holds that wait for a verdict, by the ARN of the point they are on.
        may_extend: whether lifecycles may be changed.
        may_hold: whether legal holds may be made.
    """

    verdicts: Mapping[str, Proof] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    in_use: Collection[str] = ()
    vaults: Mapping[str, Vault] = field(default_factory=dict)
    our_holds: Mapping[str, str] = field(default_factory=dict)
    may_extend: bool = True
    may_hold: bool = True

    def vault_of(self, point: RecoveryPoint) -> Vault:
        """Return what is known of a point's vault."""
        return self.vaults.get(point.vault_name, _OPEN)


_OPEN = Vault()


@dataclass(frozen=True)
class DrillOrder:
    """A recovery point to hand to a drill.

    Attributes:
        by: when the first of those that wait for it is lost to AWS's lifecycle, but for a hold of ours; None: none is.
        waiting: ARNs of the points that are about to be lost and stay until the verdict: unproven, or the newest proof.
    """

    point: RecoveryPoint
    by: dt.datetime | None
    waiting: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the order as JSON-ready values."""
        return {
            "arn": self.point.arn,
            "table_name": self.point.table_name,
            "vault_name": self.point.vault_name,
            "by": self.by.astimezone(dt.UTC).isoformat() if self.by else None,
            "waiting": list(self.waiting),
        }


@dataclass(frozen=True)
class Rescue:
    """What keeps a point from AWS's lifecycle until a verdict: a later expiry, a legal hold, or only a person.

    Attributes:
        lost_at: when AWS deletes it if nothing is done.
        lifecycle: for UpdateRecoveryPointLifecycle where the action is ``extend``: both numbers, where both are set.
    """

    point: RecoveryPoint
    action: Literal["extend", "hold", "alarm"]
    lost_at: dt.datetime
    text: str
    lifecycle: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the rescue as JSON-ready values."""
        return {
            "arn": self.point.arn,
            "table_name": self.point.table_name,
            "vault_name": self.point.vault_name,
            "action": self.action,
            "lost_at": self.lost_at.astimezone(dt.UTC).isoformat(),
            "lifecycle": dict(self.lifecycle) if self.lifecycle else None,
            "text": self.text,
        }


@dataclass(frozen=True)
class Outlook:
    """What of one table is to be proven before it may be lost."""

    awaiting: frozenset[str]
    """ARNs of the points that may not be deleted before a verdict."""
    drill: DrillOrder | None
    rescues: tuple[Rescue, ...]


def why_bad(point: RecoveryPoint, policy: KeepPolicy, around: Circumstances) -> str | None:
    """Return why a point counts as bad; None if it does not."""
    proof = around.verdicts.get(point.arn)
    if proof is not None and proof.result is Result.FAILED:
        return "It is known to be bad: its drill FAILED."
    attempts = around.attempts.get(point.arn)
    if (
        attempts is not None
        and attempts >= policy.max_proof_attempts
        and (proof is None or proof.result is Result.UNPROVEN)
    ):
        return f"It counts as bad: {attempts} drills brought no proof."
    return None


def awaiting_proof(
    points: Sequence[RecoveryPoint], policy: KeepPolicy, around: Circumstances, now: dt.datetime
) -> tuple[RecoveryPoint, ...]:
    """Return the points of one table, newest first, that can still be proven and that no newer proof replaces.

    A proven point that AWS is about to delete replaces none: it would be gone, and so would they. One that a hold of
    ours keeps beyond its expiry, so that it is EXPIRED, waits too: it was held for a verdict.
    """
    standing = _standing(_proofs(_usable(points), policy, around), _soon(policy, now))
    return tuple(
        point
        for point in _usable(points, held=around.our_holds)
        if (standing is None or point.created_at > standing.created_at)
        and why_bad(point, policy, around) is None
        and not _proven(point, policy, around, PROOFS)
    )


def look_out(
    points: Sequence[RecoveryPoint],
    doomed: Collection[str],
    policy: KeepPolicy,
    around: Circumstances,
    now: dt.datetime,
) -> Outlook:
    """Say what of one table is to be proven first.

    Args:
        points: of one table, newest first.
        doomed: ARNs of what the keep rules would let go.
        policy: the table's.
        around: verdicts, attempts, locks, holds.
        now: the moment of the plan (aware).
    """
    if not policy.prove_first:
        return Outlook(frozenset(), None, ())
    waiting = awaiting_proof(points, policy, around, now)
    soon = _soon(policy, now)
    expiring = [point for point in waiting if _ends(point, soon) and not _held_by_others(point, around)]
    lost = {point.arn for point in expiring} | {point.arn for point in waiting if point.arn in doomed}
    leaving = [
        point
        for point in _proofs(_usable(points, held=around.our_holds), policy, around)[:1]
        if _ends(point, soon) and not _held_by_others(point, around) and point.arn not in doomed
    ]
    pressing = lost | {point.arn for point in leaving}
    drill = None
    # One that so many drills proved, and none deep enough, is not bad; another one would tell the same once more.
    candidates = [point for point in _usable(waiting) if around.attempts.get(point.arn, 0) < policy.max_proof_attempts]
    if pressing and candidates and not any(point.arn in around.in_use for point in waiting):
        # Where a restore of one of them runs, its verdict comes first.
        by = min((point.delete_at for point in (*leaving, *expiring) if point.delete_at is not None), default=None)
        drill = DrillOrder(candidates[0], by, tuple(point.arn for point in points if point.arn in pressing))
    until = soon + (soon - now)
    # What a hold of ours keeps needs no other rescue; it needs its drill, however often one came to nothing.
    rescues = [_rescue(point, until, around, proven=True) for point in leaving if not point.legal_holds]
    rescues += [_rescue(point, until, around) for point in expiring if not point.legal_holds]
    return Outlook(frozenset(lost), drill, tuple(rescues))


def needed_holds(
    points: Sequence[RecoveryPoint], policy: KeepPolicy, around: Circumstances, now: dt.datetime
) -> set[str]:
    """Return our holds that still keep something of one table: points that await proof, and its newest proof."""
    if not policy.prove_first or not any(point.arn in around.our_holds for point in points):
        return set()
    soon = _soon(policy, now)
    standing = _standing(_proofs(_usable(points, held=around.our_holds), policy, around), soon)
    kept = [*awaiting_proof(points, policy, around, now)]
    kept += [standing] if standing is not None and _ends(standing, soon) else []
    return {around.our_holds[point.arn] for point in kept if point.arn in around.our_holds}


def lifecycle_until(point: RecoveryPoint, until: dt.datetime, vault: Vault) -> Mapping[str, int] | None:
    """Return the lifecycle that keeps a point until a moment; None where the vault or AWS allows none.

    Both numbers are in it where the point goes to cold storage: what is left out would be changed too.
    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRecoveryPointLifecycle.html
    """
    days = max(1, math.ceil((until - point.created_at) / DAY), vault.min_days or 1)
    cold = point.cold_after_days
    if cold is not None:
        days = max(days, cold + COLD_DAYS)
    if vault.locked or days > min(vault.max_days or MAX_DAYS, MAX_DAYS):
        return None
    return {"MoveToColdStorageAfterDays": cold, "DeleteAfterDays": days} if cold else {"DeleteAfterDays": days}


def _rescue(point: RecoveryPoint, until: dt.datetime, around: Circumstances, *, proven: bool = False) -> Rescue:
    lost_at = point.delete_at or until
    lifecycle = lifecycle_until(point, until, around.vault_of(point)) if around.may_extend else None
    when = lost_at.astimezone(dt.UTC).isoformat(timespec="minutes")
    head = f"AWS deletes it on {when}, {'the newest that is proven' if proven else 'unproven'}"
    if lifecycle is not None:
        return Rescue(point, "extend", lost_at, f"{head}: keep it for {lifecycle['DeleteAfterDays']} days.", lifecycle)
    if around.may_hold:
        return Rescue(
            point, "hold", lost_at, f"{head}: hold it until {'a newer one is proven' if proven else 'the verdict'}."
        )
    remedy = "prove a newer one, or copy it, before" if proven else "prove it, or copy it, before"
    return Rescue(point, "alarm", lost_at, f"{head}, and nothing may be done about it: {remedy}.")


def _usable(points: Sequence[RecoveryPoint], *, held: Collection[str] = ()) -> list[RecoveryPoint]:
    """Return what can be restored, and of what is EXPIRED that which is `held`."""
    return [
        point
        for point in points
        if point.status in USABLE_STATUSES or (point.status == "EXPIRED" and point.arn in held)
    ]


def _held_by_others(point: RecoveryPoint, around: Circumstances) -> bool:
    return any(hold != around.our_holds.get(point.arn) for hold in point.legal_holds)


def _soon(policy: KeepPolicy, now: dt.datetime) -> dt.datetime:
    """Return the end of the time in which what AWS deletes counts as about to be lost."""
    return now + (now - policy.prove_ahead.before(now, dt.UTC))


def _ends(point: RecoveryPoint, soon: dt.datetime) -> bool:
    return point.delete_at is not None and point.delete_at <= soon


def _proven(point: RecoveryPoint, policy: KeepPolicy, around: Circumstances, results: Collection[Result]) -> bool:
    proof = around.verdicts.get(point.arn)
    return proof is not None and proof.result in results and proof.depth.rank >= policy.min_depth.rank


def _proofs(points: Sequence[RecoveryPoint], policy: KeepPolicy, around: Circumstances) -> list[RecoveryPoint]:
    """Return the proven points, newest first; drifting ones where none is proven."""
    for result in PROOFS:
        found = [point for point in points if _proven(point, policy, around, (result,))]
        if found:
            return found
    return []


def _standing(proofs: Sequence[RecoveryPoint], soon: dt.datetime) -> RecoveryPoint | None:
    """Return the newest proven point that is there to stay."""
    return next((point for point in proofs if point.legal_holds or not _ends(point, soon)), None)
