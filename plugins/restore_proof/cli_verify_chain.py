"""The command ``verify-chain``: tell whether a table's evidence is whole, and name the first link that is not."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from restore_proof.chain import ChainReport, Source, verify_chain
from restore_proof.chain_sources import BucketSource, FolderSource

NAME = "verify-chain"
HELP = "walk the chain of a table's evidence packs, and name the first broken link"
EPILOG = """\
Exit codes: 0 the chain is whole; 1 it is broken, or packs lie beside it; 2 wrong usage, or it could not be read.
"""

WHOLE, WRONG, UNREAD = 0, 1, 2
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NoEvidenceError(LookupError):
    """There is not one piece of evidence where it was looked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.epilog = EPILOG
    parser.add_argument("--table", required=True, help="whose evidence is walked")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--bucket", help="the bucket that keeps the evidence")
    where.add_argument("--folder", type=Path, help="a copy of s3://BUCKET/evidence/TABLE/ instead")
    parser.add_argument(
        "--noted", metavar="SHA256", type=_sha256, help="hash of a pack noted elsewhere, which has to be in the chain"
    )
    parser.add_argument("--diffs", action="store_true", help="read the files of differences as well, of any size")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--endpoint-url", metavar="URL", help="S3's endpoint, for a local server")
    parser.add_argument("--region", metavar="REGION", help="AWS Region")
    parser.add_argument("--profile", metavar="NAME", help="profile of the AWS configuration")


def run(args: argparse.Namespace) -> int:
    """Walk the chain; return the exit code."""
    try:
        report = verify_chain(_source(args), args.table, noted=args.noted, diffs=args.diffs)
        if report.head is None and report.broken is None and not report.unlinked:
            raise NoEvidenceError(f"There is no evidence of table {args.table!r} in {args.bucket or args.folder}.")
    except (BotoCoreError, ClientError, OSError, NoEvidenceError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return UNREAD
    sys.stdout.write(json.dumps(report.to_dict(), indent=2) + "\n" if args.json else as_text(report))
    return WHOLE if report.is_whole else WRONG


def as_text(report: ChainReport) -> str:
    """Return a report for people."""
    count, verified = report.head.count if report.head else 0, len(report.verified)
    lines = []
    if report.is_whole and report.head is not None:
        lines.append(f"whole: {verified} packs of {report.table}; the newest has SHA-256 {report.head.sha256}")
    elif report.broken is None:
        lines.append(f"not whole: the {verified} packs of {report.table} that the head counts are as they were written")
    else:
        lines.append(f"broken: {report.broken.message}")
        if verified:
            lines.append(f"The {verified} newest of {count} packs, written after it, are as they were written.")
        lines += [
            f"Behind it {segment.length} packs up to {segment.newest} hold together"
            + (", down to the first." if segment.from_first else ", but do not reach back to the first.")
            for segment in report.behind
        ]
    lines += [f"wrong: {link.message}" for link in report.diffs]
    lines += [f"unlinked: {key} lies beside the chain. {remark}" for key, remark in report.unlinked.items()]
    lines += [f"abandoned: {key}, by an attempt that died; a later one is in the chain." for key in report.abandoned]
    return "\n".join(lines) + "\n"


def _source(args: argparse.Namespace) -> Source:
    if args.folder is not None:
        if not args.folder.is_dir():
            raise NotADirectoryError(f"There is no folder {args.folder}.")
        return FolderSource(args.folder, args.table)
    session = boto3.Session(profile_name=args.profile, region_name=args.region)
    return BucketSource(session.client("s3", endpoint_url=args.endpoint_url), args.bucket, args.table)


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no SHA-256: 64 hexadecimal digits in lower case")
    return text
