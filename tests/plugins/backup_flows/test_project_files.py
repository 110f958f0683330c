from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.configuration import conf

from backup_flows.project_files import PROJECT_HOME_VARIABLE, ProjectFileNotFoundError, project_file, project_home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "a.yaml").write_text("a: 1", encoding="utf-8")
    return tmp_path


def test_the_variable_says_where_the_project_is(home: Path, monkeypatch):
    monkeypatch.setenv(PROJECT_HOME_VARIABLE, str(home))
    assert project_home() == home.resolve()
    assert project_file("include/a.yaml") == home.resolve() / "include" / "a.yaml"


@pytest.mark.parametrize("value", [None, ""], ids=["not set", "set to nothing"])
def test_else_it_is_what_lies_beside_the_dags_folder(home: Path, monkeypatch, value: str | None):
    if value is None:
        monkeypatch.delenv(PROJECT_HOME_VARIABLE)
    else:
        monkeypatch.setenv(PROJECT_HOME_VARIABLE, value)
    monkeypatch.setattr(conf, "get", lambda *key, **_: str(home / "dags") if key == ("core", "dags_folder") else None)
    assert project_file(Path("include") / "a.yaml").read_text(encoding="utf-8") == "a: 1"


def test_a_missing_file_is_named_with_the_place_and_the_remedy(home: Path, monkeypatch):
    monkeypatch.setenv(PROJECT_HOME_VARIABLE, str(home))
    with pytest.raises(ProjectFileNotFoundError) as missing:
        project_file("include/b.yaml")
    told = str(missing.value)
    assert str(home.resolve() / "include" / "b.yaml") in told
    assert PROJECT_HOME_VARIABLE in told
