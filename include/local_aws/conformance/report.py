"""Runs the story before the judge, and says operation by operation how it went."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

from local_aws import control, mock_aws
from local_aws.backup.served import ALWAYS_REFUSED, SERVED
from local_aws.conformance.judge import MODEL, Judge
from local_aws.conformance.left_out import REASONS
from local_aws.conformance.samples import input_of
from local_aws.conformance.story import JOB_SECONDS, World, tell

START: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Finding:
    """What is known of one operation.

    Attributes:
        served: Whether it does here what it does on AWS.
        conforms: Whether all its answers were as the model says. One that is not served conforms if it refuses with
            an error of the model.
        remark: Why it is left out, or what was wrong.
    """

    operation: str
    served: bool
    conforms: bool
    remark: str = ""


def examine() -> list[Finding]:
    """Run every operation of the model in a mocked AWS, on a clock of its own, and return a finding for each."""
    with mock_aws():
        control.hold_clock(START)
        control.configure(
            job_seconds=JOB_SECONDS, restore_seconds=JOB_SECONDS, copy_seconds=JOB_SECONDS, delete_seconds=10
        )
        try:
            backup = _client("backup")
            with Judge(backup) as judge:
                world = World(backup, _client("dynamodb"))
                world.prepare()
                tell(world)
                messages = {operation: _refusal(backup, operation) for operation in MODEL.operation_names}
        finally:
            control.reset()
    return [_finding(operation, judge, messages[operation]) for operation in sorted(MODEL.operation_names)]


def summary(findings: list[Finding]) -> str:
    """Return the figures in words."""
    served = [finding for finding in findings if finding.served]
    others = [finding for finding in findings if not finding.served]
    return (
        f"{len(findings)} operations: {len(served)} served, {sum(finding.conforms for finding in served)} of them"
        f" conforming; {len(others)} left out, {sum(finding.conforms for finding in others)} of them answering an error"
        " of the model."
    )


def table(findings: list[Finding]) -> str:
    """Return the coverage as a page of documentation."""
    lines = [
        "# Coverage of AWS Backup by the local AWS",
        "",
        "Made by `PYTHONPATH=include python -m local_aws.conformance --write docs/local-aws-coverage.md` from what the",
        "code serves, judged by botocore's service model. A test keeps it up to date.",
        "",
        summary(findings),
        "",
        "| Operation | Served | Remark |",
        "|---|---|---|",
    ]
    lines += [
        f"| {finding.operation} | {'yes' if finding.served else 'no'} | {finding.remark} |" for finding in findings
    ]
    return "\n".join(lines) + "\n"


def _client(service: str) -> Any:
    session: Any = boto3.Session("testing", "testing", region_name="us-east-1")
    return session.client(service, config=Config(retries={"total_max_attempts": 1}))


def _refusal(backup: Any, operation: str) -> str | None:
    """Return what a request with required members only is refused with, None where it succeeds."""
    try:
        getattr(backup, xform_name(operation))(**input_of(operation, everything=False))
    except ClientError as error:
        return str(error.response["Error"]["Message"])
    return None


def _finding(operation: str, judge: Judge, message: str | None) -> Finding:
    faults = "; ".join(dict.fromkeys(judge.faults.get(operation, [])))
    if operation not in SERVED:
        said = message is not None and "is not served" in message
        return Finding(operation, False, said and not faults, faults or REASONS.get(operation, ""))
    answered = operation in judge.passed or operation in ALWAYS_REFUSED
    remark = "No recovery point of a table allows it: refused, as on AWS." if operation in ALWAYS_REFUSED else ""
    return Finding(operation, True, answered and not faults, faults or remark)
