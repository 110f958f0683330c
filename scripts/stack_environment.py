"""What a local stack's processes are told by environment: folders, ports, secrets and Airflow settings."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
LOOPBACK = "127.0.0.1"
REGION = "us-east-1"
ADMIN = "admin"
ACCOUNT = "123456789012"
"""The account of the local AWS."""
STACK = "orders-backup"
"""The stack whose roles Airflow takes on where IAM is enforced."""


class StackSetupError(RuntimeError):
    """The stack can't be prepared (database, folders); the message says what failed."""


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one stack."""

    api: int = 8080
    aws: int = 5566

    @classmethod
    def free(cls) -> Ports:
        """Return ports that nothing listens on right now."""
        return cls(*free_ports(2))


def free_ports(count: int) -> list[int]:
    """Return that many different loopback ports that are free at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        # Without it a port in TIME_WAIT, which a server may well reuse, would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Secrets:
    """What must stay the same over restarts of one stack, and is different for each."""

    admin_password: str
    fernet_key: str
    jwt_secret: str
    api_secret: str

    @classmethod
    def make(cls) -> Secrets:
        """Return newly drawn secrets."""
        return cls(
            admin_password=secrets.token_urlsafe(12),
            # The form that cryptography's Fernet asks for: 32 random bytes, URL-safe base64.
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            jwt_secret=secrets.token_urlsafe(48),
            api_secret=secrets.token_urlsafe(48),
        )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)
    partial.replace(path)


def load_or_make_secrets(home: Path) -> tuple[Secrets, bool]:
    """Return the stack's secrets and whether they were made just now.

    They live in ``<home>/secrets.json``; the admin's password also in the file in which Airflow's
    SimpleAuthManager looks for it. Both are readable by their owner only.
    """
    file = home / "secrets.json"
    made = not file.exists()
    if made:
        write_private(file, json.dumps(vars(Secrets.make())))
    loaded = Secrets(**json.loads(file.read_text()))
    write_private(password_file(home), json.dumps({ADMIN: loaded.admin_password}))
    return loaded, made


def password_file(home: Path) -> Path:
    """Return where SimpleAuthManager reads the passwords of this home."""
    return home / "passwords.json"


def aws_connection(aws_url: str, role_arn: str | None = None) -> str:
    """Return the JSON form of an AWS connection to a local AWS server.

    https://airflow.apache.org/docs/apache-airflow-providers-amazon/stable/connections/aws.html

    :param role_arn: the role to take on; None stays the account's root user, whom these credentials stand for.
    """
    extra: dict[str, Any] = {"endpoint_url": aws_url, "region_name": REGION}
    if role_arn is not None:
        extra["role_arn"] = role_arn
        # To take on a role, Airflow asks STS, and for that it does not look at the connection's own endpoint.
        extra["service_config"] = {"sts": {"endpoint_url": aws_url}}
    return json.dumps({"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra})


def aws_connections(aws_url: str, *, enforce_iam: bool) -> dict[str, str]:
    """Return the environment variables of the connections to a local AWS server.

    Where IAM is enforced, Airflow works as the operator role of the stack `orders-backup`, deletes as its retention
    role, and deploys as the root user, who has to be there before any role is.
    """
    if not enforce_iam:
        return {"AIRFLOW_CONN_AWS_DEFAULT": aws_connection(aws_url)}
    role = f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{{}}-{REGION}"
    return {
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(aws_url, role.format("operator")),
        "AIRFLOW_CONN_AWS_BACKUP_RETENTION": aws_connection(aws_url, role.format("retention")),
        "AIRFLOW_CONN_AWS_BACKUP_DEPLOY": aws_connection(aws_url),
    }


def base_environment() -> dict[str, str]:
    """Return this process's environment without what would leak foreign settings into a stack.

    A developer's own Airflow settings, AWS profiles or module path must not change what the stack does.
    """
    foreign = ("AIRFLOW", "AWS_", "_AIRFLOW", "BACKUP_PROJECT_HOME", "PYTHONPATH", "PYTHONSTARTUP")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), LOOPBACK, "localhost"]))
    return env


def aws_environment() -> dict[str, str]:
    """Return the environment of the local AWS server, the only process that needs ``include`` on its path."""
    return base_environment() | {"PYTHONPATH": str(PROJECT / "include"), "PYTHONUNBUFFERED": "1"}


