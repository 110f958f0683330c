from __future__ import annotations

import json
import socket
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

import stack_environment
from stack_environment import (
    LOOPBACK,
    PROJECT,
    Ports,
    Secrets,
    StackSetupError,
    airflow_environment,
    aws_connections,
    aws_environment,
    base_environment,
    database_file,
    free_ports,
    load_or_make_secrets,
    password_file,
    port_is_free,
    prepare_database,
)


@pytest.fixture
def listening():
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def make_environment(home: Path, **changes):
    settings = {
        "home": home,
        "ports": Ports(api=18080, aws=15566),
        "stack_secrets": Secrets.make(),
        "dags_folder": PROJECT / "dags",
        "plugins_folder": PROJECT / "plugins",
        "parallelism": 3,
        "schedule": False,
    }
    return airflow_environment(**{**settings, **changes})


def test_taken_port_is_seen(listening):
    assert not port_is_free(listening)


def test_free_ports_are_different_and_free():
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(port_is_free(port) for port in ports)


def test_secrets_are_made_once_and_kept(tmp_path):
    first, made = load_or_make_secrets(tmp_path)
    second, made_again = load_or_make_secrets(tmp_path)
    assert (made, made_again) == (True, False)
    assert first == second
    assert Secrets.make() != first
    assert json.loads(password_file(tmp_path).read_text()) == {"admin": first.admin_password}


@pytest.mark.parametrize("name", ["secrets.json", "passwords.json"])
def test_secrets_are_for_their_owner_only(tmp_path, name):
    load_or_make_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_fernet_key_has_the_form_that_cryptography_takes():
    from cryptography.fernet import Fernet

    key = Fernet(Secrets.make().fernet_key)
    assert key.decrypt(key.encrypt(b"x")) == b"x"


@pytest.mark.parametrize(
    "name", ["AIRFLOW__CORE__EXECUTOR", "AWS_PROFILE", "AWS_ENDPOINT_URL", "PYTHONPATH", "BACKUP_PROJECT_HOME"]
)
def test_foreign_settings_do_not_leak_in(monkeypatch, name):
    monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    env = base_environment()
    assert name not in env
    assert env["SOMETHING_ELSE"] == "kept"


def test_loopback_never_goes_through_a_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "internal.example")
    assert base_environment()["NO_PROXY"].split(",") == ["internal.example", LOOPBACK, "localhost"]


def test_airflow_listens_on_the_loopback_interface_only(tmp_path):
    env = make_environment(tmp_path)
    assert env["AIRFLOW__API__HOST"] == LOOPBACK
    assert urlsplit(env["AIRFLOW__API__BASE_URL"]).netloc == "127.0.0.1:18080"
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"


def test_connection_leads_to_the_local_aws_and_nothing_leads_to_the_real_one(tmp_path):
    env = make_environment(tmp_path)
    connection = json.loads(env["AIRFLOW_CONN_AWS_DEFAULT"])
    assert connection["extra"] == {"endpoint_url": "http://127.0.0.1:15566", "region_name": "us-east-1"}
    assert env["AWS_SHARED_CREDENTIALS_FILE"] == env["AWS_CONFIG_FILE"] == "/dev/null"
    assert env["AWS_EC2_METADATA_DISABLED"] == "true"


def test_under_enforced_iam_airflow_takes_on_the_stacks_roles(tmp_path):
    env = make_environment(tmp_path, enforce_iam=True)
    extras = {
        name: json.loads(env[f"AIRFLOW_CONN_{name.upper()}"])["extra"]
        for name in ("aws_default", "aws_backup_retention", "aws_backup_deploy")
    }
    role = "arn:aws:iam::123456789012:role/orders-backup-{}-us-east-1"
    assert extras["aws_default"]["role_arn"] == role.format("operator")
    assert extras["aws_backup_retention"]["role_arn"] == role.format("retention")
    assert "role_arn" not in extras["aws_backup_deploy"]
    assert extras["aws_default"]["service_config"] == {"sts": {"endpoint_url": "http://127.0.0.1:15566"}}
    assert {extra["endpoint_url"] for extra in extras.values()} == {"http://127.0.0.1:15566"}


