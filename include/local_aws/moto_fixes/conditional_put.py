"""Cure: moto's S3 lets several conditional writes of one object win, and breaks off reads of what is replaced.

moto looks whether the condition holds, and then writes, while other threads do the same. Of twenty writers that each
ask for ``If-None-Match: *``, or for the same ETag, S3 lets one through. And it closes the file of an object that is
replaced, also while it is being read ("I/O operation on closed file", HTTP 500); S3 gives out the old object or the
new one. To see both: run ``test_moto_fixes_conditional_put.py`` without this cure.

See https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
"""

from functools import wraps
from threading import RLock
from typing import Any, Final

from moto.s3.responses import S3Response

object_lock: Final = RLock()
"""Held from the look at an object to its replacement, and while its content is taken. Nothing is sent meanwhile."""

_MARK: Final = "_local_aws_conditional"


def install() -> None:
    """Let one request for an object's content after the other look and act. Safe to call twice."""
    for name in ("get_object", "put_object", "delete_object"):
        if not hasattr(getattr(S3Response, name), _MARK):
            setattr(S3Response, name, _one_at_a_time(getattr(S3Response, name)))


def _one_at_a_time(stock: Any) -> Any:
    @wraps(stock)
    def act(self: S3Response) -> Any:
        with object_lock:
            return stock(self)

    setattr(act, _MARK, True)
    return act
