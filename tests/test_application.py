"""Tests of L{qgswps.application}: the engine and the store that it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from qgswps.application import STORE_RETRY, Engine, makeStore
from qgswps.config import ConfigurationError, Redis, Server, Settings
from qgswps.errors import StoreError, busy
from qgswps.jobs.redisstore import RedisStore
from qgswps.jobs.sqlitestore import SQLiteStore
from qgswps.kinds import SQLiteStore as SQLiteURL


class Part:
    """
    A store, queue or pool.

    @ivar calls: the methods that were called.
    @ivar answers: what they answer, by name; by default at once.
    """

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name = name
        self.calls = calls
        self.answers: dict[str, Any] = {}
        self.refusals: list[str] = []

    def refuse(self, why: str) -> None:
        """What clients are told."""
        self.refusals.append(why)

    def __getattr__(self, method: str) -> Any:
        def call() -> Deferred[None]:
            self.calls.append(f"{self._name}.{method}")
            answer = self.answers.get(method)
            if isinstance(answer, Exception):
                return fail(answer)
            return succeed(None) if answer is None else cast(Deferred[None], answer)

        return call


class EngineTests(SynchronousTestCase):
    """L{Engine}"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[str] = []
        self.store, self.queue, self.pool = (
            Part(name, self.calls) for name in ("store", "queue", "pool")
        )
        self.engine = Engine(
            self.clock,
            cast(Any, self.store),
            cast(Any, self.queue),
            cast(Any, self.pool),
        )
        self.levels: list[Any] = []
        globalLogPublisher.addObserver(self.observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        """Take down what the module logs."""
        if event["log_namespace"] == "qgswps.application":
            self.levels.append(event["log_level"])

    def stop(self) -> None:
        """Stop the engine, which leaves no timer."""
        self.calls.clear()
        self.successResultOf(self.engine.stopService())
        self.assertEqual(self.calls, ["queue.stop", "pool.stopService", "store.close"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_start(self) -> None:
        """The pool starts, and when the store is open the queue recovers."""
        opened = self.store.answers["open"] = Deferred()
        self.engine.startService()
        self.assertEqual(self.calls, ["pool.startService", "store.open"])
        opened.callback(None)
        self.assertEqual(self.calls[2:], ["queue.recover"])
        self.assertEqual(self.levels, [])
        self.stop()

    def test_maps(self) -> None:
        """Maps begin after the pool, and end with it, whichever is the first."""
        self.engine = Engine(
            self.clock,
            cast(Any, self.store),
            cast(Any, self.queue),
            cast(Any, self.pool),
            cast(Any, Part("maps", self.calls)),
        )
        self.engine.startService()
        self.assertEqual(self.calls[:2], ["pool.startService", "maps.start"])
        self.calls.clear()
        self.successResultOf(self.engine.stopService())
        self.assertEqual(
            self.calls, ["queue.stop", "maps.stop", "pool.stopService", "store.close"]
        )

    def test_storeAway(self) -> None:
        """It tries again until the store is there, and says so once."""
        self.store.answers["open"] = busy("away")
        self.engine.startService()
        for _ in range(3):
            self.clock.advance(STORE_RETRY)
        self.assertEqual(self.calls[1:], ["store.open"] * 4)
        self.assertEqual(self.levels, [LogLevel.warn])
        # It may go again before the queue has what it needs.
        self.store.answers.clear()
        self.queue.answers["recover"] = busy("away")
        self.clock.advance(STORE_RETRY)
        self.queue.answers.clear()
        self.clock.advance(STORE_RETRY)
        self.assertEqual(self.calls[5:], ["store.open", "queue.recover"] * 2)
        self.assertEqual(self.levels, [LogLevel.warn, LogLevel.info])
        self.clock.advance(STORE_RETRY)
        self.assertEqual(len(self.calls), 9)
        self.stop()

    def test_stopWhileWaiting(self) -> None:
        """It may be stopped between two tries, and during one."""
        self.store.answers["open"] = busy("away")
        self.engine.startService()
        self.stop()
        self.setUp()
        opened = self.store.answers["open"] = Deferred()
        self.engine.startService()
        stopped = self.engine.stopService()
        self.assertNoResult(stopped)
        opened.errback(busy("away"))
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unusable(self) -> None:
        """A store of another release is an error, and not tried again."""
        self.store.answers["open"] = StoreError("version 7")
        self.engine.startService()
        self.assertEqual(self.levels, [LogLevel.error])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNotIn("queue.recover", self.calls)
        self.assertEqual(len(self.queue.refusals), 1, "clients are told")
        self.stop()

    def test_unexpected(self) -> None:
        """So is what nobody has thought of."""
        self.queue.answers["recover"] = ValueError("x")
        self.engine.startService()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.stop()


class StoreTests(SynchronousTestCase):
    """L{makeStore}"""

    def make(self, **redis: Any) -> Any:
        """The store for a Redis server."""
        from twisted.internet import reactor

        self.settings = Settings(redis=Redis(**redis))
        return makeStore(self.settings, reactor)

    def test_kinds(self) -> None:
        """SQLite, or Redis when a host is set."""
        path = self.mktemp()
        settings = Settings(server=attrs.evolve(Server(), store=SQLiteURL(path)))
        self.assertIsInstance(makeStore(settings, Clock()), SQLiteStore)
        self.assertIsInstance(self.make(host="h"), RedisStore)
        self.assertIsInstance(self.make(host="h", tls=True), RedisStore)

    def test_files(self) -> None:
        """A file for TLS that can't be used is a fault of its key."""
        path = self.mktemp()
        Path(path).write_text("nothing")
        for key, name in (("tlsCA", "tls_ca"), ("tlsCertificate", "tls_certificate")):
            for bad in (path, "/nowhere"):
                with self.assertRaises(ConfigurationError) as caught:
                    self.make(host="h", tls=True, **{key: bad})
                self.assertIn(f"[logstorage:redis] {name}:", str(caught.exception))
                self.assertIn(bad, str(caught.exception))
                # Without TLS it is not looked at.
                self.make(host="h", **{key: bad})
