"""Plans: their documents, versions and selections, and the rules that fire."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from local_aws import control

RULE = {"RuleName": "daily", "TargetBackupVaultName": "orders-vault"}
ALL_TABLES = {"Resources": ["arn:aws:dynamodb:*:*:table/*"]}
DAY = timedelta(days=1).total_seconds()


def make_plan(aws, *rules, name="plan", **members):
    document = {"BackupPlanName": name, "Rules": [{**RULE, **rule} for rule in rules or ({},)]}
    return aws.backup.create_backup_plan(BackupPlan=document, **members)["BackupPlanId"]


def select(aws, plan_id, name="selection", **members):
    document = {"SelectionName": name, "IamRoleArn": aws.role, **members}
    return aws.backup.create_backup_selection(BackupPlanId=plan_id, BackupSelection=document)["SelectionId"]


def jobs(aws):
    """Oldest first."""
    return aws.backup.list_backup_jobs()["BackupJobs"][::-1]


def starts(aws):
    return [job["CreationDate"].astimezone(UTC).strftime("%m-%d %H:%M") for job in jobs(aws)]


def until(aws, **at):
    moment = datetime(**{"year": 2026, "tzinfo": UTC, **at})
    aws.wait((moment - datetime.fromisoformat(control.describe_clock()["now"])).total_seconds())


# Documents and versions.


def test_a_plan_has_awss_defaults(aws):
    plan_id = make_plan(aws)
    plan = aws.backup.get_backup_plan(BackupPlanId=plan_id)
    (rule,) = plan["BackupPlan"]["Rules"]
    assert plan["BackupPlan"]["BackupPlanName"] == "plan"
    assert plan["BackupPlanArn"] == f"arn:aws:backup:us-east-1:123456789012:backup-plan:{plan_id}"
    assert plan["CreationDate"] == aws.now
    assert rule["ScheduleExpression"] == "cron(0 5 ? * * *)"
    assert rule["ScheduleExpressionTimezone"] == "Etc/UTC"
    assert (rule["StartWindowMinutes"], rule["CompletionWindowMinutes"]) == (480, 10080)
    assert rule["RuleId"]
    assert "LastExecutionDate" not in plan


def test_a_plan_is_kept_as_it_was_sent(aws):
    rule = {
        **RULE,
        "ScheduleExpression": "cron(0 3 ? * SUN *)",
        "ScheduleExpressionTimezone": "Asia/Tokyo",
        "StartWindowMinutes": 60,
        "CompletionWindowMinutes": 120,
        "Lifecycle": {"MoveToColdStorageAfterDays": 10, "DeleteAfterDays": 100},
        "RecoveryPointTags": {"kind": "weekly"},
        "CopyActions": [
            {
                "DestinationBackupVaultArn": "arn:aws:backup:eu-west-1:123456789012:backup-vault:copies",
                "Lifecycle": {"DeleteAfterDays": 7},
            },
            {"DestinationBackupVaultArn": "arn:aws:backup:eu-west-1:123456789012:backup-vault:like-the-original"},
        ],
        "EnableContinuousBackup": False,
    }
    settings = [{"ResourceType": "EC2", "BackupOptions": {"WindowsVSS": "enabled"}}]
    document = {"BackupPlanName": "full", "Rules": [rule], "AdvancedBackupSettings": settings}
    made = aws.backup.create_backup_plan(BackupPlan=document, BackupPlanTags={"team": "orders"})
    kept = aws.backup.get_backup_plan(BackupPlanId=made["BackupPlanId"])["BackupPlan"]
    assert kept["Rules"][0].pop("RuleId")
    assert kept == document
    assert made["AdvancedBackupSettings"] == settings
    assert aws.backup.list_tags(ResourceArn=made["BackupPlanArn"])["Tags"] == {"team": "orders"}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"RuleName": "no spaces"}, "RuleName"),
        ({"RuleName": "x" * 51}, "RuleName"),
        ({"TargetBackupVaultName": "missing"}, "Error in rule daily : Backup vault missing does not exist"),
        ({"TargetBackupVaultName": "v!"}, "vault name"),
        ({"ScheduleExpression": "cron(0 5 * * * *)"}, "Error in rule daily : Invalid schedule expression"),
        ({"ScheduleExpression": "cron(0/30 * * * ? *)"}, "hourly at most"),
        ({"ScheduleExpression": "every day"}, "neither cron"),
        ({"ScheduleExpressionTimezone": "Nowhere/Land"}, "time zone"),
        ({"StartWindowMinutes": 59}, "StartWindowMinutes"),
        ({"StartWindowMinutes": 52_560_001}, "StartWindowMinutes"),
        ({"CompletionWindowMinutes": 0}, "CompletionWindowMinutes"),
        ({"Lifecycle": {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 120}}, "at least 90 days"),
        ({"Lifecycle": {"DeleteAfterDays": 0}}, "Error in rule daily : Invalid lifecycle"),
        ({"Lifecycle": {"DeleteAfterDays": 36_501}}, "36500"),
        (
            {"EnableContinuousBackup": True, "Lifecycle": {"MoveToColdStorageAfterDays": 1, "DeleteAfterDays": 91}},
            "MoveToColdStorageAfterDays is unavailable",
        ),
        ({"EnableContinuousBackup": True, "Lifecycle": {"DeleteAfterDays": 36}}, "35 days"),
        ({"RecoveryPointTags": {"aws:no": "1"}}, "reserved"),
        ({"CopyActions": [{"DestinationBackupVaultArn": "copies"}]}, "DestinationBackupVaultArn"),
        (
            {
                "CopyActions": [
                    {
                        "DestinationBackupVaultArn": "arn:aws:backup:us-east-1:123456789012:backup-vault:copies",
                        "Lifecycle": {"DeleteAfterDays": -2},
                    }
                ]
            },
            "Error in rule daily : Invalid lifecycle",
        ),
    ],
)
def test_what_is_no_rule(aws, refused, rule, text):
    with refused("InvalidParameterValueException", text):
        make_plan(aws, rule)
    assert aws.backup.list_backup_plans()["BackupPlansList"] == []


def test_rule_names_are_unique_in_a_plan(aws, refused):
    with refused("InvalidParameterValueException", "unique"):
        make_plan(aws, {}, {"ScheduleExpression": "cron(0 6 ? * * *)"})


def test_a_plan_has_a_rule_and_a_name(aws, refused):
    with refused("MissingParameterValueException", "Rules"):
        aws.backup.create_backup_plan(BackupPlan={"BackupPlanName": "empty", "Rules": []})
    with refused("InvalidParameterValueException", "BackupPlanName"):
        make_plan(aws, name="no/slash")


def test_the_same_request_makes_one_plan(aws, refused):
    first = make_plan(aws, CreatorRequestId="once")
    assert make_plan(aws, CreatorRequestId="once") == first
    with refused("AlreadyExistsException", "already exists"):
        make_plan(aws)
    assert len(aws.backup.list_backup_plans()["BackupPlansList"]) == 1


def test_an_update_makes_a_version_and_keeps_ids_and_selections(aws):
    plan_id = make_plan(aws, {}, {"RuleName": "other"})
    selection = select(aws, plan_id, **ALL_TABLES)
    before = aws.backup.get_backup_plan(BackupPlanId=plan_id)
    aws.wait(60)
    rules = [{**RULE, "Lifecycle": {"DeleteAfterDays": 3}}]
    updated = aws.backup.update_backup_plan(
        BackupPlanId=plan_id, BackupPlan={"BackupPlanName": "renamed", "Rules": rules}
    )
    after = aws.backup.get_backup_plan(BackupPlanId=plan_id)
    assert updated["VersionId"] == after["VersionId"] != before["VersionId"]
    assert after["BackupPlan"]["BackupPlanName"] == "renamed"
    assert [rule["RuleId"] for rule in after["BackupPlan"]["Rules"]] == [before["BackupPlan"]["Rules"][0]["RuleId"]]
    old = aws.backup.get_backup_plan(BackupPlanId=plan_id, VersionId=before["VersionId"])
    assert old["BackupPlan"] == before["BackupPlan"]
    versions = aws.backup.list_backup_plan_versions(BackupPlanId=plan_id)["BackupPlanVersionsList"]
    assert [(v["VersionId"], v["BackupPlanName"]) for v in versions] == [
        (after["VersionId"], "renamed"),
        (before["VersionId"], "plan"),
    ]
    assert versions[0]["CreationDate"] - versions[1]["CreationDate"] == timedelta(seconds=60)
    (kept,) = aws.backup.list_backup_selections(BackupPlanId=plan_id)["BackupSelectionsList"]
    assert kept["SelectionId"] == selection


def test_a_version_that_is_not_there(aws, refused):
    with refused("ResourceNotFoundException", "version"):
        aws.backup.get_backup_plan(BackupPlanId=make_plan(aws), VersionId="none")


def test_a_plan_goes_only_without_selections(aws, refused):
    plan_id = make_plan(aws)
    selection = select(aws, plan_id, **ALL_TABLES)
    with refused("InvalidRequestException", "Related backup plan selections must be deleted prior to backup"):
        aws.backup.delete_backup_plan(BackupPlanId=plan_id)
    aws.backup.delete_backup_selection(BackupPlanId=plan_id, SelectionId=selection)
    deleted = aws.backup.delete_backup_plan(BackupPlanId=plan_id)
    assert deleted["DeletionDate"] == aws.now
    with refused("ResourceNotFoundException", plan_id):
        aws.backup.delete_backup_plan(BackupPlanId=plan_id)
    with refused("ResourceNotFoundException", plan_id):
        aws.backup.update_backup_plan(BackupPlanId=plan_id, BackupPlan={"BackupPlanName": "plan", "Rules": [RULE]})
    assert aws.backup.list_backup_plans()["BackupPlansList"] == []
    (gone,) = aws.backup.list_backup_plans(IncludeDeleted=True)["BackupPlansList"]
    assert (gone["BackupPlanId"], gone["DeletionDate"]) == (plan_id, aws.now)
    assert make_plan(aws) != plan_id  # its name is free again


def test_plans_come_in_pages_newest_first(aws):
    made = [make_plan(aws, name=f"plan-{number}") for number in range(5)]
    pages = aws.backup.get_paginator("list_backup_plans").paginate(PaginationConfig={"PageSize": 2})
    listed = [[plan["BackupPlanId"] for plan in page["BackupPlansList"]] for page in pages]
    assert listed == [made[4:2:-1], made[2:0:-1], made[:1]]


def test_templates(aws, refused):
    plan_id = make_plan(aws, {"Lifecycle": {"DeleteAfterDays": 9}})
    exported = aws.backup.export_backup_plan_template(BackupPlanId=plan_id)["BackupPlanTemplateJson"]
    read = aws.backup.get_backup_plan_from_json(BackupPlanTemplateJson=exported)["BackupPlan"]
    kept = aws.backup.get_backup_plan(BackupPlanId=plan_id)["BackupPlan"]
    for plan in (read, kept):
        del plan["Rules"][0]["RuleId"]
    assert read == kept
    with refused("InvalidRequestException", "no backup plan"):
        aws.backup.get_backup_plan_from_json(BackupPlanTemplateJson="{")
    broken = json.dumps({"BackupPlanName": "p", "Rules": [{**RULE, "StartWindowMinutes": 1}]})
    with refused("InvalidParameterValueException", "StartWindowMinutes"):
        aws.backup.get_backup_plan_from_json(BackupPlanTemplateJson=broken)


def test_a_plan_can_start_from_a_template_of_awss(aws):
    aws.backup.create_backup_vault(BackupVaultName="Default")
    listed = aws.backup.list_backup_plan_templates()["BackupPlanTemplatesList"]
    assert "Daily-Monthly-1yr-Retention" in {template["BackupPlanTemplateName"] for template in listed}
    for template in listed:
        document = aws.backup.get_backup_plan_from_template(BackupPlanTemplateId=template["BackupPlanTemplateId"])
        aws.backup.create_backup_plan(BackupPlan=document["BackupPlanDocument"])
    assert len(aws.backup.list_backup_plans()["BackupPlansList"]) == len(listed)


# Selections, as documents. What they choose: test_selections.py.


def test_a_selection_is_kept_as_it_was_sent(aws, refused):
    plan_id = make_plan(aws)
    document = {
        "SelectionName": "s",
        "IamRoleArn": aws.role,
        "Resources": ["arn:aws:dynamodb:*:*:table/orders*"],
        "NotResources": ["arn:aws:s3:::bucket"],
        "ListOfTags": [{"ConditionType": "STRINGEQUALS", "ConditionKey": "a", "ConditionValue": "b"}],
        "Conditions": {"StringLike": [{"ConditionKey": "aws:ResourceTag/a", "ConditionValue": "b*"}]},
    }
    made = aws.backup.create_backup_selection(
        BackupPlanId=plan_id, BackupSelection=document, CreatorRequestId="request"
    )
    kept = aws.backup.get_backup_selection(BackupPlanId=plan_id, SelectionId=made["SelectionId"])
    assert kept["BackupSelection"] == document
    assert (kept["CreationDate"], kept["CreatorRequestId"]) == (aws.now, "request")
    again = aws.backup.create_backup_selection(
        BackupPlanId=plan_id, BackupSelection=document, CreatorRequestId="request"
    )
    assert again["SelectionId"] == made["SelectionId"]
    with refused("AlreadyExistsException", "already exists"):
        aws.backup.create_backup_selection(BackupPlanId=plan_id, BackupSelection=document)
    (listed,) = aws.backup.list_backup_selections(BackupPlanId=plan_id)["BackupSelectionsList"]
    assert (listed["SelectionName"], listed["IamRoleArn"]) == ("s", aws.role)
    aws.backup.delete_backup_selection(BackupPlanId=plan_id, SelectionId=made["SelectionId"])
    with refused("ResourceNotFoundException", made["SelectionId"]):
        aws.backup.get_backup_selection(BackupPlanId=plan_id, SelectionId=made["SelectionId"])


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"SelectionName": "no spaces"}, "InvalidParameterValueException", "SelectionName"),
        ({"IamRoleArn": "role"}, "InvalidParameterValueException", "IAM role"),
        ({"Resources": ["orders"]}, "InvalidParameterValueException", "Invalid ARN"),
        ({"Resources": ["arn:aws:dynamodb:*:*:table/*-live"]}, "InvalidParameterValueException", "at its end"),
        ({"NotResources": ["table/*"]}, "InvalidParameterValueException", "NotResources"),
        ({"Resources": [f"arn:aws:s3:::b-{n}" for n in range(501)]}, "LimitExceededException", "500"),
        ({"Resources": [f"arn:aws:s3:::b-{n}*" for n in range(31)]}, "LimitExceededException", "30"),
        (
            {"ListOfTags": [{"ConditionType": "STRINGLIKE", "ConditionKey": "a", "ConditionValue": "b"}]},
            "InvalidParameterValueException",
            "ConditionType",
        ),
        (
            {"Conditions": {"StringEquals": [{"ConditionKey": "a", "ConditionValue": "b"}]}},
            "InvalidParameterValueException",
            "aws:ResourceTag/",
        ),
    ],
)
def test_what_is_no_selection(aws, refused, members, code, text):
    plan_id = make_plan(aws)
    with refused(code, text):
        select(aws, plan_id, **members)


def test_a_selection_needs_a_plan(aws, refused):
    with refused("InvalidParameterValueException", "none"):
        select(aws, "none", **ALL_TABLES)


# Rules that fire.


def test_a_rule_fires_at_its_instant(aws):
    rule = {
        "Lifecycle": {"MoveToColdStorageAfterDays": 31, "DeleteAfterDays": 366},
        "RecoveryPointTags": {"kind": "daily"},
        "StartWindowMinutes": 90,
    }
    plan_id = make_plan(aws, rule)
    select(aws, plan_id, **ALL_TABLES)
    until(aws, month=3, day=2, hour=4, minute=59, second=59)
    assert jobs(aws) == []
    aws.wait(1)
    (job,) = jobs(aws)
    plan = aws.backup.get_backup_plan(BackupPlanId=plan_id)
    creator = {
        "BackupPlanId": plan_id,
        "BackupPlanArn": plan["BackupPlanArn"],
        "BackupPlanName": "plan",
        "BackupPlanVersion": plan["VersionId"],
        "BackupRuleId": plan["BackupPlan"]["Rules"][0]["RuleId"],
        "BackupRuleName": "daily",
        "BackupRuleCron": "cron(0 5 ? * * *)",
        "BackupRuleTimezone": "Etc/UTC",
    }
    assert job["State"] == "CREATED"
    assert job["CreatedBy"] == creator
    assert job["CreationDate"] == datetime(2026, 3, 2, 5, tzinfo=UTC) == plan["LastExecutionDate"]
    assert job["StartBy"] - job["CreationDate"] == timedelta(minutes=90)
    assert job["ResourceArn"].endswith(":table/orders")
    assert job["IamRoleArn"] == aws.role
    aws.wait()
    done = aws.job(job["BackupJobId"])
    assert done["State"] == "COMPLETED"
    point = aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=done["RecoveryPointArn"])
    assert point["CreatedBy"] == creator
    assert point["Lifecycle"]["DeleteAfterDays"] == 366
    assert aws.backup.list_tags(ResourceArn=point["RecoveryPointArn"])["Tags"]["kind"] == "daily"
    aws.restore(point["RecoveryPointArn"])
    aws.wait()
    assert aws.orders("orders-restored") == ["A", "B"]


def test_recovery_points_can_be_listed_by_plan(aws):
    plan_id = make_plan(aws)
    select(aws, plan_id, **ALL_TABLES)
    by_hand = aws.recovery_point()
    aws.wait(DAY)
    points = aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault, ByBackupPlanId=plan_id)
    (point,) = points["RecoveryPoints"]
    assert point["CreatedBy"]["BackupPlanId"] == plan_id
    assert point["RecoveryPointArn"] != by_hand
    none = aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault, ByBackupPlanId="other")
    assert none["RecoveryPoints"] == []


def test_nothing_is_skipped_however_far_the_clock_moves(aws):
    select(aws, make_plan(aws, {"ScheduleExpression": "cron(0 0/12 * * ? *)"}), **ALL_TABLES)
    aws.wait(4 * DAY)
    assert starts(aws) == [
        "03-02 00:00",
        "03-02 12:00",
        "03-03 00:00",
        "03-03 12:00",
        "03-04 00:00",
        "03-04 12:00",
        "03-05 00:00",
        "03-05 12:00",
    ]


def test_a_rule_keeps_to_its_time_zone_through_the_change_of_the_clocks(aws):
    rule = {"ScheduleExpression": "cron(0 5 ? * * *)", "ScheduleExpressionTimezone": "Europe/Berlin"}
    select(aws, make_plan(aws, rule), **ALL_TABLES)
    until(aws, month=3, day=30, hour=12)
    assert starts(aws)[-3:] == ["03-28 04:00", "03-29 03:00", "03-30 03:00"]


def test_a_rate_counts_from_the_plan(aws):
    select(aws, make_plan(aws, {"ScheduleExpression": "rate(6 hours)"}), **ALL_TABLES)
    aws.wait(DAY)
    assert starts(aws) == ["03-01 18:00", "03-02 00:00", "03-02 06:00", "03-02 12:00"]


def test_tables_are_looked_for_when_the_rule_fires(aws):
    select(aws, make_plan(aws), **ALL_TABLES)
    aws.wait(DAY)
    aws.make_table("later")
    aws.dynamodb.delete_table(TableName="orders")
    aws.wait(DAY)
    assert [job["ResourceName"] for job in jobs(aws)] == ["orders", "later"]


def test_a_table_that_two_selections_choose_is_backed_up_once(aws):
    plan_id = make_plan(aws)
    select(aws, plan_id, "first", **ALL_TABLES)
    select(aws, plan_id, "second", **ALL_TABLES)
    aws.wait(DAY)
    assert len(jobs(aws)) == 1


def test_what_is_deleted_or_replaced_fires_no_more(aws):
    unselected, replaced = make_plan(aws), make_plan(aws, name="replaced")
    selection = select(aws, unselected, **ALL_TABLES)
    select(aws, replaced, **ALL_TABLES)
    aws.wait(DAY)
    assert len(jobs(aws)) == 2
    aws.backup.delete_backup_selection(BackupPlanId=unselected, SelectionId=selection)
    noon = {**RULE, "ScheduleExpression": "cron(30 12 ? * * *)"}
    aws.backup.update_backup_plan(BackupPlanId=replaced, BackupPlan={"BackupPlanName": "replaced", "Rules": [noon]})
    version = aws.backup.get_backup_plan(BackupPlanId=replaced)["VersionId"]
    aws.wait(DAY)
    assert starts(aws) == ["03-02 05:00", "03-02 05:00", "03-02 12:30"]
    assert jobs(aws)[-1]["CreatedBy"]["BackupPlanVersion"] == version


def test_a_job_that_cannot_start_in_its_window_expires(aws):
    control.configure(job_seconds=3 * 3600)
    rule = {"StartWindowMinutes": 60}
    for name in ("plan-1", "plan-2"):
        select(aws, make_plan(aws, rule, name=name), **ALL_TABLES)
    until(aws, month=3, day=2, hour=6)
    assert [job["State"] for job in jobs(aws)] == ["RUNNING", "EXPIRED"]
    assert jobs(aws)[1]["CompletionDate"] == jobs(aws)[1]["StartBy"]
    aws.wait(2 * 3600)
    assert [job["State"] for job in jobs(aws)] == ["COMPLETED", "EXPIRED"]


def test_the_completion_window_of_a_rule_counts_from_the_start(aws):
    control.configure(job_seconds=2 * 3600)
    for name, window in (("plan-1", 600), ("plan-2", 130)):
        rule = {"StartWindowMinutes": 180, "CompletionWindowMinutes": window}
        select(aws, make_plan(aws, rule, name=name), **ALL_TABLES)
    aws.wait(DAY)
    assert [job["State"] for job in jobs(aws)] == ["COMPLETED", "COMPLETED"]


def test_a_rule_whose_vault_is_gone_makes_failed_jobs(aws):
    aws.backup.create_backup_vault(BackupVaultName="short-lived")
    select(aws, make_plan(aws, {"TargetBackupVaultName": "short-lived"}), **ALL_TABLES)
    aws.backup.delete_backup_vault(BackupVaultName="short-lived")
    aws.wait(DAY)
    (job,) = jobs(aws)
    assert (job["State"], job["BackupVaultName"]) == ("FAILED", "short-lived")
    assert "short-lived does not exist" in job["StatusMessage"]


@pytest.mark.parametrize(
    ("members", "backed_up"),
    [
        ({"Resources": ["arn:aws:dynamodb:*:*:table/*"]}, True),
        ({"Resources": ["arn:aws:dynamodb:*"]}, False),
        ({"Resources": ["*"]}, False),
        ({"ListOfTags": [{"ConditionType": "STRINGEQUALS", "ConditionKey": "a", "ConditionValue": "b"}]}, False),
    ],
)
def test_without_opt_in_only_tables_chosen_by_type_are_backed_up(aws, members, backed_up):
    aws.dynamodb.tag_resource(
        ResourceArn="arn:aws:dynamodb:us-east-1:123456789012:table/orders", Tags=[{"Key": "a", "Value": "b"}]
    )
    select(aws, make_plan(aws), **members)
    aws.wait(DAY)
    assert len(jobs(aws)) == 1
    aws.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    aws.wait(DAY)
    assert len(jobs(aws)) == 1 + backed_up


# Rules of one plan that overlap.


def test_of_two_rules_at_one_time_the_one_that_keeps_longer_fires(aws):
    daily = {"Lifecycle": {"DeleteAfterDays": 35}, "StartWindowMinutes": 60}
    monthly = {**daily, "RuleName": "monthly", "ScheduleExpression": "cron(0 5 3 * ? *)", "Lifecycle": {}}
    plan_id = make_plan(aws, daily, monthly)
    select(aws, plan_id, **ALL_TABLES)
    preview = aws.backup.get_backup_plan(BackupPlanId=plan_id, MaxScheduledRunsPreview=3)["ScheduledRunsPreview"]
    aws.wait(3 * DAY)
    assert [job["CreatedBy"]["BackupRuleName"] for job in jobs(aws)] == ["daily", "monthly", "daily"]
    assert [(run["ExecutionTime"], run["RuleId"]) for run in preview] == [
        (job["CreationDate"], job["CreatedBy"]["BackupRuleId"]) for job in jobs(aws)
    ]


def test_start_windows_count_where_rules_overlap(aws):
    hourly = {"ScheduleExpression": "cron(0 * ? * * *)", "Lifecycle": {"DeleteAfterDays": 1}, "StartWindowMinutes": 60}
    daily = {"RuleName": "daily-2", "Lifecycle": {"DeleteAfterDays": 35}, "StartWindowMinutes": 150}
    select(aws, make_plan(aws, hourly, daily), **ALL_TABLES)
    until(aws, month=3, day=2, hour=9, minute=30)
    # From five to half past seven is the daily rule's: the hourly one stands back at 5, 6 and 7.
    assert starts(aws)[-4:] == ["03-02 04:00", "03-02 05:00", "03-02 08:00", "03-02 09:00"]
    assert jobs(aws)[-3]["CreatedBy"]["BackupRuleName"] == "daily-2"


def test_of_two_rules_that_are_alike_the_first_fires(aws):
    select(aws, make_plan(aws, {}, {"RuleName": "twin"}), **ALL_TABLES)
    aws.wait(DAY)
    assert [job["CreatedBy"]["BackupRuleName"] for job in jobs(aws)] == ["daily"]


def test_a_preview_shows_up_to_ten_runs(aws, refused):
    plan_id = make_plan(aws)
    runs = aws.backup.get_backup_plan(BackupPlanId=plan_id, MaxScheduledRunsPreview=10)["ScheduledRunsPreview"]
    assert [run["ExecutionTime"].astimezone(UTC).day for run in runs] == list(range(2, 12))
    with refused("InvalidParameterValueException", "MaxScheduledRunsPreview"):
        aws.backup.get_backup_plan(BackupPlanId=plan_id, MaxScheduledRunsPreview=11)
