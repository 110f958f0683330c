"""What AWS charges: the price file, which the user edits (``include/prices.yaml``).

The file's prices are examples until somebody has compared them with AWS's pages and has said so in ``checked_on``;
what is reckoned by unchecked prices says that it is.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

PRICE_FILE: Final = "include/prices.yaml"

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PriceFileError(ValueError):
    """The price file can't be used; the message names the file, what is wrong in it, and the remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnitPrices(_Section):
    """Dollars for a unit each. A GB is 1024 to the third bytes, a month is what AWS reckons as 30 days."""

    restore_warm_gb: Dollars
    restore_cold_gb: Dollars
    restore_test: Dollars
    backup_warm_gb_month: Dollars
    backup_cold_gb_month: Dollars
    read_million: Dollars
    table_gb_month: Dollars
    read_capacity_hour: Dollars
    write_capacity_hour: Dollars
    s3_put_thousand: Dollars
    s3_get_thousand: Dollars


class Prices(_Section):
    """The whole file.

    Attributes:
        region: whose prices these are.
        checked_on: when somebody compared them with AWS's pages; None: nobody has.
        sources: those pages.
    """

    version: Literal[1] = 1
    currency: Literal["USD"] = "USD"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
    checked_on: dt.date | None = None
    sources: tuple[str, ...] = ()
    prices: UnitPrices

    def remarks(self, region: str | None) -> list[str]:
        """Return what a reader of a sum should know of the prices behind it.

        Args:
            region: where the table is; None: not known.
        """
        found = []
        if self.checked_on is None:
            found.append(f"Reckoned by example prices that nobody has checked (checked_on in {PRICE_FILE}).")
        if region is not None and region != self.region:
            found.append(f"The prices are those of {self.region}; the table is in {region}.")
        return found


def read_prices(path: str | Path) -> Prices:
    """Read the price file.

    Raises:
        PriceFileError: it is missing or wrong.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise PriceFileError(f"{path} can't be read: {error}. Remedy: provide {PRICE_FILE} as UTF-8 text.") from error
    except yaml.YAMLError as error:
        raise PriceFileError(f"{path} is not YAML: {error}. Remedy: correct it.") from error
    return parse_prices(content, str(path))


def parse_prices(content: Any, name: str = PRICE_FILE) -> Prices:
    """Take a price file's content.

    Args:
        content: what the file holds, parsed; or what ``Prices.model_dump(mode="json")`` returned.
        name: of the file, for messages.

    Raises:
        PriceFileError: lists everything that is wrong.
    """
    try:
        return Prices.model_validate(content)
    except ValidationError as error:
        lines = [
            f"{name}: {'.'.join(str(part) for part in found['loc']) or 'the file'}: {found['msg']}"
            for found in error.errors(include_url=False)
        ]
        raise PriceFileError(
            "\n".join(lines) + "\nRemedy: write dollars from 0 on for each unit; all of them have to be there."
        ) from error
