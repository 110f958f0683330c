"""The end of a restore test: one verdict on the restored table, and then the table is deleted.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing-validation.html.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from local_aws import tables
from local_aws.backup.changes import Change
from local_aws.backup.exceptions import InvalidRequestException
from local_aws.backup.states import RestoreJobStatus
from local_aws.backup.validation import check_choice, require
from local_aws.clock import CLOCK
from local_aws.settings import SETTINGS

if TYPE_CHECKING:
    from local_aws.backup.models import BackupBackend
    from local_aws.backup.restore_jobs import RestoreJob

VALIDATING: Final = "VALIDATING"
TIMED_OUT: Final = "TIMED_OUT"
VALIDATION_STATUSES: Final = ("FAILED", "SUCCESSFUL", TIMED_OUT, VALIDATING)


@dataclass
class RestoreTest:
    """What a restore job is that a restore testing plan started.

    Attributes:
        plan_arn: The restore testing plan.
        validation_hours: How long the table is kept for a verdict, hours from the restore's completion.
    """

    plan_arn: str
    validation_hours: int
    validation_status: str | None = None
    validation_message: str | None = None
    deletion_status: str | None = None
    deletion_message: str | None = None

    def to_result(self) -> dict[str, Any]:
        """Return the members that only jobs of a restore test have."""
        return {
            "CreatedBy": {"RestoreTestingPlanArn": self.plan_arn},
            "ValidationStatus": self.validation_status,
            "ValidationStatusMessage": self.validation_message,
            "DeletionStatus": self.deletion_status,
            "DeletionStatusMessage": self.deletion_message,
        }


class RestoreTests:
    """Takes the restore jobs of tests from their completion to the end of their tables."""

    def __init__(self, backend: "BackupBackend") -> None:
        self._backend = backend

    def observe(self, change: Change) -> None:
        """Open the validation window of a test whose restore has completed."""
        job = change.subject
        test = getattr(job, "test", None)
        if isinstance(test, RestoreTest) and getattr(job, "status", None) is RestoreJobStatus.COMPLETED:
            closes_at = change.at + timedelta(hours=test.validation_hours)
            self._backend.agenda.add(closes_at, lambda at: self._close_window(job, at))  # type: ignore[arg-type]

    def put_result(self, job_id: str, status: str | None, message: str | None) -> None:
        """Take the verdict on a restored table; one that is final stands, and the table goes.

        See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_PutRestoreValidationResult.html.

        Raises:
            ResourceNotFoundException: No such job.
            MissingParameterValueException: No status.
            InvalidParameterValueException: An unknown status.
            InvalidRequestException: Not a completed job of a restore test, or it has its verdict.
        """
        job = self._backend.restore_jobs.get(job_id)
        given = require("ValidationStatus", status)
        check_choice("ValidationStatus", given, VALIDATION_STATUSES)
        test = job.test
        if test is None:
            raise InvalidRequestException(f"Restore job {job_id} belongs to no restore testing plan.")
        if job.status is not RestoreJobStatus.COMPLETED:
            raise InvalidRequestException(f"Restore job {job_id} cannot be validated: it is {job.status}.")
        if test.validation_status not in (None, VALIDATING):
            raise InvalidRequestException(
                f"The validation status of restore job {job_id} is {test.validation_status} and cannot be changed."
            )
        if test.deletion_status is not None:
            raise InvalidRequestException(f"Restore job {job_id} cannot be validated: its table is deleted.")
        test.validation_status = given
        test.validation_message = message
        if given != VALIDATING:
            self._delete_table(job, test, CLOCK.now())

    def _close_window(self, job: "RestoreJob", at: datetime) -> None:
        test = job.test
        if test is None or test.deletion_status is not None:
            return
        if test.validation_hours and test.validation_status in (None, VALIDATING):
            test.validation_status = TIMED_OUT
            test.validation_message = f"No validation result came within {test.validation_hours} hours."
        self._delete_table(job, test, at)

    def _delete_table(self, job: "RestoreJob", test: RestoreTest, at: datetime) -> None:
        test.deletion_status = "DELETING"
        due = at + timedelta(seconds=SETTINGS.delete_seconds)
        self._backend.agenda.add(due, lambda _at: self._end_deletion(job, test))

    def _end_deletion(self, job: "RestoreJob", test: RestoreTest) -> None:
        try:
            tables.delete_table(self._backend.account_id, self._backend.region_name, job.request.target_table_name)
        except tables.TableError as error:
            test.deletion_status = "FAILED"
            test.deletion_message = str(error)
        else:
            test.deletion_status = "SUCCESSFUL"
