"""iam:SimulatePrincipalPolicy: what a principal's own policies would say to some actions.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html. Policies of resources and
pages of results are not served; the answer is the same whether IAM is enforced or not.
"""

from collections.abc import Mapping
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.iam.exceptions import NotFoundException, ValidationError
from moto.iam.models import IAMBackend
from moto.iam.responses import IamResponse

from local_aws.access.callers import Caller, role_caller, user_caller
from local_aws.access.decisions import decide
from local_aws.access.permissions import NO_RESOURCE
from local_aws.access.policies import Ask

_KINDS: Final = ("role", "user")
Members = Mapping[str, Any]


def install() -> None:
    """Serve the operation. Safe to call twice."""
    # moto's class has no such method until then.
    setattr(IamResponse, "simulate_principal_policy", _simulate)  # noqa: B010


def _simulate(self: IamResponse) -> ActionResult:
    backend: IAMBackend = self.backend
    caller = _principal(backend, str(self._get_param("PolicySourceArn")), self.current_account)
    context = _context(self._get_param("ContextEntries") or [])
    actions = self._get_param("ActionNames") or []
    if not actions:
        raise ValidationError("ActionNames must have at least one member.")
    resources = self._get_param("ResourceArns") or [NO_RESOURCE]
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": _decision(caller, action, resource, context),
            "MatchedStatements": [],
            "MissingContextValues": [],
        }
        for action in actions
        for resource in resources
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _principal(backend: IAMBackend, arn: str, account_id: str) -> Caller:
    kind, _, path = arn.split(":", 5)[-1].partition("/")
    if not arn.startswith("arn:") or kind not in _KINDS:
        raise ValidationError(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    name = path.rpartition("/")[2]
    if kind == "role":
        for role in list(backend.roles.values()):
            if role.arn == arn:
                return role_caller(backend, role, "simulation")
    elif name in backend.users:
        return user_caller(backend, backend.users[name], account_id)
    raise NotFoundException(f"The {kind} with name {name} cannot be found.")


def _decision(caller: Caller, action: str, resource: str, context: Mapping[str, tuple[str, ...]]) -> str:
    ask = Ask(action, resource, {**caller.keys, **context}, caller.principals, caller.account_id)
    denial = decide(ask, caller.policies)
    if denial is None:
        return "allowed"
    return "explicitDeny" if denial.explicit else "implicitDeny"


def _context(entries: list[Members]) -> dict[str, tuple[str, ...]]:
    return {
        str(entry["ContextKeyName"]).lower(): tuple(map(str, entry.get("ContextKeyValues") or ())) for entry in entries
    }
