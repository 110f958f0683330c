"""Make .env from .env.example for docker-compose.yaml, with every empty value drawn at random.

    python3 scripts/make_dotenv.py [--out .env]

Runs on any Python 3.11+ with nothing installed. An existing file is left alone.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import secrets
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
EMPTY = re.compile(r"^([A-Z][A-Z_]*)=$", flags=re.MULTILINE)


def draw(name: str) -> str:
    """Return a new secret in the form that the named setting asks for."""
    if name == "FERNET_KEY":
        # cryptography's Fernet takes 32 bytes in URL-safe base64 and nothing else.
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    # Hexadecimal: the passwords become parts of URLs, where other signs would need escapes.
    return secrets.token_hex(24)


def filled(template: str) -> str:
    """Return the template with each empty setting drawn; settings that have a value keep it."""
    return EMPTY.sub(lambda found: f"{found.group(1)}={draw(found.group(1))}", template)


def main() -> int:
    """Write the file, readable by its owner only, unless it is there."""
    parser = argparse.ArgumentParser(description="Make .env for docker-compose.yaml.")
    parser.add_argument("--out", type=Path, default=PROJECT / ".env")
    out: Path = parser.parse_args().out
    text = filled((PROJECT / ".env.example").read_text())
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{out} is there already and was left alone; remove it to draw new secrets.")
        return 0
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    print(f"{out} was made; the admin's password is its ADMIN_PASSWORD.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
