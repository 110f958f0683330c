"""What the registers of backup, copy and restore jobs have in common."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from local_aws.backup.exceptions import InvalidParameterValueException, ResourceNotFoundException
from local_aws.backup.list_lag import in_lists_yet
from local_aws.clock import CLOCK

LISTED_FOR: Final = timedelta(days=30)
"""How long a job stays in lists, see https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobs.html."""


class Registered(Protocol):
    """What a register needs to know of a job."""

    @property
    def job_id(self) -> str:
        """What tells jobs apart."""

    @property
    def created_at(self) -> datetime:
        """When the job was accepted."""

    @property
    def request(self) -> object:
        """What was asked for; equal for the same intention."""


Job = TypeVar("Job", bound=Registered)


class JobRegister(Generic[Job]):
    """All jobs of one kind, of one account and Region."""

    KIND: ClassVar[str]
    """What messages call such a job."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._by_token: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def listed(self) -> Iterator[Job]:
        """Yield the jobs of the last 30 days."""
        since = CLOCK.now() - LISTED_FOR
        return (job for job in self if job.created_at >= since and in_lists_yet(job.created_at))

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            ResourceNotFoundException: No such job.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise ResourceNotFoundException(f"{self.KIND} {job_id} does not exist.")
        return job

    def _started_by(self, token: str | None, request: object) -> Job | None:
        """Return the job that a token has started already.

        Raises:
            InvalidParameterValueException: The token was used with another request.
        """
        if token is None or (earlier := self._by_token.get(token)) is None:
            return None
        if earlier.request != request:
            raise InvalidParameterValueException(
                f"IdempotencyToken {token!r} was used with other parameters, for job {earlier.job_id}."
            )
        return earlier
