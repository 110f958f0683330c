import gc
import os
import threading
from collections.abc import Iterator

import pytest

from dynamodb_bulk.garbage import collector_paused


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_afterwards_what_it_was_before(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    with collector_paused:
        assert not gc.isenabled()
        with collector_paused:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled() is enabled


def test_an_error_inside_switches_it_on_again() -> None:
    gc.enable()
    with pytest.raises(KeyError), collector_paused:
        raise KeyError("an error")
    assert gc.isenabled()


def test_the_last_of_many_threads_switches_it_on_again() -> None:
    gc.enable()
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    seen: list[bool] = []

    def second() -> None:
        first_is_in.wait(10)
        with collector_paused:
            second_is_in.set()
            first_is_out.wait(10)
            seen.append(gc.isenabled())

    thread = threading.Thread(target=second)
    thread.start()
    with collector_paused:
        first_is_in.set()
        assert second_is_in.wait(10)
    first_is_out.set()
    thread.join()
    assert seen == [False]
    assert gc.isenabled()


def test_a_child_of_a_process_in_the_middle_of_it_has_a_collector() -> None:
    gc.enable()
    with collector_paused:
        child = os.fork()
        if not child:
            # Nothing of pytest's may run in the child.
            enabled = gc.isenabled()
            with collector_paused:
                paused = not gc.isenabled()
            os._exit(0 if enabled and paused and gc.isenabled() else 1)
        _, status = os.waitpid(child, 0)
        assert not gc.isenabled()
    assert os.waitstatus_to_exitcode(status) == 0
    assert gc.isenabled()
