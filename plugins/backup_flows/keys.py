"""Where things lie below the project's bucket. State lives in AWS, not in Airflow's database."""

from __future__ import annotations

import hashlib
import re

_SAFE = re.compile(r"[A-Za-z0-9_.-]+")


class StateKeyError(ValueError):
    """A name can't be part of an S3 key of the project."""


def staged_key(as_of: str) -> str:
    """Return the key of the order file that is staged for a date."""
    return f"staging/orders/as_of={_part(as_of)}/order_data.csv"


def rejects_key(as_of: str, run: str) -> str:
    """Return the key of the rows that a run's load refused."""
    return f"rejects/orders/as_of={_part(as_of)}/{_part(run)}.jsonl"


def load_prefix(table: str, run: str, version_id: str) -> str:
    """Return the prefix of what the steps of a run's load hand on: one load of one version of one file."""
    return f"loads/{_part(table)}/{_part(run)}-{hashlib.sha256(version_id.encode()).hexdigest()[:16]}/"


def fleet_prefix(as_of: str, run: str) -> str:
    """Return the prefix of what a run that backs many tables up keeps."""
    return f"fleet/{_part(as_of)}-{_part(run)}/"


def intent_prefix(token: str) -> str:
    """Return the prefix of what was done before a job with this idempotency token was started."""
    return f"intents/{_part(token)}/"


def canaries_prefix(table: str) -> str:
    """Return the prefix of the records of canaries that were written to a table."""
    return f"canaries/{_part(table)}/"


def restore_record_key(target_table: str) -> str:
    """Return the key of the record that says which run a restored table belongs to."""
    return f"restores/{_part(target_table)}.json"


def recovery_point_id(recovery_point_arn: str) -> str:
    """Return the short identifier of a recovery point.

    Both forms of ARN: AWS Backup's own (``arn:aws:backup:...:recovery-point:<uuid>``), and that of a plain
    DynamoDB backup (``arn:aws:dynamodb:...:table/<name>/backup/<id>``).
    https://docs.aws.amazon.com/aws-backup/latest/devguide/advanced-ddb-backup.html

    :raises StateKeyError: it is neither.
    """
    for marker in (":recovery-point:", "/backup/"):
        head, found, tail = recovery_point_arn.rpartition(marker)
        if found and head.startswith("arn:") and _SAFE.fullmatch(tail):
            return tail
    raise StateKeyError(f"{recovery_point_arn!r} is not the ARN of a recovery point of a DynamoDB table.")


def recovery_point_prefix(table: str, recovery_point_arn: str) -> str:
    """Return the prefix below which everything about one recovery point lies."""
    return f"recovery-points/{_part(table)}/{recovery_point_id(recovery_point_arn)}/"


def settings_key(table: str, recovery_point_arn: str) -> str:
    """Return the key of the table settings recorded with a recovery point."""
    return f"{recovery_point_prefix(table, recovery_point_arn)}settings.json"


def verdict_key(table: str, recovery_point_arn: str) -> str:
    """Return the key of the verdict on a recovery point."""
    return f"{recovery_point_prefix(table, recovery_point_arn)}verdict.json"


def drill_verdict_key(table: str, recovery_point_arn: str, as_of: str, drill_id: str) -> str:
    """Return the key of the verdict that one drill came to; ``verdict.json`` beside it is the one that holds."""
    return f"{recovery_point_prefix(table, recovery_point_arn)}verdicts/{_part(as_of)}-{_part(drill_id)}.json"


def drill_choice_key(as_of: str, run: str) -> str:
    """Return the key of the record of which recovery points a run of drills chose."""
    return f"drills/{_part(as_of)}-{_part(run)}.json"


def evidence_prefix(table: str, as_of: str, drill_id: str) -> str:
    """Return the prefix of one drill's evidence: pack.json, report.html, diff.jsonl."""
    return f"evidence/{_part(table)}/{_part(as_of)}-{_part(drill_id)}/"


def repair_prefix(table: str, as_of: str, run: str) -> str:
    """Return the prefix of one repair of a table: diff.jsonl, plan.json, undo/, outcomes/, receipt.json."""
    return f"repairs/{_part(table)}/{_part(as_of)}-{_part(run)}/"


def history_key(table: str, as_of: str, drill_id: str) -> str:
    """Return the key of one drill's record in its table's history (:mod:`restore_proof.history`)."""
    return f"history/{_part(table)}/{_part(as_of)}-{_part(drill_id)}.json"


def retention_prefix(as_of: str, run: str) -> str:
    """Return the prefix of what one cleanup decided and did."""
    return f"retention/{_part(as_of)}-{_part(run)}/"


def spending_prefix(month: str) -> str:
    """Return the prefix of what the drills of a month cost (:mod:`backup_flows.budget`)."""
    return f"spending/{_part(month)}/"


def spending_key(month: str, table: str, as_of: str, drill_id: str, amount: str) -> str:
    """Return the key of what one drill is expected to cost, or did."""
    return f"{spending_prefix(month)}{_part(table)}/{_part(as_of)}-{_part(drill_id)}/{_part(amount)}.json"


def _part(name: str) -> str:
    """Return ``name`` if it can be one part of a key: no slash, nothing to escape."""
    if not _SAFE.fullmatch(name) or set(name) == {"."}:
        raise StateKeyError(f"{name!r} can't be part of an S3 key: letters, digits, '_', '.' and '-' may.")
    return name
