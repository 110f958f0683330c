"""A small client of Airflow's public REST API, for scripts and end-to-end tests.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

FINAL_RUN_STATES = frozenset({"success", "failed"})
# A deferred task is not among them: a run that a person marks failed is over while tasks still wait.
WORKING_TASK_STATES = frozenset({"running", "queued"})
# A page of the API holds at most this many entries ([api] maximum_page_limit).
PAGE = 100


class AirflowApiError(RuntimeError):
    """Airflow's REST API refused a request; the message holds the request, the status and the reason."""

    def __init__(self, method: str, path: str, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"{method} {path} was answered with {status}: {detail}")


class AirflowApi:
    """Talk to one api-server as one user; logs in by itself and again when the token expired.

    :param base_url: address of the api-server, without a path.
    :param timeout: seconds for one request.
    :param transport: what carries the requests, for tests; the network by default.
    """

    def __init__(
        self,
        base_url: str,
        username: str,
        password: str,
        *,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._username = username
        self._password = password
        self._token: str | None = None
        # trust_env off: a proxy configured on the machine must not see (or break) loopback traffic.
        self._client = httpx.Client(base_url=base_url, timeout=timeout, trust_env=False, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def healthy_components(self) -> dict[str, datetime | None]:
        """Return the components that report themselves healthy, with their newest heartbeat.

        Empty while nothing answers yet. https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/check-health.html
        """
        try:
            reply = self._client.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return {}
        if reply.status_code != httpx.codes.OK:
            return {}
        healthy: dict[str, datetime | None] = {}
        for name, health in reply.json().items():
            if health and health.get("status") == "healthy":
                beat = health.get(f"latest_{name}_heartbeat")
                healthy[name] = datetime.fromisoformat(beat) if beat else None
        return healthy

    def warm_execution_api(self, timeout: float = 120.0) -> None:
        """Make the api-server build the part that tasks talk to, which it otherwise does when first asked."""
        self._client.get("/execution/health", timeout=timeout).raise_for_status()

    def call(self, method: str, path: str, json: Any = None, *, params: Mapping[str, Any] | None = None) -> Any:
        """Send one request and return the decoded answer (None if it has no body).

        :param path: path below ``/api/v2``, or an absolute one such as ``/auth/token``.
        :raises AirflowApiError: the answer is not a success.
        """
        url = path if path.startswith(("/api/", "/auth/", "/ui/")) else f"/api/v2{path}"
        reply = self._send(method, url, json, params)
        if reply.status_code == httpx.codes.UNAUTHORIZED:
            self._token = None
            reply = self._send(method, url, json, params)
        if reply.is_error:
            raise AirflowApiError(method, url, reply.status_code, _detail(reply))
        return reply.json() if reply.content else None

    def _send(self, method: str, url: str, json: Any, params: Mapping[str, Any] | None) -> httpx.Response:
        if self._token is None:
            self._token = self._log_in()
        return self._client.request(
            method, url, json=json, params=params, headers={"Authorization": f"Bearer {self._token}"}
        )

    def _log_in(self) -> str:
        reply = self._client.post("/auth/token", json={"username": self._username, "password": self._password})
        if reply.is_error:
            raise AirflowApiError("POST", "/auth/token", reply.status_code, _detail(reply))
        return str(reply.json()["access_token"])

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return the DAG as the database knows it, None while it is not parsed yet."""
        try:
            found: dict[str, Any] = self.call("GET", f"/dags/{quote(dag_id)}")
        except AirflowApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return found

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the DAG files that failed to import, each with its stack trace."""
        found: list[dict[str, Any]] = self.call("GET", "/importErrors", params={"limit": PAGE})["import_errors"]
        return found

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG."""
        self.call("PATCH", f"/dags/{quote(dag_id)}", {"is_paused": paused})

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        logical_date: datetime | str | None = None,
        run_id: str | None = None,
    ) -> str:
        """Start a run and return its id; params that the DAG's schema forbids are refused by the API."""
        when = logical_date.isoformat() if isinstance(logical_date, datetime) else logical_date
        body: dict[str, Any] = {"logical_date": when, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one DAG run."""
        found: dict[str, Any] = self.call("GET", _run_path(dag_id, run_id))
        return found

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a DAG, oldest first."""
        return self._pages(f"/dags/{quote(dag_id)}/dagRuns", "dag_runs", {"order_by": "id"})

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of one run, mapped ones included."""
        return self._pages(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances", {})

    def _pages(self, path: str, key: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", path, params={**params, "limit": PAGE, "offset": len(entries)})
            entries += page[key]
            if not page[key] or len(entries) >= page["total_entries"]:
                return entries

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return one task instance."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}"
        found: dict[str, Any] = self.call("GET", path if map_index < 0 else f"{path}/{map_index}")
        return found

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task instance as a person does in the UI (``success``, ``failed`` or ``skipped``)."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}"
        self.call("PATCH", path, {"new_state": state})

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as a person does in the UI (``success``, ``failed`` or ``queued``)."""
        self.call("PATCH", _run_path(dag_id, run_id), {"state": state})

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run and its task instances."""
        self.call("DELETE", _run_path(dag_id, run_id))

    def clear_tasks(self, dag_id: str, run_id: str, task_ids: list[str], **options: Any) -> None:
        """Clear task instances of one run so that they run again."""
        body = {"dag_run_id": run_id, "task_ids": task_ids, "dry_run": False, "only_failed": False, **options}
        self.call("POST", f"/dags/{quote(dag_id)}/clearTaskInstances", body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return one XCom value, None if the task pushed none."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        try:
            entry = self.call("GET", path, params={"map_index": map_index, "deserialize": False})
        except AirflowApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return entry["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int, map_index: int = -1) -> str:
        """Return the text of one try's log."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        answer = self.call("GET", path, params={"map_index": map_index, "full_content": True})
        lines = []
        for event in answer["content"]:
            if isinstance(event, dict):
                lines.append(" ".join(str(value) for value in event.values()))
            else:
                lines.append(str(event))
        return "\n".join(lines)

    def create_backfill(
        self, dag_id: str, from_date: str, to_date: str, *, max_active_runs: int, **options: Any
    ) -> int:
        """Start a backfill over an inclusive range of dates and return its id."""
        body = {
            "dag_id": dag_id,
            "from_date": from_date,
            "to_date": to_date,
            "max_active_runs": max_active_runs,
            "dag_run_conf": {},
            "run_backwards": False,
            "reprocess_behavior": "none",
            **options,
        }
        return int(self.call("POST", "/backfills", body)["id"])


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _detail(reply: httpx.Response) -> str:
    try:
        return str(reply.json().get("detail", reply.text))
    except (ValueError, AttributeError):
        return reply.text[:500]
