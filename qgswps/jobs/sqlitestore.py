"""
The embedded store: one SQLite file.

One connection in one thread of its own, so that commands run in the order in
which they are given.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from qgswps import codec
from qgswps.errors import StoreError, storeFailed
from qgswps.interfaces import IJobStore
from qgswps.model import Job, State

T = TypeVar("T")

#: Version of the tables, kept in the file as C{user_version}.
SCHEMA_VERSION = 1

#: Seconds to wait for another process that has the file locked.
LOCK_TIMEOUT = 5.0

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY,
    created REAL NOT NULL,
    state TEXT NOT NULL,
    process TEXT NOT NULL,
    server TEXT NOT NULL,
    realm TEXT,
    percent REAL NOT NULL,
    message TEXT NOT NULL,
    record BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS job_created ON job (created);
CREATE INDEX IF NOT EXISTS job_state ON job (state, created);
CREATE INDEX IF NOT EXISTS job_process ON job (process, created);
CREATE INDEX IF NOT EXISTS job_realm ON job (realm, created);
PRAGMA user_version = {SCHEMA_VERSION};
"""


@implementer(IJobStore)
class SQLiteStore:
    """See L{IJobStore}."""

    def __init__(self, reactor: Any, path: str) -> None:
        """
        @param path: absolute path of the file; it is made if it is not there.
        """
        self._reactor = reactor
        self._path = path
        self._threads = ThreadPool(1, 1, "sqlite")
        self._connection: sqlite3.Connection | None = None

    def open(self) -> Deferred[None]:
        """See L{IJobStore}; fails with L{StoreError}."""
        self._threads.start()
        return self._run(self._open)

    def _open(self) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=LOCK_TIMEOUT, isolation_level=None
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path} can't be used: {error}") from None
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise StoreError(
                    f"{self._path} has tables of version {version}, "
                    f"this release needs {SCHEMA_VERSION}"
                )
            # With a write-ahead log a killed server loses nothing, and no
            # job waits for the disk.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if version == 0:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise StoreError(f"{self._path} can't be used: {error}") from None
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def close(self) -> Deferred[None]:
        """See L{IJobStore}."""
        if self._threads.joined:
            return succeed(None)
        return self._run(self._close).addBoth(self._stopThreads)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _stopThreads(self, result: T) -> T:
        self._threads.stop()
        return result

    def _run(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        if self._threads.joined:
            return fail(storeFailed("it is closed"))
        d: Deferred[T] = deferToThreadPool(
            self._reactor, self._threads, work, *arguments
        )
        return d.addErrback(_unavailable)

    def _execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if self._connection is None:
            raise sqlite3.OperationalError("it is not open")
        return self._connection.execute(statement, arguments)

    def add(self, job: Job) -> Deferred[None]:
        """See L{IJobStore}."""

        def add() -> None:
            self._execute(
                "INSERT INTO job (created, state, process, server, realm, percent,"
                " message, record, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *_row(job),
            )

        return self._run(add)

    def get(self, jobId: str) -> Deferred[Job | None]:
        """See L{IJobStore}."""

        def get() -> Job | None:
            row = self._execute(
                "SELECT record, percent, message FROM job WHERE id = ?", jobId
            ).fetchone()
            return None if row is None else _job(row)

        return self._run(get)

    def replace(self, job: Job, expected: State) -> Deferred[bool]:
        """See L{IJobStore}."""

        def replace() -> bool:
            cursor = self._execute(
                "UPDATE job SET created = ?, state = ?, process = ?, server = ?,"
                " realm = ?, percent = ?, message = ?, record = ?"
                " WHERE id = ? AND state = ?",
                *_row(job),
                expected.value,
            )
            return cursor.rowcount == 1

        return self._run(replace)

    def progress(self, jobId: str, percent: float, message: str) -> Deferred[None]:
        """See L{IJobStore}."""

        def progress() -> None:
            self._execute(
                "UPDATE job SET percent = ?, message = ? WHERE id = ? AND state = ?",
                percent,
                message,
                jobId,
                State.STARTED.value,
            )

        return self._run(progress)

    def find(
        self,
        states: Iterable[State] | None = None,
        processId: str | None = None,
        server: str | None = None,
        realm: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> Deferred[list[Job]]:
        """See L{IJobStore}."""
        conditions, arguments = ["1"], []
        if states is not None:
            values = [state.value for state in states]
            conditions.append(f"state IN ({', '.join('?' * len(values))})")
            arguments += values
        for column, value in (
            ("process", processId),
            ("server", server),
            ("realm", realm),
        ):
            if value is not None:
                conditions.append(f"{column} = ?")
                arguments.append(value)

        def find() -> list[Job]:
            rows = self._execute(
                "SELECT record, percent, message FROM job"
                f" WHERE {' AND '.join(conditions)}"
                " ORDER BY created DESC, id DESC LIMIT ? OFFSET ?",
                *arguments,
                -1 if limit is None else limit,
                offset,
            )
            return [_job(row) for row in rows]

        return self._run(find)

    def remove(self, jobId: str) -> Deferred[None]:
        """See L{IJobStore}."""

        def remove() -> None:
            self._execute("DELETE FROM job WHERE id = ?", jobId)

        return self._run(remove)


def _row(job: Job) -> tuple[Any, ...]:
    return (
        job.created,
        job.state.value,
        job.processId,
        job.server,
        job.realm,
        job.percent,
        job.message,
        codec.dumps(job),
        job.id,
    )


def _job(row: tuple[bytes, float, str]) -> Job:
    record, percent, message = row
    return attrs.evolve(codec.loads(Job, record), percent=percent, message=message)


def _unavailable(reason: Failure) -> Failure:
    if reason.check(sqlite3.Error):
        return Failure(storeFailed(str(reason.value)))
    return reason
