from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from airflow_api import PAGE, AirflowApi, AirflowApiError


class FakeAirflow:
    """Answers like an api-server, from a table of paths; remembers what was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], httpx.Response | list[httpx.Response]] = {}
        self.requests: list[httpx.Request] = []
        self.logins = 0
        self.valid_token = "token-1"
        self.api = AirflowApi("http://test", "admin", "pw", transport=httpx.MockTransport(self._handle))

    def on(self, method: str, path: str, body: object = None, status: int = 200) -> None:
        self.answers[(method, path)] = httpx.Response(status, json=body)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            assert json.loads(request.content) == {"username": "admin", "password": "pw"}
            self.logins += 1
            self.valid_token = f"token-{self.logins}"
            return httpx.Response(201, json={"access_token": self.valid_token})
        self.requests.append(request)
        if "monitor" not in request.url.path and request.headers["Authorization"] != f"Bearer {self.valid_token}":
            return httpx.Response(401, json={"detail": "Invalid JWT token"})
        path = request.url.raw_path.decode().split("?")[0]
        answer = self.answers.get((request.method, path))
        if isinstance(answer, list):
            return answer.pop(0)
        return answer or httpx.Response(404, json={"detail": "not found"})

    def sent(self) -> object:
        return json.loads(self.requests[-1].content)


@pytest.fixture
def airflow():
    return FakeAirflow()


def test_logs_in_once_for_many_calls(airflow):
    airflow.on("GET", "/api/v2/version", {"version": "3"})
    assert airflow.api.call("GET", "/version") == {"version": "3"}
    assert airflow.api.call("GET", "/version") == {"version": "3"}
    assert airflow.logins == 1


def test_logs_in_again_when_the_token_expired(airflow):
    airflow.on("GET", "/api/v2/version", {"version": "3"})
    airflow.api.call("GET", "/version")
    airflow.valid_token = "another"
    assert airflow.api.call("GET", "/version") == {"version": "3"}
    assert airflow.logins == 2


def test_refusal_tells_request_status_and_reason(airflow):
    airflow.on("POST", "/api/v2/dags/d/dagRuns", {"detail": "-1 is less than the minimum of 0"}, status=400)
    with pytest.raises(AirflowApiError, match=r"POST /api/v2/dags/d/dagRuns .* 400: -1 is less") as raised:
        airflow.api.trigger("d", {"n": -1})
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("logical_date", "sent"),
    [
        (None, None),
        ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        (datetime(2026, 11, 1, tzinfo=UTC), "2026-11-01T00:00:00+00:00"),
    ],
)
def test_trigger_always_names_a_logical_date(airflow, logical_date, sent):
    airflow.on("POST", "/api/v2/dags/d/dagRuns", {"dag_run_id": "manual__1"})
    assert airflow.api.trigger("d", {"a": 1}, logical_date=logical_date) == "manual__1"
    assert airflow.sent() == {"logical_date": sent, "conf": {"a": 1}}


def test_trigger_with_a_run_id(airflow):
    airflow.on("POST", "/api/v2/dags/d/dagRuns", {"dag_run_id": "mine"})
    airflow.api.trigger("d", run_id="mine")
    assert airflow.sent()["dag_run_id"] == "mine"


def test_run_ids_are_escaped(airflow):
    airflow.on("GET", "/api/v2/dags/d/dagRuns/manual__2026-11-23T13%3A00%3A00%2B00%3A00", {"state": "running"})
    assert airflow.api.run("d", "manual__2026-11-23T13:00:00+00:00") == {"state": "running"}


def test_missing_dag_is_none_and_other_errors_are_raised(airflow):
    assert airflow.api.dag("later") is None
    airflow.on("GET", "/api/v2/dags/broken", {"detail": "database is gone"}, status=500)
    with pytest.raises(AirflowApiError, match="database is gone"):
        airflow.api.dag("broken")


@pytest.mark.parametrize("total", [0, 1, PAGE, PAGE + 1, 2 * PAGE + 5])
def test_all_pages_are_read(airflow, total):
    everything = [{"task_id": str(number)} for number in range(total)]
    pages = [everything[start : start + PAGE] for start in range(0, total, PAGE)] or [[]]
    airflow.answers[("GET", "/api/v2/dags/d/dagRuns/r/taskInstances")] = [
        httpx.Response(200, json={"task_instances": page, "total_entries": total}) for page in pages
    ]
    assert airflow.api.task_instances("d", "r") == everything
    assert [request.url.params["offset"] for request in airflow.requests] == [
        str(PAGE * number) for number in range(len(pages))
    ]


@pytest.mark.parametrize(
    ("answer", "value"),
    [({"key": "return_value", "value": {"verdict": "PROVEN"}}, {"verdict": "PROVEN"}), (None, None)],
)
def test_xcom(airflow, answer, value):
    if answer is not None:
        airflow.on("GET", "/api/v2/dags/d/dagRuns/r/taskInstances/report/xcomEntries/return_value", answer)
    assert airflow.api.xcom("d", "r", "report") == value


def test_health_names_the_healthy_components_and_their_beats(airflow):
    airflow.on(
        "GET",
        "/api/v2/monitor/health",
        {
            "metadatabase": {"status": "healthy"},
            "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-11-23T13:00:00+00:00"},
            "triggerer": {"status": "unhealthy", "latest_triggerer_heartbeat": "2026-11-23T12:00:00+00:00"},
            "dag_processor": {"status": None, "latest_dag_processor_heartbeat": None},
        },
    )
    assert airflow.api.healthy_components() == {
        "metadatabase": None,
        "scheduler": datetime(2026, 11, 23, 13, tzinfo=UTC),
    }


def test_health_is_empty_while_nothing_answers():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    api = AirflowApi("http://test", "admin", "pw", transport=httpx.MockTransport(refuse))
    assert api.healthy_components() == {}


def test_mark_clear_delete_and_backfill_send_what_airflow_asks_for(airflow):
    airflow.on("PATCH", "/api/v2/dags/d/dagRuns/r/taskInstances/t", {})
    airflow.api.set_task_state("d", "r", "t", "failed")
    assert airflow.sent() == {"new_state": "failed"}
    airflow.on("POST", "/api/v2/dags/d/clearTaskInstances", {})
    airflow.api.clear_tasks("d", "r", ["t"], include_downstream=True)
    assert airflow.sent() == {
        "dag_run_id": "r",
        "task_ids": ["t"],
        "dry_run": False,
        "only_failed": False,
        "include_downstream": True,
    }
    airflow.on("POST", "/api/v2/backfills", {"id": 7})
    assert airflow.api.create_backfill("d", "2026-11-01", "2026-11-03", max_active_runs=3) == 7
    assert airflow.sent()["max_active_runs"] == 3
    airflow.answers[("DELETE", "/api/v2/dags/d/dagRuns/r")] = httpx.Response(204)
    airflow.api.delete_run("d", "r")
    assert airflow.requests[-1].method == "DELETE"
