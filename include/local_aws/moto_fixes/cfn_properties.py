"""What the CloudFormation cures share: reading properties, and refusing those that would be ignored."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from local_aws.moto_fixes.cfn_stacks import TemplateError


def refuse_unserved(resource_type: str, properties: Collection[str], served: Collection[str]) -> None:
    """Refuse a property that the local AWS would not apply: a green stack must not hide it.

    Raises:
        TemplateError: Names the properties.
    """
    unserved = sorted(name for name in properties if name not in served)
    if unserved:
        raise TemplateError(
            f"The local AWS does not apply these properties of {resource_type}: {', '.join(unserved)}. "
            "Leave them out of the template, or teach the local AWS to apply them."
        )


def as_bool(value: Any) -> bool:
    """Read a Boolean property: a real boolean, or the text that a parameter gives."""
    return value if isinstance(value, bool) else str(value).lower() == "true"


def same_name(wanted: str | None, present: str) -> bool:
    """Tell whether a resource keeps its name: an unnamed one keeps the name that it was given."""
    return wanted is None or wanted == present


@contextmanager
def undone_on_failure(undo: Callable[[], object]) -> Iterator[None]:
    """Undo the making of a resource whose properties cannot be applied: the stack does not know it yet."""
    try:
        yield
    except Exception:
        undo()
        raise


def replace_tags(backend: Any, arn: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Give a resource the tags that a template says now, and take those away that it said before."""
    if gone := sorted(set(before) - set(after)):
        backend.untag_resource(arn, gone)
    if after:
        backend.tag_resource(arn, dict(after))
