"""Hold the keep rules against restic: the same random histories and policies, the same points kept.

restic (Debian package ``restic``) is given snapshots that carry the times and tags of our recovery points, written
straight into a repository of its own in a temporary folder, and asked ``forget --dry-run``::

    python benchmarks/restic_oracle.py --cases 200
    python benchmarks/restic_oracle.py --cases 200 --freeze tests/plugins/recovery_retention/restic_cases.json

Left out on purpose, since restic's answer is arbitrary or another there:

* two snapshots of one instant: restic sorts them in no particular order; ours go by ARN;
* the hour that the clock shows twice in autumn: one hour for restic, two for us, which keeps more;
* snapshots from the future: restic reckons ``within`` from the newest that is not; ours raise an alarm, and keep all;
* keeping the oldest snapshot while a rule's count is not used up (newer versions do; asked before the
  cases): not adopted, since "the newest of each period that has one" is the whole rule then.

A negative count means all, as in newer versions; one that knows none is given a million instead.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import zoneinfo
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from recovery_retention.keep_rules import choose
from recovery_retention.policy import COUNTS, WITHINS, KeepPolicy
from recovery_retention.recovery_point import RecoveryPoint

ZONES = ("Etc/UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kolkata")
TAGS = ("keep", "quarter", "audit")


class Restic:
    """A restic repository that holds one made-up history at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"RESTIC_PASSWORD": "oracle", "RESTIC_REPOSITORY": str(folder)}
        self.negative = False
        """Whether this restic takes a negative count as all; else a number stands for it that no history reaches."""
        self._run("Etc/UTC", "init")
        keys = json.loads(self._run("Etc/UTC", "cat", "masterkey"))
        self._encrypt = base64.b64decode(keys["encrypt"])
        self._mac_k, self._mac_r = (base64.b64decode(keys["mac"][name]) for name in "kr")
        self.version = self._run("Etc/UTC", "version").split()[1]

    def _run(self, zone: str, *arguments: str) -> str:
        done = subprocess.run(
            ["restic", "--no-cache", "--quiet", *arguments],
            env=self.environment | {"TZ": zone},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"restic {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def _seal(self, text: bytes) -> bytes:
        """Encrypt and sign as restic's repository format says (AES-256-CTR, Poly1305-AES)."""
        nonce = os.urandom(16)
        sealed = Cipher(algorithms.AES(self._encrypt), modes.CTR(nonce)).encryptor().update(text)
        pad = Cipher(algorithms.AES(self._mac_k), modes.ECB()).encryptor().update(nonce)
        return nonce + sealed + Poly1305.generate_tag(self._mac_r + pad, sealed)

    def kept(self, history: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> list[int]:
        """Return the positions in the history of what restic would keep."""
        snapshots = self.folder / "snapshots"
        for old in snapshots.iterdir():
            old.unlink()
        for number, entry in enumerate(history):
            snapshot = {
                "time": entry["time"], "tree": "0" * 64, "paths": ["/t"], "hostname": "h", "username": str(number),
                "tags": entry["tags"],
            }  # fmt: skip
            sealed = self._seal(json.dumps(snapshot).encode())
            (snapshots / hashlib.sha256(sealed).hexdigest()).write_bytes(sealed)
        flags: list[str] = []
        for name in (*COUNTS, *WITHINS):
            if value := policy.get(name):
                if not self.negative and isinstance(value, int) and value < 0:
                    value = 1_000_000
                flags += [f"--keep-{name.replace('_', '-')}", str(value)]
        for tags in policy.get("tags", ()):
            flags += ["--keep-tag", tags]
        answer = self._run(policy["timezone"], "--json", "--no-lock", "forget", "--dry-run", *flags)
        return sorted(int(each["username"]) for group in json.loads(answer) for each in group["keep"] or ())


def make_history(choice: random.Random, zone: zoneinfo.ZoneInfo) -> list[dict[str, Any]]:
    """Return up to 40 moments with tags, in no order, never two of one instant or in an hour that comes twice."""
    step = choice.choice([1, 6, 24, 24, 24 * 7, 24 * 30])
    moment = dt.datetime(
        choice.randint(2009, 2018), choice.choice([1, 2, 3, 10, 12]), choice.randint(1, 28), tzinfo=dt.UTC
    )
    moments = set()
    for _ in range(choice.randint(1, 40)):
        moment += dt.timedelta(seconds=choice.randint(1, 2 * step * 3600))
        local = moment.astimezone(zone)
        if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
            moments.add(local)
    history = [
        {"time": each.isoformat(), "tags": sorted(tag for tag in TAGS if choice.random() < 0.1)}
        for each in sorted(moments)
    ]
    choice.shuffle(history)
    return history


def make_policy(choice: random.Random, zone: str) -> dict[str, Any]:
    """Return one to four random keep rules that both know."""
    policy: dict[str, Any] = {}
    for name in choice.sample([*COUNTS, *WITHINS, "tags"], choice.randint(1, 4)):
        if name == "tags":
            policy[name] = choice.sample([*TAGS, "keep,audit"], choice.randint(1, 2))
        elif name in WITHINS:
            policy[name] = choice.choice(["5h", "1d", "3d12h", "14d", "1m", "2m3d", "1y", "1y1m1d1h"])
        else:
            policy[name] = -1 if choice.random() < 0.1 else choice.randint(1, 12)
    return policy | {"timezone": zone}


def ours(history: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> list[int]:
    """Return the positions in the history of what our keep rules keep."""
    points = [
        RecoveryPoint(
            arn=str(number), table_name="t", status="COMPLETED", managed=True,
            created_at=dt.datetime.fromisoformat(entry["time"]), tags=tuple((tag, "") for tag in entry["tags"]),
        )
        for number, entry in enumerate(history)
    ]  # fmt: skip
    points.sort(key=lambda point: point.created_at, reverse=True)
    return sorted(int(arn) for arn in choose(points, KeepPolicy.from_dict(policy)))


def ask_about_corners(restic: Restic) -> tuple[bool, bool]:
    """Return whether this restic takes negative counts as all, and keeps the oldest of an unfilled rule."""
    days = [{"time": f"2026-03-0{day}T0{hour}:00:00Z", "tags": []} for day in (1, 2) for hour in (1, 2)]
    unfilled = restic.kept(days, {"daily": 9, "timezone": "Etc/UTC"})
    restic.negative = True
    try:
        # Beside a rule that keeps one: a restic that ignores negative numbers then keeps no more than that.
        restic.negative = restic.kept(days, {"last": 1, "daily": -1, "timezone": "Etc/UTC"}) == [1, 3]
    except RuntimeError:
        restic.negative = False
    return restic.negative, unfilled != [1, 3]


def main() -> int:
    """Compare, report, freeze if asked to; 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Hold the keep rules against restic.")
    parser.add_argument("--cases", type=int, default=200, help="random histories, each with a random policy [200]")
    parser.add_argument("--seed", type=int, default=7, help="of the random choice [7]")
    parser.add_argument("--freeze", type=Path, help="write the cases and restic's answers there, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        restic = Restic(Path(folder) / "repository")
        negative, oldest = ask_about_corners(restic)
        print(f"restic {restic.version}: negative counts {'are' if negative else 'are not'} taken as all; "
              f"the oldest of an unfilled rule is {'kept' if oldest else 'not kept'}")  # fmt: skip
        if oldest:
            print("This restic keeps the oldest snapshot of an unfilled rule, which ours do not: use one before 0.16.")
            return 2
        cases, different = [], 0
        for number in range(options.cases):
            choice = random.Random(f"{options.seed}/{number}")
            zone = choice.choice(ZONES)
            history = make_history(choice, zoneinfo.ZoneInfo(zone))
            policy = make_policy(choice, zone)
            kept = restic.kept(history, policy)
            cases.append({"policy": policy, "history": history, "kept": kept})
            if (found := ours(history, policy)) != kept:
                different += 1
                print(f"case {number}: {policy}: restic keeps {kept}, we keep {found} of", *history, sep="\n  ")
    print(f"{options.cases - different} of {options.cases} the same")
    if options.freeze:
        document = {"restic": restic.version, "negative": negative, "seed": options.seed, "cases": cases}
        options.freeze.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
