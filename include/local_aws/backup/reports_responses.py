"""The requests about job summaries, report plans and report jobs."""

from collections.abc import Iterable
from typing import Final

from moto.core.responses import ActionResult, EmptyResult

from local_aws.backup.handler import BackupHandler, between, present
from local_aws.backup.job_summaries import CountedJob, SummaryRequest, summarise
from local_aws.backup.pagination import paginate
from local_aws.backup.report_jobs import ReportJob, ReportJobStatus
from local_aws.backup.report_plans import ReportPlan
from local_aws.backup.states import BackupJobState, CopyJobState, RestoreJobStatus
from local_aws.backup.validation import check_choice
from local_aws.clock import CLOCK

_SUMMARY_STATES: Final = {
    "BackupJobSummaries": frozenset(BackupJobState),
    # Summaries know more states than the jobs themselves do.
    "CopyJobSummaries": frozenset(CopyJobState) | {"ABORTING", "ABORTED", "COMPLETING", "FAILING"},
    "RestoreJobSummaries": frozenset(RestoreJobStatus) | {"CREATED"},
}


class ReportsResponse(BackupHandler):
    """Handler of the operations that sum jobs up and report on them."""

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

    # Report plans

    def create_report_plan(self) -> ActionResult:
        plan = self.backup_backend.report_plan_store.create(
            self._get_param("ReportPlanName"),
            self._get_param("ReportPlanDescription"),
            self._get_param("ReportDeliveryChannel") or {},
            self._get_param("ReportSetting") or {},
            self._get_param("ReportPlanTags") or {},
        )
        return ActionResult(plan.to_created_result())

    def describe_report_plan(self) -> ActionResult:
        plan = self.backup_backend.report_plan_store.get(self._get_param("ReportPlanName"))
        return ActionResult({"ReportPlan": present(plan.to_result())})

    def list_report_plans(self) -> ActionResult:
        plans = self.backup_backend.report_plan_store.all()
        return self._page("ReportPlans", plans, lambda plan: plan.report_plan_name, ReportPlan.to_result)

    def update_report_plan(self) -> ActionResult:
        plan = self.backup_backend.report_plan_store.update(
            self._get_param("ReportPlanName"),
            self._get_param("ReportPlanDescription"),
            self._get_param("ReportDeliveryChannel"),
            self._get_param("ReportSetting"),
        )
        return ActionResult(plan.to_created_result())

    def delete_report_plan(self) -> EmptyResult:
        self.backup_backend.report_plan_store.delete(self._get_param("ReportPlanName"))
        return EmptyResult()

    # Report jobs

    def start_report_job(self) -> ActionResult:
        backend = self.backup_backend
        plan = backend.report_plan_store.get(self._get_param("ReportPlanName"))
        job = backend.report_jobs.start(plan, CLOCK.now(), self._get_param("IdempotencyToken"))
        return ActionResult({"ReportJobId": job.job_id})

    def describe_report_job(self) -> ActionResult:
        job = self.backup_backend.report_jobs.get(self._get_param("ReportJobId"))
        return ActionResult({"ReportJob": present(job.to_result())})

    def list_report_jobs(self) -> ActionResult:
        plan_name = self._get_param("ByReportPlanName")
        status = check_choice("ByStatus", self._get_param("ByStatus"), [each.value for each in ReportJobStatus])
        created = (self._time("ByCreationAfter"), self._time("ByCreationBefore"))
        jobs = [
            job
            for job in self.backup_backend.report_jobs
            if plan_name in (None, job.plan.report_plan_name)
            and status in (None, job.status)
            and between(job.created_at, *created)
        ]
        return self._page("ReportJobs", jobs, lambda job: -job.sequence, ReportJob.to_result)

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
