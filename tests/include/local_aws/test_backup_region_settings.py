def test_dynamodb_is_opted_in_and_managed_by_default(bare_aws):
    settings = bare_aws.backup.describe_region_settings()
    assert settings["ResourceTypeOptInPreference"]["DynamoDB"] is True
    assert settings["ResourceTypeManagementPreference"]["DynamoDB"] is True


def test_an_update_changes_only_what_it_names(bare_aws):
    before = bare_aws.backup.describe_region_settings()
    bare_aws.backup.update_region_settings(
        ResourceTypeOptInPreference={"EFS": True}, ResourceTypeManagementPreference={"DynamoDB": False}
    )
    after = bare_aws.backup.describe_region_settings()
    assert after["ResourceTypeOptInPreference"] == {**before["ResourceTypeOptInPreference"], "EFS": True}
    assert after["ResourceTypeManagementPreference"]["DynamoDB"] is False


def test_an_unknown_type_changes_nothing(bare_aws, refused):
    with refused("InvalidParameterValueException", "Mainframe"):
        bare_aws.backup.update_region_settings(
            ResourceTypeOptInPreference={"DynamoDB": False},
            ResourceTypeManagementPreference={"Mainframe": True},
        )
    assert bare_aws.backup.describe_region_settings()["ResourceTypeOptInPreference"]["DynamoDB"] is True


def test_without_opt_in_no_backup_starts(aws, refused):
    aws.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    with refused("InvalidRequestException", "not opted in"):
        aws.start()
    assert aws.backup.list_backup_jobs()["BackupJobs"] == []


def test_settings_are_per_region(bare_aws, clients):
    bare_aws.backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    elsewhere = clients("backup", "eu-central-1").describe_region_settings()
    assert elsewhere["ResourceTypeOptInPreference"]["DynamoDB"] is True


def test_supported_types(bare_aws):
    assert bare_aws.backup.get_supported_resource_types()["ResourceTypes"] == ["DynamoDB"]
