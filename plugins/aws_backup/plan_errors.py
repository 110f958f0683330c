"""Named errors of backup plans and selections; each message names the thing concerned and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk.exceptions import AirflowFailException

from aws_backup.exceptions import AwsBackupError


class PlanExistsError(AwsBackupError):
    """A plan of that name is there already, and the task may not take or change it."""

    def __init__(self, *, name: str, plan_id: str, reason: str) -> None:
        super().__init__(
            f"Backup plan {name} exists already ({plan_id}): {reason}.", name=name, plan_id=plan_id, reason=reason
        )
        self.name = name
        self.plan_id = plan_id
        self.reason = reason


class PlanAmbiguousError(AwsBackupError):
    """Several plans have the name, and only an id tells which one is meant."""

    def __init__(self, *, name: str, plan_ids: Sequence[str]) -> None:
        super().__init__(
            f"{len(plan_ids)} backup plans are named {name}: {', '.join(plan_ids)}. Give the id of the one that is "
            "meant, or delete the others.",
            name=name,
            plan_ids=tuple(plan_ids),
        )
        self.name = name
        self.plan_ids = tuple(plan_ids)


class PlanNotOursError(AwsBackupError, AirflowFailException):
    """A plan does not carry what the guard asks for, so it is not touched."""

    def __init__(self, *, plan_id: str, reason: str) -> None:
        super().__init__(f"Refused to touch backup plan {plan_id}: {reason}. It stays.", plan_id=plan_id, reason=reason)
        self.plan_id = plan_id
        self.reason = reason


class PlanNotDeletedError(AwsBackupError):
    """AWS refuses to delete a plan, most often because it still has selections."""

    def __init__(self, *, plan_id: str, detail: str) -> None:
        super().__init__(
            f"AWS refuses to delete backup plan {plan_id}: {detail} Delete its selections first "
            "(BackupDeleteSelectionOperator, or delete_selections=True).",
            plan_id=plan_id,
            detail=detail,
        )
        self.plan_id = plan_id
        self.detail = detail


class SelectionExistsError(AwsBackupError):
    """The plan has a selection of that name already, and the task may not take or replace it."""

    def __init__(self, *, name: str, plan_id: str, selection_id: str, reason: str) -> None:
        super().__init__(
            f"Backup plan {plan_id} has a selection {name} already ({selection_id}): {reason}.",
            name=name,
            plan_id=plan_id,
            selection_id=selection_id,
            reason=reason,
        )
        self.name = name
        self.plan_id = plan_id
        self.selection_id = selection_id
        self.reason = reason
