"""The judge: botocore's service model of AWS Backup.

It knows which operations there are, what a reply of each may hold, and with which errors each may refuse. It does
not know what the replies should say: that is for the tests of each area.
"""

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from botocore.model import ServiceModel
from botocore.session import get_session
from botocore.validate import ParamValidator

MODEL: Final[ServiceModel] = get_session().get_service_model("backup")


class Judge:
    """Watches what a boto3 client of AWS Backup is answered, while it is entered.

    Attributes:
        passed: Operations that succeeded, each reply in the model's shape.
        refused: Error codes by operation, each declared by the model.
        faults: What was wrong, in words, by operation.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.passed: set[str] = set()
        self.refused: dict[str, set[str]] = {}
        self.faults: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        self._client.meta.events.register_last("after-call.backup", self._check)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.meta.events.unregister("after-call.backup", self._check)

    def _check(self, http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
        found = list(
            _faults_of_error(http_response, parsed, model)
            if http_response.status_code >= 300
            else _faults_of_success(http_response, parsed, model)
        )
        kind = http_response.headers.get("Content-Type", "")
        if http_response.content and not kind.startswith("application/json"):
            found.append(f"the reply is {kind or 'of no type'}, not JSON")
        if found:
            self.faults.setdefault(model.name, []).extend(found)
        elif http_response.status_code >= 300:
            self.refused.setdefault(model.name, set()).add(parsed["Error"]["Code"])
        else:
            self.passed.add(model.name)


def unknown_members(reply: Any, shape: Any, path: str = "") -> Iterator[str]:
    """Yield what a raw reply has and the model has not: boto3 drops it silently.

    Args:
        reply: As it came, parsed from JSON.
        shape: The model's output shape.
        path: Where in the reply this is.
    """
    if shape.type_name == "structure" and isinstance(reply, dict):
        known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, value in reply.items():
            if name in known:
                yield from unknown_members(value, known[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif shape.type_name == "list" and isinstance(reply, list):
        for value in reply:
            yield from unknown_members(value, shape.member, f"{path}[]")


def _faults_of_success(http_response: Any, parsed: Mapping[str, Any], model: Any) -> Iterator[str]:
    expected = model.http.get("responseCode", 200)
    if http_response.status_code != expected:
        yield f"HTTP {http_response.status_code} instead of {expected}"
    if model.output_shape is None:
        return
    raw = json.loads(http_response.content or b"{}")
    for name in unknown_members(raw, model.output_shape):
        yield f"the model has no {name}"
    reply = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    report = ParamValidator().validate(reply, model.output_shape)
    if report.has_errors():
        yield str(report.generate_report())


def _faults_of_error(http_response: Any, parsed: Mapping[str, Any], model: Any) -> Iterator[str]:
    code = parsed["Error"]["Code"]
    shapes = {shape.name: shape for shape in model.error_shapes}
    if code not in shapes:
        yield f"{code} is no error of this operation"
        return
    expected = shapes[code].metadata.get("error", {}).get("httpStatusCode", 400)
    if http_response.status_code != expected:
        yield f"{code} with HTTP {http_response.status_code} instead of {expected}"
    if http_response.headers.get("x-amzn-errortype") != code:
        yield f"{code} is not in the header x-amzn-errortype"
    if not parsed["Error"]["Message"]:
        yield f"{code} without a message"
