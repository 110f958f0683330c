"""One measurement, in a process of its own: ``python work.py '{"method": "load_ours", ...}'`` prints JSON.

Each method does its work once, between two looks at the process's own CPU time. Imports and the making of the
client are not in it; whatever the first call costs is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from metering import Job, Meter, Outcome, peak_bytes
from work_loading import file_fingerprint, load_and_fingerprint, load_batch_writer, load_ours, load_prepared
from work_reading import diff_ours, diff_resource, fingerprint_ours, fingerprint_resource
from work_shards import shards

METHODS: dict[str, Callable[[Job, Meter], Outcome]] = {
    method.__name__: method
    for method in (
        load_ours,
        load_batch_writer,
        load_prepared,
        load_and_fingerprint,
        file_fingerprint,
        fingerprint_ours,
        fingerprint_resource,
        diff_ours,
        diff_resource,
        shards,
    )
}


def main(text: str) -> None:
    """Do one job and print what came of it."""
    job = json.loads(text)
    meter = Meter(job.get("server_pid"))
    outcome = METHODS[job["method"]](job, meter)
    used = {"cpu": meter.cpu, "wall": meter.wall, "server_cpu": meter.server_cpu, "peak": peak_bytes()}
    print(json.dumps({"error": "", **outcome, **used}))


if __name__ == "__main__":
    main(sys.argv[1])
