"""Names of restored tables, and the guard before their deletion."""

from __future__ import annotations

import datetime as dt
import hashlib
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_retention.names import (
    RestoredName,
    RestoredNameTooLongError,
    UndeletableTableError,
    ensure_deletable_table,
    parse_restored_name,
    restored_table_name,
    run_tag,
)

CALM = settings(deadline=None, max_examples=50)
"""No deadline an example: how long one takes says more about the machine's other work than about ours."""

ALLOWED = frozenset({"orders", "stock.v2"})
DAY = dt.date(2026, 11, 3)


class TestGuard:
    @pytest.mark.parametrize(
        ("name", "source"),
        [
            ("orders-restored-20261103-0a1b2c3d", "orders"),
            ("stock.v2-restored-20240229-ffffffff", "stock.v2"),
        ],
    )
    def test_a_restored_copy_of_an_allowed_source_may_go(self, name: str, source: str) -> None:
        assert ensure_deletable_table(name, ALLOWED).source == source

    @pytest.mark.parametrize(
        "name",
        [
            "orders", "stock.v2", "orders-restored", "orders-restored-20261103", "orders-backup-leases", "", "-",
            "customers", "customers-restored-20261103-0a1b2c3d", "Orders-restored-20261103-0a1b2c3d",
            "my-orders-restored-20261103-0a1b2c3d", "orders2-restored-20261103-0a1b2c3d",
            "stockxv2-restored-20261103-0a1b2c3d", "orders-restored-20261103-0a1b2c3",
            "orders-restored-20261103-0a1b2c3d4", "orders-restored-20261103-0A1B2C3D",
            "orders-restored-20261103-0a1b2c3g", "orders-restored-20261303-0a1b2c3d",
            "orders-restored-20260229-0a1b2c3d", "orders-restored-2026110-00a1b2c3d",
            "orders-restore-20261103-0a1b2c3d", "orders-Restored-20261103-0a1b2c3d",
            "orders-restored-20261103-0a1b2c3d\n", " orders-restored-20261103-0a1b2c3d",
            "orders-restored-20261103-0a1b2c3d ", "orders-restored-20261103-0a1b2c3d-live",
            "orders-restored-20261103-0a1b2c3d-restored-20261103-0a1b2c3d", "-restored-20261103-0a1b2c3d",
            "orders-restored-\u0662\u0660\u0662\u0666\u0661\u0661\u0660\u0663-0a1b2c3d", "orders*", "orders-restored-*",
        ],
    )  # fmt: skip
    def test_nothing_else_may(self, name: str) -> None:
        with pytest.raises(UndeletableTableError, match="Refused to delete") as caught:
            ensure_deletable_table(name, ALLOWED)
        assert caught.value.table_name == name

    def test_a_source_that_is_called_like_a_copy_may_not(self) -> None:
        # Someone may have promoted a restored table, and protects it now.
        promoted = "orders-restored-20261103-0a1b2c3d"
        with pytest.raises(UndeletableTableError):
            ensure_deletable_table(promoted, {"orders", promoted})
        copy = f"{promoted}-restored-20261104-00000000"
        assert ensure_deletable_table(copy, {"orders", promoted}).source == promoted

    def test_without_allowed_sources_nothing_may(self) -> None:
        with pytest.raises(UndeletableTableError, match="sources: none"):
            ensure_deletable_table("orders-restored-20261103-0a1b2c3d", [])

    def test_one_name_is_not_a_list(self) -> None:
        with pytest.raises(TypeError, match="collection"):
            ensure_deletable_table("order-restored-20261103-0a1b2c3d", "orders")

    def test_the_refusal_says_what_is_allowed_and_survives_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(UndeletableTableError("orders", ALLOWED)))
        assert "these sources: orders, stock.v2" in str(error)
        assert error.allowed_sources == ("orders", "stock.v2")


class TestRestoredName:
    def test_says_source_date_and_run(self) -> None:
        run_id = "manual__2026-11-03T10:00:00+00:00"
        name = restored_table_name("orders", DAY, run_id)
        run_hash = hashlib.sha256(run_id.encode()).hexdigest()[:8]
        assert name == f"orders-restored-20261103-{run_hash}"
        assert parse_restored_name(name) == RestoredName("orders", DAY, run_hash)

    def test_two_runs_of_one_date_have_two_names(self) -> None:
        assert restored_table_name("orders", DAY, "a") != restored_table_name("orders", DAY, "b")

    @CALM
    @given(st.from_regex(r"[A-Za-z0-9_.-]{3,200}", fullmatch=True), st.dates(), st.text(max_size=40))
    def test_the_guard_lets_every_such_name_go_and_never_its_source(
        self, source: str, day: dt.date, run_id: str
    ) -> None:
        name = restored_table_name(source, day, run_id)
        assert re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", name)
        assert ensure_deletable_table(name, {source}).source == source
        with pytest.raises(UndeletableTableError):
            ensure_deletable_table(source, {source})

    def test_a_name_without_room_for_the_ending_is_refused(self) -> None:
        assert len(restored_table_name("x" * 228, DAY, "run")) == 255
        with pytest.raises(RestoredNameTooLongError, match="256 characters"):
            restored_table_name("x" * 229, DAY, "run")


class TestRunTag:
    def test_an_ordinary_run_stands_as_it_is(self) -> None:
        run_id = "scheduled__2026-11-03T00:00:00+00:00"
        assert run_tag("orders_backup_restore", run_id) == f"orders_backup_restore/{run_id}"

    @CALM
    @given(st.text(min_size=1, max_size=250), st.text(min_size=1, max_size=250))
    def test_it_is_a_tag_and_stands_for_one_run(self, one: str, other: str) -> None:
        tags = [run_tag("dag", run_id) for run_id in (one, other)]
        assert all(re.fullmatch(r"[A-Za-z0-9 _.:/=+@-]{1,256}", tag) for tag in tags)
        assert (tags[0] == tags[1]) == (one == other)

    def test_a_long_one_is_shortened(self) -> None:
        tags = {run_tag("dag", "r" * 300 + ending) for ending in "ab"}
        assert {len(tag) for tag in tags} == {256}
        assert len(tags) == 2
