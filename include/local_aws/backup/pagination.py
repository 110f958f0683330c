"""Pages of a list: MaxResults items and an opaque NextToken.

A token says after which item to go on, not how many to skip: items that come or go between two pages do not
make the reader miss or repeat others.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from local_aws.backup.exceptions import InvalidParameterValueException

Item = TypeVar("Item")
SortKey = str | int

MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100  # AWS states no default; small enough that a caller who forgets to page finds out


def paginate(
    operation: str,
    items: Iterable[Item],
    sort_key: Callable[[Item], SortKey],
    *,
    max_results: int | None,
    next_token: str | None,
) -> tuple[list[Item], str | None]:
    """Return one page of `items` in the order of `sort_key`, and the token of the next, if any.

    Args:
        operation: Whose list it is: a token of another operation is refused.
        items: The whole list, filtered.
        sort_key: Unique for each item, of one type within a list.
        max_results: 1 to 1000.
        next_token: As the page before returned it.

    Raises:
        InvalidParameterValueException: A bad page size or token.
    """
    size = DEFAULT_PAGE if max_results is None else max_results
    if not 1 <= size <= MAX_PAGE:
        raise InvalidParameterValueException(f"Invalid MaxResults {size}: must be between 1 and {MAX_PAGE}.")
    ordered = sorted(items, key=sort_key)
    if next_token is not None:
        last = _read(operation, next_token)
        ordered = [item for item in ordered if _is_after(sort_key(item), last)]
    page = ordered[:size]
    return page, _write(operation, sort_key(page[-1])) if len(ordered) > size else None


def _is_after(key: SortKey, last: SortKey) -> bool:
    if isinstance(key, str) and isinstance(last, str):
        return key > last
    if isinstance(key, int) and isinstance(last, int):
        return key > last
    raise InvalidParameterValueException("Invalid NextToken.")


def _write(operation: str, key: SortKey) -> str:
    return base64.urlsafe_b64encode(json.dumps([operation, key]).encode()).decode()


def _read(operation: str, token: str) -> SortKey:
    try:
        made_by, key = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidParameterValueException("Invalid NextToken.") from error
    if made_by != operation or isinstance(key, bool) or not isinstance(key, str | int):
        raise InvalidParameterValueException("Invalid NextToken: it belongs to another list.")
    return key
