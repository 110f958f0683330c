"""The watch's judgement, fact by fact, without any AWS."""

from __future__ import annotations

import datetime as dt

import pytest

from backup_flows.protection import ProtectedTable, Protection
from backup_flows.watch.causes import NO_JOB_REMEDY, REMEDIES, Cause, why_ended_badly, why_missing
from backup_flows.watch.facts import Job, Plan, Point, PointSurvey, TableFacts
from backup_flows.watch.judge import Evidence, Source, dues, judge, settled_at
from backup_flows.watch.report import Outcome, Period, Status

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
PERIOD = Period(dt.datetime(2026, 11, 2, 8, 30, tzinfo=dt.UTC), dt.datetime(2026, 11, 3, 8, 30, tzinfo=dt.UTC))
DUE = dt.datetime(2026, 11, 3, 5, 0, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 11, 3, 9, 0, tzinfo=dt.UTC)
OLD = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def protected(tier="daily"):
    described = Protection.model_validate({"version": 1, "tables": [{"name": "orders", "tier": tier}]})
    return ProtectedTable("orders", ARN, described.rule(described.tables[0]), "name", "orders")


def job(state="COMPLETED", *, created=DUE, took=10, plan="p", **others):
    completed = created + took * MINUTE if state in {"COMPLETED", "FAILED", "EXPIRED", "ABORTED", "PARTIAL"} else None
    return Job(
        job_id=others.pop("job_id", f"job-{created:%H%M}"),
        table_arn=ARN,
        vault="v",
        state=state,
        created_at=created,
        completed_at=completed,
        plan_id=plan,
        **others,
    )


def point(created=DUE, *, plan="p", status="COMPLETED", took=10):
    return Point(f"arn:point:{created:%d%H%M}", ARN, "v", status, created, created + took * MINUTE, plan)


def evidence(*jobs, points=(), covers=Source.JOBS, plans=(), opted_in=True, facts=None, moment=PERIOD.end):
    survey = PointSurvey(moment, PERIOD.start, frozenset({"p"}), frozenset({ARN}), "arn:aws:dynamodb:us-east-1:1")
    survey.add(points)
    return Evidence(
        jobs={ARN: jobs},
        covers=lambda start, end: covers,
        points=survey,
        plans=lambda: plans,
        opted_in=opted_in,
        look=lambda arn: facts or TableFacts(OLD, {}),
    )


def found(*jobs, now=NOW, **others):
    (finding,) = judge([protected()], [], PERIOD, evidence(*jobs, **others), now=now).findings
    return finding


@pytest.mark.parametrize(
    ("jobs", "status", "causes"),
    [
        ([job()], Status.FOUND, ()),
        ([job(took=180)], Status.FOUND, ()),
        ([job(took=182)], Status.LATE, (Cause.WINDOW,)),
        ([job("RUNNING")], Status.LATE, (Cause.WINDOW,)),
        ([job("FAILED", message="Access Denied")], Status.FAILED, (Cause.ROLE,)),
        ([job("EXPIRED")], Status.EXPIRED, (Cause.WINDOW,)),
        ([job("PARTIAL")], Status.PARTIAL, (Cause.PARTIAL,)),
        ([job("ABORTED")], Status.ABORTED, (Cause.STOPPED,)),
        ([job("FAILED"), job(created=DUE + 30 * MINUTE)], Status.FOUND, ()),
        ([job("FAILED"), job("RUNNING", created=DUE + 30 * MINUTE)], Status.LATE, (Cause.WINDOW,)),
        ([job(created=DUE - 2 * MINUTE)], Status.MISSING, (Cause.NO_PLAN,)),
        ([job(plan=None)], Status.MISSING, (Cause.NO_PLAN,)),
        ([job(created=DUE + dt.timedelta(days=1))], Status.MISSING, (Cause.NO_PLAN,)),
    ],
)
def test_what_a_job_came_to(jobs, status, causes):
    finding = found(*jobs)
    assert (finding.status, finding.causes) == (status, causes)
    assert [REMEDIES[cause] for cause in causes] == list(finding.remedies)


