"""The Condition element of policies.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html.
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from local_aws.access.patterns import Context, UnknownVariable, arn_like, fill, like

Test = Callable[[str, str], bool]
"""Called with a value of the policy, its variables filled, and one of the request."""

_IF_EXISTS: Final = "ifexists"
_FOR_ALL: Final = "forallvalues:"
_FOR_ANY: Final = "foranyvalue:"


class UnknownOperator(ValueError):
    """A condition operator that IAM does not have."""

    def __init__(self, operator: str) -> None:
        super().__init__(operator)
        self.operator = operator

    def __str__(self) -> str:
        return f"IAM has no condition operator {self.operator!r}. Correct the policy's Condition."


def conditions_hold(condition: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    """Tell whether all conditions of a statement hold for a request.

    Raises:
        UnknownOperator: There is an operator that IAM does not have.
    """
    return all(
        _holds(operator, key, values, context) for operator, keys in condition.items() for key, values in keys.items()
    )


def _holds(operator: str, key: str, wanted: Any, context: Context) -> bool:
    name = operator.lower()
    for_all, for_any = name.startswith(_FOR_ALL), name.startswith(_FOR_ANY)
    name = name.removeprefix(_FOR_ALL).removeprefix(_FOR_ANY)
    if_exists = name.endswith(_IF_EXISTS)
    name = name.removesuffix(_IF_EXISTS)
    given = context.get(key.lower())
    patterns = [_text(each) for each in (wanted if isinstance(wanted, list) else [wanted])]
    if name == "null":
        return any(each.lower() == str(not given).lower() for each in patterns)
    negated = name in _NEGATED
    test = _TESTS.get(_NEGATED.get(name, name))
    if test is None:
        raise UnknownOperator(operator)
    if not given:
        return for_all or if_exists or (negated and not for_any)
    matches = [_matches_one(test, patterns, value, context) for value in given]
    if negated:
        # Each value on its own: it must match none of the patterns.
        matches = [not match for match in matches]
        return any(matches) if for_any else all(matches)
    return all(matches) if for_all else any(matches)


def _matches_one(test: Test, patterns: Sequence[str], value: str, context: Context) -> bool:
    for pattern in patterns:
        try:
            filled = fill(pattern, context)
        except UnknownVariable:
            continue
        try:
            if test(filled, value):
                return True
        except ValueError:
            continue  # no number, date or address: matches nothing
    return False


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(filled: str) -> str:
    # What does not take wildcards means them literally, also those that `fill` has escaped.
    return filled.replace("\\*", "*").replace("\\?", "?").replace("\\\\", "\\")


def _numeric(compare: Callable[[float, float], bool]) -> Test:
    return lambda pattern, value: compare(float(value), float(_plain(pattern)))


def _dated(compare: Callable[[datetime, datetime], bool]) -> Test:
    return lambda pattern, value: compare(_instant(value), _instant(_plain(pattern)))


def _instant(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _in_network(pattern: str, value: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(_plain(pattern), strict=False)


_TESTS: Final[Mapping[str, Test]] = {
    "stringequals": lambda pattern, value: _plain(pattern) == value,
    "stringequalsignorecase": lambda pattern, value: _plain(pattern).lower() == value.lower(),
    "stringlike": like,
    "arnequals": arn_like,
    "arnlike": arn_like,
    "bool": lambda pattern, value: _plain(pattern).lower() == value.lower(),
    "binaryequals": lambda pattern, value: _plain(pattern) == value,
    "ipaddress": _in_network,
    "numericequals": _numeric(lambda value, limit: value == limit),
    "numericlessthan": _numeric(lambda value, limit: value < limit),
    "numericlessthanequals": _numeric(lambda value, limit: value <= limit),
    "numericgreaterthan": _numeric(lambda value, limit: value > limit),
    "numericgreaterthanequals": _numeric(lambda value, limit: value >= limit),
    "dateequals": _dated(lambda value, limit: value == limit),
    "datelessthan": _dated(lambda value, limit: value < limit),
    "datelessthanequals": _dated(lambda value, limit: value <= limit),
    "dategreaterthan": _dated(lambda value, limit: value > limit),
    "dategreaterthanequals": _dated(lambda value, limit: value >= limit),
}
_NEGATED: Final[Mapping[str, str]] = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "notipaddress": "ipaddress",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
}
