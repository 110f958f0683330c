"""A lease on a table, kept in DynamoDB, so that two runs never spoil each other's proof.

Airflow can't give this exclusion: a backfill ignores a DAG's ``max_active_runs``, and a pool forgets a task
while it is deferred. A run holds the lease from before its load until its second fingerprint is taken.

The item (one per protected table) holds the owner, a fencing number that grows with each owner, the moment at
which the owner's claim may be questioned, and the queue of those who wait. Every change is one conditional
write on the item's version, so two writers can't both win.

* A lease ends when its owner releases it. It is *taken over* only when it has expired **and** its owner's run
  is over (finished, failed or deleted): a slow run is never robbed. A challenger that finds an expired lease
  whose run still lives renews it on the owner's behalf, so that the question is asked once per lease time.
* Among those who wait, the earliest ``as_of`` comes first.
* A waiting run that stops to show itself (killed, deleted) falls out of the queue.

:class:`LeaseState` is the pure state machine; :class:`LeaseStore` moves it in DynamoDB.
"""

from __future__ import annotations

import datetime as dt
import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_CONFLICTS = 50
"""Optimistic writes that may lose in a row before the store gives up (ten runs contending lose far fewer)."""


class LeaseLostError(RuntimeError):
    """The run works under a lease that it no longer holds; it must not write or fingerprint any more."""


class LeaseContentionError(RuntimeError):
    """The lease item changed under every one of many attempts to write it."""


class Outcome(enum.Enum):
    """What an attempt to acquire a lease came to."""

    ACQUIRED = "acquired"
    WAIT = "wait"
    OWNER_EXPIRED = "owner_expired"
    """The owner's time is up; the caller must find out whether the owner's run is over."""


@dataclass(frozen=True)
class Waiter:
    """One run in the queue: the date it stands for, and when it last showed itself (epoch seconds)."""

    as_of: str
    seen: int


@dataclass(frozen=True)
class LeaseState:
    """The lease of one table. Times are epoch seconds; ``owner`` is ``<dag_id>/<run_id>`` or None."""

    table_name: str
    owner: str | None = None
    owner_as_of: str | None = None
    fence: int = 0
    expires_at: int = 0
    version: int = 0
    queue: Mapping[str, Waiter] = field(default_factory=dict)

    def first_in_queue(self) -> str | None:
        """Return the waiting run whose turn is next: earliest ``as_of``, then by name."""
        return min(self.queue, key=lambda owner: (self.queue[owner].as_of, owner), default=None)

    def attempt(
        self, owner: str, as_of: str, *, now: int, lease_seconds: int, stale_after: int, owner_is_over: bool
    ) -> tuple[LeaseState, Outcome]:
        """Try to take the lease for ``owner``.

        :param owner_is_over: what the caller found out about the present owner's run. Only looked at when
            the lease has expired.
        :return: the state to write, and what came of it.
        """
        if self.owner == owner:
            return replace(self, expires_at=now + lease_seconds), Outcome.ACQUIRED
        queue = {name: entry for name, entry in self.queue.items() if entry.seen > now - stale_after}
        queue[owner] = Waiter(as_of=as_of, seen=now)
        waiting = replace(self, queue=queue)
        if self.owner is not None and self.expires_at > now:
            return waiting, Outcome.WAIT
        if self.owner is not None and not owner_is_over:
            return waiting, Outcome.OWNER_EXPIRED
        if waiting.first_in_queue() != owner:
            return waiting, Outcome.WAIT
        del queue[owner]
        taken = replace(
            self,
            owner=owner,
            owner_as_of=as_of,
            fence=self.fence + 1,
            expires_at=now + lease_seconds,
            queue=queue,
        )
        return taken, Outcome.ACQUIRED

    def renewed(self, owner: str, *, now: int, lease_seconds: int) -> LeaseState:
        """Return the state with ``owner``'s time extended; unchanged if somebody else owns the lease."""
        if self.owner != owner:
            return self
        return replace(self, expires_at=now + lease_seconds)

    def released(self, owner: str) -> LeaseState:
        """Return the state without ``owner``, be it the owner or in the queue."""
        queue = {name: entry for name, entry in self.queue.items() if name != owner}
        if self.owner != owner:
            return replace(self, queue=queue)
        return replace(self, owner=None, owner_as_of=None, expires_at=0, queue=queue)

    def may_try(self, owner: str, *, now: int, stale_after: int) -> bool:
        """Say whether an attempt by ``owner`` could succeed now: free or expired, and its turn."""
        if self.owner == owner:
            return True
        if self.owner is not None and self.expires_at > now:
            return False
        alive = {name: entry for name, entry in self.queue.items() if entry.seen > now - stale_after}
        alive.setdefault(owner, self.queue.get(owner, Waiter(as_of="", seen=now)))
        return replace(self, queue=alive).first_in_queue() == owner


def to_item(state: LeaseState) -> dict[str, Any]:
    """Return the DynamoDB item (low-level wire form) of a lease."""
    item: dict[str, Any] = {
        "table_name": {"S": state.table_name},
        "fence": {"N": str(state.fence)},
        "expires_at": {"N": str(state.expires_at)},
        "version": {"N": str(state.version)},
        "queue": {
            "M": {
                owner: {"M": {"as_of": {"S": entry.as_of}, "seen": {"N": str(entry.seen)}}}
                for owner, entry in state.queue.items()
            }
        },
    }
    if state.owner is not None:
        item["owner"] = {"S": state.owner}
        item["owner_as_of"] = {"S": state.owner_as_of or ""}
    return item


