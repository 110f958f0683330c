"""Registers what this package adds with moto."""

from moto.backup.models import backup_backends

from local_aws import moto_fixes, point_in_time, repeatable, request_faults, tables, timeline
from local_aws.access import enforcement, simulation
from local_aws.backup import dynamodb_view
from local_aws.backup.models import BackupBackend
from local_aws.clock import CLOCK


def install() -> None:
    """Put our AWS Backup, the cures for moto and the CloudFormation types in place. Safe to call twice."""
    moto_fixes.install()
    # The same dict object stays in place, so everybody who imported it gets our backend from it.
    if backup_backends.backend is not BackupBackend:
        backup_backends.backend = BackupBackend
        backup_backends.clear()
    tables.use_clock(CLOCK.now)
    timeline.install()
    enforcement.install()
    simulation.install()
    dynamodb_view.install()
    request_faults.install()
    point_in_time.install()
    repeatable.install()
