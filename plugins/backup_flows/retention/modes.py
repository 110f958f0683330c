"""Does a run only look, or does it delete? No Airflow import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

PREVIEW: Final = "preview"
APPLY: Final = "apply"
AS_CONFIGURED: Final = "as configured"
MODES: Final = (AS_CONFIGURED, PREVIEW, APPLY)
BACKFILL: Final = "backfill"


@dataclass(frozen=True)
class Mode:
    """What a run may do.

    Attributes:
        applies: whether anything is changed at all.
        raised: whether the form asked for more than the file, which a person has to agree to.
        past: whether the run stands for a past date.
    """

    applies: bool
    raised: bool = False
    past: bool = False

    @classmethod
    def of(cls, configured: str, asked: str, run_type: str) -> Self:
        """Decide.

        Args:
            configured: ``retention.mode`` of ``protection.yaml``.
            asked: the run's param, one of `MODES`.
            run_type: the run's own, as a task is handed it: the text of Airflow's enum is not its value, so nothing may
                make text of it. A backfilled date is only ever previewed, nothing can be deleted in the past.
        """
        if run_type == BACKFILL:
            return cls(applies=False, past=True)
        wanted = configured if asked == AS_CONFIGURED else asked
        return cls(applies=wanted == APPLY, raised=wanted == APPLY and configured != APPLY)

    @property
    def word(self) -> str:
        """``preview`` or ``apply``."""
        return APPLY if self.applies else PREVIEW

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"applies": self.applies, "raised": self.raised, "past": self.past}
