"""Cure: moto dates tables and their backups by the machine's clock, whatever time it is on ours.

A table made after the clock was moved on by a year would be older than the recovery points that were taken
before.
"""

from datetime import datetime

from moto.dynamodb.models import table

from local_aws.clock import CLOCK


def install() -> None:
    """Let DynamoDB's models take the time from our clock. Safe to call twice."""
    table.utcnow = _utcnow  # type: ignore[attr-defined]  # moto imports the function by name


def _utcnow() -> datetime:
    return CLOCK.now().replace(tzinfo=None)
