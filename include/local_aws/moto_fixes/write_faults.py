"""Refuse a share of writes on demand: moto never throttles, so nobody's retry path would ever run.

DynamoDB gives refused writes of a batch back as UnprocessedItems (HTTP 200), and answers
ProvisionedThroughputExceededException when it took none of them, or when a single write is refused.

See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

from moto.dynamodb.exceptions import DynamodbException

from local_aws.moto_fixes.locking import state_lock


class ThroughputExceeded(DynamodbException):
    """DynamoDB's answer to a client that writes too fast."""

    def __init__(self) -> None:
        super().__init__(
            "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded. "
            "Consider increasing your provisioning level with the UpdateTable API.",
        )


@dataclass
class _Faults:
    share: float = 0.0
    tables: frozenset[str] | None = None
    random: Random = field(default_factory=Random)
    refused: int = 0


_faults: Final = _Faults()


def refuse_writes(share: float, *, tables: frozenset[str] | None = None, seed: int = 0) -> None:
    """Refuse this share of all single writes and of the writes in batches, until `accept_writes`.

    Args:
        share: 0.0 (none) to 1.0 (all).
        tables: Names of the tables concerned; None: all.
        seed: The same seed refuses the same writes of the same sequence.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"The share of refused writes lies between 0 and 1, got {share}")
    with state_lock:
        _faults.share, _faults.tables, _faults.refused = share, tables, 0
        _faults.random = Random(seed)  # noqa: S311 - decides which test writes fail, nothing secret


def accept_writes() -> None:
    """Refuse nothing any more: the default."""
    refuse_writes(0.0)


def refused_writes() -> int:
    """Return how many writes have been refused since `refuse_writes`."""
    return _faults.refused


def refused_share() -> float:
    """Return the share of writes that is being refused."""
    return _faults.share


def is_refused(table_name: str) -> bool:
    """Decide about one write. Call with the state lock held."""
    if _faults.share == 0.0 or (_faults.tables is not None and table_name not in _faults.tables):
        return False
    refused = _faults.random.random() < _faults.share
    _faults.refused += refused
    return refused
