"""Tests of L{qgswps.jobs.redisstore}, against real Redis servers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Awaitable
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError, StoreError
from qgswps.jobs.lifecycle import advance
from qgswps.jobs.redisstore import (
    ABANDONED,
    PAGE,
    SCHEMA_VERSION,
    Login,
    RedisStore,
    makeEndpoint,
    makeTLS,
)
from qgswps.model import State
from tests.fakes import AsyncTestCase, makeJob
from tests.jobs.storesuite import FULL, StoreSuite
from tests.live import PATIENCE
from tests.redisserver import RedisServer, newPrefix, sharedRedis

#: Seconds that Redis has for an answer, where it will not give one.
SHORT = 0.4


class RedisCase(AsyncTestCase):
    """Has Redis servers and stores, which go with the test."""

    def redis(self, **arguments: Any) -> RedisServer:
        """A server for this test alone."""
        server = RedisServer(**arguments)
        self.addCleanup(server.close)
        return server

    def connect(
        self, server: RedisServer, prefix: str = "p", **arguments: Any
    ) -> RedisStore:
        """A store, not open yet."""
        timeout = arguments.setdefault("timeout", 5.0)
        tls = arguments.pop("tls", None)
        host = arguments.pop("host", "127.0.0.1")
        endpoint = makeEndpoint(reactor, host, server.port, timeout, tls)
        store = RedisStore(reactor, endpoint, prefix, **arguments)
        self.addCleanup(store.close)
        return store

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await deferLater(reactor, seconds, lambda: None)  # type: ignore[arg-type]

    async def busy(self, d: Awaitable[Any], *expected: str) -> None:
        """A Deferred fails because the store can't be reached."""
        with self.assertRaises(OWSError) as caught:
            await d
        self.assertEqual(caught.exception.status, 503)
        self.assertIsNotNone(caught.exception.retryAfter)
        for text in expected:
            self.assertIn(text, str(caught.exception))

    async def untilOpen(self, store: RedisStore) -> None:
        """Wait until a store is reached again, as the server does."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await store.open()
                # It may not have been seen yet that the old one is gone.
                await store.get("")
                return
            except OWSError:
                self.assertLess(time.monotonic(), deadline)
            await self.sleep(0.02)


class RedisStoreTests(StoreSuite, RedisCase):
    """L{RedisStore} does what every store has to do."""

    def makeStore(self) -> RedisStore:
        """See L{StoreSuite}."""
        self.prefix = newPrefix()
        return self.connect(sharedRedis(), self.prefix)

    async def test_twoStores(self) -> None:
        """
        Two servers on one Redis see each other's jobs, each finds its own,
        and of two moves one succeeds.
        """
        other = self.connect(sharedRedis(), self.prefix)
        await other.open()
        await self.store.add(makeJob("a", server="x"))
        await other.add(makeJob("b", server="y", created=2000.0))
        for store in (self.store, other):
            self.assertEqual([job.id for job in await store.find()], ["b", "a"])
            for server, expected in (("x", "a"), ("y", "b")):
                [job] = await store.find(server=server, states=[State.ACCEPTED])
                self.assertEqual(job.id, expected)
        job = await other.get("a")
        assert job is not None
        replaced = await gatherResults(
            [
                store.replace(advance(job, state, 5.0), State.ACCEPTED)
                for store, state in [
                    (self.store, State.STARTED),
                    (other, State.DISMISSED),
                ]
            ]
        )
        self.assertEqual(sorted(replaced), [False, True])

    async def test_prefixes(self) -> None:
        """What has another prefix is another store."""
        other = self.connect(sharedRedis(), newPrefix())
        await other.open()
        await self.store.add(makeJob("a"))
        self.assertEqual(await other.find(), [])
        self.assertIsNone(await other.get("a"))

    async def test_leavesNothing(self) -> None:
        """When all jobs are gone only the version is left."""
        await self.store.add(FULL)
        ended = advance(FULL, State.SUCCEEDED, 5.0, message="ä")
        await self.store.add(makeJob("b"))
        self.assertTrue(await self.store.replace(ended, State.STARTED))
        self.assertEqual(await self.store.find(states=[State.STARTED]), [])
        self.assertEqual(await self.store.find(states=[State.SUCCEEDED]), [ended])
        for jobId in ("full", "b"):
            await self.store.remove(jobId)
        answer = sharedRedis().command("KEYS", f"{self.prefix}:*").split()
        self.assertEqual(answer[2:], [f"{self.prefix}:schema"])

    async def test_abandoned(self) -> None:
        """What another server should have removed long ago goes in the end."""
        for jobId, expires in (("old", 5000.0), ("young", 5001.0), ("never", None)):
            await self.store.add(
                makeJob(jobId, state=State.FAILED, expires=expires, created=1.0)
            )
        await self.store.add(makeJob("new", created=5000.0 + ABANDONED))
        found = [job.id for job in await self.store.find()]
        self.assertEqual(found, ["new", "young", "never"])

    async def test_manyFound(self) -> None:
        """More jobs than one answer has, with and without conditions."""
        count = 2 * PAGE + 1
        for n in range(count):
            self.store.add(
                makeJob(
                    f"j{n}",
                    created=float(n),
                    state=State.STARTED if n % 2 else State.FAILED,
                    server="xyz"[n % 3],
                )
            )
        ids = [f"j{n}" for n in reversed(range(count))]
        self.assertEqual([job.id for job in await self.store.find()], ids)
        some = await self.store.find(offset=3, limit=count - 5)
        self.assertEqual([job.id for job in some], ids[3:-2])
        some = await self.store.find(
            states=[State.STARTED, State.ACCEPTED], server="z", offset=1, limit=3
        )
        expected = [f"j{n}" for n in reversed(range(count)) if n % 6 == 5]
        self.assertEqual([job.id for job in some], expected[1:4])

    async def test_noScripts(self) -> None:
        """Redis may forget the scripts."""
        sharedRedis().command("SCRIPT", "FLUSH")
        await self.store.add(makeJob("a"))
        self.assertEqual(await self.store.find(), [makeJob("a")])

    async def test_closed(self) -> None:
        """A closed store says so, and can be closed once more."""
        unanswered = self.store.add(FULL)
        for _ in range(2):
            await self.store.close()
        await unanswered
        await self.busy(self.store.get("a"), "closed")
        await self.busy(self.store.find(), "closed")

    async def test_notOpen(self) -> None:
        """A store that was not opened says so."""
        await self.busy(self.connect(sharedRedis()).get("a"), "not open")

    async def test_closeWhileConnecting(self) -> None:
        """A store may be closed before it is open."""
        store = self.connect(sharedRedis())
        opening = store.open()
        asked = store.get("a")
        await store.close()
        for d in (opening, asked):
            await self.busy(d, "closed")

    async def test_pageFigures(self) -> None:
        """Pages of 10 000 jobs; prints the figures."""
        states = [*State]
        # As many as fit, not all at once: each would wait for those before.
        for start in range(0, 10000, 500):
            await gatherResults(
                [
                    self.store.add(
                        makeJob(
                            f"j{n}",
                            created=float(n),
                            state=states[4 if n % 10 else n // 10 % 5],
                            processId=f"native:p{n % 7}",
                            server="xy"[n % 2],
                            message="The algorithm is at work " * 4,
                        )
                    )
                    for n in range(start, start + 500)
                ]
            )
        lines = []
        for arguments in (
            {},
            {"offset": 9900},
            {"states": [State.DISMISSED]},
            {"states": [State.STARTED], "processId": "native:p3"},
            {"states": [State.ACCEPTED, State.STARTED], "server": "x"},
            {"states": [State.DISMISSED, State.FAILED], "offset": 5000},
            {"processId": "native:p3", "server": "y", "offset": 600},
            {"limit": 500},
            {"limit": None},
        ):
            times = []
            for _ in range(3 if "limit" in arguments else 15):
                began = time.perf_counter()
                found = await self.store.find(**{"limit": 100, **arguments})
                times.append(time.perf_counter() - began)
            self.assertTrue(found)
            middle = sorted(times)[len(times) // 2]
            lines.append(f"find({arguments}): {len(found)} in {middle * 1000:.1f} ms")
        print("", *lines, sep="\n  ")  # noqa: T201


class OutageTests(RedisCase):
    """Redis goes away and comes back."""

    async def test_killed(self) -> None:
        """Commands fail while it is away, and succeed when it is back."""
        server = self.redis(appendOnly=True)
        store = self.connect(server)
        await store.open()
        await store.add(FULL)
        server.kill()
        await self.busy(store.get("full"))
        await self.busy(store.find())
        await self.busy(store.replace(FULL, State.STARTED))
        server.start()
        await self.untilOpen(store)
        self.assertEqual(await store.find(), [FULL])

    async def test_killedWhileAsked(self) -> None:
        """Each command is answered, one way or the other."""
        server = self.redis()
        store = self.connect(server)
        await store.open()
        asked = [store.add(makeJob(str(n))) for n in range(500)]
        server.kill()
        answers = await DeferredList(asked, consumeErrors=True)
        for succeeded, result in answers:
            if not succeeded:
                self.assertEqual(result.value.status, 503)
        self.assertFalse(answers[-1][0])

    async def test_restartedWithoutData(self) -> None:
        """A Redis that has forgotten all is used as a new one is."""
        server = self.redis()
        store = self.connect(server)
        await store.open()
        await store.add(FULL)
        server.restart()
        await self.untilOpen(store)
        self.assertEqual(await store.find(), [])
        await store.add(FULL)
        self.assertIn(f"${len(str(SCHEMA_VERSION))}", server.command("GET", "p:schema"))

    async def test_notThereYet(self) -> None:
        """A store may be opened again and again until Redis is there."""
        server = self.redis()
        server.kill()
        store = self.connect(server)
        await self.busy(store.open(), "efused")
        await self.busy(store.open(), "efused")
        await self.busy(store.get("a"), "efused")
        server.start()
        await self.untilOpen(store)
        self.assertIsNone(await store.get("a"))

    async def test_silent(self) -> None:
        """
        Commands to a Redis that is stopped time out, and what was sent in
        vain takes effect before what is sent then.
        """
        server = self.redis()
        store = self.connect(server, timeout=SHORT)
        job = makeJob("a", state=State.STARTED)
        await store.open()
        await store.add(job)
        server.pause()
        started = time.monotonic()
        late: list[Deferred[Any]] = [
            store.progress("a", 10.0, "late"),
            store.get("a"),
            store.add(FULL),
        ]
        for d in late:
            await self.busy(d, "no answer within 0.4 s")
        # The next ones wait for a connection, which is made, but not used.
        await self.busy(store.get("a"), "no answer within 0.4 s")
        self.assertLess(time.monotonic() - started, 10 * SHORT)
        server.resume()
        await self.untilOpen(store)
        await store.progress("a", 20.0, "new")
        await store.remove(FULL.id)
        expected = attrs.evolve(job, percent=20.0, message="new")
        self.assertEqual(await store.find(), [expected])
        # So they are still, when all that can come late has come.
        await self.sleep(SHORT)
        self.assertEqual(await store.find(), [expected])

    async def test_silentFromTheStart(self) -> None:
        """A Redis that answers nothing can't be opened, and may be closed."""
        server = self.redis()
        server.pause()
        store = self.connect(server, timeout=SHORT)
        await self.busy(store.open(), "no answer within 0.4 s")
        opening = store.open()
        await self.sleep(0.15)
        closing = store.close()
        await self.busy(opening)
        await closing

    async def test_noneListens(self) -> None:
        """What is no Redis server is told from one."""

        class Other(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        port = reactor.listenTCP(  # type: ignore[attr-defined]
            0, Factory.forProtocol(Other), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        endpoint = makeEndpoint(reactor, "127.0.0.1", port.getHost().port, 5.0)
        store = RedisStore(reactor, endpoint)
        self.addCleanup(store.close)
        await self.busy(store.open(), "no Redis server")

    async def test_closedWhenIdle(self) -> None:
        """Redis may close connections that are idle: nobody sees it."""
        store = self.connect(sharedRedis(), newPrefix())
        await store.open()
        sharedRedis().command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await self.sleep(0.1)
        self.assertIsNone(await store.get("a"))

    async def test_unwritable(self) -> None:
        """A Redis that takes no writes is one that can be read."""
        server = self.redis()
        store = self.connect(server)
        await store.open()
        await store.add(FULL)
        server.command("CONFIG", "SET", "maxmemory", "1")
        await self.busy(store.add(makeJob("b")), "OOM")
        self.assertEqual(await store.get(FULL.id), FULL)


class RefusalTests(RedisCase):
    """What is no store of this release, or not for us, is refused."""

    async def test_otherVersion(self) -> None:
        """Records of another release are left alone."""
        for number, version in enumerate((SCHEMA_VERSION + 1, 0, "x")):
            prefix = newPrefix()
            sharedRedis().command("SET", f"{prefix}:schema", str(version))
            store = self.connect(sharedRedis(), prefix)
            with self.assertRaises(StoreError) as caught:
                await store.open()
            for text in (prefix, f"version {version}", f"needs {SCHEMA_VERSION}"):
                self.assertIn(text, str(caught.exception), number)
            await self.busy(store.add(FULL), f"version {version}")
            answer = sharedRedis().command("KEYS", f"{prefix}:*").split()
            self.assertEqual(answer[2:], [f"{prefix}:schema"])

    async def test_otherKind(self) -> None:
        """Something else has the name."""
        prefix = newPrefix()
        sharedRedis().command("SADD", f"{prefix}:schema", "1")
        with self.assertRaises(StoreError) as caught:
            await self.connect(sharedRedis(), prefix).open()
        self.assertIn("WRONGTYPE", str(caught.exception))

    async def test_database(self) -> None:
        """Databases are apart, and there are not so many."""
        prefix = newPrefix()
        stores = [
            self.connect(sharedRedis(), prefix, login=Login(dbnum=number))
            for number in (0, 3)
        ]
        for store in stores:
            await store.open()
        await stores[0].add(FULL)
        self.assertIsNone(await stores[1].get(FULL.id))
        none = self.connect(sharedRedis(), prefix, login=Login(dbnum=1000))
        with self.assertRaises(StoreError) as caught:
            await none.open()
        self.assertIn("database 1000", str(caught.exception))

    async def test_password(self) -> None:
        """A password is needed, and never repeated."""
        server = self.redis(password="s3cret")
        for login, expected in (
            (Login(), "NOAUTH"),
            (Login(password="wrong"), "WRONGPASS"),
            (Login("nobody", "s3cret"), "WRONGPASS"),
        ):
            store = self.connect(server, login=login)
            with self.assertRaises(OWSError) as caught:
                await store.open()
            self.assertIn(expected, str(caught.exception))
            await store.close()
        for login in (Login(password="s3cret"), Login("default", "s3cret")):
            store = self.connect(server, login=login)
            await store.open()
            self.assertIsNone(await store.get("a"))
            self.assertNotIn("s3cret", repr(login))

    async def test_passwordIsNotRepeated(self) -> None:
        """Redis repeats what it does not know; we don't."""
        server = self.redis(options=("--rename-command", "AUTH", ""))
        store = self.connect(server, login=Login(password="s3cret"))
        with self.assertRaises(OWSError) as caught:
            await store.open()
        self.assertIn("AUTH", str(caught.exception))
        self.assertNotIn("s3cret", str(caught.exception))

    async def test_passwordLater(self) -> None:
        """A login that was refused is tried again."""
        server = self.redis(options=("--user", "ann", "on", ">other", "~*", "+@all"))
        store = self.connect(server, login=Login("ann", "s3cret"))
        await self.busy(store.open(), "WRONGPASS")
        server.command("ACL", "SETUSER", "ann", ">s3cret")
        await self.untilOpen(store)

    async def test_restrictedUser(self) -> None:
        """A user who may do no more than is needed, on keys of ours alone."""
        rights = "on >s3cret ~qgs:* -@all +auth +select +get +setnx +script|load"
        rights += " +eval +evalsha +exists +hget +hset +hmget +del +zadd +zrem"
        rights += " +zcard +zscore +zrange +zrevrange +zrangebyscore"
        server = self.redis(options=("--user", "qgs", *rights.split()))
        login = Login("qgs", "s3cret", 1)
        store = self.connect(server, "qgs", login=login)
        await store.open()
        await store.add(FULL)
        self.assertTrue(await store.replace(FULL, State.STARTED))
        await store.progress(FULL.id, 50.0, "half")
        self.assertEqual(len(await store.find(states=[State.STARTED])), 1)
        await store.remove(FULL.id)
        self.assertEqual(await store.find(), [])
        other = self.connect(server, "other", login=login)
        await self.busy(other.open(), "NOPERM")


class ConnectionTests(RedisCase):
    """The ways to a Redis server."""

    def certificate(self, names: str) -> tuple[str, str]:
        """
        Make a certificate that signs itself.

        @param names: whom it is for, as OpenSSL has it.
        @return: the paths of it and of its key.
        """
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        certificate = os.path.join(folder, "cert.pem")
        key = os.path.join(folder, "key.pem")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
                *("-keyout", key, "-out", certificate, "-days", "2"),
                *("-subj", "/CN=redis", "-addext", f"subjectAltName={names}"),
            ],
            check=True,
            capture_output=True,
        )
        return certificate, key

    async def use(self, store: RedisStore) -> None:
        """Use a store."""
        await store.open()
        await store.add(FULL)
        self.assertEqual(await store.get(FULL.id), FULL)

    def test_unix(self) -> Deferred[None]:
        """A UNIX socket."""
        server = sharedRedis()
        store = self.connect(server, newPrefix(), host=server.unixSocket)
        return Deferred.fromCoroutine(self.use(store))

    def test_name(self) -> Deferred[None]:
        """A server by its name."""
        store = self.connect(sharedRedis(), newPrefix(), host="localhost")
        return Deferred.fromCoroutine(self.use(store))

    async def test_tls(self) -> None:
        """TLS to a server whose certificate is known, and to no other."""
        certificate, key = self.certificate("DNS:localhost,IP:127.0.0.1")
        server = self.redis(tls=(certificate, key), password="s3cret")
        login = Login(password="s3cret")
        for number, host in enumerate(("127.0.0.1", "localhost")):
            tls = makeTLS(host, certificate)
            store = self.connect(
                server, f"p{number}", host=host, tls=tls, login=login, timeout=10.0
            )
            await self.use(store)
        server.restart()
        await self.untilOpen(store)
        await self.use(store)
        unknown = self.connect(server, tls=makeTLS("127.0.0.1"), login=login)
        await self.busy(unknown.open(), "certificate verify failed")
        plain = self.connect(server, login=login, timeout=SHORT)
        await self.busy(plain.open())

    async def test_tlsOtherName(self) -> None:
        """A certificate of another server is refused."""
        certificate, key = self.certificate("DNS:other.example")
        server = self.redis(tls=(certificate, key))
        store = self.connect(
            server, host="localhost", tls=makeTLS("localhost", certificate)
        )
        await self.busy(store.open(), "localhost")

    async def test_tlsOwnCertificate(self) -> None:
        """The server may want a certificate of ours."""
        certificate, key = self.certificate("IP:127.0.0.1")
        server = self.redis(
            tls=(certificate, key),
            options=("--tls-auth-clients", "yes", "--tls-ca-cert-file", certificate),
        )
        none = self.connect(server, tls=makeTLS("127.0.0.1", certificate))
        await self.busy(none.open())
        path = f"{key}.both"
        parts = [FilePath(each).getContent() for each in (certificate, key)]
        FilePath(path).setContent(b"".join(parts))
        tls = makeTLS("127.0.0.1", certificate, path)
        await self.use(self.connect(server, tls=tls))


class TLSFilesTests(SynchronousTestCase):
    """L{makeTLS}"""

    def test_bad(self) -> None:
        """A file that has no certificate is named."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("nothing")
        for arguments in ((path,), ("", path)):
            error = self.assertRaises(ValueError, makeTLS, "h", *arguments)
            self.assertIn(path, str(error))
        self.assertRaises(OSError, makeTLS, "h", "/nowhere")
