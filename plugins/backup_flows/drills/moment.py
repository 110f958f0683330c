"""For which moment a drill chooses its recovery point, and under which date its verdict is kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

from backup_flows.as_of import run_as_of
from backup_flows.drills.errors import BadDrillRequestError

ONE_DAY = dt.timedelta(days=1)
PERIODIC = frozenset({"scheduled", "backfill"})


class Moment(NamedTuple):
    """What a drill stands for.

    :param before: recovery points that were made before this moment count (aware, UTC).
    :param as_of: the date under which verdict and evidence are kept, ``YYYY-MM-DD``.
    """

    before: dt.datetime
    as_of: str


def end_of(day: dt.date) -> dt.datetime:
    """Return the first moment after a day (UTC)."""
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC) + ONE_DAY


def drill_moment(context: Mapping[str, Any]) -> Moment:
    """Return the moment that a run's drills stand for.

    * The param ``as_of`` names a date: until the end of that day (UTC). It names a moment: until then, inclusive.
    * A scheduled or backfilled run: until the end of its data interval, so that the drill of a week takes the newest
      point that there was when the week was over. Its date is the interval's start, as with every DAG here.
    * Any other run: until the end of the day of its logical date, or of the moment it was due.

    :raises BadDrillRequestError: the param is neither.
    """
    given = context["params"].get("as_of")
    if given:
        return _given(str(given).strip())
    dag_run, run = context["dag_run"], run_as_of(context)
    end = getattr(dag_run, "data_interval_end", None)
    if dag_run.run_type in PERIODIC and end is not None and end > run:
        return Moment(end.astimezone(dt.UTC), run.date().isoformat())
    return Moment(end_of(run.date()), run.date().isoformat())


def _given(text: str) -> Moment:
    try:
        if len(text) == len("YYYY-MM-DD"):
            day = dt.date.fromisoformat(text)
            return Moment(end_of(day), day.isoformat())
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise BadDrillRequestError(
            f"as_of {text!r} is neither a date nor a moment: write 2026-11-01, or 2026-11-01T06:00:00Z."
        ) from error
    moment = moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
    return Moment(moment + dt.timedelta(microseconds=1), moment.date().isoformat())
