"""A whole Airflow beside a local AWS, as processes on the loopback interface.

`make run` and the end-to-end tests use it:

    with LocalStack(home=tmp_path) as stack:
        run_id = stack.trigger_dag("backup_stack")
        assert stack.wait_run("backup_stack", run_id, timeout=120) == "success"

The components are the ones of a real deployment (api-server, scheduler with LocalExecutor, dag-processor,
triggerer), started at the same time; each can be killed and started again by name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from airflow_api import FINAL_RUN_STATES, WORKING_TASK_STATES, AirflowApi
from stack_environment import (
    ADMIN,
    LOOPBACK,
    PROJECT,
    REGION,
    Ports,
    StackSetupError,
    airflow_environment,
    aws_environment,
    load_or_make_secrets,
    prepare_database,
    write_private,
)
from stack_process import (
    Component,
    ComponentDiedError,
    ComponentSpec,
    StackTimeoutError,
    end_sessions,
    session_members,
    wait_until,
)

__all__ = [
    "ComponentDiedError",
    "DagImportError",
    "LocalStack",
    "Ports",
    "StackSetupError",
    "StackTimeoutError",
]

AWS = "local-aws"
API_SERVER = "api-server"
SCHEDULER = "scheduler"
DAG_PROCESSOR = "dag-processor"
TRIGGERER = "triggerer"
COMPONENTS = (AWS, API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER)
# What the api-server's health page calls the components that have a heartbeat.
HEALTH_NAMES = {SCHEDULER: "scheduler", DAG_PROCESSOR: "dag_processor", TRIGGERER: "triggerer"}
# Airflow's start is mostly imports, which make objects and drop few: with Python's default thresholds the
# cyclic garbage collector takes a quarter of that time for nothing. It stays on, only rarer.
LAUNCHER = (
    "import gc, importlib, sys; gc.set_threshold(100_000, 20, 100); argv = sys.argv[1:]; "
    "sys.argv = ['airflow', *argv[1:]]; [importlib.import_module(name) for name in argv[0].split()]; "
    "from airflow.__main__ import main; main()"
)
# LocalExecutor forks every task from the scheduler, which inherits what is imported there: these would be
# imported by each task anew. None of the project's own modules, so that edits to them take effect at once.
TASK_IMPORTS = (
    "boto3 requests pydantic yaml airflow.providers.amazon.aws.hooks.s3 "
    "airflow.providers.amazon.aws.triggers.base airflow.providers.standard.decorators.python"
)
TEMPLATES = PROJECT / ".airflow" / "cache"


class DagImportError(RuntimeError):
    """A DAG that was waited for can't come, because its file does not import; the message shows the trace."""


