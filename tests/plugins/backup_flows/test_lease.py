from __future__ import annotations

import datetime as dt
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_flows.lease import LeaseLostError, LeaseState, LeaseStore, Outcome, Waiter, from_item, to_item
from local_aws import mock_aws

LEASES = "leases"
NOW = dt.datetime(2026, 11, 1, 6, tzinfo=dt.UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock, clients):
    with mock_aws():
        client = clients("dynamodb")
        client.create_table(
            TableName=LEASES,
            KeySchema=[{"AttributeName": "table_name", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "table_name", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield LeaseStore(client, LEASES, clock=clock, lease_seconds=900, stale_after=120)


def alive(_owner: str) -> bool:
    return False


def over(_owner: str) -> bool:
    return True


def test_a_free_lease_is_taken_and_the_fence_grows_with_each_owner(store):
    first = store.try_acquire("orders", "dag/a", "2026-11-01", run_is_over=alive)
    assert (first.owner, first.fence) == ("dag/a", 1)
    assert store.release("orders", "dag/a") is True
    second = store.try_acquire("orders", "dag/b", "2026-11-02", run_is_over=alive)
    assert (second.owner, second.fence) == ("dag/b", 2)


def test_the_owner_keeps_lease_and_fence_when_its_task_runs_twice(store):
    assert store.try_acquire("orders", "dag/a", "d", run_is_over=alive).fence == 1
    assert store.try_acquire("orders", "dag/a", "d", run_is_over=alive).fence == 1


def test_leases_of_two_tables_are_independent(store):
    assert store.try_acquire("orders", "dag/a", "d", run_is_over=alive)
    assert store.try_acquire("customers", "dag/b", "d", run_is_over=alive)


def test_a_lease_that_has_not_expired_is_not_even_questioned(store, clock):
    store.try_acquire("orders", "dag/a", "d", run_is_over=alive)
    clock.pass_seconds(899)

    def must_not_ask(_owner: str) -> bool:
        raise AssertionError("the owner's run was questioned before its time")

    assert store.try_acquire("orders", "dag/b", "d", run_is_over=must_not_ask) is None


def test_an_expired_lease_of_a_live_run_is_renewed_not_robbed(store, clock):
    store.try_acquire("orders", "dag/a", "d", run_is_over=alive)
    clock.pass_seconds(901)
    assert store.try_acquire("orders", "dag/b", "d", run_is_over=alive) is None
    held = store.read("orders")
    assert held.owner == "dag/a"
    assert held.expires_at == int(clock().timestamp()) + 900


def test_an_expired_lease_of_a_dead_run_is_taken_over(store, clock):
    store.try_acquire("orders", "dag/a", "d", run_is_over=alive)
    clock.pass_seconds(901)
    asked = []

    def deleted(owner: str) -> bool:
        asked.append(owner)
        return True

    taken = store.try_acquire("orders", "dag/b", "d", run_is_over=deleted)
    assert (taken.owner, taken.fence, asked) == ("dag/b", 2, ["dag/a"])
    with pytest.raises(LeaseLostError, match="dag/b"):
        store.ensure_held("orders", "dag/a", 1)


def test_the_earliest_as_of_comes_first(store):
    store.try_acquire("orders", "dag/owner", "2026-11-01", run_is_over=alive)
    for run, as_of in [("dag/c", "2026-11-04"), ("dag/a", "2026-11-02"), ("dag/b", "2026-11-03")]:
        assert store.try_acquire("orders", run, as_of, run_is_over=alive) is None
    store.release("orders", "dag/owner")
    assert store.try_acquire("orders", "dag/c", "2026-11-04", run_is_over=alive) is None
    assert store.try_acquire("orders", "dag/b", "2026-11-03", run_is_over=alive) is None
    assert store.try_acquire("orders", "dag/a", "2026-11-02", run_is_over=alive).owner == "dag/a"


def test_a_waiter_that_no_longer_shows_itself_falls_out_of_the_queue(store, clock):
    store.try_acquire("orders", "dag/owner", "2026-11-01", run_is_over=alive)
    store.try_acquire("orders", "dag/killed", "2026-11-02", run_is_over=alive)
    clock.pass_seconds(121)
    store.show_up("orders", "dag/next", "2026-11-03")
    store.release("orders", "dag/owner")
    assert store.try_acquire("orders", "dag/next", "2026-11-03", run_is_over=alive).owner == "dag/next"


def test_may_try_tells_the_trigger_when_to_wake_the_task(store, clock):
    store.try_acquire("orders", "dag/owner", "2026-11-01", run_is_over=alive)
    waiting = store.show_up("orders", "dag/b", "2026-11-03")
    now = int(clock().timestamp())
    assert waiting.may_try("dag/b", now=now, stale_after=120) is False
    assert waiting.may_try("dag/b", now=now + 901, stale_after=1200) is True
    store.show_up("orders", "dag/a", "2026-11-02")
    store.release("orders", "dag/owner")
    free = store.read("orders")
    assert free.may_try("dag/a", now=now, stale_after=120) is True
    assert free.may_try("dag/b", now=now, stale_after=120) is False


def test_release_is_safe_to_repeat_and_never_frees_anothers_lease(store):
    store.try_acquire("orders", "dag/a", "d", run_is_over=alive)
    assert store.release("orders", "dag/b") is False
    assert store.read("orders").owner == "dag/a"
    assert store.release("orders", "dag/a") is True
    assert store.release("orders", "dag/a") is False


def test_release_leaves_the_queue_too(store):
    store.try_acquire("orders", "dag/a", "d", run_is_over=alive)
    store.try_acquire("orders", "dag/b", "d", run_is_over=alive)
    store.release("orders", "dag/b")
    assert store.read("orders").queue == {}


def test_ensure_held_extends_the_time(store, clock):
    store.try_acquire("orders", "dag/a", "d", run_is_over=alive)
    clock.pass_seconds(600)
    store.ensure_held("orders", "dag/a", 1)
    assert store.read("orders").expires_at == int(clock().timestamp()) + 900


def test_ten_threads_never_hold_one_lease_at_the_same_time(store):
    """Each holder checks that nobody else is inside; all ten get their turn."""
    inside: list[str] = []
    most: list[int] = []
    fences: list[int] = []
    lock = threading.Lock()
    released = threading.Event()

    def run(name: str) -> None:
        while (lease := store.try_acquire("orders", name, name, run_is_over=alive)) is None:
            # As the trigger does: who can't get it yet only looks, so that the holder is not kept from giving it back.
            while not store.read("orders").may_try(name, now=int(NOW.timestamp()), stale_after=120):
                released.wait(0.01)
        with lock:
            inside.append(name)
            most.append(len(inside))
            fences.append(lease.fence)
        with lock:
            inside.remove(name)
        store.release("orders", name)
        released.set()
        released.clear()

    threads = [threading.Thread(target=run, args=(f"dag/{n}",)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(most) == 1
    assert sorted(fences) == list(range(1, 11))


names = st.text(min_size=1, max_size=8)


@given(
    st.builds(
        LeaseState,
        table_name=names,
        owner=st.none(),
        fence=st.integers(0, 10**9),
        expires_at=st.integers(0, 10**10),
        version=st.integers(0, 10**9),
        queue=st.dictionaries(names, st.builds(Waiter, as_of=names, seen=st.integers(0, 10**10)), max_size=4),
    )
)
def test_the_item_holds_the_whole_state(state):
    assert from_item(to_item(state)) == state


def test_an_expired_lease_asks_before_anything_is_taken():
    state = LeaseState(table_name="t", owner="dag/a", owner_as_of="d", fence=3, expires_at=10)
    left, outcome = state.attempt("dag/b", "d", now=11, lease_seconds=5, stale_after=5, owner_is_over=False)
    assert outcome is Outcome.OWNER_EXPIRED
    assert (left.owner, left.fence) == ("dag/a", 3)
