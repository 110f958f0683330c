"""The watch over days that the local AWS's clock plays: green where plans did their work, red with the right remedy."""

from __future__ import annotations

import datetime as dt

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import set_current_context

from backup_flows.watch import tasks
from backup_flows.watch.causes import REMEDIES, Cause
from backup_flows.watch.tasks import PeriodError, ScheduledBackupsBrokenError, resolve_period
from local_aws import control


def at(day: int, hour: int = 8, minute: int = 30, month: int = 11) -> dt.datetime:
    return dt.datetime(2026, month, day, hour, minute, tzinfo=dt.UTC)


def only_finding(watched, summary):
    (finding,) = watched.report(summary)["findings"]
    return finding


def test_three_days_of_scheduled_backups_are_green_by_backfill(ledger):
    ledger.until(at(5, 9))
    points = ledger.flow.backup.list_recovery_points_by_backup_vault(
        BackupVaultName=ledger.flow.resources["vault"], ByResourceArn=ledger.arns["ledger"]
    )["RecoveryPoints"]
    assert len(points) == 3
    for day in (3, 4, 5):
        summary = ledger.watch(at(day))
        assert summary["outcome"] == "GOOD"
        assert summary["counts"] == {"FOUND": 1, "MET": 1}
        assert ledger.verdict(summary).endswith(summary["report"])
        finding = only_finding(ledger, summary)
        assert finding["due"] == at(day, 5, 0).isoformat()
        assert finding["source"] == "jobs"
        assert finding["point_arn"] in {point["RecoveryPointArn"] for point in points}


def test_the_asset_event_tells_the_report_in_short(ledger):
    ledger.until(at(3, 9))
    context = ledger.context(at(3))
    with set_current_context(context):
        summary = tasks.watch.function(tasks.plan_watch.function())
    extra = context["outlet_events"][tasks.SCHEDULED_BACKUPS].extra
    assert extra == {name: value for name, value in summary.items() if name not in {"broken", "unknown"}}
    assert extra["period_end"] == at(3).isoformat()


def red(watched, end):
    """Return the one finding of a period, and the message with which its run fails."""
    summary = watched.watch(end)
    assert summary["outcome"] == "BROKEN"
    with pytest.raises(ScheduledBackupsBrokenError) as broken:
        watched.verdict(summary)
    assert summary["report"] in str(broken.value)
    return only_finding(watched, summary), str(broken.value)


def test_the_opt_in_switched_off_is_red_for_a_table_selected_by_tag(ledger):
    ledger.flow.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    ledger.until(at(3, 9))
    finding, message = red(ledger, at(3))
    assert (finding["status"], finding["causes"]) == ("MISSING", [Cause.OPT_IN_OFF])
    assert REMEDIES[Cause.OPT_IN_OFF] in message


def test_a_table_selected_by_arn_is_backed_up_regardless_of_the_opt_in_and_stays_green(watched):
    watched.table("ledger")
    watched.protect({"name": "ledger", "tier": "daily"})
    watched.plan()
    watched.select(Resources=[watched.arns["ledger"]])
    watched.flow.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    watched.until(at(3, 9))
    summary = watched.watch(at(3))
    assert (summary["outcome"], summary["counts"]) == ("GOOD", {"FOUND": 1, "MET": 1})


def test_a_role_without_rights_is_red(ledger):
    control.configure(enforce_iam=True)
    iam, role = ledger.flow.clients("iam"), ledger.flow.resources["role_arn"].rpartition("/")[2]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
    ledger.until(at(3, 9))
    finding, message = red(ledger, at(3))
    assert (finding["status"], finding["causes"]) == ("FAILED", [Cause.ROLE])
    assert finding["message"]
    assert finding["message"] in message
    assert REMEDIES[Cause.ROLE] in message


def test_a_window_that_is_too_short_is_red(ledger):
    control.configure(job_seconds=4 * 3600)
    ledger.until(at(3, 9))
    finding, message = red(ledger, at(3))
    assert (finding["status"], finding["causes"]) == ("EXPIRED", [Cause.WINDOW])
    assert REMEDIES[Cause.WINDOW] in message


