"""Registers what this package adds with moto."""

import sys
from importlib import import_module
from typing import Final

from moto.backup.models import backup_backends

from local_aws import moto_fixes, tables, timeline
from local_aws.backup.models import BackupBackend
from local_aws.clock import CLOCK

_CLOUDFORMATION_PARSER: Final = "moto.cloudformation.parsing"


def install() -> None:
    """Put our AWS Backup, the cures for moto and the CloudFormation types in place. Safe to call twice."""
    moto_fixes.install()
    # The same dict object stays in place, so everybody who imported it gets our backend from it.
    if backup_backends.backend is not BackupBackend:
        backup_backends.backend = BackupBackend
        backup_backends.clear()
    tables.use_clock(CLOCK.now)
    timeline.install()
    _install_cloudformation()


def _install_cloudformation() -> None:
    # Not at the top: its classes register with moto by being defined, which is for `install` to decide.
    if "local_aws.cloudformation" in sys.modules:
        return
    import_module("local_aws.cloudformation")
    parser = sys.modules.get(_CLOUDFORMATION_PARSER)
    if parser is not None:
        # moto lists the types that it knows once: make it look again.
        for memoised in (parser.get_model_list, parser.get_model_map, parser.get_name_type_map):
            memoised.cache_clear()
