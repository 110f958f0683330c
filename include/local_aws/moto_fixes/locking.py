"""Cure: moto's DynamoDB is not safe for threads.

moto reads and changes plain dicts from every request thread. Under load a scan, a transaction or a backup
dies with ``RuntimeError: dictionary changed size during iteration`` (HTTP 500), atomic ADDs get lost and
two callers can both win an ``attribute_not_exists`` lock. To see it: run the threads of
``test_moto_fixes_locking.py`` with ``sys.setswitchinterval(1e-6)`` and without this cure.

Every request to the services in `GUARDED_SERVICES` runs with `state_lock` held, from authorisation to the
serialised reply. `BackupResponse` and its subclasses are covered through `BaseResponse.call_action`: they
need no lock of their own. Code that reaches into the backends outside a request (a ticker thread, a test)
takes ``with state_lock:`` itself. What must not hold the lock, such as a reply that is kept back on
purpose, belongs outside `call_action` (in `dispatch`).
"""

from functools import wraps
from threading import RLock
from typing import Any, Final

from moto.core.responses import BaseResponse
from moto.moto_api._internal.models import MotoAPIBackend

state_lock: Final = RLock()
"""The one lock around everything that reads or changes tables, recovery points and jobs. Re-entrant."""

GUARDED_SERVICES: Final = frozenset(
    {"backup", "cloudformation", "dynamodb", "dynamodbstreams", "resourcegroupstaggingapi"}
)
"""moto service names (`BaseResponse.service_name`) whose requests touch tables or vaults."""

_MARK: Final = "_local_aws_locked"


def install() -> None:
    """Hold `state_lock` during every guarded request and during ``/moto-api/reset``. Safe to call twice."""
    if hasattr(BaseResponse.call_action, _MARK):
        return
    stock_call_action = BaseResponse.call_action
    stock_reset = MotoAPIBackend.reset

    @wraps(stock_call_action)
    def call_action(self: BaseResponse) -> Any:
        if self.service_name not in GUARDED_SERVICES:
            return stock_call_action(self)
        with state_lock:
            return stock_call_action(self)

    @wraps(stock_reset)
    def reset(self: MotoAPIBackend) -> None:
        with state_lock:
            stock_reset(self)

    setattr(call_action, _MARK, True)
    BaseResponse.call_action = call_action  # type: ignore[method-assign]
    MotoAPIBackend.reset = reset  # type: ignore[method-assign]
