"""Documents and keys of the bucket: what is missing or odd is no document, what is too large is not read."""

from __future__ import annotations

import pytest

from backup_console_app import world as worlds
from backup_console_app.troubles import ConsoleTroubleError


def test_a_document_is_read_once_and_anew_when_it_is_old(account):
    world = account.world()
    account.put("a.json", {"n": 1})
    assert world.document("a.json") == {"n": 1}
    account.put("a.json", {"n": 2})
    assert world.document("a.json") == {"n": 1}
    account.seconds += worlds.FRESH
    assert world.document("a.json") == {"n": 2}


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff\xfe", b""])
def test_what_is_no_json_object_is_no_document(account, content):
    account.put("a.json", content)
    assert account.world().document("a.json") is None
    assert account.world().document("b.json") is None


def test_a_document_that_is_too_large_is_told_and_not_read(account, monkeypatch):
    monkeypatch.setattr(worlds, "DOCUMENT_BYTES", 10)
    account.put("a.json", {"name": "long enough"})
    with pytest.raises(ConsoleTroubleError, match="too large"):
        account.world().document("a.json")


def test_folders_and_keys_come_in_order_and_no_further_than_asked(account):
    for name in ("b/1", "a/1", "a/2", "c"):
        account.put(f"top/{name}", {})
    world = account.world()
    assert world.folders("top/") == ["a", "b"]
    assert world.keys("top/") == ["top/a/1", "top/a/2", "top/b/1", "top/c"]
    assert world.keys("top/", after="top/a/2") == ["top/b/1", "top/c"]
    assert world.keys("top/", pages=0) == []


def test_work_within_work_does_not_wait_for_itself(account):
    world = account.world()
    found = world.each(lambda outer: sum(world.each(lambda inner: outer * inner, range(20))), range(40))
    assert found == [outer * 190 for outer in range(40)]
