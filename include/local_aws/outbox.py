"""What AWS Backup tells the world: events for EventBridge, notifications for SNS topics.

What happens under the state lock posts here; it is delivered after the lock is released, because delivery may
call out (a topic may have an HTTP subscriber, who may call this AWS back). In one process each request
delivers what came up. A server has a `Courier`.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Event as Signal
from threading import Lock, Thread
from typing import Any, Final, cast

from moto.backup.models import backup_backends
from moto.events.models import Rule, events_backends
from moto.moto_api._internal import mock_random
from moto.sns.models import sns_backends

log = logging.getLogger(__name__)

SOURCE: Final = "aws.backup"
COURIER_RUNS: Final = Signal()
"""Set while a `Courier` runs: requests then need not deliver by themselves."""

POSTED: Final = Signal()
"""Set when something was posted."""

_delivering: Final = Lock()


@dataclass(frozen=True)
class Event:
    """An event for the default bus of an account and Region."""

    account_id: str
    region: str
    at: datetime
    detail_type: str
    resources: tuple[str, ...]
    detail: Mapping[str, Any]

    def deliver(self) -> None:
        """Hand it to every enabled rule that it matches."""
        rules = events_backends[self.account_id][self.region].event_buses["default"].rules
        message = {
            "version": "0",
            "id": str(mock_random.uuid4()),
            "detail-type": self.detail_type,
            "source": SOURCE,
            "account": self.account_id,
            # moto's targets write seconds since 1970 as ISO.
            "time": self.at.timestamp(),
            "region": self.region,
            "resources": list(self.resources),
            "detail": dict(self.detail),
        }
        for rule in list(rules.values()):
            if rule.state == "ENABLED" and rule.event_pattern.get_pattern():
                _send(rule, message)


@dataclass(frozen=True)
class Notification:
    """A message for an SNS topic."""

    account_id: str
    region: str
    topic_arn: str
    subject: str
    message: str
    attributes: Mapping[str, str]

    def deliver(self) -> None:
        """Publish it, if the topic is there and lets AWS Backup publish."""
        topic = sns_backends[self.account_id][self.region].topics.get(self.topic_arn)
        if topic is None:
            log.warning("Topic %s of a vault's notifications does not exist.", self.topic_arn)
        elif not may_publish(topic._policy_json):
            log.warning(
                "The policy of topic %s does not let backup.amazonaws.com do SNS:Publish: nothing is sent, as on AWS.",
                self.topic_arn,
            )
        else:
            topic.publish(
                self.message,
                subject=self.subject,
                message_attributes={
                    name: {"Type": "String", "Value": value} for name, value in self.attributes.items()
                },
            )


class _Message(dict[str, Any]):
    """An event with the ingestion time that moto's input transformer reads, and that AWS sends to no target."""

    def __missing__(self, name: str) -> Any:
        if name == "ingestion-time":
            return self["time"]
        raise KeyError(name)


class Outbox:
    """What one account and Region has to send, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[Event | Notification] = deque()

    def post(self, letter: Event | Notification) -> None:
        """Queue a letter; it goes out once nobody holds the state lock."""
        self._waiting.append(letter)
        POSTED.set()

    def take(self) -> Iterator[Event | Notification]:
        """Yield and forget the letters."""
        while self._waiting:
            yield self._waiting.popleft()


def deliver_unless_couriered() -> None:
    """Deliver all that is posted, if no `Courier` does."""
    if not COURIER_RUNS.is_set():
        deliver()


def deliver() -> None:
    """Deliver all that is posted. A failure is logged and loses one letter: AWS too delivers as best it can."""
    # Whoever delivers already takes these too. A subscriber that calls back must not wait for its own message.
    while POSTED.is_set() and _delivering.acquire(blocking=False):
        try:
            POSTED.clear()
            for _, _, backend in list(backup_backends.iter_backends()):
                outbox = getattr(backend, "outbox", None)
                if isinstance(outbox, Outbox):
                    _deliver_each(outbox)
        finally:
            _delivering.release()


class Courier(Thread):
    """A daemon thread that delivers what is posted, until `stop`."""

    def __init__(self) -> None:
        super().__init__(name="local-aws-courier", daemon=True)
        self._stopping = Signal()

    def run(self) -> None:
        COURIER_RUNS.set()
        try:
            while not self._stopping.is_set():
                POSTED.wait()
                deliver()
        finally:
            COURIER_RUNS.clear()

    def stop(self) -> None:
        """End the thread and wait for it, but not for a subscriber that never answers."""
        self._stopping.set()
        POSTED.set()
        if self.is_alive():
            self.join(timeout=5)


def may_publish(policy: Mapping[str, Any]) -> bool:
    """Tell whether a topic's policy lets AWS Backup publish.

    The policy that a new topic starts with does not: it speaks of the owner's own calls. See
    https://docs.aws.amazon.com/aws-backup/latest/devguide/backup-notifications.html.

    Args:
        policy: The topic's access policy. Conditions on a statement that names AWS Backup count as met.
    """
    statements = policy.get("Statement", [])
    concerned = [
        statement
        for statement in (statements if isinstance(statements, list) else [statements])
        if _names_backup(statement) and _names_publish(statement)
    ]
    effects = {statement.get("Effect") for statement in concerned}
    return "Allow" in effects and "Deny" not in effects


def _names_backup(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    if isinstance(principal, Mapping):
        if "backup.amazonaws.com" in _listed(principal.get("Service")):
            return True
        principal = principal.get("AWS")
    return "*" in _listed(principal) and not statement.get("Condition")


def _names_publish(statement: Mapping[str, Any]) -> bool:
    return any(action.lower() in ("sns:publish", "sns:*", "*") for action in _listed(statement.get("Action")))


def _listed(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [value] if value else []


def _deliver_each(outbox: Outbox) -> None:
    for letter in outbox.take():
        _safely(letter.deliver, letter)


def _send(rule: Rule, message: dict[str, Any]) -> None:
    # One target at a time: moto gives up on all that follow one that it does not serve.
    for target in list(rule.targets):
        send = _to_topic if ":sns:" in target["Arn"] else _to_target
        _safely(partial(send, rule, target, dict(message)), f"{rule.name} to {target['Arn']}")


def _to_target(rule: Rule, target: dict[str, Any], message: dict[str, Any]) -> None:
    alone = copy(rule)
    alone.targets = [target]
    # moto's own template for "all of the event" leaves the account out.
    alone.send_to_targets(cast("Any", _Message(message)), transform_input="InputTransformer" in target)


def _to_topic(rule: Rule, target: dict[str, Any], message: dict[str, Any]) -> None:
    if rule.event_pattern.matches_event(cast("Any", message)):
        at = datetime.fromtimestamp(message["time"], UTC)
        message["time"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        _, _, _, region, account_id, _ = target["Arn"].split(":", 5)
        sns_backends[account_id][region].topics[target["Arn"]].publish(json.dumps(message))


def _safely(action: Callable[[], None], what: object) -> None:
    try:
        action()
    except Exception:  # whatever moto's targets and other people's endpoints may raise
        log.warning("Not delivered: %s", what, exc_info=True)