def test_two_jobs_at_once_are_red_with_a_remedy_of_their_own(ledger):
    control.configure(job_seconds=3 * 3600)
    ledger.until(at(3, 4))
    ledger.flow.backup.start_backup_job(
        BackupVaultName=ledger.flow.resources["vault"],
        ResourceArn=ledger.arns["ledger"],
        IamRoleArn=ledger.flow.resources["role_arn"],
    )
    ledger.until(at(3, 9))
    finding, message = red(ledger, at(3))
    assert (finding["status"], finding["causes"]) == ("EXPIRED", [Cause.TWO_JOBS])
    assert REMEDIES[Cause.TWO_JOBS] in message


def test_a_removed_selection_is_red(ledger):
    backup = ledger.flow.backup
    ledger.until(at(3, 9))
    assert ledger.watch(at(3))["outcome"] == "GOOD"
    (selection,) = backup.list_backup_selections(BackupPlanId=ledger.plan_id)["BackupSelectionsList"]
    backup.delete_backup_selection(BackupPlanId=ledger.plan_id, SelectionId=selection["SelectionId"])
    ledger.until(at(4, 9))
    finding, message = red(ledger, at(4))
    assert (finding["status"], finding["causes"]) == ("MISSING", [Cause.NOT_SELECTED])
    assert REMEDIES[Cause.NOT_SELECTED] in message
    assert ledger.watch(at(3))["outcome"] == "GOOD"


def test_a_rule_at_another_time_than_the_file_says_is_red(watched):
    watched.table("ledger")
    watched.protect({"name": "ledger", "tier": "12-hourly"})
    watched.plan()
    watched.select(Resources=[watched.arns["ledger"]])
    watched.until(at(3, 9))
    summary = watched.watch(at(3))
    by_due = {finding["due"]: finding for finding in watched.report(summary)["findings"]}
    assert by_due[at(3, 5, 0).isoformat()]["status"] == "FOUND"
    missing = by_due[at(2, 17, 0).isoformat()]
    assert (missing["status"], missing["causes"]) == ("MISSING", [Cause.OTHER_SCHEDULE])


def test_a_table_that_the_file_names_and_nobody_made_is_red(watched):
    watched.protect({"name": "ledger", "tier": "daily"})
    finding, message = red(watched, at(2, 5, 30))
    assert finding["status"] == "NO_TABLE"
    assert REMEDIES[Cause.NO_TABLE] in message


def test_a_job_stopped_by_someone_is_red(ledger):
    control.configure(job_seconds=1800)
    ledger.until(at(3, 5, 10))
    (job,) = ledger.flow.backup.list_backup_jobs(ByResourceArn=ledger.arns["ledger"])["BackupJobs"]
    ledger.flow.backup.stop_backup_job(BackupJobId=job["BackupJobId"])
    ledger.until(at(3, 9))
    finding, message = red(ledger, at(3))
    assert (finding["status"], finding["causes"], finding["job_id"]) == ("ABORTED", [Cause.STOPPED], job["BackupJobId"])
    assert REMEDIES[Cause.STOPPED] in message


def test_a_deleted_recovery_point_breaks_the_target_although_the_job_was_good(ledger):
    ledger.until(at(3, 6))
    point = {
        "BackupVaultName": ledger.flow.resources["vault"],
        "RecoveryPointArn": ledger.flow.backup.list_backup_jobs(ByResourceArn=ledger.arns["ledger"])["BackupJobs"][0][
            "RecoveryPointArn"
        ],
    }
    ledger.flow.backup.delete_recovery_point(**point)
    # The table has to be older than its target, or nothing is expected of it yet.
    ledger.until(at(3, 10))
    summary = ledger.watch(at(3, 9, 30))
    (freshness,) = ledger.report(summary)["freshness"]
    assert (freshness["status"], freshness["causes"]) == ("TOO_OLD", [Cause.POINT_GONE])
    with pytest.raises(ScheduledBackupsBrokenError, match="gone since"):
        ledger.verdict(summary)


def test_the_past_beyond_all_lists_is_unknown_and_neither_green_nor_red(ledger):
    # Points of 35 days' retention; nobody watched.
    ledger.until(at(1, 9, month=1).replace(year=2027))
    early = ledger.watch(at(17))
    assert early["outcome"] == "UNKNOWN"
    assert early["counts"] == {"UNKNOWN": 2}
    assert only_finding(ledger, early)["source"] == "nothing"
    with pytest.raises(AirflowSkipException, match="neither found nor missing"):
        ledger.verdict(early)


