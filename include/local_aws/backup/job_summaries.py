"""How many jobs there were of each kind, day by day or together: the lists of job summaries.

See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobSummaries.html.

AWS says no more of the periods than their lengths. Here a day is one of UTC, the last is the running one, and days
without a job are left out. A job counts on each day on which it was created or running, as AWS says.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from local_aws.backup.states import RESOURCE_TYPE
from local_aws.backup.validation import check_choice

ANY: Final = "ANY"
AGGREGATE_ALL: Final = "AGGREGATE_ALL"
DEFAULT_PERIOD: Final = "ONE_DAY"
PERIODS: Final = {"ONE_DAY": (14, 1), "SEVEN_DAYS": (1, 7), "FOURTEEN_DAYS": (1, 14)}
"""How many windows of how many days."""


@dataclass(frozen=True)
class CountedJob:
    """What a summary looks at in a job. `ended_at` is None while it runs, `category` where it has none."""

    created_at: datetime
    ended_at: datetime | None
    state: str
    category: str | None = None


@dataclass(frozen=True)
class SummaryRequest:
    """What to count. Each filter is a value, ANY (each value for itself) or AGGREGATE_ALL (all in one sum).

    A filter that is left out sums up: AWS's own recipe for jobs that completed with issues subtracts a count with a
    message category from one without.
    """

    period: str
    state: str
    resource_type: str
    category: str

    @classmethod
    def read(
        cls,
        states: Collection[str],
        *,
        period: str | None,
        state: str | None,
        resource_type: str | None,
        category: str | None,
    ) -> "SummaryRequest":
        """Read the parameters of a request.

        Args:
            states: The states that jobs of this kind have in summaries.
            period: AggregationPeriod.
            state: State.
            resource_type: ResourceType.
            category: MessageCategory; jobs of a kind that has none pass None.

        Raises:
            InvalidParameterValueException: A period or a state that does not exist.
        """
        check_choice("AggregationPeriod", period, PERIODS)
        check_choice("State", state, {*states, ANY, AGGREGATE_ALL})
        return cls(
            period or DEFAULT_PERIOD,
            state or AGGREGATE_ALL,
            resource_type or AGGREGATE_ALL,
            category or AGGREGATE_ALL,
        )


def summarise(jobs: Iterable[CountedJob], request: SummaryRequest, now: datetime) -> list[dict[str, Any]]:
    """Return the summaries, newest window first, without the account and Region that they are of.

    Args:
        jobs: Those of the last 30 days.
        request: What to count.
        now: The end of the last window.
    """
    if request.resource_type not in (RESOURCE_TYPE, ANY, AGGREGATE_ALL):
        return []
    type_shown = AGGREGATE_ALL if request.resource_type == AGGREGATE_ALL else RESOURCE_TYPE
    kept = list(jobs)
    summaries = []
    for start, end in _windows(request.period, now):
        counts = Counter(
            (_shown(request.state, job.state), _shown(request.category, job.category))
            for job in kept
            if _overlaps(job, start, end)
            and _wanted(request.state, job.state)
            and _wanted(request.category, job.category)
        )
        for (state, category), count in sorted(counts.items(), key=lambda item: (item[0][0] or "", item[0][1] or "")):
            summaries.append(
                {
                    "State": state,
                    "ResourceType": type_shown,
                    "MessageCategory": category,
                    "Count": count,
                    "StartTime": start,
                    "EndTime": min(end, now),
                }
            )
    return summaries


def _windows(period: str, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    count, days = PERIODS[period]
    end = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    for _ in range(count):
        start = end - timedelta(days=days)
        yield start, end
        end = start


def _overlaps(job: CountedJob, start: datetime, end: datetime) -> bool:
    return job.created_at < end and (job.ended_at is None or job.ended_at >= start)


def _wanted(filtered: str, value: str | None) -> bool:
    # AWS spells message categories in more than one way: AccessDenied, SUCCESS, INVALIDPARAMETERS.
    return filtered in (ANY, AGGREGATE_ALL) or (value is not None and value.lower() == filtered.lower())


def _shown(filtered: str, value: str | None) -> str | None:
    return AGGREGATE_ALL if filtered == AGGREGATE_ALL else value
