"""Whatever goes wrong has words: what, what the other side said, and what to do."""

from __future__ import annotations

import logging
import pickle

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
)

from backup_console_app.troubles import ConsoleTroubleError, Trouble, attempt, in_words
from backup_flows.protection_file import ProtectionFileError, parse_protection


def refused(code, message="AWS's own words."):
    return ClientError({"Error": {"Code": code, "Message": message}}, "ListBackupJobs")


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (refused("AccessDeniedException"), "Not allowed: ListBackupJobs"),
        (refused("AccessDenied"), "Not allowed: ListBackupJobs"),
        (refused("ThrottlingException"), "AWS is asked too much at once (ListBackupJobs)"),
        (refused("ExpiredTokenException"), "The connection's credentials are not valid"),
        (refused("UnrecognizedClientException"), "The connection's credentials are not valid"),
        (refused("Strange"), "AWS refused ListBackupJobs (Strange)"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), "AWS can't be reached"),
        (ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"), "AWS takes too long to answer"),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), "AWS takes too long to answer"),
        (NoCredentialsError(), "The connection to AWS is not complete"),
        (NoRegionError(), "The connection to AWS is not complete"),
        (ParamValidationError(report="a name is wrong"), "AWS's client refused"),
        (KeyError("surprise"), "This part can't be shown"),
    ],
)
def test_each_has_its_words(error, title):
    found = in_words(error)
    assert found.title == title
    assert found.detail
    assert found.remedy


def test_aws_own_words_are_kept():
    assert in_words(refused("AccessDenied", "User x is not authorized")).detail == "User x is not authorized"


def test_a_wrong_protection_file_names_its_lines():
    with pytest.raises(ProtectionFileError) as wrong:
        parse_protection("version: 1\ntables:\n  - {name: orders, tier: hourly}\n")
    found = in_words(wrong.value)
    assert found.title == "protection.yaml is wrong"
    assert "protection.yaml:3" in found.detail


def test_only_what_is_not_known_is_logged(caplog):
    with caplog.at_level(logging.ERROR):
        in_words(refused("AccessDenied"))
        assert caplog.records == []
        in_words(KeyError("surprise"))
    assert caplog.records[0].exc_info is not None


def test_an_attempt_has_a_value_or_a_trouble():
    assert attempt(lambda: 7).value == 7
    trouble = Trouble("What", "said", "do")

    def fail():
        raise ConsoleTroubleError(trouble)

    assert (attempt(fail).value, attempt(fail).trouble) == (None, trouble)
    assert pickle.loads(pickle.dumps(ConsoleTroubleError(trouble))).trouble == trouble
