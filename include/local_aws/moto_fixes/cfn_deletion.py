"""Cure: moto deletes a stack's resources in any order, and makes those that are gone anew when it is asked about them.

CloudFormation deletes what depends on others first; what could not be deleted keeps what it depends on. See
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-dependson.html.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_SUBSTITUTED: Final = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")


def install(parsing: Any) -> None:
    """Replace the deletion of moto's `ResourceMap`, whose module is given because it is slow to load."""

    def delete(self: Any) -> None:
        resources: dict[str, Any] = self._resource_json_map
        left = {name for name, resource in resources.items() if resource.get("DeletionPolicy") != "Retain"}
        needs = {name: set(references(resources[name])) for name in left}
        last: Exception | None = None
        while free := {name for name in left if not any(name in needs[other] for other in left - {name})}:
            failed = 0
            for name in sorted(free):
                try:
                    _delete(self, name)
                except Exception as error:
                    last = error
                    failed += 1
                else:
                    left.discard(name)
            if failed == len(free):
                break
        # What is not named any more is not made anew by a mere question.
        self._resource_json_map = {name: resource for name, resource in resources.items() if name in left}
        if left:
            raise last or RuntimeError(f"The resources {', '.join(sorted(left))} depend on each other.")

    parsing.ResourceMap.delete = delete


def _delete(resources: Any, name: str) -> None:
    made = resources._parsed_resources.get(name)
    if made is not None and not isinstance(made, str):
        resources._delete_resource(made, resources._resource_json_map[name])
        resources._parsed_resources.pop(name)


def references(value: Any) -> Iterator[str]:
    """Yield the logical names that a resource of a template depends on."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("Ref", "DependsOn", "Fn::GetAtt", "Fn::Sub"):
                yield from _named(key, inner)
            yield from references(inner)


def _named(key: str, inner: Any) -> Iterator[str]:
    if key == "Fn::Sub":
        text = inner[0] if isinstance(inner, list) else inner
        yield from _SUBSTITUTED.findall(str(text))
    elif key == "Fn::GetAtt":
        yield (inner[0] if isinstance(inner, list) else str(inner).partition(".")[0])
    else:
        yield from inner if isinstance(inner, list) else [inner]