def test_the_past_beyond_the_list_of_jobs_is_told_by_recovery_points_while_they_last(ledger):
    ledger.until(at(6, 9, month=12))
    summary = ledger.watch(at(3))
    assert (summary["outcome"], summary["counts"]) == ("GOOD", {"FOUND": 1, "MET": 1})
    assert only_finding(ledger, summary)["source"] == "recovery points"


def test_the_past_is_told_by_the_watches_of_its_time_for_good(ledger):
    backup = ledger.flow.backup
    ledger.until(at(3, 9))
    ledger.watch(at(3))
    (selection,) = backup.list_backup_selections(BackupPlanId=ledger.plan_id)["BackupSelectionsList"]
    backup.delete_backup_selection(BackupPlanId=ledger.plan_id, SelectionId=selection["SelectionId"])
    for day in (4, 5):
        ledger.until(at(day, 9))
        ledger.watch(at(day))
    ledger.until(at(20, 9, month=12))
    good, bad = (only_finding(ledger, ledger.watch(at(day))) for day in (3, 4))
    assert (good["status"], good["source"]) == ("FOUND", "stored watch")
    assert (bad["status"], bad["source"]) == ("MISSING", "stored watch")
    assert only_finding(ledger, ledger.watch(at(8)))["status"] == "UNKNOWN"


def test_before_the_table_was_made_nothing_was_expected(ledger):
    ledger.until(at(3, 9))
    finding = only_finding(ledger, ledger.watch(at(1)))
    assert (finding["status"], finding["message"]) == ("NOT_EXPECTED", "the table was made later")


def test_a_watch_again_says_the_same_and_stores_nothing_new(ledger):
    ledger.until(at(3, 9))
    first = ledger.watch(at(3))
    stored = ledger.flow.etags("watch/jobs/")
    assert stored
    again = ledger.watch(at(3))
    assert again == first
    assert ledger.flow.etags("watch/jobs/") == stored


def test_points_whose_table_or_plan_is_gone_are_told_and_break_nothing(ledger):
    ledger.until(at(3, 9))
    backup = ledger.flow.backup
    (selection,) = backup.list_backup_selections(BackupPlanId=ledger.plan_id)["BackupSelectionsList"]
    backup.delete_backup_selection(BackupPlanId=ledger.plan_id, SelectionId=selection["SelectionId"])
    backup.delete_backup_plan(BackupPlanId=ledger.plan_id)
    first = ledger.report(ledger.watch(at(3)))
    assert [orphan["gone"] for orphan in first["orphaned_recovery_points"]] == ["plan"]
    assert first["outcome"] == "GOOD"
    ledger.flow.dynamodb.delete_table(TableName="ledger")
    second = ledger.report(ledger.watch(at(3)))
    assert [orphan["gone"] for orphan in second["orphaned_recovery_points"]] == ["table and plan"]
    assert second["orphan_remedy"]


def test_windows_that_end_after_the_period_are_waited_for(ledger):
    with set_current_context(ledger.context(at(3, 5, 30))):
        planned = tasks.plan_watch.function()
    assert planned["settled_at"] == at(3, 8, 0).isoformat()


@pytest.mark.parametrize(
    ("as_of", "end"),
    [(at(10, 8, 29), at(9)), (at(10, 8, 30), at(10)), (at(10, 23, 0), at(10))],
)
def test_a_run_without_an_interval_stands_for_the_last_full_day(new_context, as_of, end):
    context = new_context(run={"logical_date": None, "run_after": as_of})
    period = resolve_period(context)
    assert (period.start, period.end) == (end - dt.timedelta(days=1), end)


def test_params_name_the_period(new_context):
    context = new_context(period_start="2026-11-01T00:00:00+01:00", period_end="2026-11-02")
    period = resolve_period(context)
    assert (period.start, period.end) == (at(31, 23, 0, month=10), at(2, 0, 0))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-01", None),
        (None, "2026-11-01"),
        ("2026-11-02", "2026-11-01"),
        ("2026-11-01", "2026-11-01"),
        ("x", "y"),
    ],
)
def test_params_that_name_no_period_are_refused(new_context, start, end):
    with pytest.raises(PeriodError):
        resolve_period(new_context(period_start=start, period_end=end))
