"""``python -m recovery_retention``; reads policies from ``protection.yaml`` too."""

from __future__ import annotations

import sys

from backup_flows.protection_policies import read_any_policies
from recovery_retention.command_line import main

if __name__ == "__main__":
    sys.exit(main(policies_of=read_any_policies))
