"""Ids that come out the same when the same thing is done again.

moto draws every id and key from one generator, in whatever order threads come by. Here a thread can draw from a
generator of its own for a while, begun from a seed that names what it does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from threading import local
from typing import Any, Final

from moto.moto_api._internal.moto_random import MotoRandom

_own: Final = local()
_MARK: Final = "_local_aws_repeatable"


@contextmanager
def drawing_from(seed: str) -> Iterator[None]:
    """Let this thread's ids follow from `seed` alone."""
    before = getattr(_own, "generator", None)
    _own.generator = Random(seed)  # noqa: S311 - ids of a local AWS, nothing secret
    try:
        yield
    finally:
        _own.generator = before


def install() -> None:
    """Let threads draw from generators of their own. Safe to call twice."""
    if hasattr(MotoRandom.getrandbits, _MARK):
        return

    def getrandbits(self: MotoRandom, k: int) -> int:
        generator: Random | None = getattr(_own, "generator", None)
        return generator.getrandbits(k) if generator is not None else Random.getrandbits(self, k)

    def random(self: MotoRandom) -> float:
        generator: Random | None = getattr(_own, "generator", None)
        return generator.random() if generator is not None else Random.random(self)

    setattr(getrandbits, _MARK, True)
    patched: Any = MotoRandom
    patched.getrandbits, patched.random = getrandbits, random
