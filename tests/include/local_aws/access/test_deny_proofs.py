"""Protected means refused: each call succeeds for who may make it, and is denied to who may not."""

import json

import pytest

ACCOUNT = "123456789012"
VAULT_ARN = f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:orders-vault"
ANY_POINT = f"arn:aws:backup:us-east-1:{ACCOUNT}:recovery-point:*"
ANY_PLAN = f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-plan:*"
ANY_BACKUP = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/*/backup/*"
LIFECYCLE = {"DeleteAfterDays": 30}
EMPTY_POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}}
)


def delete_recovery_point(aws, client):
    arn = aws.recovery_point()
    return lambda: client("backup").delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)


def update_lifecycle(aws, client):
    arn = aws.recovery_point()
    return lambda: client("backup").update_recovery_point_lifecycle(
        BackupVaultName=aws.vault, RecoveryPointArn=arn, Lifecycle=LIFECYCLE
    )


def put_access_policy(aws, client):
    return lambda: client("backup").put_backup_vault_access_policy(BackupVaultName=aws.vault, Policy=EMPTY_POLICY)


def delete_vault(aws, client):
    return lambda: client("backup").delete_backup_vault(BackupVaultName=aws.vault)


def delete_selection(aws, client):
    rule = {"RuleName": "daily", "TargetBackupVaultName": aws.vault}
    plan_id = aws.backup.create_backup_plan(BackupPlan={"BackupPlanName": "plan", "Rules": [rule]})["BackupPlanId"]
    selection = {"SelectionName": "tables", "IamRoleArn": aws.role, "Resources": ["arn:aws:dynamodb:*:*:table/*"]}
    made = aws.backup.create_backup_selection(BackupPlanId=plan_id, BackupSelection=selection)
    return lambda: client("backup").delete_backup_selection(BackupPlanId=plan_id, SelectionId=made["SelectionId"])


def delete_backup(aws, client):
    arn = aws.dynamodb.create_backup(TableName="orders", BackupName="native")["BackupDetails"]["BackupArn"]
    return lambda: client("dynamodb").delete_backup(BackupArn=arn)


CALLS = {
    "backup:DeleteRecoveryPoint": (delete_recovery_point, ANY_POINT),
    "backup:UpdateRecoveryPointLifecycle": (update_lifecycle, ANY_POINT),
    "backup:PutBackupVaultAccessPolicy": (put_access_policy, VAULT_ARN),
    "backup:DeleteBackupVault": (delete_vault, VAULT_ARN),
    "backup:DeleteBackupSelection": (delete_selection, ANY_PLAN),
    "dynamodb:DeleteBackup": (delete_backup, ANY_BACKUP),
}
IN_THE_VAULT = [action for action in CALLS if action.startswith("backup:") and "Selection" not in action]


def allowed(action, resource):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@pytest.mark.parametrize("action", CALLS)
def test_who_is_allowed_succeeds(aws, people, action):
    prepare, resource = CALLS[action]
    user = people.user("allowed", allowed(action, resource))
    assert prepare(aws, user)()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("action", CALLS)
def test_an_explicit_deny_of_iam_refuses(aws, people, denied, action):
    prepare, resource = CALLS[action]
    user = people.user("denied", allowed("*", "*"), {**allowed(action, resource), "Effect": "Deny"})
    with denied("with an explicit deny in an identity-based policy"):
        prepare(aws, user)()


@pytest.mark.parametrize("action", CALLS)
def test_a_role_is_refused_as_a_user_is(aws, people, denied, action):
    prepare, resource = CALLS[action]
    role = people.role("Denied", allowed("*", "*"), {**allowed(action, resource), "Effect": "Deny"})
    session = people.assume(role)
    with denied(f"User: arn:aws:sts::{ACCOUNT}:assumed-role/Denied/session is not authorized to perform: {action}"):
        prepare(aws, session)()


@pytest.mark.parametrize("action", IN_THE_VAULT)
def test_an_explicit_deny_of_the_vault_refuses_even_root(aws, people, clients, denied, action):
    attempts = [CALLS[action][0](aws, who) for who in (people.user("allowed", allowed("*", "*")), clients)]
    policy = {**allowed(action, "*"), "Effect": "Deny", "Principal": "*"}
    aws.backup.put_backup_vault_access_policy(
        BackupVaultName=aws.vault, Policy=json.dumps({"Version": "2012-10-17", "Statement": policy})
    )
    for attempt in attempts:
        with denied(f"to perform: {action} on resource: arn:aws:backup:us-east-1:{ACCOUNT}:"):
            attempt()
        with denied("with an explicit deny in a resource-based policy"):
            attempt()


def test_a_vault_policy_may_spare_one_role(aws, people, denied):
    keeper = people.role("Retention", allowed("*", "*"))
    policy = {
        **allowed("backup:DeleteRecoveryPoint", "*"),
        "Effect": "Deny",
        "Principal": "*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": keeper}},
    }
    arn = aws.recovery_point()
    aws.backup.put_backup_vault_access_policy(
        BackupVaultName=aws.vault, Policy=json.dumps({"Version": "2012-10-17", "Statement": policy})
    )
    with denied("resource-based policy"):
        people.user("other", allowed("*", "*"))("backup").delete_recovery_point(
            BackupVaultName=aws.vault, RecoveryPointArn=arn
        )
    people.assume(keeper)("backup").delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    assert aws.backup.describe_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)["Status"] == "DELETING"


def test_a_vault_policy_reaches_restores_that_name_the_point_only(aws, people, clients, denied):
    arn = aws.recovery_point()
    policy = {**allowed("backup:StartRestoreJob", "*"), "Effect": "Deny", "Principal": "*"}
    aws.backup.put_backup_vault_access_policy(
        BackupVaultName=aws.vault, Policy=json.dumps({"Version": "2012-10-17", "Statement": policy})
    )
    with denied(f"backup:StartRestoreJob on resource: {arn} with an explicit deny in a resource-based policy"):
        aws.restore(arn)
    aws.backup.delete_backup_vault_access_policy(BackupVaultName=aws.vault)
    assert aws.restore(arn)


@pytest.mark.parametrize("changeable_for", [{}, {"ChangeableForDays": 3}])
def test_a_locked_vault_refuses_even_the_administrator(aws, people, clients, refused, changeable_for):
    arn = aws.recovery_point()
    aws.backup.put_backup_vault_lock_configuration(BackupVaultName=aws.vault, MinRetentionDays=1, **changeable_for)
    for client in (clients("backup"), people.user("administrator", allowed("*", "*"))("backup")):
        with refused("InvalidRequestException", "locked"):
            client.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
        with refused("InvalidRequestException", "locked"):
            client.update_recovery_point_lifecycle(BackupVaultName=aws.vault, RecoveryPointArn=arn, Lifecycle=LIFECYCLE)
    points = aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"]
    assert [point["Status"] for point in points] == ["COMPLETED"]
