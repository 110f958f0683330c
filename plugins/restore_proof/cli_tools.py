"""What the commands have in common: where the evidence is, and the client that reads it."""

from __future__ import annotations

import argparse
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

DONE: Final = 0
FAILED: Final = 2
"""Wrong usage, or the work could not be done; argparse ends with the same code."""

EXPECTED_ERRORS: Final = (BotoCoreError, ClientError, OSError, ValueError)
"""What has a message for the user; anything else is a bug and shows where."""


def add_bucket_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options that say where the evidence is."""
    parser.add_argument("--bucket", required=required, metavar="NAME", help="the project's bucket")
    parser.add_argument("--endpoint-url", metavar="URL", help="S3's endpoint, for a local server")
    parser.add_argument("--region", metavar="REGION", help="AWS Region")
    parser.add_argument("--profile", metavar="NAME", help="profile of the AWS configuration")


def s3_client(args: argparse.Namespace) -> Any:
    """Return the client that the options ask for."""
    session = boto3.Session(profile_name=args.profile, region_name=args.region)
    return session.client("s3", endpoint_url=args.endpoint_url)
