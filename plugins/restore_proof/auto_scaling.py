"""Auto scaling of a table and its indexes: read, and applied to another table.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/AutoScaling.html
https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

NAMESPACE: Final = "dynamodb"
_TARGET: Final = ("MinCapacity", "MaxCapacity", "SuspendedState")
"""Not the role: it is the service's own, which AWS fills in; to name it would need the right to pass it."""
_POLICY: Final = ("PolicyType", "StepScalingPolicyConfiguration", "TargetTrackingScalingPolicyConfiguration")
_SCHEDULE: Final = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")
_AT_REST: Final = {"DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False,
                   "ScheduledScalingSuspended": False}  # fmt: skip


def read(client: Any, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return what scales a table's and its indexes' capacity.

    Args:
        client: a low-level client of Application Auto Scaling.
        table: as DescribeTable describes it.

    Returns:
        By place, such as ``table:ReadCapacityUnits`` or ``index/by_day:WriteCapacityUnits``: the target, its
        ``policies`` and its ``schedules`` by their names. Empty where nothing scales.
    """
    resources = list(_resources(table))
    pages = client.get_paginator("describe_scalable_targets").paginate(
        ServiceNamespace=NAMESPACE, ResourceIds=resources
    )
    targets = [target for page in pages for target in page["ScalableTargets"]]
    found: dict[str, Any] = {}
    for target in targets:
        found[_place(target)] = {**_chosen(target, _TARGET), "policies": {}, "schedules": {}}
    for resource in sorted({target["ResourceId"] for target in targets}):
        asked = {"ServiceNamespace": NAMESPACE, "ResourceId": resource}
        for page in client.get_paginator("describe_scaling_policies").paginate(**asked):
            for policy in page["ScalingPolicies"]:
                if _place(policy) in found:
                    found[_place(policy)]["policies"][policy["PolicyName"]] = _chosen(policy, _POLICY)
        for page in client.get_paginator("describe_scheduled_actions").paginate(**asked):
            for action in page["ScheduledActions"]:
                if _place(action) in found:
                    found[_place(action)]["schedules"][action["ScheduledActionName"]] = _chosen(action, _SCHEDULE)
    return found


def apply(client: Any, table_name: str, recorded: Mapping[str, Any]) -> None:
    """Let a table scale as another one did. Applying it twice changes nothing.

    Args:
        client: a low-level client of Application Auto Scaling.
        table_name: the table.
        recorded: what `read` returned for the other one.
    """
    for place, target in recorded.items():
        where, _, units = place.rpartition(":")
        kind = "table" if where == "table" else "index"
        named = {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": f"table/{table_name}" if where == "table" else f"table/{table_name}/{where}",
            "ScalableDimension": f"dynamodb:{kind}:{units}",
        }
        wanted = {name: target[name] for name in _TARGET if name in target}
        client.register_scalable_target(**named, **wanted)
        for name, policy in target["policies"].items():
            client.put_scaling_policy(PolicyName=name, **named, **policy)
        for name, action in target["schedules"].items():
            client.put_scheduled_action(ScheduledActionName=name, **named, **action)


def _resources(table: Mapping[str, Any]) -> Iterator[str]:
    yield f"table/{table['TableName']}"
    for index in table.get("GlobalSecondaryIndexes") or ():
        yield f"table/{table['TableName']}/index/{index['IndexName']}"


def _place(entry: Mapping[str, Any]) -> str:
    """Name what is scaled, without the table's name."""
    parts = entry["ResourceId"].split("/", 2)
    units = entry["ScalableDimension"].rpartition(":")[2]
    return f"{parts[2] if len(parts) > 2 else 'table'}:{units}"


def _chosen(entry: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return what of an entry can be applied again, JSON-ready."""
    chosen = {name: entry[name] for name in names if entry.get(name) is not None}
    if chosen.get("SuspendedState") == _AT_REST:
        del chosen["SuspendedState"]
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in chosen.items()}
