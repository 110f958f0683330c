"""What a template says of a bucket, asked back from S3."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from botocore.exceptions import ClientError

BUCKET = "some-bucket"


@pytest.fixture
def s3(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    with started():
        yield clients("s3")


@pytest.fixture
def deploy(s3: Any, clients: Callable[..., Any]) -> Callable[..., str]:
    """Create or update the stack `s` with one bucket of these properties; returns the stack's status."""
    cloudformation = clients("cloudformation")

    def deploy_bucket(properties: dict[str, Any], policy: Any = None) -> str:
        resources: dict[str, Any] = {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": BUCKET, **properties}}
        }
        if policy is not None:
            resources["Policy"] = {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": policy},
            }
        body = json.dumps({"Resources": resources})
        stacks = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
        call = cloudformation.update_stack if "s" in stacks else cloudformation.create_stack
        call(StackName="s", TemplateBody=body)
        return str(cloudformation.describe_stacks(StackName="s")["Stacks"][0]["StackStatus"])

    return deploy_bucket


def versioning(s3: Any) -> Any:
    return s3.get_bucket_versioning(Bucket=BUCKET).get("Status")


def public_access(s3: Any) -> Any:
    blocks = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    return [blocks[name] for name in sorted(blocks)]


def encryption(s3: Any) -> Any:
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    return rule


def ownership(s3: Any) -> Any:
    return s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"][0]["ObjectOwnership"]


def lifecycle(s3: Any) -> Any:
    try:
        return s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    except ClientError as error:
        return error.response["Error"]["Code"]


def tags(s3: Any) -> Any:
    try:
        return s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"]
    except ClientError as error:
        return error.response["Error"]["Code"]


AES = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
KMS = {
    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"},
    "BucketKeyEnabled": True,
}
ALL_BLOCKED, SOME_BLOCKED = [True] * 4, [True, False, False, False]

# property, how it is asked back, without it, its value, what is asked back then, what is left when it goes again
PROPERTIES: dict[str, tuple[Callable[[Any], Any], Any, Any, Any, Any]] = {
    "VersioningConfiguration": (versioning, None, {"Status": "Enabled"}, "Enabled", "Suspended"),
    "PublicAccessBlockConfiguration": (
        public_access,
        ALL_BLOCKED,
        {"BlockPublicAcls": "true"},
        SOME_BLOCKED,
        ALL_BLOCKED,
    ),
    "BucketEncryption": (
        encryption,
        AES,
        {
            "ServerSideEncryptionConfiguration": [
                {
                    "BucketKeyEnabled": True,
                    "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"},
                }
            ]
        },
        KMS,
        AES,
    ),
    "OwnershipControls": (
        ownership,
        "BucketOwnerEnforced",
        {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]},
        "BucketOwnerPreferred",
        "BucketOwnerEnforced",
    ),
    "LifecycleConfiguration": (
        lifecycle,
        "NoSuchLifecycleConfiguration",
        {
            "Rules": [
                {
                    "Id": "old",
                    "Status": "Enabled",
                    "Prefix": "staging/",
                    "ExpirationInDays": 90,
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                    "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 30}],
                },
                {
                    "Id": "tagged",
                    "Status": "Disabled",
                    "TagFilters": [{"Key": "a", "Value": "b"}],
                    "ExpiredObjectDeleteMarker": True,
                },
            ]
        },
        [
            {
                "ID": "old",
                "Status": "Enabled",
                "Filter": {"Prefix": "staging/"},
                "Expiration": {"Days": 90},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                "Transitions": [{"StorageClass": "GLACIER", "Days": 30}],
            },
            {
                "ID": "tagged",
                "Status": "Disabled",
                "Filter": {"Tag": {"Key": "a", "Value": "b"}},
                "Expiration": {"ExpiredObjectDeleteMarker": True},
            },
        ],
        "NoSuchLifecycleConfiguration",
    ),
    "Tags": (tags, "NoSuchTagSet", [{"Key": "a", "Value": "b"}], [{"Key": "a", "Value": "b"}], "NoSuchTagSet"),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_holds_from_the_start(s3: Any, deploy: Callable[..., str], name: str) -> None:
    ask, _, value, expected, _ = PROPERTIES[name]

    assert deploy({name: value}) == "CREATE_COMPLETE"

    assert ask(s3) == expected


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_comes_and_goes_with_updates(s3: Any, deploy: Callable[..., str], name: str) -> None:
    ask, without, value, expected, left = PROPERTIES[name]
    deploy({})
    first = ask(s3)
    statuses = {deploy({name: value})}
    second = ask(s3)
    statuses.add(deploy({}))

    assert statuses == {"UPDATE_COMPLETE"}
    assert (first, second, ask(s3)) == (without, expected, left)


