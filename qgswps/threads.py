"""Work for the reactor's thread pool: all that waits for a disk."""

from __future__ import annotations

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
