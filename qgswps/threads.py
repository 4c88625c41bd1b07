"""Work for the reactor's thread pool: all that waits for a disk."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

T = TypeVar("T")


def inThread(reactor: Any, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
    """Call a function in a thread; a Deferred of what it returns."""
    d: Deferred[T] = deferToThreadPool(
        reactor, reactor.getThreadPool(), work, *arguments
    )
    return d


def collect() -> None:
    """
    Free what many that have gone have left, and give that back to the system.

    Connections and requests refer to each other; Python looks for such of its
    own accord only when there is much more of it.
    """
    gc.collect()
    trim()


def trim() -> None:
    """
    Give memory that is free back to the system.

    The C library keeps what threads have freed, for each thread that had much.
    """
    with contextlib.suppress(AttributeError):  # it is not glibc
        ctypes.CDLL(None).malloc_trim(0)
