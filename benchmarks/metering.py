"""What every measurement needs: the meter, clients with a role's credentials, and tables that are made for it."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from made_data import HASH_KEY, RANGE_KEY

Job = dict[str, Any]
Outcome = dict[str, Any]

# The Region that dynalite takes itself to be in.
REGION = "us-east-1"
# With a session token, as every role's credentials have one: it makes signing dearer.
CREDENTIALS: dict[str, Any] = {
    "aws_access_key_id": "AKIDBENCH",
    "aws_secret_access_key": "bench-secret",
    "aws_session_token": "t" * 400,
}


class Meter:
    """CPU and wall time of what happens inside :meth:`running`.

    Args:
        server: the process of the server, if its CPU time is to be measured too.
    """

    def __init__(self, server: int | None = None) -> None:
        self.cpu = 0.0
        self.wall = 0.0
        self.server_cpu = 0.0
        self._server = server

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the body of a with statement."""
        began, server, wall = own_cpu(), _cpu_of(self._server), time.monotonic()
        try:
            yield
        finally:
            self.wall = time.monotonic() - wall
            self.cpu, self.server_cpu = own_cpu() - began, _cpu_of(self._server) - server


def own_cpu() -> float:
    """Return the CPU seconds, user and system, that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_of(pid: int | None) -> float:
    """Return the CPU seconds of another process; 0 where the system does not tell."""
    try:
        # Behind the command's name, which may hold anything, the fields count from the state on.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes() -> int:
    """Return the most memory that this process ever held."""
    # ru_maxrss would count what the parent held when it started this process.
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else used * 1024
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def make_client(job: Job, config: Config | None = None) -> Any:
    """Return boto3's low-level client for the job's server."""
    return boto3.client("dynamodb", region_name=REGION, endpoint_url=job["endpoint"], config=config, **CREDENTIALS)


def make_table(job: Job, name: str) -> Any:
    """Return a table as boto3's resource, on the job's server."""
    return boto3.resource("dynamodb", region_name=REGION, endpoint_url=job["endpoint"], **CREDENTIALS).Table(name)


@contextmanager
def fresh_table(job: Job, range_key: str = "S") -> Iterator[str]:
    """Make a table if the job wants one, check in the end how many items are in it, and delete it.

    Args:
        job: with ``fresh``, the number of items that the table is to have in the end; without, ``table`` is taken.
        range_key: DynamoDB's type of the range key.

    Raises:
        RuntimeError: there are more or fewer items than the job says.
    """
    if "fresh" not in job:
        yield job["table"]
        return
    client, name = make_client(job), f"bench-fresh-{uuid4().hex}"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": HASH_KEY, "AttributeType": "S"},
            {"AttributeName": RANGE_KEY, "AttributeType": range_key},
        ],
        KeySchema=[{"AttributeName": HASH_KEY, "KeyType": "HASH"}, {"AttributeName": RANGE_KEY, "KeyType": "RANGE"}],
    )
    try:
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        yield name
        pages = client.get_paginator("scan").paginate(TableName=name, Select="COUNT", ConsistentRead=True)
        found = sum(page["Count"] for page in pages)
        if found != job["fresh"]:
            raise RuntimeError(f"{job['fresh']} items were to be in {name} and {found} are.")
    finally:
        client.delete_table(TableName=name)
        # Waited for, so that the server does not do it while the next one is being measured.
        client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
