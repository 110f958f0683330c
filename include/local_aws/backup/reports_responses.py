"""The requests about job summaries."""

from collections.abc import Iterable
from typing import Final

from moto.core.responses import ActionResult

from local_aws.backup.handler import BackupHandler, present
from local_aws.backup.job_summaries import CountedJob, SummaryRequest, summarise
from local_aws.backup.pagination import paginate
from local_aws.backup.states import BackupJobState, CopyJobState, RestoreJobStatus
from local_aws.clock import CLOCK

_SUMMARY_STATES: Final = {
    "BackupJobSummaries": frozenset(BackupJobState),
    # Summaries know more states than the jobs themselves do.
    "CopyJobSummaries": frozenset(CopyJobState) | {"ABORTING", "ABORTED", "COMPLETING", "FAILING"},
    "RestoreJobSummaries": frozenset(RestoreJobStatus) | {"CREATED"},
}


class ReportsResponse(BackupHandler):
    """Handler of the operations that sum jobs up."""

    def list_backup_job_summaries(self) -> ActionResult:
        return self._summaries(
            "BackupJobSummaries",
            (
                CountedJob(job.created_at, job.ended_at, str(job.state), job.message_category)
                for job in self.backup_backend.backup_jobs.listed()
            ),
        )

    def list_copy_job_summaries(self) -> ActionResult:
        return self._summaries(
            "CopyJobSummaries",
            (
                CountedJob(job.created_at, job.ended_at, str(job.state), job.message_category)
                for job in self.backup_backend.copy_jobs.listed()
            ),
        )

    def list_restore_job_summaries(self) -> ActionResult:
        return self._summaries(
            "RestoreJobSummaries",
            (
                CountedJob(job.created_at, job.ended_at, str(job.status))
                for job in self.backup_backend.restore_jobs.listed()
            ),
        )

    def _summaries(self, member: str, jobs: Iterable[CountedJob]) -> ActionResult:
        request = SummaryRequest.read(
            _SUMMARY_STATES[member],
            period=self._get_param("AggregationPeriod"),
            state=self._get_param("State"),
            resource_type=self._get_param("ResourceType"),
            category=self._get_param("MessageCategory"),
        )
        # Whatever account is asked about: one without an organization to manage is told of its own jobs.
        whose = {"Region": self.region, "AccountId": self.current_account}
        numbered = list(enumerate(summarise(jobs, request, CLOCK.now())))
        page, token = paginate(
            self._get_action(),
            numbered,
            lambda item: item[0],
            max_results=self._get_int_param("MaxResults"),
            next_token=self._get_param("NextToken"),
        )
        known = present if member != "RestoreJobSummaries" else _without_category
        return ActionResult(
            present(
                {
                    member: [known({**whose, **summary}) for _, summary in page],
                    "AggregationPeriod": request.period,
                    "NextToken": token,
                }
            )
        )


def _without_category(summary: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in summary.items() if name != "MessageCategory"}