def from_item(item: Mapping[str, Any]) -> LeaseState:
    """Return the lease that a DynamoDB item (low-level wire form) holds."""
    return LeaseState(
        table_name=item["table_name"]["S"],
        owner=item["owner"]["S"] if "owner" in item else None,
        owner_as_of=item["owner_as_of"]["S"] if "owner_as_of" in item else None,
        fence=int(item["fence"]["N"]),
        expires_at=int(item["expires_at"]["N"]),
        version=int(item["version"]["N"]),
        queue={
            owner: Waiter(as_of=entry["M"]["as_of"]["S"], seen=int(entry["M"]["seen"]["N"]))
            for owner, entry in item["queue"]["M"].items()
        },
    )


class LeaseStore:
    """Moves the leases of a DynamoDB table with hash key ``table_name`` (S).

    :param client: a low-level DynamoDB client.
    :param lease_table: name of the table that holds the leases.
    :param clock: returns the present time (aware); tests pass their own.
    :param lease_seconds: how long an owner's claim goes unquestioned.
    :param stale_after: seconds after which a waiting run that did not show itself leaves the queue.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        lease_table: str,
        *,
        clock: Callable[[], dt.datetime],
        lease_seconds: int = 900,
        stale_after: int = 120,
    ) -> None:
        self.client = client
        self.lease_table = lease_table
        self.clock = clock
        self.lease_seconds = lease_seconds
        self.stale_after = stale_after

    def _now(self) -> int:
        return int(self.clock().timestamp())

    def read(self, table_name: str) -> LeaseState:
        """Return the present lease of a table (a free one if nobody ever held it)."""
        answer = self.client.get_item(
            TableName=self.lease_table, Key={"table_name": {"S": table_name}}, ConsistentRead=True
        )
        return from_item(answer["Item"]) if "Item" in answer else LeaseState(table_name=table_name)

    def _write(self, old: LeaseState, new: LeaseState) -> bool:
        """Write ``new`` if the item is still ``old``; False if somebody was faster."""
        try:
            self.client.put_item(
                TableName=self.lease_table,
                Item=to_item(replace(new, version=old.version + 1)),
                ConditionExpression="attribute_not_exists(#v) OR #v = :v" if old.version == 0 else "#v = :v",
                ExpressionAttributeNames={"#v": "version"},
                ExpressionAttributeValues={":v": {"N": str(old.version)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _change(self, table_name: str, change: Callable[[LeaseState], LeaseState]) -> LeaseState:
        for _ in range(MAX_CONFLICTS):
            old = self.read(table_name)
            new = change(old)
            if new == old or self._write(old, new):
                return new
        raise LeaseContentionError(f"the lease of {table_name} changed under {MAX_CONFLICTS} attempts to write it")

    def try_acquire(
        self, table_name: str, owner: str, as_of: str, *, run_is_over: Callable[[str], bool]
    ) -> LeaseState | None:
        """Take the lease if it is free (or its dead owner's time is up) and ``owner`` is next.

        :param run_is_over: tells of an owner (``<dag_id>/<run_id>``) whether its run has ended or is gone.
        :return: the lease, held by ``owner``; or None if it has to wait (it is then in the queue).
        """
        for _ in range(MAX_CONFLICTS):
            old = self.read(table_name)
            now = self._now()
            expired_owner = old.owner if old.owner not in (None, owner) and old.expires_at <= now else None
            over = run_is_over(expired_owner) if expired_owner is not None else False
            new, outcome = old.attempt(
                owner,
                as_of,
                now=now,
                lease_seconds=self.lease_seconds,
                stale_after=self.stale_after,
                owner_is_over=over,
            )
            if outcome is Outcome.OWNER_EXPIRED and expired_owner is not None:
                new = new.renewed(expired_owner, now=now, lease_seconds=self.lease_seconds)
            if self._write(old, new):
                return new if outcome is Outcome.ACQUIRED else None
        raise LeaseContentionError(f"the lease of {table_name} changed under {MAX_CONFLICTS} attempts to write it")

    def show_up(self, table_name: str, owner: str, as_of: str) -> LeaseState:
        """Keep ``owner``'s place in the queue; return the lease as it stands."""
        now = self._now()

        def change(state: LeaseState) -> LeaseState:
            if state.owner == owner:
                return state
            return replace(state, queue={**state.queue, owner: Waiter(as_of=as_of, seen=now)})

        return self._change(table_name, change)

    def release(self, table_name: str, owner: str) -> bool:
        """Give the lease back (and leave the queue). Safe to repeat.

        :return: True if ``owner`` held the lease.
        """
        held = False

        def change(state: LeaseState) -> LeaseState:
            nonlocal held
            held = state.owner == owner
            return state.released(owner)

        self._change(table_name, change)
        return held

    def ensure_held(self, table_name: str, owner: str, fence: int) -> None:
        """Check that ``owner`` still holds the lease that it was given, and extend its time.

        :raises LeaseLostError: somebody else has it by now.
        """

        def change(state: LeaseState) -> LeaseState:
            if state.owner != owner or state.fence != fence:
                raise LeaseLostError(
                    f"{owner} no longer holds the lease of table {table_name} (fencing number {fence}): it is "
                    f"held by {state.owner or 'nobody'} ({state.fence}). Clear the task that acquires the lease."
                )
            return state.renewed(owner, now=self._now(), lease_seconds=self.lease_seconds)

        self._change(table_name, change)


def jittered(seconds: float, *, share: float = 0.3) -> float:
    """Return ``seconds`` moved by up to ``share`` either way, so that ten waiters don't poll in step."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret depends on it
