"""The command ``compare``: tell whether two fingerprints are of the same content, and name the keys that differ."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from dynamodb_bulk.cli_tools import DIFFERENT, EQUAL, add_output_arguments, guarded, tell
from dynamodb_bulk.compare import DEFAULT_LIST_CAP, Comparison, Manifests, Outcome, judge
from dynamodb_bulk.fingerprint import Fingerprint, FingerprintFormatError

NAME = "compare"
HELP = "compare two fingerprints that were written by `fingerprint --output`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("left", type=Path, help="fingerprint of the table that is taken for right")
    parser.add_argument("right", type=Path, help="fingerprint of the other one")
    parser.add_argument("--left-manifest", type=Path, metavar="FILE", help="its manifest, to name keys that differ")
    parser.add_argument("--right-manifest", type=Path, metavar="FILE", help="the manifest of the other one")
    parser.add_argument(
        "--list", type=int, default=DEFAULT_LIST_CAP, metavar="N", help="list so many differences (%(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all differences, one line of JSON each")
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compare; return the exit code."""
    return guarded(args, lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    left, right = _read(args.left), _read(args.right)
    manifests = None
    if bool(args.left_manifest) != bool(args.right_manifest):
        raise ValueError("To name keys the manifests of both sides are needed; pass both, or none.")
    if args.left_manifest:
        manifests = Manifests(before=_opener(args.left_manifest), restored=_opener(args.right_manifest))
    sink: AbstractContextManager[BinaryIO | None] = args.output.open("wb") if args.output else nullcontext()
    with sink as file:
        comparison = judge(left, left, right, manifests=manifests, list_cap=args.list, diff_sink=file)
    equal = comparison.outcome is Outcome.EQUAL
    document = {"left": left.digest, "right": right.digest, "equal": equal, **_without_drift(comparison)}
    tell(args, document, _text(comparison, left, right))
    return EQUAL if equal else DIFFERENT


def _read(path: Path) -> Fingerprint:
    try:
        return Fingerprint.from_bytes(path.read_bytes())
    except FingerprintFormatError as error:
        raise FingerprintFormatError(f"{path} is not a fingerprint that can be used: {error}") from error


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def _without_drift(comparison: Comparison) -> dict[str, object]:
    """Return what of a judgement makes sense for two sides: there is no third look here."""
    return {
        "items_left": comparison.items_before,
        "items_right": comparison.items_restored,
        "buckets": comparison.buckets,
        "unequal_buckets": comparison.unequal_buckets,
        "missing": comparison.missing,
        "extra": comparison.extra,
        "changed": comparison.changed,
        "differences_total": comparison.differences_total,
        "differences": [{"kind": str(found.kind), "key": json.loads(found.key)} for found in comparison.differences],
    }


def _text(comparison: Comparison, left: Fingerprint, right: Fingerprint) -> str:
    if comparison.outcome is Outcome.EQUAL:
        return f"equal: {left.item_count} items, {left.digest}"
    lines = [
        f"different: {comparison.unequal_buckets} of {comparison.buckets} buckets; {left.item_count} items on the "
        f"left, {right.item_count} on the right"
    ]
    if comparison.keys_named:
        lines[0] += f"; {comparison.missing} missing, {comparison.extra} extra, {comparison.changed} changed"
        lines += [f"{found.kind:9}{found.key}" for found in comparison.differences]
        hidden = (comparison.differences_total or 0) - len(comparison.differences)
        lines += [f"and {hidden} more"] if hidden else []
    return "\n".join(lines)
