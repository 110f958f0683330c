"""Sensor that waits for many backup jobs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.utils import validate_execute_complete_event
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import PokeReturnValue
from airflow.sdk.exceptions import AirflowNotFoundException

from aws_backup.exceptions import BackupJobsFailedError, error_from_event, final
from aws_backup.fleet import BackupJobFleet, bad_ends, listing_filters
from aws_backup.sensors.base import BackupDeferringSensor
from aws_backup.stopping import ask_to_stop
from aws_backup.summaries import JobSummary
from aws_backup.triggers.fleet import BackupJobsCompletedTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class BackupJobsSensor(BackupDeferringSensor):
    """Wait until each of many backup jobs has ended, by listing them: one waiter, a call a page of jobs.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobs.html

    :param backup_job_ids: ids of the backup jobs. (templated)
    :param created_after: ISO 8601; a moment before the first of them was started, so that older jobs are not listed.
        AWS lists jobs of the last 30 days. (templated) (default: None)
    :param on_bad_end: ``fail`` fails, naming the jobs that did not end well, once *all* have ended; ``report`` leaves
        it to whoever reads the summaries. (default: ``fail``)
    :param stop_jobs_on_kill: ask AWS to stop the jobs when this task is given up. (default: False)
    :param deferrable: wait in the triggerer. (default: the option ``[operators] default_deferrable``)
    :param max_poke_interval: seconds between polls at most when deferred. (default: the larger of 120 and
        ``poke_interval``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: a list of ``summaries.JobSummary``, one a job.
    """

    template_fields = aws_template_fields("backup_job_ids", "created_after")

    def __init__(
        self,
        *,
        backup_job_ids: Sequence[str],
        created_after: str | None = None,
        on_bad_end: Literal["fail", "report"] = "fail",
        stop_jobs_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_job_ids = backup_job_ids
        self.created_after = created_after
        self.on_bad_end = on_bad_end
        self.stop_jobs_on_kill = stop_jobs_on_kill

    def execute(self, context: Context) -> Any:
        """Look once, then wait; jobs that have all ended already need no triggerer."""
        if self.on_bad_end not in {"fail", "report"}:
            raise ValueError(f"on_bad_end must be 'fail' or 'report', not {self.on_bad_end!r}.")
        return super().execute(context)

    def _trigger(self, **waiting: Any) -> BackupJobsCompletedTrigger:
        return BackupJobsCompletedTrigger(
            backup_job_ids=list(self.backup_job_ids),
            created_after=self.created_after,
            stop_jobs_on_kill=self.stop_jobs_on_kill,
            **waiting,
        )

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """List the jobs once.

        :return: the summaries when all have ended, False before.
        """
        fleet = self._list()
        self.log.info("Backup jobs: %s", fleet.describe())
        return False if fleet.in_progress else PokeReturnValue(True, self._finish(fleet))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Ask how each job ended, after the trigger saw the last one end."""
        event = validate_execute_complete_event(event)
        if event["status"] != "success":
            raise final(error_from_event(event))
        fleet = self._list()
        for job_id in fleet.unlisted:
            # Older than what is listed, or gone: asked for by its name.
            try:
                fleet.see([self.hook.get_backup_job(job_id)])
            except AirflowNotFoundException:
                fleet.see_missing(job_id)
        return self._finish(fleet)

    def on_kill(self) -> None:
        """Ask AWS to stop the jobs, if asked to."""
        if self.stop_jobs_on_kill:
            # A client of its own: this runs in a signal handler, maybe amid a call of the other one.
            client = self.hook.get_client_type(region_name=self.hook.region_name)
            for job_id in self.backup_job_ids:
                ask_to_stop(client, job_id)

    def _list(self) -> BackupJobFleet:
        fleet = BackupJobFleet(self.backup_job_ids)
        fleet.begin_round()
        fleet.see(self.hook.list_backup_jobs(**listing_filters(self.created_after)))
        return fleet

    def _finish(self, fleet: BackupJobFleet) -> Any:
        """Turn what became of the jobs into the task's result."""
        summaries = fleet.summaries
        failed = bad_ends(summaries)
        for summary in failed:
            self.log.error(
                "Backup job %s of %s ended %s: %s",
                summary["job_id"],
                summary.get("resource_arn"),
                summary["state"],
                summary.get("status_message") or "AWS gives no reason",
            )
        self.log.info("%s of %s backup jobs completed", len(summaries) - len(failed), len(summaries))
        return self._judge(summaries, failed)

    def _judge(self, summaries: list[JobSummary], failed: list[JobSummary]) -> Any:
        if failed and self.on_bad_end == "fail":
            raise BackupJobsFailedError(
                failures=[f"{job.get('resource_arn') or job['job_id']}: {job['state']}" for job in failed],
                total=len(summaries),
            )
        return summaries
