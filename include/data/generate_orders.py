"""Make the order files of a kitchen and grocery retailer, the same ones for the same seed.

One file for one day::

    python include/data/generate_orders.py --seed 7 --orders 1000 --date 2026-11-01 --out order_data.csv

A file for each day of a period, ``order_data_YYYY-MM-DD.csv``; files that are there already are left alone::

    python include/data/generate_orders.py --daily --from 2026-11-01 --to 2026-11-07 --out-dir daily

A day's file holds the day's new orders and amendments of earlier ones: a row with the order id and item
id of an order of one of the seven days before, but another amount and a later time stamp. So loading the
days one after the other changes what the table holds already.

Every order is a function of seed, date and its number in the day, so an earlier day need not have been
made to amend its orders. Only the standard library is used, and of its random numbers only
``Random.random``, whose sequence Python promises to keep, with no power or root that a platform's
mathematics library could round its own way.
https://docs.python.org/3/library/random.html#notes-on-reproducibility
"""

import argparse
import csv
import hashlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

COLUMNS = (
    "order_id",
    "item_id",
    "customer_id",
    "product",
    "amount",
    "currency",
    "time_stamp",
    "transaction_date",
)

DEFAULT_SEED = 7
DEFAULT_ORDERS = 200

_AMENDED_SHARE = 0.15
_AMENDED_DAYS = 7
_CUSTOMERS = 4000
_OPENS_AT = 7
_OPEN_HOURS = 14

# Product and its price in cents.
_PRODUCTS: tuple[tuple[str, int], ...] = (
    ("Salmon fillet, skin on", 1899),
    ("Lamb shoulder, boned", 2450),
    ("Chicken thighs, family pack", 1129),
    ("Artichokes", 399),
    ("Jalapeño peppers", 189),
    ("Yellow onions", 149),
    ("Shallots, French", 329),
    ("Heirloom tomatoes", 549),
    ("Plantains", 219),
    ("Haricots verts", 379),
    ("Crème fraîche", 289),
    ("Gruyère, aged 12 months", 1349),
    ("Skyr, plain", 249),
    ("Free-range eggs, dozen", 479),
    ("Bread flour, 2 kg", 359),
    ('"00" pizza flour', 429),
    ("Arborio rice", 389),
    ("Basmati rice, 5 kg", 1279),
    ("Black beans, dried", 229),
    ("Red lentils", 259),
    ("Olive oil, extra virgin", 1199),
    ("Aceto balsamico di Modena", 899),
    ("Sea salt, flaked", 459),
    ("Smoked paprika (Pimentón de la Vera)", 519),
    ("Vanilla pods, Bourbon, pair", 1190),
    ("Dark chocolate, 70 %", 349),
    ("Café molido, mezcla", 799),
    ("烏龍茶 (oolong tea)", 1490),
    ("Earl Grey, loose leaf", 899),
    ("Lemonade, cloudy", 259),
    ("Rosé, Côtes de Provence", 1590),
    ("Smörgåsgurka (pickled gherkins)", 369),
    ("Sauerkraut", 299),
    ("Kimchi, mild", 649),
    ("Chef's knife, 8\"", 7995),
    ('Paring knife, 3.5"', 2495),
    ('Cast iron skillet, 12"', 4450),
    ('Springform tin, 9", non-stick', 1899),
    ("Mixing bowls, set of 3", 3290),
    ("Digital scale, 5 kg", 2799),
    ("Wooden spoon", 495),
    ("Mandoline with guard", 3995),
    ("Tea towels, linen, pair", 1650),
    ("Glass jar, 1 l", 690),
    ('Baking paper, "extra wide"', 419),
    ("Espresso machine", 34900),
    ("Stand mixer, 5 qt", 42900),
    ("Moka pot, 6 cups", 3450),
)

_CURRENCIES = ("USD", "USD", "USD", "USD", "USD", "USD", "CAD", "EUR")

_ITEMS_PER_ORDER = (1, 1, 2, 2, 3, 3, 3, 4, 4, 5)
_QUANTITIES = (1, 1, 1, 1, 1, 1, 2, 2, 3, 4)

_Picked = TypeVar("_Picked")


class OrderRow(NamedTuple):
    """One item of one order, as text, in the order of the file's columns."""

    order_id: str
    item_id: str
    customer_id: str
    product: str
    amount: str
    currency: str
    time_stamp: str
    transaction_date: str


def generate_rows(day: date, seed: int = DEFAULT_SEED, orders: int = DEFAULT_ORDERS) -> list[OrderRow]:
    """Return the rows of one day's file, sorted by time stamp.

    Args:
        day: the day.
        seed: another seed gives another retailer.
        orders: orders in the file, new and amended; about 2.5 rows for each.

    Raises:
        ValueError: fewer than one order.
    """
    if orders < 1:
        raise ValueError(f"orders is {orders}; it must be 1 or more")
    amended = int(orders * _AMENDED_SHARE)
    rows = [row for number in range(orders - amended) for row in _new_order(day, seed, number)]
    rows.extend(_amendments(day, seed, orders - amended, amended))
    return sorted(rows, key=lambda row: (row.time_stamp, row.order_id, row.item_id))


