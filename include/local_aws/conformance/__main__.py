"""``python -m local_aws.conformance``: print how much of AWS Backup is served, and whether it conforms."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local_aws.conformance.report import examine, summary, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine, print, and write the coverage table if asked to.

    Returns:
        The exit status: 0 if all that is served conforms and all else says that it is not served.
    """
    parser = argparse.ArgumentParser(prog="python -m local_aws.conformance", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the coverage table there")
    options = parser.parse_args(arguments)
    findings = examine()
    for finding in findings:
        verdict = "ok" if finding.conforms else "WRONG"
        kind = "served" if finding.served else "left out"
        sys.stdout.write(f"{verdict:5} {kind:8} {finding.operation:45} {finding.remark}\n")
    sys.stdout.write(summary(findings) + "\n")
    if options.write is not None:
        options.write.write_text(table(findings), encoding="utf-8")
    return 0 if all(finding.conforms for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
