"""Read ``include/protection.yaml``; whatever is wrong is told with file, line and remedy, all of it at once.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from backup_flows.protection import Protection, ProtectionRuleError
from backup_flows.protection_proof import PROOF_REMEDIES
from backup_flows.protection_retention import RETENTION_REMEDIES

PROTECTION_FILE: Final = "include/protection.yaml"

Place = tuple[str | int, ...]

_REMEDIES: Final[Mapping[str, str]] = {
    "version": "write `version: 1`",
    "tables": "list at least one table, by `name`, `arn` or `tag`",
    "tier": "choose 12-hourly, daily, weekly or monthly",
    "tiers": "the tiers are 12-hourly, daily, weekly and monthly",
    "start_minutes": "AWS takes whole minutes from 60 on",
    "completion_minutes": "give whole minutes, at least 60 more than start_minutes",
    "cold_after_days": "give whole days from 1 to 36500, or null for never",
    "delete_after_days": "give whole days from 1 to 36500",
    "rpo_hours": "give hours above 0, at least the tier's own period",
    "rto_minutes": "give minutes above 0",
    "on_new_point": "write true or false",
    "monthly_usd": "give dollars from 0 on, or null for no limit",
    "vault": "2 to 50 letters, digits, _ and -; leave it out for the stack's vault",
    "name": "give one table's exact name, 3 to 255 letters, digits, _, . and -; choose many tables by `tag`",
    "arn": "give a table's ARN, arn:aws:dynamodb:<region>:<account>:table/<name>",
    "tag": "write `tag: {key: value}`, values in quotes where they are numbers",
    "schedule": "write cron(minutes hours day-of-month month day-of-week year), such as cron(0 5 ? * * *)",
    "timezone": "give an IANA name, such as Etc/UTC",
}

_REMEDIES_OF: Final[Mapping[str, Mapping[str, str]]] = {"retention": RETENTION_REMEDIES, "proof": PROOF_REMEDIES}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        line: of the file, counted from 1.
        place: where in the document, such as ``tables[0].window.start_minutes``.
        remedy: what to write instead; empty where the message says it.
    """

    line: int
    place: str
    message: str
    remedy: str = ""


class ProtectionFileError(ValueError):
    """The file can't be used; the message lists every problem with file, line and remedy."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(f"{name}:{_text(problem)}" for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.problems)


def _text(problem: Problem) -> str:
    place = f" {problem.place}:" if problem.place else ""
    remedy = f" Remedy: {problem.remedy}." if problem.remedy else ""
    return f"{problem.line}:{place} {problem.message.rstrip('.')}.{remedy}"


def load_protection(path: str | Path) -> Protection:
    """Read the file.

    Raises:
        ProtectionFileError: it is missing, unreadable or wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(1, "", f"can't be read: {error}", f"provide {PROTECTION_FILE} as UTF-8 text")
        raise ProtectionFileError(str(path), [problem]) from error
    return parse_protection(text, str(path))


def parse_protection(text: str, name: str = PROTECTION_FILE) -> Protection:
    """Read the file's text.

    Args:
        text: YAML.
        name: of the file, for messages.

    Raises:
        ProtectionFileError: naming the lines and remedies.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        reason = getattr(error, "problem", None) or str(error)
        raise ProtectionFileError(name, [Problem(line, "", f"is not YAML: {reason}", "correct this line")]) from error
    problems = list(_twice(tree, ()))
    try:
        protection = Protection.model_validate(content)
    except ValidationError as error:
        raise ProtectionFileError(name, [*problems, *_explain(error, tree)]) from error
    problems += _check_entries(protection, tree)
    if problems:
        raise ProtectionFileError(name, problems)
    return protection


def _check_entries(protection: Protection, tree: yaml.Node | None) -> Iterator[Problem]:
    try:
        protection.default_keep()
    except ProtectionRuleError as error:
        whole: Place = ("defaults", error.section)
        yield Problem(_line(tree, whole), _path(whole), str(error))
        return
    seen: dict[str, int] = {}
    for index, entry in enumerate(protection.tables):
        place: Place = ("tables", index)
        line = _line(tree, place)
        if entry.label in seen:
            yield Problem(line, _path(place), f"{entry.label} stands on line {seen[entry.label]} already", "drop one")
        seen.setdefault(entry.label, line)
        try:
            protection.rule(entry)
        except ProtectionRuleError as error:
            section = error.section
            for candidate in ((*place, section), ("tiers", entry.tier, section), ("defaults", section)):
                if _node(tree, candidate) is not None:
                    yield Problem(_line(tree, candidate), _path(candidate), f"for {entry.label}: {error}")
                    break
            else:
                yield Problem(line, _path(place), f"for {entry.label}: {error}")


def _explain(error: ValidationError, tree: yaml.Node | None) -> Iterator[Problem]:
    for found in error.errors(include_url=False):
        if found["type"] == "too_short" and found["input"]:
            # Not empty: its entries are wrong, each of which is told on its own.
            continue
        # A tag's key stands in the place as itself; "[key]" says that the key is meant, not its value.
        place: Place = tuple(part for part in found["loc"] if part != "[key]")
        message = str(found["msg"]).removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            message = f"{place[-1]!r} is not known here"
            remedy = "drop it, or correct its spelling"
        else:
            if found["type"] not in {"missing", "value_error"}:
                message += f" (given: {found['input']!r:.60})"
            # Periods of retention are called like tiers.
            remedies = {**_REMEDIES, **next((own for part, own in _REMEDIES_OF.items() if part in place), {})}
            remedy = next((remedies[str(part)] for part in reversed(place) if str(part) in remedies), "")
        yield Problem(_line(tree, place), _path(place), message, remedy or "see include/protection.yaml")


def _twice(node: yaml.Node | None, place: Place) -> Iterator[Problem]:
    """Find keys that stand twice in one mapping: YAML lets the last one win in silence."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value)
            here = (*place, name)
            if name in seen:
                yield Problem(
                    key.start_mark.line + 1, _path(here), f"stands on line {seen[name]} already", "keep one of them"
                )
            seen.setdefault(name, key.start_mark.line + 1)
            yield from _twice(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _twice(item, (*place, index))


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Return what marks the child's place, and the child."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if str(key.value) == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _node(tree: yaml.Node | None, place: Place) -> yaml.Node | None:
    node = tree
    for part in place:
        child = _child(node, part)
        if child is None:
            return None
        node = child[1]
    return node


def _line(tree: yaml.Node | None, place: Place) -> int:
    """Return the line of a place, or of the nearest thing around it that is there."""
    line, node = 1 if tree is None else tree.start_mark.line + 1, tree
    for part in place:
        child = _child(node, part)
        if child is None:
            break
        line, node = child[0].start_mark.line + 1, child[1]
    return line


def _path(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text
