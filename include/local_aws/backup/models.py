"""AWS Backup with a data plane, as a moto backend: one instance for each account and Region."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Final

from moto.backup.models import BackupBackend as MotoBackupBackend
from moto.core.resource_tagging import TaggedResource
from moto.moto_api._internal import mock_random

from local_aws import tables
from local_aws.agenda import Agenda
from local_aws.backup.access_policies import AccessPolicies
from local_aws.backup.backup_jobs import BackupJobs
from local_aws.backup.changes import Changes, What
from local_aws.backup.copy_jobs import CopyJobs
from local_aws.backup.events import Events
from local_aws.backup.exceptions import (
    AlreadyExistsException,
    InvalidParameterValueException,
    InvalidRequestException,
    ResourceNotFoundException,
)
from local_aws.backup.global_settings import GlobalSettings
from local_aws.backup.legal_holds import LegalHolds
from local_aws.backup.lifecycles import Lifecycles
from local_aws.backup.notifications import VaultNotifications
from local_aws.backup.plans import BackupPlans
from local_aws.backup.protected_resources import ProtectedResources
from local_aws.backup.recovery_points import RecoveryPoints
from local_aws.backup.region_settings import RegionSettings
from local_aws.backup.report_jobs import ReportJobs
from local_aws.backup.report_plans import ReportPlans
from local_aws.backup.restore_jobs import RestoreJobs
from local_aws.backup.restore_testing import RestoreTesting
from local_aws.backup.restore_tests import RestoreTests
from local_aws.backup.validation import check_kms_key_arn, check_tags, check_vault_name
from local_aws.backup.vaults import Vault
from local_aws.clock import CLOCK
from local_aws.outbox import Outbox

_TABLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:dynamodb:([a-z0-9-]+):(\d{12}):table/([a-zA-Z0-9_.-]{3,255})")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:\d{0,12}:.+")
_BACKUP_ARN: Final = re.compile(r"arn:aws[a-z-]*:backup:.+")


class BackupBackend(MotoBackupBackend):
    """Our plans, vaults, jobs, recovery points and reports; of moto's, the tags."""

    vaults: dict[str, Vault]  # type: ignore[assignment]  # moto's, with our clock

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.agenda = Agenda(f"{account_id} {region_name}")
        self.changes = Changes()
        self.region_settings = RegionSettings()
        self.recovery_points = RecoveryPoints(self)
        self.legal_holds = LegalHolds(self)
        self.access_policies = AccessPolicies(self)
        self.backup_jobs = BackupJobs(self)
        self.restore_jobs = RestoreJobs(self)
        self.restore_testing = RestoreTesting(self)
        self.restore_tests = RestoreTests(self)
        self.copy_jobs = CopyJobs(self)
        self.report_plan_store = ReportPlans(self)
        self.report_jobs = ReportJobs(self)
        self.global_settings = GlobalSettings(self)
        self.protected_resources = ProtectedResources(self)
        self.outbox = Outbox()
        self.vault_notifications = VaultNotifications(self)
        self.changes.observe(Events(self).observe)
        self.changes.observe(self.vault_notifications.observe)
        self.changes.observe(self.copy_jobs.observe)
        self.changes.observe(self.restore_tests.observe)
        self.backup_plans = BackupPlans(self)
        self.lifecycles = Lifecycles(self)
        # Stands for the key behind the alias aws/backup, which AWS makes with an account's first vault.
        self.default_key_arn = f"arn:{self.partition}:kms:{region_name}:{account_id}:key/{self.new_id()}"
        self._sequence = count(1)

    @staticmethod
    def new_id() -> str:
        return str(mock_random.uuid4())

    @staticmethod
    def new_version_id() -> str:
        version_id: str = mock_random.get_random_string(length=48)
        return version_id

    def next_sequence(self) -> int:
        return next(self._sequence)

    def new_recovery_point_arn(self, table_name: str, *, advanced: bool, now: datetime) -> str:
        """Return a new ARN of the kind that the recovery point is going to be."""
        where = f"{self.region_name}:{self.account_id}"
        if advanced:
            return f"arn:{self.partition}:backup:{where}:recovery-point:{self.new_id()}"
        backup = f"{int(now.timestamp() * 1000):016d}-{self.new_id()[:8]}"
        return f"arn:{self.partition}:dynamodb:{where}:table/{table_name}/backup/{backup}"

    def table_of(self, resource_arn: str) -> str:
        """Return the name of the table that a resource ARN names.

        Raises:
            InvalidParameterValueException: Not the ARN of a table in this account and Region.
            ResourceNotFoundException: The table does not exist.
        """
        match = _TABLE_ARN.fullmatch(resource_arn)
        if match is None:
            what = "Unsupported resource type" if _ARN.fullmatch(resource_arn) else "Invalid resource ARN"
            raise InvalidParameterValueException(f"{what}: {resource_arn!r}. Name a DynamoDB table by its ARN.")
        region, account_id, table_name = match.groups()
        if (region, account_id) != (self.region_name, self.account_id):
            raise InvalidParameterValueException(
                f"{resource_arn} is not in account {self.account_id} and Region {self.region_name}."
            )
        if not tables.table_exists(account_id, region, table_name):
            raise ResourceNotFoundException(f"Resource {resource_arn} does not exist.")
        return table_name

    def create_backup_vault(
        self,
        backup_vault_name: str,
        backup_vault_tags: Mapping[str, str] | None,
        encryption_key_arn: str | None,
        creator_request_id: str | None,
    ) -> Vault:
        """Make a vault, or return the one that the same request made.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupVault.html.

        Raises:
            InvalidParameterValueException: A bad name, key ARN or tag.
            AlreadyExistsException: Another request made a vault of that name.
        """
        name = check_vault_name(backup_vault_name)
        if (existing := self.vaults.get(name)) is not None:
            if creator_request_id is not None and existing.creator_request_id == creator_request_id:
                return existing
            raise AlreadyExistsException(f"Backup vault with the same name already exists: {name}")
        if encryption_key_arn is not None:
            check_kms_key_arn(encryption_key_arn)
        check_tags(backup_vault_tags or {})
        vault = Vault(name, encryption_key_arn, creator_request_id, self)
        self.vaults[name] = vault
        self.put_tags(vault.backup_vault_arn, backup_vault_tags or {})
        self.changes.report(vault, vault.created_at, What.CREATED)
        return vault

    def describe_backup_vault(self, backup_vault_name: str) -> Vault:
        """Return a vault.

        Raises:
            ResourceNotFoundException: No such vault.
        """
        vault = self.vaults.get(check_vault_name(backup_vault_name))
        if vault is None:
            raise ResourceNotFoundException(f"Backup vault {backup_vault_name} does not exist.")
        return vault

    def delete_backup_vault(self, backup_vault_name: str) -> None:
        """Delete an empty vault.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupVault.html.

        Raises:
            ResourceNotFoundException: No such vault.
            InvalidRequestException: It holds recovery points, also while those are being deleted, and for
                `vault_lag_seconds` after the last has gone.
        """
        vault = self.describe_backup_vault(backup_vault_name)
        if vault.seems_to_hold(len(self.recovery_points.in_vault(backup_vault_name))):
            raise InvalidRequestException("Backup vault cannot be deleted because it contains recovery points.")
        self.tagger.delete_all_tags_for_resource(vault.backup_vault_arn)
        self.access_policies.forget(backup_vault_name)
        del self.vaults[backup_vault_name]
        self.changes.report(vault, CLOCK.now(), What.DELETED)

    def put_backup_vault_lock_configuration(
        self,
        backup_vault_name: str,
        min_retention_days: int | None,
        max_retention_days: int | None,
        changeable_for_days: int | None,
    ) -> None:
        vault = self.describe_backup_vault(backup_vault_name)
        vault.lock(min_retention_days, max_retention_days, changeable_for_days)
        self.changes.report(vault, CLOCK.now())

    def delete_backup_vault_lock_configuration(self, backup_vault_name: str) -> None:
        vault = self.describe_backup_vault(backup_vault_name)
        vault.unlock()
        self.changes.report(vault, CLOCK.now())

    def put_tags(self, resource_arn: str, tags: Mapping[str, str]) -> None:
        """Add tags to a resource without asking whether a caller may."""
        if tags:
            self.tagger.tag_resource(resource_arn, self.tagger.convert_dict_to_tags_input(dict(tags)))

    def tag_resource(self, resource_arn: str, tags: dict[str, str]) -> None:
        """Add tags to a vault, a plan or an advanced recovery point.

        Raises:
            InvalidParameterValueException: Not an ARN of AWS Backup, or a bad tag.
            ResourceNotFoundException: No such resource.
            LimitExceededException: More than 50 tags.
        """
        self._check_taggable(resource_arn)
        check_tags(tags, existing=self.list_tags(resource_arn))
        self.put_tags(resource_arn, tags)

    def untag_resource(self, resource_arn: str, tag_key_list: list[str]) -> None:
        self._check_taggable(resource_arn)
        self.tagger.untag_resource_using_names(resource_arn, tag_key_list)

    def list_tags(self, resource_arn: str) -> dict[str, str]:
        self._check_taggable(resource_arn)
        tags: dict[str, str] = self.tagger.get_tag_dict_for_resource(resource_arn)
        return tags

    def iter_tagged_resources(self) -> Iterator[TaggedResource]:
        yield from super().iter_tagged_resources()
        for point in self.recovery_points:
            if point.advanced:
                yield TaggedResource(
                    arn=point.arn,
                    tags=self.tagger.get_tag_dict_for_resource(point.arn),
                    resource_type="backup:recovery-point",
                )

        for plan in self.backup_plans.existing():
            yield TaggedResource(
                arn=plan.arn,
                tags=self.tagger.get_tag_dict_for_resource(plan.arn),
                resource_type="backup:backup-plan",
            )

    def _check_taggable(self, resource_arn: str) -> None:
        if not _BACKUP_ARN.fullmatch(resource_arn):
            raise InvalidParameterValueException(
                f"{resource_arn} cannot be tagged here: only ARNs that start with arn:aws:backup can."
            )
        if resource_arn not in set(self._taggable_arns()):
            raise ResourceNotFoundException(f"Resource {resource_arn} does not exist.")

    def _taggable_arns(self) -> Iterable[str]:
        yield from (vault.backup_vault_arn for vault in self.vaults.values())
        yield from (point.arn for point in self.recovery_points if point.advanced)
        yield from (plan.arn for plan in self.backup_plans.existing())
        yield from (hold.arn for hold in self.legal_holds)
        yield from (plan.arn for plan in self.restore_testing)
        yield from (plan.report_plan_arn for plan in self.report_plan_store.all())
