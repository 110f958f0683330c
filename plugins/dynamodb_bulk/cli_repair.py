"""The commands ``repair`` and ``undo``: bring a live table's items in line with another table, and back again."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from dynamodb_bulk import repair
from dynamodb_bulk.changes import ChangesFileError, ChangesHeader, read_changes, read_newest_first
from dynamodb_bulk.choice import ALL_CLASSES, DEFAULT_CLASSES, Choice
from dynamodb_bulk.cli_tools import DIFFERENT, DONE, add_client_arguments, guarded, make_client, tell
from dynamodb_bulk.outcomes import Done, Outcome, RepairResult
from dynamodb_bulk.repair import RepairSettings, make_changes
from dynamodb_bulk.undo import UndoFile

_SHOWN = 20


def _add_repair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("changes", type=Path, help="the file that `diff --changes` wrote")
    _add_arguments(parser, DEFAULT_CLASSES)


def _add_undo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("changes", type=Path, help="the undo file of a repair, or a folder with its parts")
    _add_arguments(parser, ALL_CLASSES)
    parser.set_defaults(newest_first=True)


def _add_arguments(parser: argparse.ArgumentParser, classes: Iterable[str]) -> None:
    parser.add_argument(
        "--table", metavar="NAME", help="the table to write to; nothing happens if the file is of another one"
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        choices=[str(name) for name in ALL_CLASSES],
        help=f"make changes of this class only; may be repeated ({', '.join(classes)})",
    )
    parser.add_argument(
        "--key", dest="keys", action="append", metavar="JSON", help='only this item; may be repeated: \'{"id": "a"}\''
    )
    parser.add_argument(
        "--keys", dest="key_file", type=Path, metavar="FILE", help="only items of this file, one a line"
    )
    parser.add_argument(
        "--where", action="append", metavar="FILTER", default=[], help="only items of which this is true: 'total >= 5'"
    )
    parser.add_argument("--apply", action="store_true", help="write; without it nothing is written")
    parser.add_argument("--undo-file", type=Path, metavar="FILE", help="where to keep what takes it back")
    parser.add_argument("--outcome", type=Path, metavar="FILE", help="write what became of each item, one a line")
    parser.add_argument("--max-wcu", type=float, metavar="UNITS", help="write capacity units a second to stay below")
    parser.add_argument("--max-rcu", type=float, metavar="UNITS", help="read capacity units a second to stay below")
    parser.add_argument(
        "--workers", type=int, default=repair.DEFAULT_WORKERS, metavar="N", help="writes at the same time (%(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=repair.DEFAULT_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="how long one write is tried while DynamoDB throttles or can't be reached (%(default)s)",
    )
    add_client_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(default_classes=tuple(classes), newest_first=False)


def _run(args: argparse.Namespace) -> int:
    if args.apply and args.undo_file is None:
        raise ValueError("--apply needs --undo-file FILE: nothing is written that can't be taken back.")
    if args.undo_file is not None and any(_same(args.undo_file, path) for path in _files(args.changes)):
        raise ValueError("The undo file of this run can't be the file that it works by; name another one.")
    client = make_client(args)
    told: dict[str, Any] = {"dry_run": not args.apply, "table": None}
    results: list[RepairResult] = []
    undo: UndoFile | None = None
    unmet: set[str] | None = None
    with ExitStack() as stack:
        outcomes = stack.enter_context(args.outcome.open("wb")) if args.outcome else None
        read = read_newest_first if args.newest_first else read_changes
        for path in _files(args.changes, newest_first=args.newest_first):
            header, changes = read(stack.enter_context(path.open("rb")), str(path))
            if args.table not in (None, header.table):
                raise ChangesFileError(f"{path} has changes of table {header.table!r}, not of {args.table!r}.")
            told["table"] = header.table
            choice = Choice.of(
                header.key_names,
                classes=args.classes or args.default_classes,
                keys=_keys(args),
                filters=args.where,
            )
            if args.apply and undo is None:
                undo = stack.enter_context(UndoFile(args.undo_file, header))
            results.append(_make(client, header, choice.select(changes), undo, outcomes, args))
            unmet = set(choice.unmet_keys) if unmet is None else unmet & set(choice.unmet_keys)
    total = RepairResult.total(results)
    told |= total.to_dict() | {"keys_without_a_change": sorted(unmet or ())}
    tell(args, told, _text(told, total))
    finished = (
        total.complete if args.apply else total.count(Outcome.PLANNED) + total.count(Outcome.ALREADY) == total.chosen
    )
    return DONE if finished else DIFFERENT


def _make(
    client: Any,
    header: ChangesHeader,
    changes: Iterator[Any],
    undo: UndoFile | None,
    outcomes: BinaryIO | None,
    args: argparse.Namespace,
) -> RepairResult:
    def tell_outcome(done: Done) -> None:
        if outcomes is not None:
            outcomes.write(done.to_line())

    return make_changes(
        client,
        header,
        changes,
        undo=undo,
        told=tell_outcome,
        settings=RepairSettings(
            dry_run=not args.apply,
            workers=args.workers,
            max_wcu=args.max_wcu,
            max_rcu=args.max_rcu,
            patience_seconds=args.patience,
        ),
    )


def _files(path: Path, *, newest_first: bool = False) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.jsonl"), reverse=newest_first)
    if not files:
        raise ChangesFileError(f"There is no file *.jsonl in the folder {path}.")
    return files


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _keys(args: argparse.Namespace) -> list[str] | None:
    if args.keys is None and args.key_file is None:
        return None
    listed = args.key_file.read_text(encoding="utf-8").splitlines() if args.key_file else []
    return [*(args.keys or ()), *(line for line in listed if line.strip())]


def _text(told: dict[str, Any], total: RepairResult) -> str:
    verb = "would be written" if told["dry_run"] else "written"
    count = total.count(Outcome.PLANNED if told["dry_run"] else Outcome.REPAIRED)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(total.classes.items()))
    lines = [
        f"{told['table']}: of {total.chosen} chosen items {count} {verb}{f' ({kinds})' if kinds else ''}, "
        f"{total.count(Outcome.ALREADY)} are right already, {total.count(Outcome.LEFT)} left, "
        f"{total.count(Outcome.FAILED)} failed"
    ]
    lines += [f"{done.outcome:7}{done.key}: {done.reason}" for done in total.listed[:_SHOWN]]
    hidden = total.count(Outcome.LEFT) + total.count(Outcome.FAILED) - min(len(total.listed), _SHOWN)
    lines += [f"and {hidden} more"] if hidden else []
    lines += [f"no change of   {key}" for key in told["keys_without_a_change"]]
    if told["dry_run"]:
        lines.append("Nothing was written: this was a dry run. Write with --apply --undo-file FILE.")
    return "\n".join(lines)


def _command(name: str, help_text: str, add: Any) -> SimpleNamespace:
    return SimpleNamespace(
        NAME=name, HELP=help_text, add_arguments=add, run=lambda args: guarded(args, lambda: _run(args))
    )


REPAIR = _command("repair", "make the changes that a diff found in a live table, if asked to", _add_repair_arguments)
UNDO = _command("undo", "take back what a repair wrote, if asked to", _add_undo_arguments)
