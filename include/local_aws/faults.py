"""Jobs that end badly on demand: the next one, for a table or for any, ends as ordered."""

from dataclasses import asdict, dataclass
from typing import Any, Final

END_STATES: Final = {
    "StartBackupJob": frozenset({"FAILED", "ABORTED", "EXPIRED", "PARTIAL", "COMPLETED"}),
    "StartRestoreJob": frozenset({"FAILED", "ABORTED"}),
    "StartCopyJob": frozenset({"FAILED", "PARTIAL"}),
}
"""Which end each operation's jobs can be given. COMPLETED is for a job "completed with issues": one with a
message and a category other than SUCCESS, see
https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListBackupJobs.html."""


@dataclass(frozen=True)
class Fault:
    """How the next job is to end.

    Attributes:
        operation: "StartBackupJob", "StartRestoreJob" or "StartCopyJob".
        end_state: One of `END_STATES`.
        message: The job's StatusMessage.
        table: Name of the table backed up, or of the table that the recovery point is of; None: any.
        message_category: The job's MessageCategory (backup jobs).

    Raises:
        ValueError: The operation has no such end state.
    """

    operation: str
    end_state: str
    message: str
    table: str | None = None
    message_category: str | None = None

    def __post_init__(self) -> None:
        allowed = END_STATES.get(self.operation)
        if allowed is None:
            raise ValueError(f"operation must be one of {sorted(END_STATES)}, got {self.operation!r}")
        if self.end_state not in allowed:
            raise ValueError(f"a job of {self.operation} can end {sorted(allowed)} by a fault, not {self.end_state!r}")
        if not isinstance(self.message, str) or not isinstance(self.table, str | None):
            raise ValueError("message must be a text, and table a table's name or null")

    def strikes(self, operation: str, table: str) -> bool:
        return self.operation == operation and self.table in (None, table)


class FaultQueue:
    """Faults that wait for their job, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault, count: int = 1) -> None:
        """Let the next `count` jobs that it fits end by `fault`.

        Raises:
            ValueError: `count` is not a whole number of one or more.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"count must be a whole number of one or more, got {count!r}")
        self._waiting.extend([fault] * count)

    def take(self, operation: str, table: str) -> Fault | None:
        """Return and use up the oldest fault for a job of `operation` on `table`, if there is one."""
        for index, fault in enumerate(self._waiting):
            if fault.strikes(operation, table):
                return self._waiting.pop(index)
        return None

    def clear(self) -> None:
        self._waiting.clear()

    def as_list(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._waiting]


FAULTS: Final = FaultQueue()
"""The faults of this process's local AWS."""