class LocalStack:
    """Start, watch, use and end one local stack.

    :param home: folder of everything that this stack writes (``AIRFLOW_HOME``); made if missing. One stack
        at a time may use it; what a killed one left running is ended first.
    :param ports: loopback ports; free ones by default.
    :param dags_folder: DAG files; the project's by default.
    :param plugins_folder: Airflow plugins folder; the project's by default.
    :param components: names of the components to start, of ``COMPONENTS``.
    :param aws_args: further arguments for ``python -m local_aws``.
    :param enforce_iam: let callers of the local AWS do only what their policies allow, and Airflow work as the roles
        of the stack ``orders-backup``.
    :param env: environment variables that win over the stack's own, for Airflow's processes.
    :param parallelism: how many tasks run at once.
    :param schedule: whether the scheduler creates scheduled runs.
    :param database_cache: folder of migrated template databases, None to migrate each time.
    :param on_check: called many times a second during every wait; may raise to end the wait.
    """

    def __init__(
        self,
        home: Path,
        *,
        ports: Ports | None = None,
        dags_folder: Path | None = None,
        plugins_folder: Path | None = None,
        components: Sequence[str] = COMPONENTS,
        aws_args: Sequence[str] = (),
        enforce_iam: bool = False,
        env: Mapping[str, str] | None = None,
        parallelism: int = 4,
        schedule: bool = True,
        database_cache: Path | None = TEMPLATES,
        on_check: Callable[[], None] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.ports = ports or Ports.free()
        self.dags_folder = (dags_folder or PROJECT / "dags").resolve()
        self.plugins_folder = (plugins_folder or PROJECT / "plugins").resolve()
        self._names = tuple(components)
        self._aws_args = (*aws_args, *(["--enforce-iam"] if enforce_iam else []))
        self._enforce_iam = enforce_iam
        self._overrides = dict(env or {})
        self._parallelism = parallelism
        self._schedule = schedule
        self._database_cache = database_cache
        self._on_check = on_check
        self._components: dict[str, Component] = {}
        self._expected: set[str] = set()
        self._rest: AirflowApi | None = None
        self._started_at = datetime.now(UTC)
        self.admin_password = ""
        self.new_password = False

    # --- life -------------------------------------------------------------------------------------------

    def __enter__(self) -> LocalStack:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def airflow_url(self) -> str:
        """Address of the api-server and its UI."""
        return f"http://{LOOPBACK}:{self.ports.api}"

    @property
    def aws_url(self) -> str:
        """Address of the local AWS."""
        return f"http://{LOOPBACK}:{self.ports.aws}"

    @property
    def airflow_env(self) -> dict[str, str]:
        """Environment of the Airflow processes, for running further ones (CLI calls) beside them."""
        return dict(self._env)

    def start(self) -> None:
        """Prepare the home and start all components at once; return without waiting for them.

        :raises StackSetupError: another stack runs from this home, or its database can't be made.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        self._started_at = datetime.now(UTC)
        stack_secrets, self.new_password = load_or_make_secrets(self.home)
        self.admin_password = stack_secrets.admin_password
        self._env = airflow_environment(
            home=self.home,
            ports=self.ports,
            stack_secrets=stack_secrets,
            dags_folder=self.dags_folder,
            plugins_folder=self.plugins_folder,
            parallelism=self._parallelism,
            schedule=self._schedule,
            enforce_iam=self._enforce_iam,
            overrides=self._overrides,
        )
        specs = {name: self._spec(name) for name in self._names}
        if AWS in specs:
            # It needs no database, so it starts while that is made.
            self._launch(specs.pop(AWS))
        if specs:
            prepare_database(self.home, self._env, self._database_cache)
        for spec in specs.values():
            self._launch(spec)
        if API_SERVER in self._names:
            self._rest = AirflowApi(self.airflow_url, ADMIN, self.admin_password)

    def _spec(self, name: str) -> ComponentSpec:
        python = sys.executable
        if name == AWS:
            address = ["--host", LOOPBACK, "--port", str(self.ports.aws)]
            command = [python, "-m", "local_aws", *address, *self._aws_args]
            return ComponentSpec(name, command, aws_environment(), self.home)
        # All logs are files in the home, which the api-server reads itself: no process need serve them.
        skip = ["--skip-serve-logs"] if name in (SCHEDULER, TRIGGERER) else []
        # -P: the folder that the process happens to start in must not be importable.
        imports = TASK_IMPORTS if name == SCHEDULER else ""
        command = [python, "-P", "-c", LAUNCHER, imports, name, *skip]
        return ComponentSpec(name, command, self._env, self.home)

    def _launch(self, spec: ComponentSpec) -> None:
        component = Component(spec, self.home / "logs" / "components" / f"{spec.name}.log")
        component.log_file.unlink(missing_ok=True)
        self._components[spec.name] = component
        component.start()
        self._expected.add(spec.name)
        self._record()

    def stop(self, grace: float = 5.0) -> list[int]:
        """End all processes of the stack and return the ids of any that survived (none, normally).

        :param grace: seconds that components get to end by themselves before they are killed.
        """
        self._expected.clear()
        if self._rest is not None:
            self._rest.close()
            self._rest = None
        # A dead leader's session counts too: what it forked (a killed scheduler's tasks) may live on.
        started = [component for component in self._components.values() if component.started]
        left = end_sessions([component.pid for component in started], grace=grace)
        for component in started:
            component.reap()
        if not left:
            self._state_file.unlink(missing_ok=True)
        return left

    def kill(self, name: str) -> None:
        """SIGKILL one component with all that it forked; it stays down until ``start_component``."""
        self._expected.discard(name)
        self._components[name].kill()

    def start_component(self, name: str) -> None:
        """Start a component again after ``kill``."""
        self._components[name].start()
        self._expected.add(name)
        self._record()

    def component(self, name: str) -> Component:
        """Return a component by name, for its process id and log file."""
        return self._components[name]

    def processes(self) -> list[psutil.Process]:
        """Return all living processes of the stack."""
        return [process for one in self._components.values() if one.started for process in session_members(one.pid)]

    def check(self) -> None:
        """Raise ``ComponentDiedError`` if a component ended by itself, or what ``on_check`` raises."""
        if self._on_check is not None:
            self._on_check()
        for name in self._expected:
            self._components[name].check()

    # --- what a killed stack left -----------------------------------------------------------------------

    @property
    def _state_file(self) -> Path:
        return self.home / "stack.json"

    def _record(self) -> None:
        sessions = {
            str(component.pid): psutil.Process(component.pid).create_time()
            for component in self._components.values()
            if component.running
        }
        owner = {"pid": os.getpid(), "started": psutil.Process().create_time()}
        write_private(self._state_file, json.dumps({"owner": owner, "sessions": sessions}))

    def _end_leftovers(self) -> None:
        if not self._state_file.exists():
            return
        state = json.loads(self._state_file.read_text())
        owner = state["owner"]
        if owner["pid"] != os.getpid() and _same_process(owner["pid"], owner["started"]):
            raise StackSetupError(
                f"Another stack (process {owner['pid']}) runs from {self.home}; end it there with Ctrl-C, "
                "or choose another home."
            )
        sessions = []
        for pid, started in state["sessions"].items():
            # A process id may have been given to a stranger since; ours are not older than their leader.
            if all(member.create_time() >= started for member in session_members(int(pid))):
                sessions.append(int(pid))
        end_sessions(sessions, grace=3)
        self._state_file.unlink(missing_ok=True)

    # --- readiness --------------------------------------------------------------------------------------

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Wait until every component answers or beats.

        :raises ComponentDiedError: one of them ended instead.
        :raises StackTimeoutError: names the components that are missing.
        """
        missing = set(self._names)

        def ready() -> bool:
            self.check()
            if AWS in missing and self.aws_healthy():
                missing.discard(AWS)
            if self._rest is not None:
                beating = self._beating()
                if API_SERVER in missing & beating:
                    # Built at its first request, which takes longer than a task waits for an answer.
                    self.rest.warm_execution_api()
                missing.difference_update(beating)
            return not missing

        wait_until(ready, timeout=timeout, what=lambda: f"the start of {', '.join(sorted(missing))}")

    def _beating(self) -> set[str]:
        healthy = self.rest.healthy_components()
        if "metadatabase" not in healthy:
            return set()
        beating = {API_SERVER}
        for name, shown in HEALTH_NAMES.items():
            beat = healthy.get(shown)
            # An old beat may be that of a stack which used the same home before.
            if beat is not None and beat >= self._started_at:
                beating.add(name)
        return beating

    def aws_healthy(self) -> bool:
        """Whether the local AWS answers its health address."""
        try:
            return httpx.get(f"{self.aws_url}/local-aws/health", trust_env=False, timeout=2).is_success
        except httpx.TransportError:
            return False

    # --- use --------------------------------------------------------------------------------------------

    @property
    def rest(self) -> AirflowApi:
        """Client of this stack's api-server, logged in as the admin."""
        if self._rest is None:
            raise StackSetupError("The stack has no api-server: start it, and with that component.")
        return self._rest

    def api(self, method: str, path: str, json: Any = None, **params: Any) -> Any:
        """Call Airflow's REST API; ``path`` is below ``/api/v2``."""
        return self.rest.call(method, path, json, params=params or None)

    def aws_admin(self, method: str, path: str, json: Any = None) -> Any:
        """Call an address of the local AWS itself, for example ``POST /local-aws/faults``."""
        reply = httpx.request(method, f"{self.aws_url}{path}", json=json, trust_env=False, timeout=30)
        reply.raise_for_status()
        return reply.json() if reply.content else None

    def aws_client(self, service: str) -> Any:
        """Return a boto3 client of the local AWS."""
        import boto3

        # The stubs overload this function by service name; here the name is a value.
        make: Callable[..., Any] = boto3.client
        return make(
            service,
            endpoint_url=self.aws_url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106 - the local AWS takes any
        )

    def wait_dag(self, dag_id: str, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until a DAG is parsed, and return it.

        :raises DagImportError: DAG files fail to import and the DAG is not there.
        """

        def parsed() -> dict[str, Any] | None:
            self.check()
            found = self.rest.dag(dag_id)
            if found is None and (errors := self.rest.import_errors()):
                traces = "\n".join(f"{one['filename']}:\n{one['stack_trace']}" for one in errors)
                raise DagImportError(f"{dag_id} is not there, and DAG files fail to import:\n{traces}")
            return found

        return wait_until(parsed, timeout=timeout, what=f"the DAG {dag_id} in {self.dags_folder}")

    def trigger_dag(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | str | None = None,
        *,
        run_id: str | None = None,
        unpause: bool = True,
    ) -> str:
        """Start a run of a DAG as soon as the DAG is there, and return the run's id.

        :param unpause: a new DAG is paused, and a paused DAG's runs wait for ever.
        """
        self.wait_dag(dag_id)
        # The run first: it is then the oldest, also where unpausing makes the schedule catch up at once.
        started = self.rest.trigger(dag_id, conf, logical_date=logical_date, run_id=run_id)
        if unpause:
            self.rest.set_paused(dag_id, False)
        return started

    def wait_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 300.0,
        on_change: Callable[[dict[str, Any]], None] | None = None,
        *,
        interval: float = 0.5,
    ) -> str:
        """Wait until a run is over and return its state, ``success`` or ``failed``.

        :param on_change: called with each task instance whose state or try changed, as it is seen.
        """
        seen: dict[tuple[str, int], tuple[str | None, int]] = {}

        def over() -> str | None:
            self.check()
            tasks = self.rest.task_instances(dag_id, run_id)
            for task in tasks:
                key, now = (task["task_id"], task["map_index"]), (task["state"], task["try_number"])
                if seen.get(key, (None, 0)) != now:
                    seen[key] = now
                    if on_change is not None:
                        on_change(task)
            # A run can't be over while a task of it works; asking for both each time is twice the load.
            if any(task["state"] in WORKING_TASK_STATES for task in tasks):
                return None
            state = str(self.rest.run(dag_id, run_id)["state"])
            return state if state in FINAL_RUN_STATES else None

        return wait_until(over, timeout=timeout, interval=interval, what=lambda: self._run_summary(dag_id, run_id))

    def _run_summary(self, dag_id: str, run_id: str) -> str:
        states = (f"{task['task_id']}={task['state']}" for task in self.rest.task_instances(dag_id, run_id))
        return f"the end of {dag_id} {run_id} ({', '.join(states)})"

    def wait_task(
        self, dag_id: str, run_id: str, task_id: str, states: Sequence[str], timeout: float = 60.0
    ) -> dict[str, Any]:
        """Wait until a task instance is in one of the given states, and return it."""

        def reached() -> dict[str, Any] | None:
            self.check()
            task = self.rest.task_instance(dag_id, run_id, task_id)
            return task if task["state"] in states else None

        return wait_until(reached, timeout=timeout, what=f"{dag_id}.{task_id} to be one of {list(states)}")

    def answer_task(self, dag_id: str, run_id: str, task_id: str, option: str, timeout: float = 60.0) -> None:
        """Wait until a task asks a person, and answer.

        A program answers faster than a person, while the process that asked still ends. Airflow takes the end of a
        process whose task goes on already for the loss of that task, so this waits for it.
        """
        self.wait_task(dag_id, run_id, task_id, ["awaiting_input"], timeout=timeout)
        asker = f"TaskInstanceKey(dag_id='{dag_id}', task_id='{task_id}', run_id='{run_id}',"
        ended = f"Received executor event with state success for task instance {asker}"
        log_file = self.component(SCHEDULER).log_file

        def over() -> bool:
            self.check()
            return ended in log_file.read_text(encoding="utf-8", errors="replace")

        wait_until(over, timeout=timeout, what=f"the end of the process in which {dag_id}.{task_id} asked")
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self.api("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def kill_task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> list[int]:
        """SIGKILL the worker that runs a task, with the task's own process: the loss of a machine.

        Airflow then hears nothing more of the task; it is found out by its missing heartbeat.
        :returns: the killed process ids.
        """
        task = self.rest.task_instance(dag_id, run_id, task_id, map_index)
        ours = {process.pid: process for process in self.processes()}
        runner = ours.get(int(task["pid"] or 0))
        if task["state"] != "running" or runner is None:
            raise StackSetupError(f"{dag_id}.{task_id} is {task['state']}, not running here; nothing was killed.")
        # LocalExecutor runs the task's supervisor inside its worker process, the runner's parent.
        worker = runner.parent()
        victims = [one for one in (worker, runner) if one is not None and one.pid in ours]
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=10)
        return [victim.pid for victim in victims]

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Keep a component dead for the length of a block, then start it again."""
        self.kill(name)
        try:
            yield
        finally:
            self.start_component(name)


def _same_process(pid: int, started: float) -> bool:
    try:
        return bool(psutil.Process(pid).create_time() == started)
    except psutil.NoSuchProcess:
        return False
