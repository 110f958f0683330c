"""An operator that gives a restored table back what AWS Backup does not restore: TTL, streams, tags, scaling, more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from backup_flows.aws import AWS_CONN_ID, client, server_time
from backup_flows.keys import settings_key
from backup_flows.store import get_bytes
from restore_proof.settings import settings_from_json
from restore_proof.settings_repair import RepairReport, repair_settings


class SettingsNotRecordedError(LookupError):
    """No settings lie beside a recovery point; the message names the key."""


class SettingsRepairIncompleteError(RuntimeError):
    """Some settings could not be re-applied; the message names each with its reason."""

    def __init__(self, report: RepairReport) -> None:
        self.report = report
        told = "; ".join(f"{step.name} {step.outcome}: {step.detail}" for step in report.incomplete)
        super().__init__(f"Of the settings of {report.table_name}, not all could be re-applied: {told}")

    def __reduce__(self) -> tuple[type[SettingsRepairIncompleteError], tuple[RepairReport]]:
        return type(self), (self.report,)


class ReapplyTableSettingsOperator(BaseOperator):
    """Give a table the settings that its source had when a recovery point of it was made.

    Safe to repeat: what is as it was recorded is left alone. What AWS Backup restores itself (keys, indexes, billing
    mode, encryption) is never touched.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/backuprestore_HowItWorksAWS.html

    :param table_name: the table to change, such as a restored one that is to stay. (templated)
    :param source_table: the table that was backed up. (templated)
    :param recovery_point_arn: the recovery point beside which the settings were recorded. (templated)
    :param bucket: the project's bucket. (templated)
    :param only: names of the settings to apply, such as ``["tags", "time_to_live"]``; all that can be if empty.
        (templated)
    :param dry_run_only: only show what would be done. (templated)
    :return: the report: ``steps`` (each with ``recorded``, ``before`` and ``after``), all settings ``before`` and
        ``after``, and the differences ``remaining``.
    """

    template_fields: Sequence[str] = (
        "table_name",
        "source_table",
        "recovery_point_arn",
        "bucket",
        "only",
        "dry_run_only",
    )
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        table_name: str,
        source_table: str,
        recovery_point_arn: str,
        bucket: str,
        only: Sequence[str] | str = (),
        dry_run_only: bool | str = False,
        aws_conn_id: str = AWS_CONN_ID,
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table_name = table_name
        self.source_table = source_table
        self.recovery_point_arn = recovery_point_arn
        self.bucket = bucket
        self.only = only
        self.dry_run_only = dry_run_only
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def execute(self, context: Any) -> dict[str, Any]:
        key = settings_key(self.source_table, self.recovery_point_arn)
        recorded = get_bytes(self._client("s3"), self.bucket, key)
        if recorded is None:
            raise SettingsNotRecordedError(
                f"s3://{self.bucket}/{key} is missing: no settings of {self.source_table} were recorded with recovery "
                f"point {self.recovery_point_arn}. Choose one that table_backup or orders_backup_restore made."
            )
        sts = self._client("sts")
        only = self.only.split(",") if isinstance(self.only, str) else self.only
        report = repair_settings(
            self._client("dynamodb"),
            self.table_name,
            settings_from_json(recorded),
            scaling=self._client("application-autoscaling"),
            clock=lambda: server_time(sts),
            only=[name.strip() for name in only if name.strip()],
            dry_run=str(self.dry_run_only).lower() == "true",
        )
        result = report.to_dict()
        for step in result["steps"]:
            self.log.info(
                "%s %s: recorded %s, before %s, after %s. %s",
                step["name"], step["outcome"], step["recorded"], step["before"], step["after"], step["detail"],
            )  # fmt: skip
        for name, code in report.unread.items():
            self.log.warning("%s could not be read (%s), and was left alone", name, code)
        if not report.steps:
            self.log.info("%s has nothing that could be re-applied", self.table_name)
        if report.incomplete:
            raise SettingsRepairIncompleteError(report)
        return result

    def _client(self, service: str) -> Any:
        return client(service, aws_conn_id=self.aws_conn_id, region_name=self.region_name)