def test_compose_has_the_same_connections():
    compose = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
    given = compose["x-airflow"]["environment"]
    for name, value in aws_connections("http://local-aws:5566", enforce_iam=True).items():
        default = given[name].removeprefix(f"${{{name}:-").removesuffix("}")
        assert json.loads(default) == json.loads(value)
    assert "--enforce-iam" in compose["services"]["local-aws"]["command"]


def test_airflow_understands_the_connection(tmp_path):
    from airflow.sdk import Connection

    connection = Connection.from_json(make_environment(tmp_path)["AIRFLOW_CONN_AWS_DEFAULT"])
    assert connection.conn_type == "aws"
    assert connection.extra_dejson["endpoint_url"] == "http://127.0.0.1:15566"


@pytest.mark.parametrize("schedule", [True, False])
def test_schedule_is_a_choice(tmp_path, schedule):
    env = make_environment(tmp_path, schedule=schedule)
    assert env["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == str(schedule)


def test_overrides_win(tmp_path):
    env = make_environment(tmp_path, overrides={"AIRFLOW__CORE__PARALLELISM": "9", "NEW": "x"})
    assert (env["AIRFLOW__CORE__PARALLELISM"], env["NEW"]) == ("9", "x")


def test_only_the_local_aws_has_include_on_its_path(tmp_path):
    assert aws_environment()["PYTHONPATH"] == str(PROJECT / "include")
    assert make_environment(tmp_path)["PYTHONPATH"] == str(PROJECT / "scripts" / "airflow_path")


def test_every_setting_is_one_that_airflow_knows(tmp_path):
    from airflow.configuration import conf

    compose = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
    settings = {*make_environment(tmp_path), *compose["worker"]["environment"]}
    known = conf.configuration_description
    checked = 0
    for name in settings:
        if name.startswith("AIRFLOW__"):
            section, option = name.removeprefix("AIRFLOW__").lower().split("__")
            assert section in known, name
            assert option in known[section]["options"], name
            checked += 1
    assert checked > 25


class TestDatabase:
    """The migration itself is played: it takes seconds, and the end-to-end tests run the real one."""

    @pytest.fixture
    def migrations(self, monkeypatch):
        done: list[Path] = []

        def migrate(env, home):
            done.append(home)
            # Closed here, as the real migration's process would: left to the garbage collector, the
            # write-ahead log would go into the file at any moment later.
            with closing(sqlite3.connect(database_file(home))) as connection, connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("CREATE TABLE IF NOT EXISTS mark (text)")
                connection.execute("INSERT INTO mark VALUES ('migrated')")

        monkeypatch.setattr(stack_environment, "_migrate", migrate)
        return done

    @staticmethod
    def home(tmp_path: Path, name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return folder

    @staticmethod
    def marks(home: Path) -> list[tuple[str]]:
        with closing(sqlite3.connect(database_file(home))) as connection:
            return connection.execute("SELECT text FROM mark").fetchall()

    def test_second_home_gets_a_copy(self, tmp_path, migrations):
        one, two = self.home(tmp_path, "one"), self.home(tmp_path, "two")
        prepare_database(one, {}, tmp_path / "cache")
        prepare_database(two, {}, tmp_path / "cache")
        assert migrations == [one]
        assert self.marks(one) == self.marks(two) == [("migrated",)]

    def test_standing_database_is_left_alone(self, tmp_path, migrations):
        one = self.home(tmp_path, "one")
        prepare_database(one, {}, tmp_path / "cache")
        before = database_file(one).read_bytes()
        prepare_database(one, {}, tmp_path / "cache")
        assert migrations == [one]
        assert database_file(one).read_bytes() == before

    def test_database_of_another_airflow_is_migrated_and_keeps_its_rows(self, tmp_path, migrations):
        one = self.home(tmp_path, "one")
        prepare_database(one, {}, tmp_path / "cache")
        (one / "airflow.db.version").write_text("2.0.0")
        prepare_database(one, {}, tmp_path / "cache")
        assert migrations == [one, one]
        assert len(self.marks(one)) == 2

    def test_without_cache_each_home_is_migrated(self, tmp_path, migrations):
        one, two = self.home(tmp_path, "one"), self.home(tmp_path, "two")
        prepare_database(one, {}, None)
        prepare_database(two, {}, None)
        assert migrations == [one, two]

    def test_failed_migration_shows_its_output(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(StackSetupError, match="`airflow db migrate` ended with 1"):
            prepare_database(self.home(tmp_path, "one"), {}, None)
