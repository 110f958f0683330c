"""Operators that make, change and delete backup plans and their selections."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import ClientError

from aws_backup.hooks.backup import clear_connection_errors
from aws_backup.links.backup import BackupPlanLink
from aws_backup.operators.backup import BackupBaseOperator
from aws_backup.plan_documents import plain, plan_diff, plan_request, selection_diff
from aws_backup.plan_errors import (
    PlanAmbiguousError,
    PlanExistsError,
    PlanNotDeletedError,
    PlanNotOursError,
    SelectionExistsError,
)
from aws_backup.polling import error_code

if TYPE_CHECKING:
    from airflow.sdk import Context

XCOM_VERSION_ID = "version_id"
XCOM_CHANGES = "changes"


class BackupPlanBaseOperator(BackupBaseOperator):
    """Common to the operators of plans and selections."""

    operator_extra_links = (BackupPlanLink(),)

    def _show(self, context: Context, plan_id: str) -> None:
        BackupPlanLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            backup_plan_id=plan_id,
        )

    def _find_plan(self, name: str) -> str | None:
        """Return the id of the plan of a name.

        :raises PlanAmbiguousError: several have it.
        """
        found = [str(plan["BackupPlanId"]) for plan in self.hook.find_plans(name)]
        if len(found) > 1:
            raise PlanAmbiguousError(name=name, plan_ids=found)
        return found[0] if found else None

    def _find_selections(self, plan_id: str, name: str) -> list[str]:
        return [str(s["SelectionId"]) for s in self.hook.list_selections(plan_id) if s["SelectionName"] == name]

    def _update(self, plan_id: str, plan: Mapping[str, Any]) -> tuple[str, list[str]]:
        """Bring a plan up to date; return its version and what was changed."""
        present = self.hook.get_plan(plan_id)
        changes = plan_diff(present["BackupPlan"], plan)
        if not changes:
            self.log.info("Backup plan %s is up to date: version %s.", plan_id, present["VersionId"])
            return str(present["VersionId"]), []
        for change in changes:
            self.log.info("Backup plan %s: %s", plan_id, change)
        with clear_connection_errors():
            answer = self.hook.client.update_backup_plan(BackupPlanId=plan_id, BackupPlan=_request(plan))
        self.log.info("Backup plan %s has version %s now.", plan_id, answer["VersionId"])
        return str(answer["VersionId"]), changes

    def _publish(self, context: Context, version_id: str, changes: list[str]) -> None:
        context["ti"].xcom_push(key=XCOM_VERSION_ID, value=version_id)
        context["ti"].xcom_push(key=XCOM_CHANGES, value=changes)

    def _guard(self, plan_id: str, required_tags: Mapping[str, str] | None) -> None:
        """Refuse a plan that does not carry the tags.

        :raises ValueError: no tag is required, which would allow any plan.
        :raises PlanNotOursError: it lacks one.
        """
        if not required_tags:
            raise ValueError("A guard is required: required_tags names what the plan must carry.")
        tags = self.hook.get_tags(self.hook.get_plan(plan_id)["BackupPlanArn"])
        wrong = [f"{key}={value}" for key, value in sorted(required_tags.items()) if tags.get(key) != value]
        if wrong:
            raise PlanNotOursError(plan_id=plan_id, reason=f"it does not carry the tags {', '.join(wrong)}")


class BackupCreatePlanOperator(BackupPlanBaseOperator):
    """Create a backup plan, or take the one of that name; safe to run again.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupPlan.html

    Pushes the XComs ``version_id`` and ``changes`` (lines; empty where nothing was changed).

    :param backup_plan: BackupPlanName, Rules and so on, as AWS takes it. (templated)
    :param tags: tags of a plan that is created. (templated) (default: None)
    :param if_exists: ``skip`` takes a plan of that name if it says the same, and fails with the difference if not;
        ``update`` brings it up to date; ``fail`` fails. (default: ``skip``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: the plan's id.
    """

    template_fields = aws_template_fields("backup_plan", "tags")
    template_fields_renderers = {"backup_plan": "json", "tags": "json"}

    def __init__(
        self,
        *,
        backup_plan: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        if_exists: Literal["skip", "update", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_plan = backup_plan
        self.tags = tags
        self.if_exists = if_exists

    def execute(self, context: Context) -> str:
        """Create the plan, or take or update the one that is there."""
        if self.if_exists not in {"skip", "update", "fail"}:
            raise ValueError(f"if_exists must be 'skip', 'update' or 'fail', not {self.if_exists!r}.")
        name = str(self.backup_plan.get("BackupPlanName") or "")
        if not name:
            raise ValueError(f"{type(self).__name__} {self.task_id} needs a BackupPlanName.")
        plan_id = self._find_plan(name)
        if plan_id is not None:
            self._show(context, plan_id)
            version_id, changes = self._take_existing(name, plan_id)
        else:
            plan_id, version_id = self._create(context, name)
            self._show(context, plan_id)
            changes = ["created"]
        self._publish(context, version_id, changes)
        return plan_id

    def _create(self, context: Context, name: str) -> tuple[str, str]:
        ti = context["ti"]
        # A call whose answer was lost made the plan; the same id makes AWS return it.
        intent = "\n".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index), name))
        request: dict[str, Any] = {
            "BackupPlan": _request(self.backup_plan),
            "CreatorRequestId": hashlib.sha256(intent.encode()).hexdigest()[:50],
        }
        if self.tags:
            request["BackupPlanTags"] = dict(self.tags)
        with clear_connection_errors():
            answer = self.hook.client.create_backup_plan(**request)
        self.log.info("Created backup plan %s: %s, version %s.", name, answer["BackupPlanArn"], answer["VersionId"])
        return str(answer["BackupPlanId"]), str(answer["VersionId"])

    def _take_existing(self, name: str, plan_id: str) -> tuple[str, list[str]]:
        if self.if_exists == "fail":
            raise PlanExistsError(name=name, plan_id=plan_id, reason="if_exists is 'fail'")
        if self.if_exists == "update":
            return self._update(plan_id, self.backup_plan)
        present = self.hook.get_plan(plan_id)
        changes = plan_diff(present["BackupPlan"], self.backup_plan)
        if changes:
            raise PlanExistsError(
                name=name, plan_id=plan_id, reason=f"it says something else ({'; '.join(changes)}); use 'update'"
            )
        self.log.info("Backup plan %s is there already, and says the same.", plan_id)
        return str(present["VersionId"]), []


class BackupUpdatePlanOperator(BackupPlanBaseOperator):
    """Bring a backup plan up to date; a plan that says the same gets no new version.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateBackupPlan.html

    AWS replaces all rules by those given; selections are kept. What changes is logged, a line each. Pushes the XComs
    ``version_id`` and ``changes``.

    :param backup_plan: BackupPlanName, Rules and so on, as AWS takes it. (templated)
    :param backup_plan_id: the plan; found by its name if None. (templated) (default: None)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: the plan's id.
    """

    template_fields = aws_template_fields("backup_plan", "backup_plan_id")
    template_fields_renderers = {"backup_plan": "json"}

    def __init__(self, *, backup_plan: Mapping[str, Any], backup_plan_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_plan = backup_plan
        self.backup_plan_id = backup_plan_id

    def execute(self, context: Context) -> str:
        """Compare, and update if that changes anything."""
        name = str(self.backup_plan.get("BackupPlanName") or "")
        plan_id = self.backup_plan_id or self._find_plan(name)
        if plan_id is None:
            raise AirflowNotFoundException(f"There is no backup plan {name!r}: create it first.")
        self._show(context, plan_id)
        version_id, changes = self._update(plan_id, self.backup_plan)
        self._publish(context, version_id, changes)
        return plan_id


class BackupDeletePlanOperator(BackupPlanBaseOperator):
    """Delete a backup plan that carries the required tags. Its recovery points stay.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupPlan.html

    :param backup_plan_id: the plan. (templated) (default: None)
    :param backup_plan_name: its name, if no id is given. (templated) (default: None)
    :param required_tags: tags that the plan must carry; a guard is required. (templated)
    :param delete_selections: delete its selections first, without which AWS refuses. (default: False)
    :param if_missing: ``skip`` or ``fail``. (default: ``skip``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    template_fields = aws_template_fields("backup_plan_id", "backup_plan_name", "required_tags")
    template_fields_renderers = {"required_tags": "json"}

    def __init__(
        self,
        *,
        required_tags: Mapping[str, str],
        backup_plan_id: str | None = None,
        backup_plan_name: str | None = None,
        delete_selections: bool = False,
        if_missing: Literal["skip", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_plan_id = backup_plan_id
        self.backup_plan_name = backup_plan_name
        self.required_tags = required_tags
        self.delete_selections = delete_selections
        self.if_missing = if_missing

    def execute(self, context: Context) -> None:
        """Check, delete."""
        _check_if_missing(self.if_missing)
        plan_id = self._existing()
        if plan_id is None:
            named = self.backup_plan_id or self.backup_plan_name
            if self.if_missing == "fail":
                raise AirflowNotFoundException(f"There is no backup plan {named}.")
            self.log.info("There is no backup plan %s.", named)
            return
        self._show(context, plan_id)
        self._guard(plan_id, self.required_tags)
        if self.delete_selections:
            for selection in self.hook.list_selections(plan_id):
                _delete_selection(self, plan_id, str(selection["SelectionId"]))
        try:
            with clear_connection_errors():
                self.hook.client.delete_backup_plan(BackupPlanId=plan_id)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                self.log.info("Backup plan %s is gone already.", plan_id)
                return
            if error_code(error) == "InvalidRequestException":
                detail = str(error.response["Error"].get("Message", ""))
                raise PlanNotDeletedError(plan_id=plan_id, detail=detail) from error
            raise
        self.log.info("Deleted backup plan %s.", plan_id)

    def _existing(self) -> str | None:
        if self.backup_plan_id:
            try:
                plan = self.hook.get_plan(self.backup_plan_id)
            except AirflowNotFoundException:
                return None
            # A deleted plan stays readable.
            return None if plan.get("DeletionDate") else self.backup_plan_id
        if not self.backup_plan_name:
            raise ValueError(f"{type(self).__name__} {self.task_id} needs backup_plan_id or backup_plan_name.")
        return self._find_plan(self.backup_plan_name)


class BackupCreateSelectionOperator(BackupPlanBaseOperator):
    """Assign resources to a backup plan, or take the selection of that name; safe to run again.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupSelection.html

    AWS can't change a selection: one that says something else is replaced, if that is allowed, and put back if the
    new one is refused. Pushes the XCom ``changes``.

    :param backup_plan_id: the plan. (templated)
    :param backup_selection: SelectionName, IamRoleArn, Resources, ListOfTags, NotResources, Conditions, as AWS takes
        it. (templated)
    :param if_exists: ``skip`` takes a selection of that name if it says the same, and fails with the difference if
        not; ``replace`` replaces it; ``fail`` fails. (default: ``skip``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    :return: the selection's id.
    """

    template_fields = aws_template_fields("backup_plan_id", "backup_selection")
    template_fields_renderers = {"backup_selection": "json"}

    def __init__(
        self,
        *,
        backup_plan_id: str,
        backup_selection: Mapping[str, Any],
        if_exists: Literal["skip", "replace", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_plan_id = backup_plan_id
        self.backup_selection = backup_selection
        self.if_exists = if_exists

    def execute(self, context: Context) -> str:
        """Create the selection, or take or replace the one that is there."""
        if self.if_exists not in {"skip", "replace", "fail"}:
            raise ValueError(f"if_exists must be 'skip', 'replace' or 'fail', not {self.if_exists!r}.")
        name = str(self.backup_selection.get("SelectionName") or "")
        if not name or not self.backup_plan_id:
            raise ValueError(f"{type(self).__name__} {self.task_id} needs backup_plan_id and a SelectionName.")
        self._show(context, self.backup_plan_id)
        found = self._find_selections(self.backup_plan_id, name)
        if not found:
            selection_id, changes = self._create(self.backup_selection), ["created"]
        else:
            selection_id, changes = self._take_existing(name, found[0])
        context["ti"].xcom_push(key=XCOM_CHANGES, value=changes)
        return selection_id

    def _create(self, selection: Mapping[str, Any]) -> str:
        with clear_connection_errors():
            answer = self.hook.client.create_backup_selection(
                BackupPlanId=self.backup_plan_id, BackupSelection=plain("", selection)
            )
        self.log.info("Created selection %s of backup plan %s.", answer["SelectionId"], self.backup_plan_id)
        return str(answer["SelectionId"])

    def _take_existing(self, name: str, selection_id: str) -> tuple[str, list[str]]:
        present = self.hook.get_selection(self.backup_plan_id, selection_id)["BackupSelection"]
        changes = selection_diff(present, self.backup_selection)
        refusal = None
        if self.if_exists == "fail":
            refusal = "if_exists is 'fail'"
        elif changes and self.if_exists == "skip":
            refusal = f"it says something else ({'; '.join(changes)}); use 'replace'"
        if refusal is not None:
            raise SelectionExistsError(
                name=name, plan_id=self.backup_plan_id, selection_id=selection_id, reason=refusal
            )
        if not changes:
            self.log.info("Selection %s of backup plan %s says the same.", selection_id, self.backup_plan_id)
            return selection_id, []
        for change in changes:
            self.log.info("Selection %s of backup plan %s: %s", name, self.backup_plan_id, change)
        _delete_selection(self, self.backup_plan_id, selection_id)
        try:
            return self._create(self.backup_selection), changes
        except ClientError:
            self.log.error("AWS refuses the new selection %s; putting the old one back.", name)
            self._create(present)
            raise


class BackupDeleteSelectionOperator(BackupPlanBaseOperator):
    """Delete a selection of a backup plan that carries the required tags: its resources are backed up no more.

    .. seealso::
        - https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupSelection.html

    :param backup_plan_id: the plan. (templated)
    :param selection_id: the selection. (templated) (default: None)
    :param selection_name: its name, if no id is given. (templated) (default: None)
    :param required_tags: tags that the plan must carry; a guard is required. (templated)
    :param if_missing: ``skip`` or ``fail``. (default: ``skip``)
    :param aws_conn_id: The Airflow connection used for AWS credentials.
        If this is ``None`` or empty then the default boto3 behaviour is used. (templated)
    :param region_name: AWS region_name. If not specified then the default boto3 behaviour is used.
        (templated)
    :param verify: Whether or not to verify SSL certificates. (templated)
    :param botocore_config: Configuration dictionary (key-values) for botocore client.
    """

    template_fields = aws_template_fields("backup_plan_id", "selection_id", "selection_name", "required_tags")
    template_fields_renderers = {"required_tags": "json"}

    def __init__(
        self,
        *,
        backup_plan_id: str,
        required_tags: Mapping[str, str],
        selection_id: str | None = None,
        selection_name: str | None = None,
        if_missing: Literal["skip", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_plan_id = backup_plan_id
        self.selection_id = selection_id
        self.selection_name = selection_name
        self.required_tags = required_tags
        self.if_missing = if_missing

    def execute(self, context: Context) -> None:
        """Check, delete."""
        _check_if_missing(self.if_missing)
        if not self.backup_plan_id or not (self.selection_id or self.selection_name):
            raise ValueError(
                f"{type(self).__name__} {self.task_id} needs backup_plan_id, and selection_id or selection_name."
            )
        self._show(context, self.backup_plan_id)
        try:
            found = self._existing()
            if found:
                self._guard(self.backup_plan_id, self.required_tags)
        except AirflowNotFoundException:
            found = []
        if not found:
            named = self.selection_id or self.selection_name
            if self.if_missing == "fail":
                raise AirflowNotFoundException(f"Backup plan {self.backup_plan_id} has no selection {named}.")
            self.log.info("Backup plan %s has no selection %s.", self.backup_plan_id, named)
        for selection_id in found:
            _delete_selection(self, self.backup_plan_id, selection_id)

    def _existing(self) -> list[str]:
        if self.selection_id:
            self.hook.get_selection(self.backup_plan_id, self.selection_id)
            return [self.selection_id]
        return self._find_selections(self.backup_plan_id, str(self.selection_name))


def _delete_selection(operator: BackupBaseOperator, plan_id: str, selection_id: str) -> None:
    try:
        with clear_connection_errors():
            operator.hook.client.delete_backup_selection(BackupPlanId=plan_id, SelectionId=selection_id)
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        operator.log.info("Selection %s of backup plan %s is gone already.", selection_id, plan_id)
    else:
        operator.log.info("Deleted selection %s of backup plan %s.", selection_id, plan_id)


def _request(plan: Mapping[str, Any]) -> Any:
    # The client's own type of it is a TypedDict, which a document that people write is not.
    return plan_request(plan)


def _check_if_missing(if_missing: str) -> None:
    if if_missing not in {"skip", "fail"}:
        raise ValueError(f"if_missing must be 'skip' or 'fail', not {if_missing!r}.")
