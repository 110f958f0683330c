"""Airflow executes what lies below plugins/ under bare file stems unless .airflowignore says otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROBE = """
import json, sys
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
errors = plugins_manager.get_import_errors()
import aws_backup.hooks.backup, dynamodb_bulk.canonical, backup_flows.lease
folder = sys.argv[1]
strangers = sorted(
    name for name, module in sys.modules.items()
    if "." not in name and (getattr(module, "__file__", None) or "").startswith(folder)
)
print(json.dumps({"errors": errors, "strangers": strangers}))
"""


def probe() -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(ROOT / "plugins")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_the_folder_loads_without_errors_and_hijacks_no_module_name():
    found = probe()
    assert found["errors"] == {}
    packages = {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()}
    flat = {path.stem for path in (ROOT / "plugins").glob("*.py")}
    assert set(found["strangers"]) <= packages | flat
    assert {"aws_backup", "dynamodb_bulk", "backup_flows"} <= set(found["strangers"])


def test_every_package_is_named_in_airflowignore():
    lines = (ROOT / "plugins" / ".airflowignore").read_text(encoding="utf-8").splitlines()
    ignored = {line.rstrip("/") for line in lines if line and not line.startswith("#")}
    packages = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    assert packages
    assert packages <= ignored