def test_a_job_under_way_within_its_windows_is_no_finding_yet():
    assert found(job("RUNNING"), now=DUE + 179 * MINUTE).status is Status.NOT_YET
    assert found(now=DUE + 59 * MINUTE).status is Status.NOT_YET
    assert found(now=DUE + 60 * MINUTE).status is Status.MISSING


def test_a_job_whose_end_nobody_saw_is_unknown():
    finding = found(job("RUNNING"), covers=Source.STORE)
    assert finding.status is Status.UNKNOWN


def test_a_job_with_issues_is_found_and_says_so():
    finding = found(job(category="AccessDenied", message="tags not copied"))
    assert finding.status is Status.FOUND
    assert "completed with issues (AccessDenied): tags not copied" in str(finding)


def test_a_plans_recovery_point_stands_for_a_job_that_is_not_listed_any_more():
    assert found(points=[point()], covers=None).status is Status.FOUND
    assert found(points=[point(took=200)], covers=None).status is Status.LATE
    assert found(points=[point(plan=None)], covers=None).status is Status.UNKNOWN
    assert found(points=[point(status="EXPIRED")], covers=None).status is Status.UNKNOWN


def test_a_job_that_ought_to_have_been_made_has_a_remedy_too():
    plan = Plan("p", "plan", OLD, ({"ScheduleExpression": "cron(0 5 ? * * *)"},), ({"Resources": [ARN]},))
    finding = found(plans=[plan])
    assert (finding.status, finding.causes, finding.remedies) == (Status.MISSING, (), (NO_JOB_REMEDY,))


SELECTS = {"Resources": [ARN]}
BY_TAG = {"ListOfTags": [{"ConditionType": "STRINGEQUALS", "ConditionKey": "backup", "ConditionValue": "daily"}]}
DAILY = {"ScheduleExpression": "cron(0 5 ? * * *)", "ScheduleExpressionTimezone": "Etc/UTC"}


@pytest.mark.parametrize(
    ("rule", "selection", "opted_in", "created", "causes"),
    [
        (DAILY, SELECTS, True, OLD, []),
        (DAILY, SELECTS, False, OLD, []),
        (DAILY, BY_TAG, True, OLD, []),
        (DAILY, BY_TAG, False, OLD, [Cause.OPT_IN_OFF]),
        (DAILY, {"Resources": ["arn:other"]}, True, OLD, [Cause.NOT_SELECTED]),
        (DAILY, {"Resources": ["arn:other"]}, False, OLD, [Cause.NOT_SELECTED, Cause.OPT_IN_OFF]),
        ({"ScheduleExpression": "cron(0  5 ? * * *)"}, SELECTS, True, OLD, []),
        ({"ScheduleExpression": "cron(0 6 ? * * *)"}, SELECTS, True, OLD, [Cause.OTHER_SCHEDULE]),
        ({**DAILY, "ScheduleExpressionTimezone": "Asia/Tokyo"}, SELECTS, True, OLD, [Cause.OTHER_SCHEDULE]),
        (DAILY, SELECTS, True, DUE + MINUTE, [Cause.PLAN_TOO_NEW]),
    ],
)
def test_why_no_job_was_made(rule, selection, opted_in, created, causes):
    plan = Plan("p", "plan", created, (rule,), (selection,))
    facts = TableFacts(OLD, {"backup": "daily"})
    assert why_missing(protected(), DUE, facts, [plan], opted_in=opted_in) == causes


@pytest.mark.parametrize(
    ("state", "message", "cause"),
    [
        ("FAILED", "Backup job failed because there was a running job for the same resource.", Cause.TWO_JOBS),
        ("FAILED", "IAM Role arn:aws:iam::1:role/x cannot be assumed by AWS Backup", Cause.ROLE),
        ("FAILED", "User: x is not authorized to perform: dynamodb:CreateBackup", Cause.ROLE),
        ("FAILED", "Retention settings conflict with the vault lock", Cause.LOCK),
        ("FAILED", "The specified KMS key is disabled", Cause.KEY),
        ("FAILED", "Backup job failed because backup vault v does not exist.", Cause.VAULT),
        ("FAILED", "something else", Cause.OTHER),
        ("FAILED", None, Cause.OTHER),
        ("EXPIRED", "Backup job expired before completion.", Cause.WINDOW),
        ("EXPIRED", None, Cause.WINDOW),
        ("ABORTED", "Backup job was stopped by user.", Cause.STOPPED),
    ],
)
def test_why_a_job_ended_badly(state, message, cause):
    ended = job(state, message=message)
    assert why_ended_badly(ended, [ended]) is cause


