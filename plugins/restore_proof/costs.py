"""What a drill costs, by a price file: the GB restored, what the proof reads, the restored table, S3's requests.

Not in it: backups that are kept (retention reckons those), reading the source table at backup time, data transfer, and
taxes, credits and free tiers. What AWS bills is on AWS's bill; this is for deciding and comparing.
https://aws.amazon.com/backup/pricing/ and https://aws.amazon.com/dynamodb/pricing/
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from restore_proof.prices import Prices

GB: Final = 1024**3
MONTH_HOURS: Final = 30 * 24
UNIT_BYTES: Final = 4096
"""One read request unit reads so much, consistently:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html"""


@dataclass(frozen=True)
class Work:
    """What a drill uses, or is expected to use.

    Attributes:
        restored_bytes: size of what is restored; None: not known.
        from_cold: whether it comes out of cold storage.
        read_units: read units that the proof consumes of the restored table.
        table_hours: how long the restored table is there.
        read_capacity, write_capacity: of a restored table in provisioned mode; None: it is in on-demand mode.
        s3_puts, s3_gets: requests to S3.
        restore_tests: restores of AWS's own restore testing.
        remarks: what a reader should know of these figures, as sentences.
    """

    restored_bytes: int | None = None
    from_cold: bool = False
    read_units: float = 0.0
    table_hours: float = 0.0
    read_capacity: int | None = None
    write_capacity: int | None = None
    s3_puts: int = 0
    s3_gets: int = 0
    restore_tests: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One line of a sum.

    Attributes:
        unit: what there are ``amount`` of.
        price: dollars for one.
    """

    name: str
    amount: float
    unit: str
    price: float

    @property
    def usd(self) -> float:
        """Dollars."""
        return self.amount * self.price

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON-ready values."""
        return {
            "name": self.name,
            "amount": round(self.amount, 6),
            "unit": self.unit,
            "unit_usd": self.price,
            "usd": round(self.usd, 6),
        }


@dataclass(frozen=True)
class Cost:
    """What a drill costs.

    Attributes:
        region: whose prices it is reckoned by.
        remarks: what a reader should know of it, as sentences.
    """

    parts: Sequence[Part]
    region: str
    checked_on: str | None = None
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def usd(self) -> float:
        """Dollars in all."""
        return sum(part.usd for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the sum as JSON-ready values."""
        return {
            "total_usd": round(self.usd, 6),
            "parts": [part.to_dict() for part in self.parts],
            "prices_of": self.region,
            "prices_checked_on": self.checked_on,
            "remarks": list(self.remarks),
        }


def cost_of(work: Work, prices: Prices, *, region: str | None = None) -> Cost:
    """Reckon what some work costs.

    Args:
        work: what is used.
        prices: of a unit each.
        region: where the table is, to say so where the prices are another Region's.
    """
    unit, gigabytes = prices.prices, (work.restored_bytes or 0) / GB
    restore = unit.restore_cold_gb if work.from_cold else unit.restore_warm_gb
    parts = [
        Part("restore", gigabytes, "GB from cold storage" if work.from_cold else "GB", restore),
        *_reads(work, prices),
        Part("restored table", gigabytes * work.table_hours / MONTH_HOURS, "GB-month", unit.table_gb_month),
        Part("S3 writes", work.s3_puts / 1000, "thousand requests", unit.s3_put_thousand),
        Part("S3 reads", work.s3_gets / 1000, "thousand requests", unit.s3_get_thousand),
    ]
    if work.restore_tests:
        parts.append(Part("restore testing", work.restore_tests, "restore", unit.restore_test))
    remarks = [*work.remarks, *prices.remarks(region)]
    if work.restored_bytes is None:
        remarks.insert(0, "How much is restored is not known, so it is counted as nothing.")
    checked = prices.checked_on.isoformat() if prices.checked_on else None
    return Cost(parts, prices.region, checked, tuple(remarks))


def _reads(work: Work, prices: Prices) -> list[Part]:
    """Return what reading the restored table costs: by request, or by the hour where its capacity is provisioned."""
    unit = prices.prices
    if work.read_capacity is None and work.write_capacity is None:
        return [Part("reading", work.read_units / 1_000_000, "million read units", unit.read_million)]
    hours = math.ceil(work.table_hours)
    return [
        Part("read capacity", (work.read_capacity or 0) * hours, "unit-hours", unit.read_capacity_hour),
        Part("write capacity", (work.write_capacity or 0) * hours, "unit-hours", unit.write_capacity_hour),
    ]


def work_to_dict(work: Work) -> dict[str, Any]:
    """Return what is used as JSON-ready values."""
    return {**vars(work), "remarks": list(work.remarks)}


def work_from_dict(document: Mapping[str, Any]) -> Work:
    """Return what `work_to_dict` wrote."""
    return Work(**{**document, "remarks": tuple(document["remarks"])})
