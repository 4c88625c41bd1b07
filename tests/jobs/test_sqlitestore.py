"""Tests of L{qgswps.jobs.sqlitestore}."""

from __future__ import annotations

import os
import sqlite3

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.python.filepath import FilePath

from qgswps.errors import OWSError, StoreError
from qgswps.jobs import sqlitestore
from qgswps.jobs.lifecycle import advance
from qgswps.jobs.sqlitestore import SCHEMA_VERSION, SQLiteStore
from qgswps.model import State
from tests.fakes import AsyncTestCase, makeJob
from tests.jobs.storesuite import FULL, StoreSuite


class SQLiteStoreTests(StoreSuite, AsyncTestCase):
    """L{SQLiteStore} does what every store has to do."""

    def makeStore(self) -> SQLiteStore:
        """See L{StoreSuite}."""
        self.path = os.path.join(self.mktemp(), "new", "jobs.sqlite")
        return SQLiteStore(reactor, self.path)

    async def test_reopen(self) -> None:
        """The records are there when the file is opened again."""
        await self.store.add(FULL)
        await self.store.close()
        again = SQLiteStore(reactor, self.path)
        await again.open()
        self.addCleanup(again.close)
        self.assertEqual(await again.find(), [FULL])

    async def test_twoConnections(self) -> None:
        """Two processes may use one file: one of two moves succeeds."""
        other = SQLiteStore(reactor, self.path)
        await other.open()
        self.addCleanup(other.close)
        job = makeJob("a")
        await self.store.add(job)
        self.assertEqual(await other.get("a"), job)
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
        self.assertEqual(await self.store.get("a"), await other.get("a"))

    async def test_openAtOnce(self) -> None:
        """Two processes may make the same file."""
        stores = [SQLiteStore(reactor, self.path + ".new") for _ in range(4)]
        for store in stores:
            self.addCleanup(store.close)
        await gatherResults([store.open() for store in stores])
        await stores[0].add(FULL)
        self.assertEqual(await stores[3].get(FULL.id), FULL)

    async def test_locked(self) -> None:
        """A file that another process keeps locked makes the store busy."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(connection.close)
        self.patch(sqlitestore, "LOCK_TIMEOUT", 0.0)
        store = SQLiteStore(reactor, self.path)
        self.addCleanup(store.close)
        await store.open()
        connection.execute("BEGIN IMMEDIATE")
        with self.assertRaises(OWSError) as caught:
            await store.add(FULL)
        self.assertEqual(caught.exception.status, 503)
        self.assertIsNotNone(caught.exception.retryAfter)
        connection.execute("COMMIT")
        await store.add(FULL)

    async def test_closed(self) -> None:
        """A closed store says so, and can be closed once more."""
        for _ in range(2):
            await self.store.close()
        for command, arguments in [
            (self.store.get, ("a",)),
            (self.store.add, (FULL,)),
            (self.store.find, ()),
        ]:
            with self.assertRaises(OWSError) as caught:
                await command(*arguments)
            self.assertIn("closed", str(caught.exception))


class SQLiteStoreRefusalTests(AsyncTestCase):
    """Files that are no store of this release are refused and left alone."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())

    def write(self, content: bytes) -> None:
        """Make a file."""
        with open(self.path, "wb") as file:
            file.write(content)

    def execute(self, *statements: str) -> list[tuple[str]]:
        """Use the file as a database; what the last statement finds."""
        connection = sqlite3.connect(self.path)
        try:
            for statement in statements:
                found = connection.execute(statement).fetchall()
            return found
        finally:
            connection.close()

    async def refused(self, path: str, *expected: str) -> None:
        """A path can't be opened, and the error says why."""
        store = SQLiteStore(reactor, path)
        self.addCleanup(store.close)
        with self.assertRaises(StoreError) as caught:
            await store.open()
        for text in (path, *expected):
            self.assertIn(text, str(caught.exception))
        # What is asked nevertheless does not wait for ever.
        with self.assertRaises(OWSError):
            await store.get("a")

    async def test_otherVersion(self) -> None:
        """Tables of another release."""
        self.execute("CREATE TABLE theirs (a)")
        for version in (SCHEMA_VERSION + 1, -1):
            self.execute(f"PRAGMA user_version = {version}")
            await self.refused(self.path, str(version), str(SCHEMA_VERSION))
        tables = self.execute("SELECT name FROM sqlite_master")
        self.assertEqual(tables, [("theirs",)])

    async def test_noDatabase(self) -> None:
        """Something else."""
        content = b"no database at all " * 100
        self.write(content)
        await self.refused(self.path, "not a database")
        self.assertEqual(FilePath(self.path).getContent(), content)

    async def test_folder(self) -> None:
        """A folder in its place, or a file in the place of its folder."""
        os.mkdir(self.path)
        await self.refused(self.path, "unable to open")
        os.rmdir(self.path)
        self.write(b"")
        await self.refused(f"{self.path}/jobs.sqlite")

    async def test_unwritable(self) -> None:
        """A folder in which we may not write."""
        os.mkdir(self.path, 0o500)
        # As root we may write everywhere, but not there.
        folder = "/proc" if os.getuid() == 0 else self.path
        await self.refused(f"{folder}/jobs.sqlite")
