"""Look into the evidence of drills from the command line: ``python -m restore_proof COMMAND ...``."""

import argparse
import sys
from collections.abc import Sequence

from restore_proof import cli_history, cli_verify_chain

_COMMANDS = (cli_verify_chain, cli_history)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="python -m restore_proof", description="Look into the evidence that restore drills leave."
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
