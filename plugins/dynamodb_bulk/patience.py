"""Which failures of an AWS call pass by themselves, and how long to wait before calling again.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from collections.abc import Callable

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

RETRYABLE_CODES = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
    }
)

# What a connection that failed raises; the request may or may not have reached AWS.
CONNECTION_ERRORS = (HTTPClientError, ConnectionError)

_SERVER_ERROR = 500
_MOST_DOUBLINGS = 32


def error_code(error: ClientError) -> str:
    """Return the code of AWS's error."""
    return str(error.response.get("Error", {}).get("Code", "unknown error"))


def is_retryable(error: Exception) -> bool:
    """Tell whether the same call can succeed later, though nobody changes anything."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in RETRYABLE_CODES or status >= _SERVER_ERROR
    return isinstance(error, CONNECTION_ERRORS)


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
