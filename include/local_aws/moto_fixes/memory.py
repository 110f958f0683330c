"""Cure: moto never lets go of a model instance.

Every `BaseModel` instance is appended to a list on its class, emptied only by a reset. DynamoDB's `Item` is
one, and is made anew for each item that a scan returns: a server that works for a day grows without bound.
To see it: scan a table and look at ``len(Item.instances_tracked)``. The price of the cure is an empty
``/moto-api/data.json``.
"""

from typing import Any, Final

from moto.core.common_models import BaseModel

_MARK: Final = "_local_aws_untracked"


def install() -> None:
    """Make model instances without tracking them. Safe to call twice."""
    if hasattr(BaseModel.__new__, _MARK):
        return

    def new(cls: type[BaseModel], *args: Any, **kwargs: Any) -> BaseModel:
        return object.__new__(cls)

    setattr(new, _MARK, True)
    BaseModel.__new__ = new  # type: ignore[method-assign]
