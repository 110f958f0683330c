"""Points, verdicts and policies as files give them, for the command line."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recovery_retention.plan import PolicyError
from recovery_retention.policy import KeepPolicy, PolicySet
from recovery_retention.proving import Circumstances, Vault
from recovery_retention.recovery_point import RecoveryPoint, RecoveryPointFormatError
from restore_proof.verdict import Depth, Proof, Result


class DocumentError(ValueError):
    """A file can't be used; the message names it, the place and the remedy."""


@dataclass(frozen=True)
class Inventory:
    """What a file of points holds: the points, and what it tells beside them."""

    points: list[RecoveryPoint]
    around: Circumstances


def moment(text: str) -> dt.datetime:
    """Read a moment: ISO 8601 with its time zone.

    Raises:
        DocumentError: if it is anything else.
    """
    try:
        at = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise DocumentError(f"{text!r} is no moment: write ISO 8601, such as 2026-11-30T12:00:00+00:00.") from error
    if at.tzinfo is None:
        raise DocumentError(f"{text!r} has no time zone: write it with one, such as 2026-11-30T12:00:00+00:00.")
    return at


def read_policies(path: Path) -> PolicySet:
    """Read a file of policies: ``default`` and ``tables`` by name, or one policy alone; YAML or JSON.

    Raises:
        DocumentError: naming file and field.
    """
    document = _load(path)
    if not isinstance(document, Mapping):
        raise DocumentError(f"{path}: is no mapping: write keep rules, such as `daily: 7`.")
    split = "default" in document or "tables" in document
    if split and (unknown := sorted(str(name) for name in document.keys() - {"default", "tables"})):
        raise DocumentError(f"{path}: {', '.join(unknown)} stands beside default and tables: move it into one of them.")
    place = ""
    try:
        if not split:
            return PolicySet(KeepPolicy.from_dict(document))
        place = "default: "
        default = dict(document.get("default") or {})
        policy = KeepPolicy.from_dict(default)
        tables = {}
        for name, changes in (document.get("tables") or {}).items():
            place = f"tables.{name}: "
            tables[str(name)] = KeepPolicy.from_dict(default | dict(changes))
        return PolicySet(policy, tables)
    except (PolicyError, TypeError) as error:
        raise DocumentError(f"{path}: {place}{error}") from error


def read_inventory(path: Path, *, assume_managed: bool = False) -> Inventory:
    """Read a file of points.

    Either what ``aws backup list-recovery-points-by-backup-vault`` prints, or the same with more that it does not tell:
    each entry may have ``Tags`` (a mapping), ``LegalHolds``, ``Managed``, ``Verdict`` and ``Depth``, ``Attempts`` and
    ``InUse``; beside ``RecoveryPoints`` there may be ``Vaults``, each with ``Locked``, ``MinRetentionDays``,
    ``MaxRetentionDays``.

    Args:
        path: JSON.
        assume_managed: take points that do not say so for ones that this project made.

    Raises:
        DocumentError: naming file, entry and field.
    """
    document = _load(path)
    entries = document.get("RecoveryPoints") if isinstance(document, Mapping) else document
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise DocumentError(f"{path}: has no list RecoveryPoints.")
    vaults = document.get("Vaults", {}) if isinstance(document, Mapping) else {}
    points: list[RecoveryPoint] = []
    verdicts: dict[str, Proof] = {}
    attempts: dict[str, int] = {}
    used: set[str] = set()
    for number, entry in enumerate(entries):
        try:
            point = _point(entry, assume_managed=assume_managed)
            points.append(point)
            if "Verdict" in entry:
                verdicts[point.arn] = Proof(Result(entry["Verdict"]), Depth(entry.get("Depth", "full")))
            attempts[point.arn] = int(entry.get("Attempts", 0))
            if entry.get("InUse"):
                used.add(point.arn)
        except (RecoveryPointFormatError, DocumentError, ValueError, TypeError, AttributeError) as error:
            raise DocumentError(f"{path}: RecoveryPoints[{number}]: {error}") from error
    locks = {
        name: Vault(bool(vault.get("Locked")), vault.get("MinRetentionDays"), vault.get("MaxRetentionDays"))
        for name, vault in vaults.items()
    }
    return Inventory(points, Circumstances(verdicts=verdicts, attempts=attempts, in_use=used, vaults=locks))


def _point(entry: Mapping[str, Any], *, assume_managed: bool) -> RecoveryPoint:
    read = dict(entry)
    if "CreationDate" in read:
        read["CreationDate"] = moment(read["CreationDate"])
    read["CalculatedLifecycle"] = {
        name: moment(value) for name, value in (read.get("CalculatedLifecycle") or {}).items() if value
    }
    return RecoveryPoint.from_api(
        read,
        managed=bool(read.get("Managed", assume_managed)),
        tags=read.get("Tags"),
        legal_holds=read.get("LegalHolds") or (),
    )


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        # What is JSON by name is read as such: ten times faster than as YAML, of which it is a part.
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise DocumentError(f"{path}: can't be read: {error}") from error