def _new_order(day: date, seed: int, number: int) -> list[OrderRow]:
    draw = _random(seed, day, "order", number)
    order_id = f"{day:%y%m%d}-{number:05d}"
    customer_id = str(10000 + _below(draw, _CUSTOMERS))
    currency = _pick(draw, _CURRENCIES)
    moment = _moment(draw, day)
    bought_online = draw.random() < 0.3
    count = _pick(draw, _ITEMS_PER_ORDER)
    rows = []
    for item in range(1, count + 1):
        product, cents = _pick(draw, _PRODUCTS)
        quantity = _pick(draw, _QUANTITIES)
        rows.append(
            OrderRow(
                order_id,
                f"{item:02d}",
                customer_id,
                product,
                _money(cents * quantity),
                currency,
                _stamp(moment),
                day.isoformat() if bought_online else f"{day.month}-{day.day}-{day.year}",
            )
        )
    return rows


def _amendments(day: date, seed: int, new_orders: int, count: int) -> Iterator[OrderRow]:
    """Yield rows that change an item of an order of the days before; no item twice."""
    draw = _random(seed, day, "amendments", 0)
    taken: set[tuple[str, str]] = set()
    for _ in range(count):
        earlier = day - timedelta(days=1 + _below(draw, _AMENDED_DAYS))
        before = _pick(draw, _new_order(earlier, seed, _below(draw, new_orders)))
        share = 50 + _below(draw, 45)
        moment = _moment(draw, day)
        if (before.order_id, before.item_id) in taken:
            continue
        taken.add((before.order_id, before.item_id))
        cents = int(before.amount.replace(".", ""))
        yield before._replace(
            amount=_money(cents * share // 100),
            time_stamp=_stamp(moment),
            transaction_date=day.isoformat(),
        )


def _random(seed: int, day: date, purpose: str, number: int) -> Random:
    text = f"{seed}/{day.isoformat()}/{purpose}/{number}"
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))  # noqa: S311 - made-up data


def _below(draw: Random, limit: int) -> int:
    return int(draw.random() * limit)


def _pick(draw: Random, choices: Sequence[_Picked]) -> _Picked:
    return choices[_below(draw, len(choices))]


def _moment(draw: Random, day: date) -> datetime:
    opening = datetime(day.year, day.month, day.day, _OPENS_AT, tzinfo=UTC)
    return opening + timedelta(seconds=_below(draw, _OPEN_HOURS * 3600))


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def to_csv(rows: Sequence[OrderRow]) -> bytes:
    """Return the file's content: UTF-8 without a byte order mark, LF line ends, quotes where needed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)


def write_daily(
    first: date, last: date, out_dir: Path, *, seed: int, orders: int, force: bool = False
) -> tuple[list[Path], list[Path]]:
    """Write ``order_data_YYYY-MM-DD.csv`` for each day from `first` to `last`.

    Returns:
        The files written, and the files left alone since they were there and `force` is not set.

    Raises:
        ValueError: `last` is before `first`.
    """
    if last < first:
        raise ValueError(f"the period ends on {last}, before it begins on {first}; swap --from and --to")
    written: list[Path] = []
    kept: list[Path] = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        path = out_dir / f"order_data_{day.isoformat()}.csv"
        if path.exists() and not force:
            kept.append(path)
            continue
        write_file(path, to_csv(generate_rows(day, seed, orders)))
        written.append(path)
    return written, kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        if given.daily:
            if not (given.first and given.last and given.out_dir):
                parser.error("--daily needs --from, --to and --out-dir")
            written, kept = write_daily(
                given.first,
                given.last,
                given.out_dir,
                seed=given.seed,
                orders=given.orders,
                force=given.force,
            )
            sys.stdout.write(f"{given.out_dir}: {len(written)} files written, {len(kept)} left alone\n")
        else:
            if not (given.date and given.out):
                parser.error("one file needs --date and --out; many need --daily")
            rows = generate_rows(given.date, given.seed, given.orders)
            write_file(given.out, to_csv(rows))
            sys.stdout.write(f"{given.out}: {len(rows)} rows of {given.orders} orders\n")
    except ValueError as error:
        parser.error(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make order files, the same ones for the same seed.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default: %(default)s")
    parser.add_argument("--orders", type=int, default=DEFAULT_ORDERS, help="per file, default: %(default)s")
    parser.add_argument("--date", type=date.fromisoformat, help="day of the one file")
    parser.add_argument("--out", type=Path, help="the one file, overwritten if there")
    parser.add_argument("--daily", action="store_true", help="make a file for each day")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first day")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, help="last day, included")
    parser.add_argument("--out-dir", type=Path, help="folder of the daily files")
    parser.add_argument("--force", action="store_true", help="overwrite daily files that are there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
