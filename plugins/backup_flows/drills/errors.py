"""What a drill is refused for; each message names the thing and the remedy. None is worth a retry."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowFailException


class DrillRefusedError(AirflowFailException):
    """A drill can't be done as asked; base of the errors below."""


class BadDrillRequestError(DrillRefusedError):
    """The params ask for nothing that can be done."""


class NoRecoveryPointError(DrillRefusedError):
    """No usable recovery point had been made at the moment that the run stands for."""


class RecoveryPointGoneError(DrillRefusedError):
    """No vault holds the recovery point (any more)."""


class RecoveryPointNotUsableError(DrillRefusedError):
    """The recovery point is there, and can't be restored."""


class TableNotProtectedError(DrillRefusedError):
    """A table that was asked for by its name is not among the protected ones."""


class KeySchemaChangedError(DrillRefusedError):
    """The restored table has other keys than the table that was fingerprinted."""


class NothingBoundError(DrillRefusedError):
    """Nothing tells what the recovery point must hold, so no restore of it could be proven."""


class NameTakenError(DrillRefusedError):
    """A table that is to be restored has the name of one that is somebody else's."""


class BudgetRefusedError(DrillRefusedError):
    """The month's budget stops a drill before it starts; it leaves no verdict, because nothing was tried."""


class DrillsNotProvenError(DrillRefusedError):
    """Drills of a run ended otherwise than proven; the message names each with its reason."""
