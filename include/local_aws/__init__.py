"""An AWS on this machine: S3, DynamoDB, CloudFormation and more by moto, and AWS Backup with a data plane.

As a server: ``python -m local_aws``. In one process, for tests::

    from local_aws import mock_aws

    with mock_aws():
        boto3.client("backup", region_name="us-east-1").start_backup_job(...)

What it adds is registered with moto from outside; moto itself is not changed on disk.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, overload

from moto import mock_aws as moto_mock_aws
from moto.core.config import DefaultConfig
from moto.core.models import MockAWS

from local_aws.installation import install

__all__ = ["install", "mock_aws"]

P = ParamSpec("P")
T = TypeVar("T")


@overload
def mock_aws(func: Callable[P, T]) -> Callable[P, T]: ...


@overload
def mock_aws(func: None = None, config: DefaultConfig | None = None) -> MockAWS: ...


def mock_aws(func: Callable[P, T] | None = None, config: DefaultConfig | None = None) -> MockAWS | Callable[P, T]:
    """Mock AWS as moto does, with what this package adds: a context manager or a decorator."""
    install()
    return moto_mock_aws(config=config) if func is None else moto_mock_aws(func)
