"""Bulk work on DynamoDB tables from the command line: ``python -m dynamodb_bulk COMMAND ...``.

Exit codes: 0 done, or equal; 1 different, or not all of it done; 2 wrong usage, or it could not be done.
"""

import argparse
import sys
from collections.abc import Sequence

from dynamodb_bulk import cli_compare, cli_diff, cli_fingerprint, cli_load
from dynamodb_bulk.cli_repair import REPAIR, UNDO

_COMMANDS = (cli_load, cli_fingerprint, cli_compare, cli_diff, REPAIR, UNDO)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="python -m dynamodb_bulk", description="Load, fingerprint, compare, diff and repair DynamoDB tables."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        subparser = commands.add_parser(
            command.NAME, help=command.HELP, description=f"{command.HELP[:1].upper()}{command.HELP[1:]}."
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    args = make_parser().parse_args(arguments)
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
