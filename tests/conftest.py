"""Airflow reads its configuration when it is first imported, so the environment is set before anything else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
_HOME = tempfile.mkdtemp(prefix="airflow-tests-")
os.environ.update(
    {
        "AIRFLOW_HOME": _HOME,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
        "BACKUP_PROJECT_HOME": str(ROOT),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        # boto3 must never find real credentials or an instance's metadata service from a test.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
)
for name in ("AIRFLOW_CONN_AWS_DEFAULT", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
    os.environ.pop(name, None)

# A busy machine makes single examples slow; what they assert stays the same.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

COMPONENT_FOLDERS = (
    "tests/include/local_aws",
    "tests/plugins/backup_console_app",
    "tests/plugins/backup_flows",
    "tests/dags",
)
COMPONENT_FILES = (
    "tests/plugins/test_backup_console.py",
    "tests/plugins/test_plugins_folder.py",
    "tests/plugins/dynamodb_bulk/test_killed_loads.py",
    "tests/plugins/dynamodb_bulk/test_load_bad_days.py",
    "tests/plugins/dynamodb_bulk/test_scan_bad_days.py",
    "tests/plugins/dynamodb_bulk/test_shards.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what sets a whole part to work, so that the unit tests alone take seconds."""
    for item in items:
        place = item.path.relative_to(ROOT).as_posix()
        if place.startswith(COMPONENT_FOLDERS) or place in COMPONENT_FILES:
            item.add_marker(pytest.mark.component)