def database_file(home: Path) -> Path:
    """Return the SQLite file that holds this home's Airflow database."""
    return home / "airflow.db"


def airflow_environment(
    *,
    home: Path,
    ports: Ports,
    stack_secrets: Secrets,
    dags_folder: Path,
    plugins_folder: Path,
    parallelism: int,
    schedule: bool,
    enforce_iam: bool = False,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment that every Airflow process of a local stack runs in.

    :param home: ``AIRFLOW_HOME``: database, logs, secrets.
    :param parallelism: how many tasks run at once; each idle worker process costs memory and start time.
    :param schedule: whether runs are created by schedule; manual runs and backfills work either way.
    :param enforce_iam: whether the local AWS enforces IAM, so that Airflow has to take on roles.
    :param overrides: variables that win over all that is set here.
    """
    base_url = f"http://{LOOPBACK}:{ports.api}"
    settings = {
        "CORE__DAGS_FOLDER": str(dags_folder),
        "CORE__PLUGINS_FOLDER": str(plugins_folder),
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(parallelism),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__FERNET_KEY": stack_secrets.fernet_key,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file(home)),
        "CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
        # The default asks a resolver for the full name, which is slow where there is none.
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        # SQLite lets one process write at a time; the others wait this long (seconds) before they fail.
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database_file(home)}?timeout=60",
        "DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "sqlite_turns.CONNECT_ARGS",
        "API__HOST": LOOPBACK,
        "API__PORT": str(ports.api),
        "API__BASE_URL": base_url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": stack_secrets.api_secret,
        "API_AUTH__JWT_SECRET": stack_secrets.jwt_secret,
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "SCHEDULER__USE_JOB_SCHEDULE": str(schedule),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # Seconds until an unchanged file is parsed again; a changed one is parsed as soon as that is seen.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        # Seconds that a task waits for the api-server; the default of 5 is short for a busy laptop.
        "WORKERS__EXECUTION_API_TIMEOUT": "30",
        # A worker that misses its task's very end notices at the next heartbeat; until then its slot is taken.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
    }
    env = base_environment() | {f"AIRFLOW__{name}": value for name, value in settings.items()}
    env |= {
        "AIRFLOW_HOME": str(home),
        "BACKUP_PROJECT_HOME": str(PROJECT),
        # What Airflow's own settings import; neither DAGs nor plugins need it.
        "PYTHONPATH": str(PROJECT / "scripts" / "airflow_path"),
        # What runs here must never reach real AWS: no credentials from the machine's metadata address,
        # none from the developer's files, should a task ever miss the connection above.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONUNBUFFERED": "1",
    }
    env |= aws_connections(f"http://{LOOPBACK}:{ports.aws}", enforce_iam=enforce_iam)
    return env | dict(overrides or {})


def prepare_database(home: Path, env: Mapping[str, str], cache: Path | None) -> None:
    """Make the home's Airflow database, or bring an older one up to date.

    Migrating an empty SQLite database takes seconds, so the result is kept as a template and copied.

    :param cache: folder of the templates, one per Airflow version; None migrates in place.
    :raises StackSetupError: the migration failed; the message holds its output.
    """
    airflow = version("apache-airflow")
    stamp = home / "airflow.db.version"
    database = database_file(home)
    if database.exists() and stamp.exists() and stamp.read_text() == airflow:
        return
    if database.exists() or cache is None:
        _migrate(env, home)
    else:
        template = cache / f"airflow-{airflow}.db"
        if not template.exists():
            _migrate(env, home)
            _save_template(database, template)
        else:
            database.write_bytes(template.read_bytes())
    stamp.write_text(airflow)


def _migrate(env: Mapping[str, str], cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        output = done.stdout.decode(errors="replace")
        raise StackSetupError(f"`airflow db migrate` ended with {done.returncode}:\n{output[-4000:]}")


def _save_template(database: Path, template: Path) -> None:
    import sqlite3

    template.parent.mkdir(parents=True, exist_ok=True)
    partial = template.with_name(f"{template.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    # VACUUM INTO takes in what still sits in the write-ahead log; a file copy would miss it.
    with sqlite3.connect(database) as connection:
        connection.execute("VACUUM INTO ?", (str(partial),))
    connection.close()
    # Stacks that start at the same time may all get here: the last one wins with an equal file.
    partial.replace(template)
