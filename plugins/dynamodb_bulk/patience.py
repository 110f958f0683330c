"""Which failures of an AWS call pass by themselves, and how long to wait before calling again.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ChecksumError, ClientError, ConnectionError, HTTPClientError, SSLError

THROTTLING_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

RETRYABLE_CODES = THROTTLING_CODES | {
    "InternalServerError",
    "ReplicatedWriteConflictException",
    "ServiceUnavailable",
}

# What a connection that failed raises; the request may or may not have reached AWS.
CONNECTION_ERRORS = (HTTPClientError, ConnectionError)

# What came was not what had been sent, which is no better than a connection that broke.
TRANSPORT_ERRORS = (*CONNECTION_ERRORS, ChecksumError)

_SERVER_ERROR = 500
_MOST_DOUBLINGS = 32
_BAD_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


@dataclass(frozen=True, slots=True)
class Effects:
    """What bulk work takes from the world around it; tests put their own in.

    Args:
        clock: seconds that only grow.
        sleep: waits for a number of seconds.
        draw: a random number from 0 to 1.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random


def error_code(error: ClientError) -> str:
    """Return the code of AWS's error."""
    return str(error.response.get("Error", {}).get("Code", "unknown error"))


def is_throttling(error: Exception) -> bool:
    """Tell whether AWS refused a call only because there were too many."""
    return isinstance(error, ClientError) and error_code(error) in THROTTLING_CODES


def is_retryable(error: Exception) -> bool:
    """Tell whether the same call can succeed later, though nobody changes anything."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in RETRYABLE_CODES or status >= _SERVER_ERROR
    if isinstance(error, SSLError):
        return _BAD_CERTIFICATE not in str(error)
    return isinstance(error, TRANSPORT_ERRORS)


def full_jitter(fruitless: int, *, first: float, longest: float, draw: Callable[[], float]) -> float:
    """Return a random pause whose upper bound doubles with each fruitless attempt.

    Args:
        fruitless: attempts in a row that achieved nothing, 1 or more.
        first: upper bound of the first pause in seconds.
        longest: bound up to which the pauses grow, in seconds.
        draw: a random number from 0 to 1.
    """
    # Capped, as a power of two beyond 1023 is too large for a float.
    return draw() * min(longest, first * 2.0 ** min(fruitless - 1, _MOST_DOUBLINGS))
