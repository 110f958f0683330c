from functools import partial
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from dynamodb_bulk.patience import error_code, full_jitter, is_retryable


def answer(code: str, status: int) -> ClientError:
    content: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(content, "BatchWriteItem")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer("ProvisionedThroughputExceededException", 400), True),
        (answer("ThrottlingException", 400), True),
        (answer("RequestLimitExceeded", 400), True),
        (answer("ReplicatedWriteConflictException", 400), True),
        (answer("InternalServerError", 500), True),
        (answer("SomethingNew", 503), True),
        (answer("ValidationException", 400), False),
        (answer("ResourceNotFoundException", 400), False),
        (answer("AccessDeniedException", 400), False),
        (answer("ExpiredTokenException", 400), False),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), True),
        (ConnectionClosedError(endpoint_url="http://127.0.0.1:1"), True),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), True),
        (NoCredentialsError(), False),
        (KeyError("x"), False),
    ],
    ids=lambda value: error_code(value) if isinstance(value, ClientError) else str(value)[:20],
)
def test_what_passes_by_itself(error: Exception, expected: bool) -> None:
    assert is_retryable(error) is expected


@pytest.mark.parametrize(("fruitless", "bound"), [(1, 0.05), (2, 0.1), (3, 0.2), (8, 6.4), (9, 10.0), (100_000, 10.0)])
def test_pauses_double_up_to_the_longest_and_are_spread_over_the_whole_of_it(fruitless: int, bound: float) -> None:
    pauses = [full_jitter(fruitless, first=0.05, longest=10.0, draw=partial(float, drawn)) for drawn in (0.0, 0.5, 1.0)]
    assert pauses == pytest.approx([0.0, bound / 2, bound])