@pytest.mark.parametrize("name", ["ObjectLockEnabled", "CorsConfiguration", "WebsiteConfiguration"])
def test_a_property_that_would_be_ignored_fails_the_stack_and_says_so(
    s3: Any, deploy: Callable[..., str], clients: Callable[..., Any], name: str
) -> None:
    assert deploy({name: True}) == "ROLLBACK_COMPLETE"

    reasons = [
        event.get("ResourceStatusReason", "")
        for event in clients("cloudformation").describe_stack_events(StackName="s")["StackEvents"]
    ]
    assert any(name in reason and "AWS::S3::Bucket" in reason for reason in reasons)
    assert s3.list_buckets()["Buckets"] == []


ONLY_TLS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ],
}
NO_DELETION = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:DeleteObject",
    "Resource": f"arn:aws:s3:::{BUCKET}/*",
}


def test_a_bucket_policy_comes_changes_and_goes(s3: Any, deploy: Callable[..., str]) -> None:
    both = {**ONLY_TLS, "Statement": [*ONLY_TLS["Statement"], NO_DELETION]}

    deploy({}, ONLY_TLS)
    first = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    deploy({}, both)
    second = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    deploy({})

    assert (first, second) == (ONLY_TLS, both)
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=BUCKET)


def test_a_denial_of_plain_http_denies_nothing_here_and_other_denials_hold(s3: Any, deploy: Callable[..., str]) -> None:
    deploy({}, {**ONLY_TLS, "Statement": [*ONLY_TLS["Statement"], NO_DELETION]})

    s3.put_object(Bucket=BUCKET, Key="k", Body=b"v")

    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"v"
    with pytest.raises(ClientError, match="403"):
        s3.delete_object(Bucket=BUCKET, Key="k")


@pytest.mark.parametrize("versioned", [False, True])
def test_a_bucket_that_is_not_empty_is_not_deleted(
    s3: Any, deploy: Callable[..., str], clients: Callable[..., Any], versioned: bool
) -> None:
    cloudformation = clients("cloudformation")
    deploy({"VersioningConfiguration": {"Status": "Enabled"}} if versioned else {}, ONLY_TLS)
    version = {"VersionId": s3.put_object(Bucket=BUCKET, Key="k", Body=b"v").get("VersionId", "null")}
    if versioned:  # a delete marker hides the object; its version is still there
        marker = s3.delete_object(Bucket=BUCKET, Key="k")["VersionId"]

    cloudformation.delete_stack(StackName="s")

    (stack,) = cloudformation.describe_stacks(StackName="s")["Stacks"]
    assert stack["StackStatus"] == "DELETE_FAILED"
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]

    if versioned:
        s3.delete_object(Bucket=BUCKET, Key="k", VersionId=marker)
        s3.delete_object(Bucket=BUCKET, Key="k", **version)
    else:
        s3.delete_object(Bucket=BUCKET, Key="k")
    cloudformation.delete_stack(StackName="s")
    assert s3.list_buckets()["Buckets"] == []
    assert cloudformation.describe_stacks()["Stacks"] == []


def test_a_renamed_bucket_is_a_new_one(s3: Any, deploy: Callable[..., str]) -> None:
    deploy({})

    assert deploy({"BucketName": "another-bucket"}) == "UPDATE_COMPLETE"

    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["another-bucket"]
