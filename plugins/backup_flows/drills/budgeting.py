"""The budget's guard: a drill that the month's money does not last for is not started."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import task

from aws_backup.hooks.backup import BackupHook
from backup_flows.aws import AWS_CONN_ID, client
from backup_flows.brackets import Job
from backup_flows.budget import Drilled, OverBudgetError, month_of, reserve
from backup_flows.costs import bracket_work
from backup_flows.drills.errors import BudgetRefusedError
from backup_flows.drills.ledger import standing_of
from backup_flows.expecting import Subject, World, expect, told_size
from backup_flows.failures import FAILURE, tells_failure
from backup_flows.project_files import project_file
from backup_flows.protection import Protection
from backup_flows.protection_file import PROTECTION_FILE, ProtectionFileError, load_protection
from backup_flows.recovery_points import aws_clock
from restore_proof.costs import cost_of
from restore_proof.prices import PRICE_FILE, PriceFileError, Prices, read_prices

log = logging.getLogger(__name__)

CHECK_BUDGET = "check_budget"
ASK_THE_BUDGET = ("bind", CHECK_BUDGET)
"""Tasks of a drill that the budget may stop: the point-in-time restores around a backup, and the drill's own."""


def prices_for(limit: float | None) -> Prices | None:
    """Read the price file; where there is no limit, drills go on without it.

    :param limit: of the month, in dollars.
    :raises BudgetRefusedError: there is a limit, and no price to hold a drill against.
    """
    try:
        return read_prices(project_file(PRICE_FILE))
    except (PriceFileError, OSError) as error:
        if limit is None:
            log.warning("This drill's cost can't be reckoned: %s", error)
            return None
        raise BudgetRefusedError(
            f"budget.monthly_usd allows {limit:.2f} $ a month, and what a drill costs can't be told: {error} "
            "Nothing was restored. Correct the price file and clear this task."
        ) from error


def protection_for_budget() -> Protection:
    """Read ``protection.yaml``, which has the budget.

    :raises BudgetRefusedError: it can't be read, so that nobody knows whether there is a limit.
    """
    try:
        return load_protection(project_file(PROTECTION_FILE))
    except (ProtectionFileError, OSError) as error:
        raise BudgetRefusedError(
            f"whether there is a budget can't be told: {error} Nothing was restored. Correct the file and clear this "
            "task."
        ) from error


def reserve_brackets(s3: Any, dynamodb: Any, order: Mapping[str, Any], job: Job, *, now: dt.datetime) -> None:
    """Reserve what the two point-in-time restores around a backup, and reading them, are expected to cost.

    They are restored before the drill itself, and whatever becomes of it; so they are an entry of their own in the
    month, and stay counted as estimated. Where AWS does not tell the backup's size, the table's own is taken.

    :param now: by AWS's clock (aware).
    :raises BudgetRefusedError: they would take the month over its budget; or there is one, and no size to hold
        against it.
    """
    limit = protection_for_budget().budget.monthly_usd
    prices = prices_for(limit)
    if prices is None:
        return
    told = None if job.size_bytes else told_size(dynamodb, job.table)
    size = told if told is not None else job.size_bytes
    if size is None and limit is not None:
        raise _size_unknown(
            limit,
            f"the two point-in-time restores around the backup of table {job.table} cost",
            job.recovery_point_arn,
            or_else="give the table proof.depth: schema in include/protection.yaml, which needs no such restores.",
        )
    cost = cost_of(bracket_work(size, of_table=told is not None), prices, region=job.table_arn.split(":")[3])
    drilled = Drilled(job.table, order["as_of"], f"{order['run_key']}-brackets")
    try:
        reserve(s3, order["bucket"], month_of(now), drilled, cost.usd, limit=limit, details=cost.to_dict())
    except OverBudgetError as error:
        raise BudgetRefusedError(str(error)) from error
    log.info("Two point-in-time restores around the backup are expected to cost %.4f $", cost.usd)


def _size_unknown(limit: float, what_costs: str, recovery_point_arn: str, *, or_else: str) -> BudgetRefusedError:
    return BudgetRefusedError(
        f"budget.monthly_usd allows {limit:.2f} $ a month, and what {what_costs} can't be told: AWS tells neither the "
        f"size of recovery point {recovery_point_arn} nor, as yet, that of the table. Nothing was restored. DynamoDB "
        f"tells a table's size anew about every six hours: clear this task then. Or {or_else}"
    )


@task(task_id=CHECK_BUDGET, retries=5)
@tells_failure
def check_budget(order: dict[str, Any], binding: dict[str, Any]) -> dict[str, Any]:
    """Reckon what the drill is going to cost; refuse it where that takes the month over its budget.

    :return: the estimate, with the month and what its other drills come to.
    """
    s3 = client("s3")
    protection = protection_for_budget()
    limit = protection.budget.monthly_usd
    prices = prices_for(limit)
    drill_id = standing_of(s3, order).next_id
    world = World(BackupHook(aws_conn_id=AWS_CONN_ID), functools.cache(client), aws_clock())
    expectation = expect(world, Subject.of(order, drill_id), binding, protection=protection, prices=prices)
    estimate = expectation.estimate
    if estimate is None:
        return {"estimate": None, "month": month_of(expectation.looked_at), "others_usd": None, "limit_usd": limit}
    if limit is not None and expectation.work.restored_bytes is None:
        raise _size_unknown(
            limit,
            f"the drill of table {order['table']} costs",
            binding["recovery_point_arn"],
            or_else="drill another recovery point.",
        )
    month, details = month_of(expectation.looked_at), estimate.to_dict()
    drilled = Drilled(order["table"], order["as_of"], drill_id)
    try:
        others = reserve(s3, order["bucket"], month, drilled, details["total_usd"], limit=limit, details=details)
    except OverBudgetError as error:
        raise BudgetRefusedError(str(error)) from error
    log.info("The drill is expected to cost %.4f $", details["total_usd"])
    for part in details["parts"]:
        log.info("  %s: %s %s, %.6f $", part["name"], part["amount"], part["unit"], part["usd"])
    for remark in details["remarks"]:
        log.info("  %s", remark)
    if limit is not None:
        log.info("The other drills of %s come to %.4f $ of %.2f $", month, others, limit)
    return {"estimate": details, "month": month, "others_usd": others, "limit_usd": limit}


def refusal_of(failure: Mapping[str, str] | None) -> str | None:
    """Return why the budget stopped a drill; None if it did not.

    :param failure: what the task told of how it failed (:mod:`backup_flows.failures`).
    """
    if failure is not None and failure["type"] == BudgetRefusedError.__name__:
        return failure["message"]
    return None


def budget_refusal(ti: Any, group: str, index: int) -> str | None:
    """Return why the budget stopped one of a run's mapped drills; None if it did not.

    :param ti: a task of the run, outside of the drills' group.
    :param group: the group's id.
    :param index: which drill.
    """
    told = (ti.xcom_pull(task_ids=f"{group}.{name}", key=FAILURE, map_indexes=index) for name in ASK_THE_BUDGET)
    return next((reason for reason in map(refusal_of, told) if reason is not None), None)
