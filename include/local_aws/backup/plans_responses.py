"""Requests about backup plans, their versions, selections and templates."""

import json
from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult, EmptyResult

from local_aws.backup import plan_templates
from local_aws.backup.exceptions import InvalidParameterValueException, InvalidRequestException
from local_aws.backup.handler import BackupHandler, present
from local_aws.backup.plans import MAX_PREVIEW
from local_aws.backup.validation import require
from local_aws.clock import CLOCK


class PlansResponse(BackupHandler):
    """The operations on plans. Named as boto3 names them."""

    def create_backup_plan(self) -> ActionResult:  # type: ignore[override]  # moto returns text
        plan = self.backup_backend.backup_plans.create(
            self._document("BackupPlan"), self._get_param("BackupPlanTags") or {}, self._get_param("CreatorRequestId")
        )
        return ActionResult(present(plan.to_result(plan.current)))

    def update_backup_plan(self) -> ActionResult:
        plan = self.backup_backend.backup_plans.update(self._get_param("BackupPlanId"), self._document("BackupPlan"))
        version = plan.current
        return ActionResult(present({**plan.to_result(version), "ScanSettings": version.kept.get("ScanSettings")}))

    def get_backup_plan(self) -> ActionResult:  # type: ignore[override]
        plan = self.backup_backend.backup_plans.get(self._get_param("BackupPlanId"))
        version = plan.version(self._get_param("VersionId"))
        result = {**plan.to_result(version), "BackupPlan": version.to_result()}
        if (count := self._get_int_param("MaxScheduledRunsPreview")) is not None:
            if not 0 <= count <= MAX_PREVIEW:
                raise InvalidParameterValueException(f"MaxScheduledRunsPreview must be between 0 and {MAX_PREVIEW}.")
            result["ScheduledRunsPreview"] = plan.scheduled_runs(CLOCK.now(), count)
        return ActionResult(present(result))

    def list_backup_plans(self) -> ActionResult:  # type: ignore[override]
        plans = self.backup_backend.backup_plans
        listed = list(plans) if self._get_bool_param("IncludeDeleted") else plans.existing()
        return self._page(
            "BackupPlansList", listed, lambda plan: -plan.sequence, lambda plan: plan.to_list_result(plan.current)
        )

    def list_backup_plan_versions(self) -> ActionResult:
        plan = self.backup_backend.backup_plans.get(self._get_param("BackupPlanId"))
        return self._page(
            "BackupPlanVersionsList",
            plan.versions,
            lambda version: -version.sequence,
            lambda version: {**plan.to_list_result(version), "CreationDate": version.created_at},
        )

    def delete_backup_plan(self) -> ActionResult:  # type: ignore[override]
        plan = self.backup_backend.backup_plans.delete(self._get_param("BackupPlanId"))
        result = plan.to_result(plan.current)
        members = ("BackupPlanId", "BackupPlanArn", "DeletionDate", "VersionId")
        return ActionResult({name: result[name] for name in members})

    # Selections

    def create_backup_selection(self) -> ActionResult:
        plan_id = self._get_param("BackupPlanId")
        selection = self.backup_backend.backup_plans.add_selection(
            plan_id, self._document("BackupSelection"), self._get_param("CreatorRequestId")
        )
        result = selection.to_list_result(plan_id)
        return ActionResult({name: result[name] for name in ("SelectionId", "BackupPlanId", "CreationDate")})

    def get_backup_selection(self) -> ActionResult:
        plan_id = self._get_param("BackupPlanId")
        selection = self.backup_backend.backup_plans.selection(plan_id, self._get_param("SelectionId"))
        result = selection.to_list_result(plan_id)
        members = ("SelectionId", "BackupPlanId", "CreationDate", "CreatorRequestId")
        return ActionResult(
            present({**{name: result[name] for name in members}, "BackupSelection": dict(selection.document)})
        )

    def list_backup_selections(self) -> ActionResult:
        plan = self.backup_backend.backup_plans.get(self._get_param("BackupPlanId"))
        return self._page(
            "BackupSelectionsList",
            plan.selections.values(),
            lambda selection: -selection.sequence,
            lambda selection: selection.to_list_result(plan.plan_id),
        )

    def delete_backup_selection(self) -> EmptyResult:
        self.backup_backend.backup_plans.remove_selection(
            self._get_param("BackupPlanId"), self._get_param("SelectionId")
        )
        return EmptyResult()

    # Templates

    def export_backup_plan_template(self) -> ActionResult:
        plan = self.backup_backend.backup_plans.get(self._get_param("BackupPlanId"))
        return ActionResult({"BackupPlanTemplateJson": json.dumps(plan.current.to_result())})

    def get_backup_plan_from_json(self) -> ActionResult:
        text = require("BackupPlanTemplateJson", self._get_param("BackupPlanTemplateJson"))
        try:
            version = self.backup_backend.backup_plans.read(json.loads(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidRequestException(f"BackupPlanTemplateJson is no backup plan: {error}") from error
        return ActionResult({"BackupPlan": version.to_result()})

    def get_backup_plan_from_template(self) -> ActionResult:
        return ActionResult({"BackupPlanDocument": plan_templates.document(self._get_param("BackupPlanTemplateId"))})

    def list_backup_plan_templates(self) -> ActionResult:
        return self._page(
            "BackupPlanTemplatesList",
            plan_templates.TEMPLATES.items(),
            lambda template: template[0],
            lambda template: {"BackupPlanTemplateId": template[0], "BackupPlanTemplateName": template[1].name},
        )

    def _document(self, member: str) -> Mapping[str, Any]:
        document: Mapping[str, Any] = self._get_param(member) or {}
        return document
