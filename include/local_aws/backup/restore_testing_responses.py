"""The requests about restore testing."""

from typing import Any

from moto.core.responses import ActionResult, EmptyResult

from local_aws.backup.handler import BackupHandler, present
from local_aws.backup.restore_selections import TestingSelection
from local_aws.backup.restore_testing import TestingPlan
from local_aws.clock import CLOCK


class RestoreTestingResponse(BackupHandler):
    """Handler of restore testing plans, their selections, and the verdicts on their restores."""

    def create_restore_testing_plan(self) -> ActionResult:
        plan = self.backup_backend.restore_testing.create(
            self._get_param("RestoreTestingPlan") or {},
            self._get_param("Tags") or {},
            self._get_param("CreatorRequestId"),
        )
        return ActionResult(_plan_reply(plan))

    def get_restore_testing_plan(self) -> ActionResult:
        plan = self.backup_backend.restore_testing.get(self._get_param("RestoreTestingPlanName"))
        return ActionResult({"RestoreTestingPlan": present(plan.to_result())})

    def list_restore_testing_plans(self) -> ActionResult:
        plans = list(self.backup_backend.restore_testing)
        return self._page("RestoreTestingPlans", plans, lambda plan: plan.name, TestingPlan.to_list_result)

    def update_restore_testing_plan(self) -> ActionResult:
        plan = self.backup_backend.restore_testing.update(
            self._get_param("RestoreTestingPlanName"), self._get_param("RestoreTestingPlan") or {}
        )
        return ActionResult({**_plan_reply(plan), "UpdateTime": plan.updated_at})

    def delete_restore_testing_plan(self) -> EmptyResult:
        self.backup_backend.restore_testing.delete(self._get_param("RestoreTestingPlanName"))
        return EmptyResult()

    def create_restore_testing_selection(self) -> ActionResult:
        selection = self.backup_backend.restore_testing.add_selection(
            self._get_param("RestoreTestingPlanName"),
            self._get_param("RestoreTestingSelection") or {},
            self._get_param("CreatorRequestId"),
        )
        return ActionResult(self._selection_reply(selection))

    def get_restore_testing_selection(self) -> ActionResult:
        selection = self.backup_backend.restore_testing.selection(
            self._get_param("RestoreTestingPlanName"), self._get_param("RestoreTestingSelectionName")
        )
        return ActionResult({"RestoreTestingSelection": present(selection.to_result())})

    def list_restore_testing_selections(self) -> ActionResult:
        plan = self.backup_backend.restore_testing.get(self._get_param("RestoreTestingPlanName"))
        return self._page(
            "RestoreTestingSelections",
            list(plan.selections.values()),
            lambda selection: selection.name,
            TestingSelection.to_list_result,
        )

    def update_restore_testing_selection(self) -> ActionResult:
        testing = self.backup_backend.restore_testing
        selection = testing.update_selection(
            self._get_param("RestoreTestingPlanName"),
            self._get_param("RestoreTestingSelectionName"),
            self._get_param("RestoreTestingSelection") or {},
        )
        return ActionResult({**self._selection_reply(selection), "UpdateTime": CLOCK.now()})

    def delete_restore_testing_selection(self) -> EmptyResult:
        self.backup_backend.restore_testing.remove_selection(
            self._get_param("RestoreTestingPlanName"), self._get_param("RestoreTestingSelectionName")
        )
        return EmptyResult()

    def get_restore_testing_inferred_metadata(self) -> ActionResult:
        metadata = self.backup_backend.restore_testing.inferred_metadata(
            self._get_param("BackupVaultName"), self._get_param("RecoveryPointArn")
        )
        return ActionResult({"InferredMetadata": metadata})

    def put_restore_validation_result(self) -> EmptyResult:
        self.backup_backend.restore_tests.put_result(
            self._get_param("RestoreJobId"),
            self._get_param("ValidationStatus"),
            self._get_param("ValidationStatusMessage"),
        )
        return EmptyResult()

    def _selection_reply(self, selection: TestingSelection) -> dict[str, Any]:
        plan = self.backup_backend.restore_testing.get(selection.plan_name)
        return {
            "CreationTime": selection.created_at,
            "RestoreTestingPlanArn": plan.arn,
            "RestoreTestingPlanName": plan.name,
            "RestoreTestingSelectionName": selection.name,
        }


def _plan_reply(plan: TestingPlan) -> dict[str, Any]:
    return {
        "CreationTime": plan.created_at,
        "RestoreTestingPlanArn": plan.arn,
        "RestoreTestingPlanName": plan.name,
    }
