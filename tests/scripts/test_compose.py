"""docker-compose.yaml keeps its promises: health checks, no root, no secret, pinned images, one set of settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from make_dotenv import EMPTY, filled

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
AIRFLOW = ("init", "api-server", "scheduler", "dag-processor", "triggerer", "worker")
PLAIN = {"AIRFLOW_PORT", "AWS_PORT"}


def test_all_services_are_there():
    assert set(SERVICES) == {*AIRFLOW, "postgres", "redis", "local-aws"}


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_watched_or_runs_once(name):
    check = SERVICES[name]["healthcheck"]
    if name == "init":
        assert check == {"disable": True}
        assert SERVICES[name]["restart"] == "no"
    else:
        assert check["test"]
        assert check["retries"] > 0


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_neither_root_nor_able_to_become_it(name):
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_pinned_to_a_version(name):
    image = SERVICES[name]["image"]
    if image == "dynamodb-backup-proof:local":
        assert SERVICES[name]["build"] == "."
    else:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+", image)


def test_dockerfile_images_are_pinned_to_a_patch_version():
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert images
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", image) for image in images)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_the_loopback_interface_only(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_each_secret_is_demanded_from_the_environment():
    demanded = set(re.findall(r"\$\{([A-Z_]+):\?", TEXT))
    drawn = set(EMPTY.findall((ROOT / ".env.example").read_text()))
    assert demanded == drawn


def test_nothing_that_looks_like_a_secret_is_written_out():
    for name, service in SERVICES.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD$|SECRET|_KEY$|CONN$|BROKER_URL|RESULT_BACKEND|AUTH$", key):
                assert "${" in str(value), f"{name}: {key}"


def test_airflow_components_share_their_settings():
    shared = SERVICES["scheduler"]["environment"]
    for name in AIRFLOW:
        own = {key: value for key, value in SERVICES[name]["environment"].items() if key in shared}
        assert own == shared, name


def test_database_urls_name_the_installed_driver():
    """Airflow derives a second, asynchronous address (asyncpg) from the first and can't start without its driver."""
    environment = SERVICES["worker"]["environment"]
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("postgresql+psycopg2://")
    assert environment["AIRFLOW__CELERY__RESULT_BACKEND"].startswith("db+postgresql+psycopg2://")
    lock = (ROOT / "requirements.txt").read_text()
    assert re.search(r"^psycopg2-binary==", lock, flags=re.MULTILINE)
    assert re.search(r"^asyncpg==", lock, flags=re.MULTILINE)


def test_only_the_local_aws_has_include_on_its_path():
    with_path = {name for name, one in SERVICES.items() if "PYTHONPATH" in (one.get("environment") or {})}
    assert with_path == {"local-aws"}


def test_dotenv_is_filled_with_different_secrets_each_time():
    example = (ROOT / ".env.example").read_text()
    first, second = filled(example), filled(example)
    assert not EMPTY.search(first)
    lines = dict(line.split("=", 1) for line in first.splitlines() if line and not line.startswith("#"))
    secrets = {name: value for name, value in lines.items() if name not in PLAIN}
    assert len(set(secrets.values())) == len(secrets) == 6
    assert all(len(value) >= 44 for value in secrets.values())
    assert not set(secrets.values()) & {line.split("=", 1)[-1] for line in second.splitlines()}
    assert lines["AIRFLOW_PORT"] == "8080"
