"""What the CloudFormation types that the local AWS adds to moto's have in common."""

from collections.abc import Mapping
from typing import ClassVar

from local_aws.moto_fixes.cfn_stacks import TemplateError


class AddedType:
    """Answers what moto asks of every resource type.

    Stands before `CloudFormationModel` among a type's bases and does not inherit from it: moto knows just the direct
    subclasses of that class.
    """

    TYPE: ClassVar[str]
    """The type's name in templates."""
    NAME_PROPERTY: ClassVar[str] = ""
    """The property that names the resource; empty if none does."""
    ATTRIBUTES: ClassVar[frozenset[str]] = frozenset()
    """What Fn::GetAtt may ask for."""

    @classmethod
    def cloudformation_name_type(cls) -> str:
        """Return the property that names the resource."""
        return cls.NAME_PROPERTY

    @classmethod
    def cloudformation_type(cls) -> str:
        """Return the type's name in templates."""
        return cls.TYPE

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Say whether Fn::GetAtt may ask for this."""
        return attr in cls.ATTRIBUTES

    def is_created(self) -> bool:
        """Say that the resource is there: none of these takes its time."""
        return True


def attribute(values: Mapping[str, str], name: str, *, owner: str) -> str:
    """Return what Fn::GetAtt asks for.

    Args:
        values: what the resource has to say, by attribute.
        name: the attribute.
        owner: what is asked, in the words of the message.

    Raises:
        TemplateError: there is no such attribute.
    """
    if name not in values:
        raise TemplateError(f"Template error: {owner} does not support attribute type {name} in Fn::GetAtt")
    return values[name]
