"""The requests about copy jobs, and the account's setting that lets them leave it."""

from collections.abc import Callable

from moto.core.responses import ActionResult, EmptyResult

from local_aws.backup.copy_jobs import CopyJob, CopyRequest, VaultAddress
from local_aws.backup.handler import BackupHandler, between, present
from local_aws.backup.lifecycle import Lifecycle
from local_aws.backup.states import RESOURCE_TYPE, CopyJobState
from local_aws.backup.validation import check_choice, check_role_arn, check_vault_name, require
from local_aws.clock import CLOCK


class CopyResponse(BackupHandler):
    """Handler of the copy job operations and of the global settings."""

    def start_copy_job(self) -> ActionResult:
        lifecycle = self._get_param("Lifecycle")
        request = CopyRequest(
            recovery_point_arn=require("RecoveryPointArn", self._get_param("RecoveryPointArn")),
            source_vault_name=check_vault_name(self._get_param("SourceBackupVaultName")),
            destination=VaultAddress.from_arn(
                require("DestinationBackupVaultArn", self._get_param("DestinationBackupVaultArn"))
            ),
            iam_role_arn=check_role_arn(self._get_param("IamRoleArn")),
            lifecycle=Lifecycle.from_request(lifecycle) if lifecycle is not None else None,
        )
        job = self.backup_backend.copy_jobs.start(request, self._get_param("IdempotencyToken"))
        return ActionResult({"CopyJobId": job.job_id, "CreationDate": job.created_at, "IsParent": False})

    def describe_copy_job(self) -> ActionResult:
        job = self.backup_backend.copy_jobs.get(self._get_param("CopyJobId"))
        return ActionResult({"CopyJob": present(job.to_result(self.current_account))})

    def list_copy_jobs(self) -> ActionResult:
        check_choice("ByState", self._get_param("ByState"), [state.value for state in CopyJobState])
        matches = self._copy_job_filter()
        jobs = [job for job in self.backup_backend.copy_jobs.listed() if matches(job)]
        return self._page("CopyJobs", jobs, lambda job: -job.sequence, lambda job: job.to_result(self.current_account))

    def describe_global_settings(self) -> ActionResult:
        return ActionResult(present(self.backup_backend.global_settings.to_result()))

    def update_global_settings(self) -> EmptyResult:
        self.backup_backend.global_settings.update(self._get_param("GlobalSettings"), CLOCK.now())
        return EmptyResult()

    def _copy_job_filter(self) -> Callable[[CopyJob], bool]:
        created = (self._time("ByCreatedAfter"), self._time("ByCreatedBefore"))
        completed = (self._time("ByCompleteAfter"), self._time("ByCompleteBefore"))
        given = {
            name: value
            for name in (
                "ByResourceArn",
                "ByState",
                "ByResourceType",
                "ByDestinationVaultArn",
                "ByAccountId",
                "ByParentJobId",
                "ByMessageCategory",
                "BySourceRecoveryPointArn",
            )
            if (value := self._get_param(name)) not in (None, "*")
        }

        def matches(job: CopyJob) -> bool:
            attributes = {
                "ByResourceArn": job.point.resource_arn,
                "ByState": job.state,
                "ByResourceType": RESOURCE_TYPE,
                "ByDestinationVaultArn": job.request.destination.arn,
                "ByAccountId": self.current_account,
                "ByParentJobId": None,
                "ByMessageCategory": job.message_category,
                "BySourceRecoveryPointArn": job.point.arn,
            }
            return (
                all(attributes[name] == value for name, value in given.items())
                and between(job.created_at, *created)
                and between(job.ended_at, *completed)
            )

        return matches
