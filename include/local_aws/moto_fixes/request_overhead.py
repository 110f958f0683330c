"""Cure: much of the time of a small request goes into the same questions, asked anew each time.

For each request moto lists its own folder to learn the names of its services (with a lock held), inspects the
handler's class for its methods, draws the 52 letters of a request id one by one, and walks through the service
model for each attribute value of a DynamoDB request. The answers do not change, or are plain already.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from random import Random
from string import ascii_letters, digits
from typing import Any, Final

from moto import backends
from moto.core import responses
from moto.core.parse import BaseJSONParser
from moto.moto_api._internal.moto_random import MotoRandom

_PLAIN: Final = frozenset({"S", "N", "BOOL", "NULL", "SS", "NS"})
"""Attribute values whose JSON form is what the service model makes of them."""

_MARK: Final = "_local_aws_request_overhead"


def install() -> None:
    """Answer the same questions once. Safe to call twice."""
    if hasattr(BaseJSONParser._parse_structure, _MARK):
        return
    _install_parser()
    for module, question in ((backends, "list_of_moto_modules"), (responses, "method_names_from_class")):
        setattr(module, question, _asked_once(getattr(module, question)))
    _install_enrichment()
    MotoRandom.get_random_string = _random_string  # type: ignore[method-assign]


def _asked_once(question: Callable[..., Iterable[str]]) -> Callable[..., frozenset[str]]:
    @cache
    def answer(*about: Any) -> frozenset[str]:
        return frozenset(question(*about))

    return answer


def _random_string(self: Random, length: int = 20, include_digits: bool = True, lower_case: bool = False) -> str:
    letters = "".join(self.choices(ascii_letters + (digits if include_digits else ""), k=length))
    return letters.lower() if lower_case else letters


def _install_enrichment() -> None:
    stock = responses.BaseResponse._enrich_response

    def enrich_response(headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        if not isinstance(body, str) or "<RequestId>" in body:
            return stock(headers, body)
        # A megabyte of JSON need not be searched for where to put the request id into XML.
        headers, _ = stock(headers, "")
        return headers, body

    responses.BaseResponse._enrich_response = staticmethod(enrich_response)  # type: ignore[method-assign]


def _install_parser() -> None:
    parser: Any = BaseJSONParser
    stock = parser._parse_structure

    @wraps(stock)
    def parse_structure(self: Any, shape: Any, value: Any) -> Any:
        if shape.name == "AttributeValue" and type(value) is dict:
            return _attribute_value(value, self._parse_blob, lambda odd: stock(self, shape, odd))
        return stock(self, shape, value)

    setattr(parse_structure, _MARK, True)
    parser._parse_structure = parse_structure


def _attribute_value(
    value: Mapping[str, Any], parse_blob: Callable[[None, Any], Any], otherwise: Callable[[Any], Any]
) -> Any:
    if len(value) != 1:
        return otherwise(value)
    ((kind, content),) = value.items()
    if content is None:
        return otherwise(value)
    if kind in _PLAIN:
        return value
    if kind == "B":
        return {kind: parse_blob(None, content)}
    if kind == "BS" and type(content) is list:
        return {kind: [parse_blob(None, element) for element in content]}
    return otherwise(value)
