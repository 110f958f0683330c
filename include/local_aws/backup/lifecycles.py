"""Lifecycles at work: on its days a recovery point goes to cold storage and is deleted.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/recovery-points.html. Deletion by lifecycle also empties
a locked vault: the lock keeps callers away, not the retention that it guards. A legal hold delays both, see
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_LegalHold.html.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from local_aws.backup.changes import Change, What
from local_aws.backup.legal_holds import blocked_from_lifecycle
from local_aws.backup.lifecycle import Lifecycle
from local_aws.backup.recovery_points import USABLE, RecoveryPoint
from local_aws.backup.states import RecoveryPointStatus

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend

FOLLOWED: Final = USABLE | {RecoveryPointStatus.PARTIAL}
RETRY_AFTER: Final = timedelta(hours=1)
"""How long a point lives on that is being restored when its time comes; AWS promises no instant."""


class Lifecycles:
    """Plans what the lifecycles of an account and Region's recovery points ask for.

    It watches all changes, so whoever makes a recovery point or changes its lifecycle need not call it.
    """

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend
        self._followed: dict[str, Lifecycle] = {}
        backend.changes.observe(self.observe)
        backend.legal_holds.on_release.append(self._resume)

    def observe(self, change: Change) -> None:
        """Follow the lifecycle of a recovery point that is new or has another lifecycle now."""
        point = change.subject
        if not isinstance(point, RecoveryPoint):
            return
        if change.what is What.DELETED:
            self._followed.pop(point.arn, None)
        elif point.status in FOLLOWED and self._followed.get(point.arn) is not point.lifecycle:
            self._follow(point, change.at)

    def _follow(self, point: RecoveryPoint, now: datetime) -> None:
        lifecycle = point.lifecycle
        self._followed[point.arn] = lifecycle
        cold_at, delete_at = lifecycle.cold_at(point.created_at), lifecycle.delete_at(point.created_at)
        agenda = self._backend.agenda
        if point.advanced and point.cold_since is None and cold_at is not None:
            agenda.add(max(cold_at, now), lambda at: self._turn_cold(point, lifecycle, at))
        if delete_at is not None:
            agenda.add(max(delete_at, now), lambda at: self._expire(point, lifecycle, at))

    def _is_current(self, point: RecoveryPoint, lifecycle: Lifecycle) -> bool:
        return self._followed.get(point.arn) is lifecycle and point.status in FOLLOWED

    def _turn_cold(self, point: RecoveryPoint, lifecycle: Lifecycle, at: datetime) -> None:
        if not self._is_current(point, lifecycle) or blocked_from_lifecycle(self._backend, point) is not None:
            return
        point.cold_since = at
        self._backend.changes.report(point, at)

    def _expire(self, point: RecoveryPoint, lifecycle: Lifecycle, at: datetime) -> None:
        if not self._is_current(point, lifecycle) or blocked_from_lifecycle(self._backend, point) is not None:
            return
        if point.restores_running or point.copies_running:
            self._backend.agenda.add(at + RETRY_AFTER, lambda later: self._expire(point, lifecycle, later))
            return
        self._backend.recovery_points.begin_deletion(point, at)

    def _resume(self, point: RecoveryPoint, at: datetime) -> None:
        """Do what fell due while a legal hold was in its way."""
        lifecycle = point.lifecycle
        cold_at, delete_at = lifecycle.cold_at(point.created_at), lifecycle.delete_at(point.created_at)
        if delete_at is not None and delete_at <= at:
            self._expire(point, lifecycle, at)
        elif point.advanced and point.cold_since is None and cold_at is not None and cold_at <= at:
            self._turn_cold(point, lifecycle, at)
