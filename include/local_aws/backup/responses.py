"""Reads the requests of AWS Backup, hands them to the backend, and shapes the replies."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult, EmptyResult

from local_aws.backup.backup_jobs import (
    DEFAULT_COMPLETE_WINDOW,
    DEFAULT_START_WINDOW,
    BackupJob,
    BackupRequest,
)
from local_aws.backup.copy_responses import CopyResponse
from local_aws.backup.exceptions import InvalidRequestException
from local_aws.backup.handler import BackupHandler, between, present
from local_aws.backup.lifecycle import Lifecycle
from local_aws.backup.list_lag import in_lists_yet
from local_aws.backup.notifications_responses import NotificationsResponse
from local_aws.backup.pagination import paginate
from local_aws.backup.plans_responses import PlansResponse
from local_aws.backup.protection_responses import ProtectionResponse
from local_aws.backup.recovery_points import RecoveryPoint
from local_aws.backup.region_settings import OptInChange
from local_aws.backup.reports_responses import ReportsResponse
from local_aws.backup.restore_jobs import RestoreJob, RestoreRequest, normalise_metadata
from local_aws.backup.restore_testing_responses import RestoreTestingResponse
from local_aws.backup.states import RESOURCE_TYPE, BackupJobState, RestoreJobStatus
from local_aws.backup.validation import (
    MIN_START_WINDOW_MINUTES,
    check_choice,
    check_role_arn,
    check_tags,
    check_vault_name,
    check_window,
    require,
)
from local_aws.clock import CLOCK


class BackupResponse(
    CopyResponse,
    NotificationsResponse,
    PlansResponse,
    ProtectionResponse,
    ReportsResponse,
    RestoreTestingResponse,
    BackupHandler,
):
    """Handler of all requests to AWS Backup. Operations are named as boto3 names them."""

    # Vaults

    def create_backup_vault(self) -> ActionResult:  # type: ignore[override]  # moto returns text
        vault = self.backup_backend.create_backup_vault(
            self._get_param("BackupVaultName"),
            self._get_param("BackupVaultTags"),
            self._get_param("EncryptionKeyArn"),
            self._get_param("CreatorRequestId"),
        )
        return ActionResult(
            {
                "BackupVaultName": vault.backup_vault_name,
                "BackupVaultArn": vault.backup_vault_arn,
                "CreationDate": vault.created_at,
            }
        )

    def describe_backup_vault(self) -> ActionResult:
        backend = self.backup_backend
        vault = backend.describe_backup_vault(self._get_param("BackupVaultName"))
        return ActionResult(vault.to_result(len(backend.recovery_points.in_vault(vault.backup_vault_name))))

    def list_backup_vaults(self) -> ActionResult:  # type: ignore[override]
        backend = self.backup_backend
        vault_type = self._get_param("ByVaultType")
        shared = self._get_bool_param("ByShared")
        vaults = [vault for vault in backend.vaults.values() if vault_type in (None, "BACKUP_VAULT") and not shared]
        return self._page(
            "BackupVaultList",
            vaults,
            lambda vault: vault.backup_vault_name,
            lambda vault: vault.to_result(len(backend.recovery_points.in_vault(vault.backup_vault_name))),
        )

    def delete_backup_vault(self) -> EmptyResult:
        self.backup_backend.delete_backup_vault(self._get_param("BackupVaultName"))
        return EmptyResult()

    def put_backup_vault_lock_configuration(self) -> EmptyResult:  # type: ignore[override]
        self.backup_backend.put_backup_vault_lock_configuration(
            self._get_param("BackupVaultName"),
            self._get_param("MinRetentionDays"),
            self._get_param("MaxRetentionDays"),
            self._get_param("ChangeableForDays"),
        )
        return EmptyResult()

    def delete_backup_vault_lock_configuration(self) -> EmptyResult:  # type: ignore[override]
        self.backup_backend.delete_backup_vault_lock_configuration(self._get_param("BackupVaultName"))
        return EmptyResult()

    # Region settings

    def describe_region_settings(self) -> ActionResult:
        return ActionResult(self.backup_backend.region_settings.to_result())

    def update_region_settings(self) -> EmptyResult:
        backend = self.backup_backend
        opt_in = self._get_param("ResourceTypeOptInPreference")
        backend.region_settings.update(opt_in, self._get_param("ResourceTypeManagementPreference"))
        backend.changes.report(OptInChange(opt_in or {}), CLOCK.now())
        return EmptyResult()

    def get_supported_resource_types(self) -> ActionResult:
        return ActionResult({"ResourceTypes": [RESOURCE_TYPE]})

    # Backup jobs

    def start_backup_job(self) -> ActionResult:
        job = self.backup_backend.backup_jobs.start(self._backup_request(), self._get_param("IdempotencyToken"))
        reply = {
            "BackupJobId": job.job_id,
            "CreationDate": job.created_at,
            "RecoveryPointArn": job.shown_recovery_point_arn,
            "IsParent": False,
        }
        return ActionResult(present(reply))

    def stop_backup_job(self) -> EmptyResult:
        self.backup_backend.backup_jobs.stop(self._get_param("BackupJobId"))
        return EmptyResult()

    def describe_backup_job(self) -> ActionResult:
        job = self.backup_backend.backup_jobs.get(self._get_param("BackupJobId"))
        return ActionResult(present(job.to_result(self.current_account)))

    def list_backup_jobs(self) -> ActionResult:
        check_choice("ByState", self._get_param("ByState"), [state.value for state in BackupJobState])
        matches = self._backup_job_filter()
        jobs = [job for job in self.backup_backend.backup_jobs.listed() if matches(job)]
        return self._page(
            "BackupJobs", jobs, lambda job: -job.sequence, lambda job: job.to_result(self.current_account)
        )

    # Recovery points

    def describe_recovery_point(self) -> ActionResult:
        return ActionResult(present(self._recovery_point().to_result()))

    def get_recovery_point_restore_metadata(self) -> ActionResult:
        point = self._recovery_point()
        return ActionResult(
            {
                "BackupVaultArn": point.vault.backup_vault_arn,
                "RecoveryPointArn": point.arn,
                "RestoreMetadata": point.restore_metadata(),
                "ResourceType": RESOURCE_TYPE,
            }
        )

    def list_recovery_points_by_backup_vault(self) -> ActionResult:
        backend = self.backup_backend
        vault = backend.describe_backup_vault(self._get_param("BackupVaultName"))
        matches = self._recovery_point_filter()
        points = [
            point
            for point in backend.recovery_points.in_vault(vault.backup_vault_name)
            if matches(point) and in_lists_yet(point.created_at)
        ]
        return self._page("RecoveryPoints", points, lambda point: -point.sequence, RecoveryPoint.to_result)

    def list_recovery_points_by_resource(self) -> ActionResult:
        resource_arn = self._get_param("ResourceArn")
        points = [
            point
            for point in self.backup_backend.recovery_points
            if point.resource_arn == resource_arn and in_lists_yet(point.created_at)
        ]
        return self._page("RecoveryPoints", points, lambda point: -point.sequence, RecoveryPoint.to_resource_result)

    def update_recovery_point_lifecycle(self) -> ActionResult:
        point = self.backup_backend.recovery_points.update_lifecycle(
            self._get_param("BackupVaultName"),
            self._get_param("RecoveryPointArn"),
            Lifecycle.from_request(self._get_param("Lifecycle")),
        )
        return ActionResult(
            {
                "BackupVaultArn": point.vault.backup_vault_arn,
                "RecoveryPointArn": point.arn,
                "Lifecycle": point.lifecycle.to_result(),
                "CalculatedLifecycle": point.lifecycle.calculated(point.created_at),
            }
        )

    def delete_recovery_point(self) -> EmptyResult:
        self.backup_backend.recovery_points.delete(
            self._get_param("BackupVaultName"), self._get_param("RecoveryPointArn")
        )
        return EmptyResult()

    # Restore jobs

    def start_restore_job(self) -> ActionResult:
        role_arn = self._get_param("IamRoleArn")
        check_choice("ResourceType", self._get_param("ResourceType"), [RESOURCE_TYPE])
        request = RestoreRequest(
            recovery_point_arn=require("RecoveryPointArn", self._get_param("RecoveryPointArn")),
            metadata=normalise_metadata(self._get_param("Metadata") or {}),
            iam_role_arn=check_role_arn(role_arn) if role_arn is not None else None,
            copy_tags=bool(self._get_bool_param("CopySourceTagsToRestoredResource", False)),
        )
        job = self.backup_backend.restore_jobs.start(request, self._get_param("IdempotencyToken"))
        return ActionResult({"RestoreJobId": job.job_id})

    def describe_restore_job(self) -> ActionResult:
        job = self.backup_backend.restore_jobs.get(self._get_param("RestoreJobId"))
        return ActionResult(present(job.to_result(self.current_account)))

    def get_restore_job_metadata(self) -> ActionResult:
        job = self.backup_backend.restore_jobs.get(self._get_param("RestoreJobId"))
        return ActionResult({"RestoreJobId": job.job_id, "Metadata": dict(job.request.metadata)})

    def list_restore_jobs(self) -> ActionResult:
        check_choice("ByStatus", self._get_param("ByStatus"), [status.value for status in RestoreJobStatus])
        matches = self._restore_job_filter()
        jobs = [job for job in self.backup_backend.restore_jobs.listed() if matches(job)]
        return self._restore_job_page(jobs)

    def list_restore_jobs_by_protected_resource(self) -> ActionResult:
        status = check_choice("ByStatus", self._get_param("ByStatus"), [each.value for each in RestoreJobStatus])
        resource_arn = self._get_param("ResourceArn")
        made_after = self._time("ByRecoveryPointCreationDateAfter")
        made_before = self._time("ByRecoveryPointCreationDateBefore")
        jobs = [
            job
            for job in self.backup_backend.restore_jobs.listed()
            if job.point.resource_arn == resource_arn
            and status in (None, job.status)
            and between(job.point.created_at, made_after, made_before)
        ]
        return self._restore_job_page(jobs)

    # Protected resources

    def describe_protected_resource(self) -> ActionResult:
        return ActionResult(self.backup_backend.protected_resources.get(self._get_param("ResourceArn")))

    def list_protected_resources(self) -> ActionResult:
        return self._resource_page(self.backup_backend.protected_resources.list())

    def list_protected_resources_by_backup_vault(self) -> ActionResult:
        backend = self.backup_backend
        vault = backend.describe_backup_vault(self._get_param("BackupVaultName"))
        return self._resource_page(backend.protected_resources.list(vault.backup_vault_name))

    # Tags

    def tag_resource(self) -> EmptyResult:  # type: ignore[override]
        self.backup_backend.tag_resource(self._get_param("ResourceArn"), self._get_param("Tags"))
        return EmptyResult()

    def untag_resource(self) -> EmptyResult:  # type: ignore[override]
        self.backup_backend.untag_resource(self._get_param("ResourceArn"), self._get_param("TagKeyList"))
        return EmptyResult()

    def list_tags(self) -> ActionResult:  # type: ignore[override]
        tags = self.backup_backend.list_tags(self._get_param("ResourceArn"))
        page, token = paginate(
            "ListTags",
            tags,
            str,
            max_results=self._get_int_param("MaxResults"),
            next_token=self._get_param("NextToken"),
        )
        return ActionResult(present({"Tags": {key: tags[key] for key in page}, "NextToken": token}))

    # Reading requests

    def _backup_request(self) -> BackupRequest:
        if self._get_param("LogicallyAirGappedBackupVaultArn"):
            raise InvalidRequestException("Logically air-gapped vaults are not served by the local AWS.")
        check_choice("Index", self._get_param("Index"), ["DISABLED"])  # only EBS and S3 have indexes
        tags = self._get_param("RecoveryPointTags") or {}
        check_tags(tags)
        return BackupRequest(
            vault_name=check_vault_name(self._get_param("BackupVaultName")),
            resource_arn=require("ResourceArn", self._get_param("ResourceArn")),
            iam_role_arn=check_role_arn(self._get_param("IamRoleArn")),
            start_window=self._window("StartWindowMinutes", MIN_START_WINDOW_MINUTES, DEFAULT_START_WINDOW),
            complete_window=self._window("CompleteWindowMinutes", 1, DEFAULT_COMPLETE_WINDOW),
            lifecycle=Lifecycle.from_request(self._get_param("Lifecycle")),
            tags=tags,
            options=self._get_param("BackupOptions") or {},
        )

    def _window(self, name: str, minimum: int, default: timedelta) -> timedelta:
        minutes = check_window(
            name,
            self._get_int_param(name),
            minimum=minimum,
            default=int(default.total_seconds() // 60),
        )
        return timedelta(minutes=minutes)

    def _recovery_point(self) -> RecoveryPoint:
        return self.backup_backend.recovery_points.get(
            self._get_param("BackupVaultName"), self._get_param("RecoveryPointArn")
        )

    def _backup_job_filter(self) -> Callable[[BackupJob], bool]:
        wanted = self._job_matches("ByState", "ByMessageCategory", "ByResourceArn", "ByBackupVaultName")
        created, completed = self._created_and_completed()

        def matches(job: BackupJob) -> bool:
            return (
                wanted(
                    ByState=job.state,
                    ByMessageCategory=job.message_category,
                    ByResourceArn=job.request.resource_arn,
                    ByBackupVaultName=job.vault.backup_vault_name,
                )
                and created(job.created_at)
                and completed(job.ended_at)
            )

        return matches

    def _restore_job_filter(self) -> Callable[[RestoreJob], bool]:
        wanted = self._job_matches("ByStatus", "ByRestoreTestingPlanArn")
        created, completed = self._created_and_completed()

        def matches(job: RestoreJob) -> bool:
            return (
                wanted(ByStatus=job.status, ByRestoreTestingPlanArn=job.test.plan_arn if job.test is not None else None)
                and created(job.created_at)
                and completed(job.ended_at)
            )

        return matches

    def _job_matches(self, *names: str) -> Callable[..., bool]:
        """Return a test of a job's attributes against the filters that the request gives."""
        given = {name: value for name in names if (value := self._get_param(name)) not in (None, "*")}
        # What all jobs here have in common: one account, one resource type, no parent.
        common = {
            "ByAccountId": {"*", self.current_account},
            "ByResourceType": {RESOURCE_TYPE},
            "ByParentJobId": set[str](),
        }
        none_match = any(
            value is not None and value not in allowed
            for name, allowed in common.items()
            for value in [self._get_param(name)]
        )

        def test(**attributes: str | None) -> bool:
            return not none_match and all(attributes[name] == value for name, value in given.items())

        return test

    def _created_and_completed(
        self,
    ) -> tuple[Callable[[datetime | None], bool], Callable[[datetime | None], bool]]:
        created = (self._time("ByCreatedAfter"), self._time("ByCreatedBefore"))
        completed = (self._time("ByCompleteAfter"), self._time("ByCompleteBefore"))
        return lambda instant: between(instant, *created), lambda instant: between(instant, *completed)

    def _recovery_point_filter(self) -> Callable[[RecoveryPoint], bool]:
        resource_arn = self._get_param("ByResourceArn")
        after, before = self._time("ByCreatedAfter"), self._time("ByCreatedBefore")
        plan_id = self._get_param("ByBackupPlanId")
        # All recovery points here are of tables, without a parent.
        none_match = (
            self._get_param("ByResourceType") not in (None, RESOURCE_TYPE)
            or self._get_param("ByParentRecoveryPointArn") is not None
            or self._get_param("BackupVaultAccountId") not in (None, self.current_account)
        )

        def matches(point: RecoveryPoint) -> bool:
            return (
                not none_match
                and resource_arn in (None, point.resource_arn)
                and plan_id in (None, point.created_by and point.created_by.plan_id)
                and between(point.created_at, after, before)
            )

        return matches

    # Shaping replies

    def _restore_job_page(self, jobs: Iterable[RestoreJob]) -> ActionResult:
        return self._page(
            "RestoreJobs", jobs, lambda job: -job.sequence, lambda job: job.to_result(self.current_account)
        )

    def _resource_page(self, resources: Iterable[dict[str, Any]]) -> ActionResult:
        return self._page("Results", resources, lambda resource: str(resource["ResourceArn"]), dict)
