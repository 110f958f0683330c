from datetime import timedelta

import pytest
from moto.backup.models import backup_backends

from local_aws.backup.legal_holds import blocked_from_lifecycle
from local_aws.backup.models import BackupBackend


def hold(aws, **members):
    request = {"Title": "Case 7", "Description": "Asked for by counsel", **members}
    return aws.backup.create_legal_hold(**request)


def held_arns(aws, hold_id):
    listed = aws.backup.list_recovery_points_by_legal_hold(LegalHoldId=hold_id)["RecoveryPoints"]
    return {point["RecoveryPointArn"] for point in listed}


def test_a_hold_becomes_active_and_tells_what_it_is(aws):
    arn = aws.recovery_point()
    made = hold(aws, RecoveryPointSelection={"VaultNames": [aws.vault]}, Tags={"case": "7"})
    assert made["Status"] == "CREATING"
    got = aws.backup.get_legal_hold(LegalHoldId=made["LegalHoldId"])
    assert (got["Status"], got["Title"], got["Description"]) == ("ACTIVE", "Case 7", "Asked for by counsel")
    assert got["RecoveryPointSelection"] == {"VaultNames": [aws.vault]}
    assert got["LegalHoldArn"].startswith("arn:aws:backup:us-east-1:123456789012:legal-hold:")
    assert aws.backup.list_tags(ResourceArn=got["LegalHoldArn"])["Tags"] == {"case": "7"}
    listed = aws.backup.list_recovery_points_by_legal_hold(LegalHoldId=made["LegalHoldId"])["RecoveryPoints"]
    assert listed == [
        {
            "RecoveryPointArn": arn,
            "ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
            "ResourceType": "DynamoDB",
            "BackupVaultName": aws.vault,
        }
    ]


def test_a_held_point_is_not_deleted_until_the_last_hold_is_cancelled(aws, refused):
    arn = aws.recovery_point()
    first, second = (hold(aws)["LegalHoldId"] for _ in range(2))
    for cancelled in (first, second):
        with refused("InvalidRequestException", "active legal hold"):
            aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
        aws.backup.cancel_legal_hold(LegalHoldId=cancelled, CancelDescription="Case closed")
        assert aws.backup.get_legal_hold(LegalHoldId=cancelled)["Status"] == "CANCELED"
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    aws.wait(10)
    assert aws.backup.list_recovery_points_by_backup_vault(BackupVaultName=aws.vault)["RecoveryPoints"] == []


@pytest.mark.parametrize(
    ("selection", "held"),
    [
        ({}, True),
        ({"VaultNames": ["orders-vault"]}, True),
        ({"VaultNames": ["another"]}, False),
        ({"ResourceIdentifiers": ["arn:aws:dynamodb:us-east-1:123456789012:table/orders"]}, True),
        ({"ResourceIdentifiers": ["arn:aws:dynamodb:us-east-1:123456789012:table/other"]}, False),
    ],
)
def test_selects_by_vault_and_resource(aws, selection, held):
    arn = aws.recovery_point()
    hold_id = hold(aws, RecoveryPointSelection=selection)["LegalHoldId"]
    assert (arn in held_arns(aws, hold_id)) is held


def test_selects_by_date_and_only_what_exists(aws):
    old = aws.recovery_point()
    aws.wait(86_400)
    selection = {"DateRange": {"FromDate": aws.now - timedelta(hours=1), "ToDate": aws.now + timedelta(hours=1)}}
    young = aws.recovery_point()
    dated = hold(aws, RecoveryPointSelection=selection)["LegalHoldId"]
    everything = hold(aws)["LegalHoldId"]
    later = aws.recovery_point()
    assert held_arns(aws, dated) == {old}
    assert held_arns(aws, everything) == {old, young}
    aws.backup.delete_recovery_point(BackupVaultName=aws.vault, RecoveryPointArn=later)


def test_one_token_makes_one_hold(aws):
    first = hold(aws, IdempotencyToken="token")
    assert hold(aws, IdempotencyToken="token")["LegalHoldId"] == first["LegalHoldId"]
    assert len(aws.backup.list_legal_holds()["LegalHolds"]) == 1


def test_cancelling_twice_is_refused_and_the_record_goes_in_time(aws, refused):
    hold_id = hold(aws)["LegalHoldId"]
    aws.backup.cancel_legal_hold(LegalHoldId=hold_id, CancelDescription="Over", RetainRecordInDays=3)
    got = aws.backup.get_legal_hold(LegalHoldId=hold_id)
    assert (got["CancelDescription"], got["RetainRecordUntil"]) == ("Over", aws.now + timedelta(days=3))
    with refused("InvalidResourceStateException"):
        aws.backup.cancel_legal_hold(LegalHoldId=hold_id, CancelDescription="Again")
    aws.wait(3 * 86_400)
    with refused("ResourceNotFoundException", hold_id):
        aws.backup.get_legal_hold(LegalHoldId=hold_id)


def test_fifty_holds_at_most(aws, refused):
    for number in range(50):
        hold(aws, IdempotencyToken=str(number))
    with refused("LimitExceededException", "50"):
        hold(aws)
    assert len(list(aws.backup.get_paginator("list_legal_holds").paginate(PaginationConfig={"PageSize": 20}))) == 3


def test_a_bad_date_range_is_refused(aws, refused):
    backwards = {"FromDate": aws.now, "ToDate": aws.now - timedelta(days=1)}
    with refused("InvalidParameterValueException", "ToDate"):
        hold(aws, RecoveryPointSelection={"DateRange": backwards})


def test_a_lifecycle_is_told_of_a_hold_and_of_its_end(aws):
    arn = aws.recovery_point()
    backend = backup_backends["123456789012"]["us-east-1"]
    assert isinstance(backend, BackupBackend)
    point = backend.recovery_points.find(arn)
    assert blocked_from_lifecycle(backend, point) is None
    released = []
    backend.legal_holds.on_release.append(lambda freed, at: released.append((freed.arn, at)))
    hold_id = hold(aws)["LegalHoldId"]
    assert "active legal hold" in blocked_from_lifecycle(backend, point)
    aws.backup.cancel_legal_hold(LegalHoldId=hold_id, CancelDescription="Over")
    aws.wait(1)
    assert [freed for freed, _ in released] == [arn]
    assert blocked_from_lifecycle(backend, point) is None


@pytest.mark.parametrize("call", ["disassociate_recovery_point", "disassociate_recovery_point_from_parent"])
def test_a_snapshot_has_nothing_to_be_disassociated_from(aws, refused, call):
    arn = aws.recovery_point()
    with refused("InvalidRequestException", arn):
        getattr(aws.backup, call)(BackupVaultName=aws.vault, RecoveryPointArn=arn)
    with refused("ResourceNotFoundException"):
        getattr(aws.backup, call)(BackupVaultName=aws.vault, RecoveryPointArn=arn + "0")
