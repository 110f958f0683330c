"""Delivery itself: after the lock, in order, once, and by a courier where a server runs."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event as Signal
from threading import Thread

import pytest
from moto.backup.models import backup_backends

from local_aws import outbox
from local_aws.moto_fixes.locking import state_lock
from local_aws.outbox import Courier, Outbox


class Letter:
    """A letter that notes its delivery."""

    def __init__(self, name, log, action=None):
        self.name, self.log, self.action = name, log, action

    def deliver(self):
        self.log.append(self.name)
        if self.action is not None:
            self.action()


def box(region="us-east-1"):
    return backup_backends["123456789012"][region].outbox


def test_letters_go_out_once_and_in_order(bare_aws):
    log = []
    for name in ("a", "b", "c"):
        box().post(Letter(name, log))
    outbox.deliver()
    outbox.deliver()
    assert log == ["a", "b", "c"]


def test_a_letter_that_fails_loses_itself_only(bare_aws, caplog):
    log = []
    box().post(Letter("bad", log, lambda: 1 // 0))
    box().post(Letter("good", log))
    outbox.deliver()
    assert log == ["bad", "good"]
    assert "ZeroDivisionError" in caplog.text


def test_what_a_delivery_posts_goes_out_in_the_same_round(bare_aws):
    log = []
    box().post(Letter("first", log, lambda: box("eu-west-1").post(Letter("second", log))))
    outbox.deliver()
    assert log == ["first", "second"]


def test_a_delivery_within_a_delivery_does_not_wait(bare_aws):
    log = []
    box().post(Letter("outer", log, outbox.deliver))
    box().post(Letter("inner", log))
    outbox.deliver()
    assert log == ["outer", "inner"]


def test_a_courier_delivers_by_itself(bare_aws):
    log, arrived = [], Signal()
    courier = Courier()
    courier.start()
    try:
        box().post(Letter("a", log, arrived.set))
        assert arrived.wait(5)
        box().post(Letter("b", log))
        outbox.deliver_unless_couriered()
    finally:
        courier.stop()
    assert log[0] == "a"
    assert not outbox.COURIER_RUNS.is_set()


def test_a_reset_of_the_data_forgets_the_letters(bare_aws):
    forgotten = box()
    forgotten.post(Letter("of data that is gone", []))
    backup_backends["123456789012"]["us-east-1"].reset()
    assert isinstance(box(), Outbox)
    assert box() is not forgotten
    assert list(box().take()) == []


@contextmanager
def web_hook(answer):
    """An HTTP endpoint that calls `answer` for each message before it replies."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            answer()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("endpoint_url", ["server"], indirect=True)
def test_a_subscriber_may_call_this_aws_back(aws, clients, endpoint_url):
    """A web hook that asks AWS Backup before it answers: nobody may hold the lock that its question needs."""
    answers = []

    def ask_back():
        answers.append(clients("backup").list_backup_jobs()["BackupJobs"][0]["State"])

    policy = (
        '{"Statement": {"Effect": "Allow", "Principal": {"Service": "backup.amazonaws.com"},'
        ' "Action": "SNS:Publish", "Resource": "*"}}'
    )
    with web_hook(ask_back) as hook:
        topic = clients("sns").create_topic(Name="hooked", Attributes={"Policy": policy})["TopicArn"]
        clients("sns").subscribe(TopicArn=topic, Protocol="http", Endpoint=hook)
        answers.clear()
        aws.backup.put_backup_vault_notifications(
            BackupVaultName=aws.vault, SNSTopicArn=topic, BackupVaultEvents=["BACKUP_JOB_COMPLETED"]
        )
        done = Thread(target=aws.recovery_point, daemon=True)
        done.start()
        done.join(20)
        assert not done.is_alive()
    assert answers == ["COMPLETED"]


def test_delivery_holds_no_lock(bare_aws):
    free = []

    def try_the_lock():
        def take():
            free.append(state_lock.acquire(timeout=5))
            state_lock.release()

        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

    box().post(Letter("x", [], try_the_lock))
    bare_aws.wait(1)
    assert free == [True]
