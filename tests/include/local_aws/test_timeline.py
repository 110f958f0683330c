from datetime import timedelta
from threading import Event

import pytest
from moto.backup.models import backup_backends

from local_aws import control, timeline
from local_aws.agenda import Agenda
from local_aws.clock import CLOCK


def agenda_of(region="us-east-1"):
    return backup_backends["123456789012"][region].agenda


def after(seconds):
    return CLOCK.now() + timedelta(seconds=seconds)


def test_entries_come_off_by_time_and_then_by_age(bare_aws):
    agenda, order = Agenda(), []
    for name, seconds in (("late", 2), ("first", 1), ("second", 1)):
        agenda.add(after(seconds), lambda _at, name=name: order.append(name))
    while agenda.next_due is not None:
        agenda.pop().action(CLOCK.now())
    assert order == ["first", "second", "late"]


def test_what_is_due_can_be_looked_at(bare_aws):
    agenda, due = Agenda(), [(seconds * 37) % 101 for seconds in range(100)]
    for seconds in due:
        agenda.add(after(seconds), lambda _at: None)
    for by in (-1, 0, 40, 100):
        found = sorted((entry.due - CLOCK.now()).total_seconds() for entry in agenda.due_by(after(by)))
        assert found == sorted(seconds for seconds in due if seconds <= by)
    assert agenda.next_due == after(min(due))


def test_time_stops_at_each_entry_on_its_way(bare_aws):
    seen, start = [], CLOCK.now()
    agenda_of().add(after(5), lambda at: seen.append((at - start, CLOCK.now() - start)))
    agenda_of("eu-west-1").add(after(3), lambda at: seen.append((at - start, CLOCK.now() - start)))
    control.advance_clock(timedelta(seconds=10))
    assert seen == [(timedelta(seconds=s), timedelta(seconds=s)) for s in (3, 5)]
    assert CLOCK.now() - start == timedelta(seconds=10)


def test_what_an_entry_plans_runs_in_the_same_move(bare_aws):
    seen = []
    agenda_of().add(after(1), lambda at: agenda_of().add(at + timedelta(seconds=1), lambda _at: seen.append("next")))
    control.advance_clock(timedelta(seconds=2))
    assert seen == ["next"]


def test_nothing_runs_early(bare_aws):
    seen = []
    agenda_of().add(after(5), lambda _at: seen.append("ran"))
    control.advance_clock(timedelta(seconds=4.999))
    assert seen == []
    control.advance_clock(timedelta(milliseconds=1))
    assert seen == ["ran"]


def test_what_is_planned_for_now_runs_with_the_next_request(bare_aws):
    control.configure(job_seconds=0)
    bare_aws.make_table()
    bare_aws.backup.create_backup_vault(BackupVaultName=bare_aws.vault)
    job_id = bare_aws.start()["BackupJobId"]
    assert bare_aws.state(job_id) == "COMPLETED"


def test_a_request_to_dynamodb_catches_up_too(aws):
    control.configure(restore_seconds=0)
    aws.restore(aws.recovery_point())
    assert aws.dynamodb.describe_table(TableName="orders-restored")["Table"]["TableStatus"] == "ACTIVE"


def test_a_reset_of_the_data_forgets_the_plans(bare_aws):
    agenda_of().add(after(1), lambda _at: pytest.fail("a plan of data that is gone"))
    backup_backends["123456789012"]["us-east-1"].reset()
    control.advance_clock(timedelta(seconds=2))


@pytest.fixture
def ticker():
    ticker = timeline.Ticker()
    ticker.start()
    yield ticker
    ticker.stop()
    assert not timeline.TICKING.is_set()


def test_a_ticker_runs_what_falls_due_though_nobody_asks(bare_aws, ticker):
    control.run_clock()
    ran = Event()
    agenda_of().add(after(0.02), lambda _at: ran.set())
    assert ran.wait(5)


def test_a_ticker_prepares_without_the_lock(bare_aws, ticker):
    control.run_clock()
    prepared, ran = [], Event()

    def act(_at):
        prepared.append("ran")
        ran.set()

    with timeline.state_lock:  # nothing can run while a request is being served; preparing can
        agenda_of().add(after(0), act, prepare=lambda: prepared.append("prepared"))
    assert ran.wait(5)
    assert prepared == ["prepared", "ran"]


def test_a_ticker_waits_for_a_held_clock(bare_aws, ticker):
    ran = Event()
    agenda_of().add(after(3600), lambda _at: ran.set())
    assert not ran.wait(0.05)
    control.advance_clock(timedelta(seconds=3600))
    assert ran.wait(5)


def test_what_is_run_late_sees_the_time_that_it_was_due(bare_aws):
    seen, start = [], CLOCK.now()
    for seconds in (2, 1):
        agenda_of().add(after(seconds), lambda at: seen.append((at, CLOCK.now())))
    CLOCK.move(timedelta(hours=1))
    timeline.catch_up()
    assert seen == [(start + timedelta(seconds=s),) * 2 for s in (1, 2)]
    assert CLOCK.now() == start + timedelta(hours=1)


def test_on_a_fast_clock_all_happens_in_order_and_at_its_time(bare_aws, ticker):
    start, seen, done = CLOCK.now(), [], Event()

    def note(at):
        seen.append((at - start, CLOCK.now() - start))
        if len(seen) == 48:
            done.set()
        else:
            agenda_of().add(at + timedelta(hours=1), note)

    agenda_of().add(after(3600), note)
    control.set_clock_speed(1_000_000)  # an hour in 3.6 ms
    assert done.wait(10)
    assert seen == [(timedelta(hours=hours),) * 2 for hours in range(1, 49)]


def test_on_a_fast_clock_a_request_finds_done_what_was_due(aws, ticker):
    control.configure(job_seconds=1)
    job_id = aws.start()["BackupJobId"]
    control.set_clock_speed(100_000)
    started = CLOCK.now()
    while CLOCK.now() < started + timedelta(seconds=1):
        assert aws.state(job_id) in {"CREATED", "PENDING", "RUNNING", "COMPLETED"}
    assert aws.state(job_id) == "COMPLETED"


def test_a_failure_does_not_stop_time(bare_aws, ticker):
    control.run_clock()
    ran = Event()

    def fail(_at):
        raise RuntimeError("no")

    agenda_of().add(after(0), fail)
    agenda_of().add(after(0.02), lambda _at: ran.set())
    assert ran.wait(5)
    assert ticker.is_alive()


def test_tables_and_their_backups_are_dated_by_the_clock(bare_aws):
    bare_aws.wait(timedelta(days=400).total_seconds())
    bare_aws.make_table()
    backup = bare_aws.dynamodb.create_backup(TableName="orders", BackupName="native")["BackupDetails"]
    table = bare_aws.dynamodb.describe_table(TableName="orders")["Table"]
    now = bare_aws.now + timedelta(days=400)
    assert (table["CreationDateTime"], backup["BackupCreationDateTime"]) == (now, now)
