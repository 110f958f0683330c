"""S3 buckets as CloudFormation describes them: moto takes the properties and drops most of them.

moto applies the name, the encryption algorithm and the tags of an AWS::S3::Bucket, and nothing of
versioning, public access block, lifecycle or ownership; AWS::S3::BucketPolicy it does not know; a bucket
that is not empty it "deletes" without a word and keeps. Here what the template says holds, on creation and
on update, AWS's defaults where it says nothing, and a property that is not applied is refused.

See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html for the defaults.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import wraps
from typing import Any, Final

from moto.core.common_models import CloudFormationModel
from moto.s3.exceptions import BucketNotEmpty
from moto.s3.models import FakeBucket, S3Backend, s3_backends
from moto.utilities.utils import get_partition

from local_aws.moto_fixes.cfn_models import AddedType
from local_aws.moto_fixes.cfn_properties import as_bool, refuse_unserved, same_name, undone_on_failure

_BUCKET: Final = "AWS::S3::Bucket"
_POLICY: Final = "AWS::S3::BucketPolicy"
_SERVED: Final = frozenset(
    {
        "BucketEncryption",
        "BucketName",
        "LifecycleConfiguration",
        "OwnershipControls",
        "PublicAccessBlockConfiguration",
        "Tags",
        "VersioningConfiguration",
    }
)
_PUBLIC_ACCESS: Final = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_XML_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_SECURE_TRANSPORT: Final = "aws:securetransport"
_MARK: Final = "_local_aws_storage"


class BucketPolicy(AddedType, CloudFormationModel):
    """AWS::S3::BucketPolicy: the one policy of a bucket.

    See
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucketpolicy.html.
    """

    TYPE = _POLICY

    def __init__(self, bucket_name: str) -> None:
        self.bucket_name = bucket_name

    @property
    def physical_resource_id(self) -> str:
        return self.bucket_name

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "BucketPolicy":
        properties = cloudformation_json["Properties"]
        refuse_unserved(_POLICY, properties, {"Bucket", "PolicyDocument"})
        # YAML reads an unquoted 2012-10-17 as a date.
        document = json.dumps(properties["PolicyDocument"], default=str)
        _backend(account_id, region_name).put_bucket_policy(properties["Bucket"], document.encode())
        return cls(properties["Bucket"])

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "BucketPolicy",
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "BucketPolicy":
        backend = _backend(account_id, region_name)
        bucket_name = original_resource.bucket_name
        if bucket_name != cloudformation_json["Properties"]["Bucket"] and bucket_name in backend.buckets:
            backend.delete_bucket_policy(bucket_name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        backend = _backend(account_id, region_name)
        if resource_name in backend.buckets:  # the bucket may be gone before its policy
            backend.delete_bucket_policy(resource_name)


def install() -> None:
    """Apply to buckets what templates say. Safe to call twice."""
    if hasattr(FakeBucket.get_permission, _MARK):
        return
    _install_permission()
    stock_create = FakeBucket.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def create(
        cls: type[FakeBucket],
        /,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> FakeBucket:
        properties = cloudformation_json.get("Properties", {})
        refuse_unserved(_BUCKET, properties, _SERVED)
        bucket: FakeBucket = stock_create(cls, resource_name, {"Properties": {}}, account_id, region_name, **kwargs)
        with undone_on_failure(lambda: delete(cls, bucket.name, cloudformation_json, account_id, region_name)):
            apply_bucket_properties(_backend(account_id, region_name), resource_name, properties)
        return bucket

    def update(
        cls: type[FakeBucket],
        /,
        original_resource: FakeBucket,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> FakeBucket:
        properties = cloudformation_json["Properties"]
        name = original_resource.name
        if not same_name(properties.get("BucketName"), name):
            new = create(cls, properties["BucketName"], cloudformation_json, account_id, region_name)
            if cloudformation_json.get("UpdateReplacePolicy") != "Retain":
                delete(cls, name, cloudformation_json, account_id, region_name)
            return new
        refuse_unserved(_BUCKET, properties, _SERVED)
        apply_bucket_properties(_backend(account_id, region_name), name, properties)
        return original_resource

    def delete(
        cls: type[FakeBucket],
        /,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        backend = _backend(account_id, region_name)
        if resource_name not in backend.buckets:
            return  # whoever deleted it by hand has done the stack's work
        if backend.delete_bucket(resource_name) is None:
            raise BucketNotEmpty(resource_name)

    FakeBucket.create_from_cloudformation_json = classmethod(create)  # type: ignore[assignment]
    FakeBucket.update_from_cloudformation_json = classmethod(update)  # type: ignore[assignment]
    FakeBucket.delete_from_cloudformation_json = classmethod(delete)  # type: ignore[assignment]


def apply_bucket_properties(backend: S3Backend, bucket_name: str, properties: Mapping[str, Any]) -> None:
    """Make a bucket what an AWS::S3::Bucket's properties say, and AWS's default where they say nothing.

    Args:
        backend: moto's S3 of the bucket's account.
        bucket_name: An existing bucket.
        properties: The resource's properties, functions resolved.
    """
    _apply_versioning(backend, bucket_name, properties.get("VersioningConfiguration"))
    _apply_public_access_block(backend, bucket_name, properties.get("PublicAccessBlockConfiguration"))
    _apply_encryption(backend, bucket_name, properties.get("BucketEncryption"))
    _apply_ownership(backend, bucket_name, properties.get("OwnershipControls"))
    backend.put_bucket_lifecycle_configuration(
        bucket_name,
        [_lifecycle_rule(rule) for rule in properties.get("LifecycleConfiguration", {}).get("Rules", [])],
    )
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    backend.put_bucket_tagging(bucket_name, tags)


def _backend(account_id: str, region_name: str) -> S3Backend:
    return s3_backends[account_id][get_partition(region_name)]


def _apply_versioning(backend: S3Backend, bucket_name: str, configuration: Mapping[str, Any] | None) -> None:
    if configuration is not None:
        backend.put_bucket_versioning(bucket_name, configuration["Status"])
    elif backend.get_bucket_versioning(bucket_name) == "Enabled":
        backend.put_bucket_versioning(bucket_name, "Suspended")  # a versioned bucket never becomes unversioned again


def _apply_public_access_block(backend: S3Backend, bucket_name: str, configuration: Mapping[str, Any] | None) -> None:
    wanted = dict.fromkeys(_PUBLIC_ACCESS, True)
    if configuration is not None:
        wanted = {name: as_bool(configuration.get(name, False)) for name in _PUBLIC_ACCESS}
    backend.put_public_access_block(bucket_name, {name: str(value).lower() for name, value in wanted.items()})


def _apply_encryption(backend: S3Backend, bucket_name: str, configuration: Mapping[str, Any] | None) -> None:
    rule: Mapping[str, Any] = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    if configuration is not None:
        (rule,) = configuration["ServerSideEncryptionConfiguration"]
    applied: dict[str, Any] = {
        "ApplyServerSideEncryptionByDefault": deepcopy(rule["ServerSideEncryptionByDefault"]),
        "BucketKeyEnabled": str(as_bool(rule.get("BucketKeyEnabled", False))).lower(),
    }
    backend.put_bucket_encryption(bucket_name, {"@xmlns": _XML_NAMESPACE, "Rule": applied})


def _apply_ownership(backend: S3Backend, bucket_name: str, controls: Mapping[str, Any] | None) -> None:
    ownership = controls["Rules"][0]["ObjectOwnership"] if controls is not None else "BucketOwnerEnforced"
    # moto's annotation says dict; its own request handler gives the name, and so reads it back.
    backend.put_bucket_ownership_controls(bucket_name, ownership)  # type: ignore[arg-type]


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    # From CloudFormation's names to those of the S3 API, which is what moto reads.
    applied: dict[str, Any] = {"Status": rule["Status"], "Filter": _lifecycle_filter(rule)}
    if "Id" in rule:
        applied["ID"] = rule["Id"]
    if expiration := _renamed(rule, {"ExpirationInDays": "Days", "ExpirationDate": "Date"}):
        applied["Expiration"] = expiration
    if as_bool(rule.get("ExpiredObjectDeleteMarker", False)):
        applied["Expiration"] = {"ExpiredObjectDeleteMarker": "true"}
    if "NoncurrentVersionExpirationInDays" in rule:
        applied["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
        if name in rule:
            applied[name] = dict(rule[name])
    if transitions := rule.get("Transitions"):
        names = {"TransitionInDays": "Days", "TransitionDate": "Date", "StorageClass": "StorageClass"}
        applied["Transition"] = [_renamed(transition, names) for transition in transitions]
    if transitions := rule.get("NoncurrentVersionTransitions"):
        names = {
            "TransitionInDays": "NoncurrentDays",
            "StorageClass": "StorageClass",
            "NewerNoncurrentVersions": "NewerNoncurrentVersions",
        }
        applied["NoncurrentVersionTransition"] = [_renamed(transition, names) for transition in transitions]
    return applied


def _lifecycle_filter(rule: Mapping[str, Any]) -> dict[str, Any]:
    tags = [dict(tag) for tag in rule.get("TagFilters", [])]
    prefix = rule.get("Prefix", "")
    if not tags:
        return {"Prefix": prefix}
    if len(tags) == 1 and not prefix:
        return {"Tag": tags[0]}
    return {"And": {"Prefix": prefix, "Tag": tags}}


def _renamed(source: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {new: source[old] for old, new in names.items() if old in source}


def _install_permission() -> None:
    stock = FakeBucket.get_permission

    @wraps(stock)
    def get_permission(self: FakeBucket, action: str, resource: str) -> Any:
        # moto takes every condition for met, so "deny what does not come by TLS" would deny everything. The
        # local AWS plays an endpoint with TLS, whatever it is really reached by.
        policy = self.policy
        if policy is None:
            return stock(self, action, resource)
        document = json.loads(policy)
        statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
        document["Statement"] = [statement for statement in statements if not _asks_for_plain_http(statement)]
        try:
            self.policy = json.dumps(document).encode() if document["Statement"] else None
            return stock(self, action, resource)
        finally:
            self.policy = policy

    setattr(get_permission, _MARK, True)
    FakeBucket.get_permission = get_permission  # type: ignore[method-assign]


def _asks_for_plain_http(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {})
    return any(name.lower() == _SECURE_TRANSPORT and not as_bool(value) for name, value in condition.items())
