"""Where AWS Backup answers. Any path leads to the one handler: the service model tells the operation."""

from typing import Final

from local_aws.backup.responses import BackupResponse

url_bases: Final = [r"https?://backup\.(.+)\.amazonaws\.com"]

url_paths: Final = {
    "{0}/$": BackupResponse.dispatch,
    "{0}/.*$": BackupResponse.dispatch,
}