def test_a_job_that_expired_beside_another_was_blocked_by_it():
    ended = job("EXPIRED", took=60)
    other = job(created=DUE - 30 * MINUTE, took=300, plan=None)
    assert why_ended_badly(ended, [ended, other]) is Cause.TWO_JOBS
    earlier = job(created=DUE - 60 * MINUTE, took=30, plan=None)
    assert why_ended_badly(ended, [ended, earlier]) is Cause.WINDOW


def freshness(*jobs, now=NOW, **others):
    (entry,) = judge([protected()], [], PERIOD, evidence(*jobs, **others), now=now).freshness
    return entry


def test_the_newest_usable_point_is_held_against_the_target():
    assert freshness(points=[point(PERIOD.end - dt.timedelta(hours=27))]).status is Status.MET
    assert freshness(points=[point(PERIOD.end - dt.timedelta(hours=27, seconds=1))]).status is Status.TOO_OLD
    assert freshness(points=[point(plan=None)]).status is Status.MET
    assert freshness(points=[point(status="PARTIAL")]).status is Status.TOO_OLD
    assert freshness(points=[point(PERIOD.end + MINUTE)]).status is Status.TOO_OLD


def test_a_young_table_has_no_target_yet():
    young = TableFacts(PERIOD.end - dt.timedelta(hours=26), {})
    assert freshness(facts=young).status is Status.NOT_EXPECTED


def test_a_point_that_is_gone_counts_as_gone_now_and_as_unknown_in_the_past():
    assert freshness(job()).causes == (Cause.POINT_GONE,)
    later = freshness(job(), now=NOW + dt.timedelta(days=20))
    assert (later.status, later.causes) == (Status.UNKNOWN, ())
    assert freshness(covers=None).status is Status.UNKNOWN


def test_the_whole_is_as_bad_as_its_worst():
    def outcome(*jobs, **others):
        return judge([protected()], [], PERIOD, evidence(*jobs, **others), now=NOW).outcome

    assert outcome(job(), points=[point()]) is Outcome.GOOD
    assert outcome(covers=None) is Outcome.UNKNOWN
    assert outcome(job("FAILED"), points=[point()], covers=None) is Outcome.BROKEN


def test_each_instant_of_a_tier_is_due_until_the_next():
    found_dues = dues([protected("12-hourly")], PERIOD)
    assert [due.instant.hour for due in found_dues] == [17, 5]
    assert [due.until for due in found_dues] == [DUE, DUE + dt.timedelta(hours=12)]
    assert dues([protected("monthly")], PERIOD) == []
    assert settled_at([protected("monthly")], PERIOD) == PERIOD.end
    assert settled_at([protected()], Period(PERIOD.start, DUE + MINUTE)) == DUE + dt.timedelta(hours=3)


def test_copies_of_other_accounts_are_no_orphans():
    survey = PointSurvey(NOW, OLD, frozenset({"p"}), frozenset({ARN}), "arn:aws:dynamodb:us-east-1:123456789012:table/")
    foreign = Point("a", "arn:aws:dynamodb:eu-west-1:999999999999:table/x", "v", "COMPLETED", OLD, OLD, "other-plan")
    gone = Point("b", "arn:aws:dynamodb:us-east-1:123456789012:table/gone", "v", "COMPLETED", OLD, OLD, None)
    survey.add([foreign, gone, *(Point(str(n), ARN, "v", "COMPLETED", OLD, OLD, "gone-plan") for n in range(150))])
    assert survey.orphan_count == 151
    assert len(survey.orphans) == 100
    assert (survey.orphans[0].point_arn, survey.orphans[0].gone) == ("b", "table")
