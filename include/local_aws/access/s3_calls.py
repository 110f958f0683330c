"""What calls to S3 need.

See https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote
from xml.etree import ElementTree

from moto.s3.models import s3_backends

from local_aws.access.permissions import NO_RESOURCE, Call, Permission

_SUBRESOURCES: Final = {
    # What the query string names -> action to read and to write it, where moto has none or a wrong one.
    "encryption": ("GetEncryptionConfiguration", "PutEncryptionConfiguration"),
    "lifecycle": ("GetLifecycleConfiguration", "PutLifecycleConfiguration"),
    "object-lock": ("GetBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
    "ownershipControls": ("GetBucketOwnershipControls", "PutBucketOwnershipControls"),
    "publicAccessBlock": ("GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock"),
}
_NAMED_OTHERWISE: Final = {"HeadBucket": "ListBucket"}
_LIST_KEYS: Final = ("prefix", "delimiter", "max-keys")


def permissions(call: Call, bucket: str | None, key: str | None, query: Mapping[str, str]) -> Iterable[Permission]:
    """Return what a call to S3 needs.

    Args:
        call: Its operation is what moto takes it for.
        bucket: Bucket, if the call is about one.
        key: Object, if the call is about one.
        query: The query string.
    """
    action = f"s3:{_action(call, key, query)}"
    if bucket is None:
        yield Permission(action, NO_RESOURCE)
        return
    arn = f"arn:{call.partition}:s3:::{bucket}"
    keys = {f"s3:{name}": (query[name],) for name in _LIST_KEYS if name in query}
    yield Permission(action, f"{arn}/{key}" if key else arn, keys, _policy(call, bucket))
    source = call.text("x-amz-copy-source")
    if source:
        path = unquote(source).lstrip("/").partition("?")[0]
        source_bucket = path.partition("/")[0]
        policy = _policy(call, source_bucket)
        yield Permission("s3:GetObject", f"arn:{call.partition}:s3:::{path}", {}, policy)


def deletions(call: Call, bucket: str, body: str | bytes) -> Iterable[Permission]:
    """Return what DeleteObjects needs, object by object.

    Args:
        call: The call.
        bucket: The bucket that they are in.
        body: The request's body, XML.
    """
    policy = _policy(call, bucket)
    for named in ElementTree.fromstring(body).iterfind("{*}Object"):  # noqa: S314 - moto parses it just as well
        action = "s3:DeleteObjectVersion" if named.findtext("{*}VersionId") else "s3:DeleteObject"
        yield Permission(action, f"arn:{call.partition}:s3:::{bucket}/{named.findtext('{*}Key')}", {}, policy)


def _action(call: Call, key: str | None, query: Mapping[str, str]) -> str:
    if key is None:
        for name, (read, write) in _SUBRESOURCES.items():
            if name in query:
                return read if call.text("method") in ("GET", "HEAD") else write
    return _NAMED_OTHERWISE.get(call.operation, call.operation)


def _policy(call: Call, bucket: str) -> str | None:
    found = s3_backends[call.account_id][call.partition].buckets.get(bucket)
    policy = None if found is None else found.policy
    return policy.decode() if isinstance(policy, bytes) else policy
