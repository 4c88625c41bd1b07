"""
Who may see which job: the one way from a request to a job's record.

With realms on, a job belongs to the bearer of the realm in C{X-Job-Realm}, a
secret word.  A job that is not the caller's is answered like one that is not,
and so is one whose time is over, whether it was removed or not.

Servers may share a store, but not their directories: the files of a job are
where it runs, or has run.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
from twisted.web.http import Request

from qgswps.errors import OWSError, invalid, noSuchJob
from qgswps.interfaces import IJobStore
from qgswps.model import Job, State
from qgswps.threads import inThread

T = TypeVar("T")

#: The header that carries a realm, in requests and responses.
HEADER = "X-Job-Realm"

#: No realm that a client chooses is longer, in characters.
_LONGEST = 200


@attrs.frozen
class Page:
    """
    Which jobs to list.

    @ivar states: those in one of these; None for any.
    @ivar processId: those of this process; None for any.
    """

    offset: int = 0
    limit: int = 100
    states: Sequence[State] | None = None
    processId: str | None = None


def elsewhere(job: Job) -> OWSError:
    """A job that this server can neither end nor show the files of."""
    text = f"the job {job.id} is another server's, and its files are there"
    return invalid("uuid", text, 409)


async def fromSpool(
    reactor: Any, job: Job, read: Callable[..., T], *arguments: Any
) -> T:
    """
    What is read in a job's directory.

    @param read: a method of the spool; given the job's id and the arguments.
    @raise OWSError: it is not there: the job was removed since it was found.
    """
    try:
        return await inThread(reactor, read, job.id, *arguments)
    except FileNotFoundError:
        raise noSuchJob(job.id) from None


class JobAccess:
    """
    Gives requests the records of jobs; every route to a job goes here.

    @ivar realms: whether jobs belong to the realm that made them.
    """

    def __init__(
        self,
        store: IJobStore,
        realms: bool = False,
        adminRealm: str = "",
        instance: str = "",
        clock: Any = None,
    ) -> None:
        """
        @param adminRealm: the realm that sees all jobs; empty for none.
        @param instance: the name of this server, as jobs have it; empty if
            all jobs are its own.
        @param clock: tells which jobs have expired; None to leave that to the
            store.
        """
        self.realms = realms
        self._store = store
        self._adminRealm = adminRealm
        self._instance = instance
        self._clock = clock

    def newRealm(self, request: Request) -> str | None:
        """
        The realm of a job that this request makes: the caller's, or a new
        one; None with realms off.

        @raise qgswps.errors.OWSError: it is too long, or not of plain text.
        """
        if not self.realms:
            return None
        realm = request.getHeader(HEADER)
        if not realm:
            return str(uuid.uuid4())
        if len(realm) > _LONGEST or not (realm.isascii() and realm.isprintable()):
            text = f"a realm has at most {_LONGEST} printable characters of ASCII"
            raise invalid(HEADER, text)
        return realm

    async def job(self, request: Request, jobId: str) -> Job:
        """
        A job that the sender of the request may see.

        @raise qgswps.errors.OWSError: there is none.
        """
        job: Job | None = await self._store.get(jobId)
        realm = self._visibleRealm(request)
        if job is None or self._hasExpired(job):
            raise noSuchJob(jobId)
        if not (realm is None or (job.realm and _same(realm, job.realm))):
            error = noSuchJob(jobId)
            error.event = "job-refused"
            raise error
        return job

    async def localJob(self, request: Request, jobId: str) -> Job:
        """
        A job that the sender of the request may see, and whose files are here.

        @raise qgswps.errors.OWSError: there is none.
        """
        job = await self.job(request, jobId)
        self.requireLocal(job)
        return job

    async def jobs(self, request: Request, page: Page) -> tuple[list[Job], bool]:
        """
        The jobs that the sender of the request may see, newest first.

        @return: these, and whether there may be more after them.
        """
        found: list[Job] = await self._store.find(
            states=page.states,
            processId=page.processId,
            realm=self._visibleRealm(request),
            offset=page.offset,
            limit=page.limit,
        )
        kept = [job for job in found if not self._hasExpired(job)]
        return kept, len(found) == page.limit

    def isLocal(self, job: Job) -> bool:
        """Whether this server runs, or has run, a job, and has its files."""
        return not self._instance or job.server == self._instance

    def requireLocal(self, job: Job) -> None:
        """
        Make sure that a job is this server's.

        @raise qgswps.errors.OWSError: it is another's.
        """
        if not self.isLocal(job):
            raise elsewhere(job)

    def _hasExpired(self, job: Job) -> bool:
        return (
            self._clock is not None
            and job.expires is not None
            and bool(job.expires <= self._clock.seconds())
        )

    def _visibleRealm(self, request: Request) -> str | None:
        """
        The realm whose jobs the sender of a request may see; None for all
        jobs, and empty for none: who has no realm has no jobs.
        """
        given = request.getHeader(HEADER) or ""
        if not self.realms or (self._adminRealm and _same(given, self._adminRealm)):
            return None
        return given


def _same(given: str, secret: str) -> bool:
    # Takes the same time wherever they differ.
    return hmac.compare_digest(given.encode(), secret.encode())
