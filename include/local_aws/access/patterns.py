"""Wildcards and variables of policies: `*` and `?`, and `${aws:username}` and its like."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

_VARIABLE: Final = re.compile(r"\$\{([^}]+)\}")
_LITERALS: Final = {"*": "*", "?": "?", "$": "$"}
ARN_PARTS: Final = 6

Context = Mapping[str, Sequence[str]]
"""The condition keys of a request, in lower case, with their values."""


class UnknownVariable(LookupError):
    """A policy variable that the request has no single value for: what holds it matches nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"The request has no single value for the policy variable ${{{self.name}}}."


def like(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Tell whether `value` matches a pattern in which `*` is any text and `?` any one character."""
    return _compiled(pattern, ignore_case).fullmatch(value) is not None


def arn_like(pattern: str, value: str) -> bool:
    """Tell whether an ARN matches a pattern part by part: no wildcard reaches over a colon, but in the last part.

    See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html.
    """
    wanted, given = pattern.split(":", ARN_PARTS - 1), value.split(":", ARN_PARTS - 1)
    if pattern == "*":
        return True
    return len(wanted) == len(given) and all(map(like, wanted, given))


def fill(text: str, context: Context) -> str:
    """Return a pattern with its variables replaced by the request's values, which match only as they are.

    Raises:
        UnknownVariable: The request has not exactly one value for a variable that has no default.
    """

    def value_of(match: re.Match[str]) -> str:
        name, _, default = match.group(1).partition(",")
        if name in _LITERALS:
            return escape(_LITERALS[name])
        values = context.get(name.strip().lower(), ())
        if len(values) == 1:
            return escape(values[0])
        if default:
            return escape(default.strip().strip("'"))
        raise UnknownVariable(name)

    return _VARIABLE.sub(value_of, text)


def escape(text: str) -> str:
    """Return a pattern that matches `text` only."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


@lru_cache(maxsize=4096)
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    parts = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts.append(re.escape(next(characters, "\\")))
        else:
            parts.append({"*": ".*", "?": "."}.get(character) or re.escape(character))
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
