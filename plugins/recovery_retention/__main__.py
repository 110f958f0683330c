"""``python -m recovery_retention``."""

from __future__ import annotations

import sys

from recovery_retention.command_line import main

if __name__ == "__main__":
    sys.exit(main())
