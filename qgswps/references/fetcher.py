"""The references of jobs: checked when they are sent, fetched side by side."""

from __future__ import annotations

import errno
import io
import mimetypes
import os
import re
from collections.abc import Callable
from typing import IO, Any

import attrs
from twisted.internet.defer import (
    Deferred,
    DeferredList,
    DeferredSemaphore,
    FirstError,
    TimeoutError,
    gatherResults,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from qgswps.errors import Fault, OWSError
from qgswps.interfaces import IReferences
from qgswps.jobfiles import INPUTS
from qgswps.jobs.spool import openBelow
from qgswps.journal import Logger
from qgswps.model import FileValue, Format, Input, ReferenceValue, Task
from qgswps.references import urls
from qgswps.references.client import Client, Fetch, Unfetched
from qgswps.references.endpoint import Resolve, Resolver
from qgswps.references.guard import Guard, Refused
from qgswps.references.sink import (
    BLOCK,
    Allowance,
    Damaged,
    Sink,
    TooLarge,
    TooMuch,
)
from qgswps.threads import inThread

log = Logger()

#: How many references of one job are fetched at the same time.
PER_JOB = 4

#: Seconds after which a reference that is being fetched makes room for the next
#: one.  A slow one costs nothing but its connection, and whoever has many of
#: these sent is not to keep all others waiting.
PLACE = 2.0

#: Where fetched data goes; no other file of a job has such a name.
_NAME = INPUTS + "/@{number}"

#: Headers that are the server's to say, or that say where a message ends.
_OWN_HEADERS = re.compile(
    r"accept-encoding|connection|content-encoding|content-length|expect|forwarded|host"
    r"|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|via|x-forwarded-.*",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@attrs.frozen
class Limits:
    """
    What references may ask for.

    @ivar megabytes: how large the data of one may be, in MiB.
    @ivar total: how large that of all of one job may be, in MiB.
    @ivar timeout: seconds that one may take.
    @ivar parallel: how many are fetched at the same time, those not counted
        that take longer than L{PLACE}.
    @ivar allowed: hosts and networks that may be reached in any case.
    @ivar roots: folders of which files may be taken.
    """

    megabytes: int = 100
    total: int = 500
    timeout: float = 120.0
    parallel: int = 16
    allowed: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()


@implementer(IReferences)
class References:
    """See L{IReferences}."""

    def __init__(
        self,
        reactor: Any,
        limits: Limits,
        resolve: Resolve | None = None,
        policy: IPolicyForHTTPS | None = None,
    ) -> None:
        """
        @param resolve: looks names up; by default as the system does.
        @param policy: whom to trust; by default those that the system trusts.
        """
        self._reactor = reactor
        self._limits = limits
        self._guard = Guard(limits.allowed)
        self._resolver = Resolver(reactor)
        self._client = Client(reactor, self._guard, resolve or self._resolver, policy)
        self._all = DeferredSemaphore(limits.parallel)

    def start(self) -> None:
        """Have threads to look names up in."""
        self._resolver.start()

    def stop(self) -> Deferred[None]:
        """End them."""
        return self._resolver.stop()

    # IReferences

    def check(self, task: Task) -> Deferred[None]:
        """See L{IReferences}."""
        return inThread(self._reactor, self._check, task)

    def fetch(self, task: Task, directory: str) -> Deferred[Task]:
        """See L{IReferences}."""
        return Deferred.fromCoroutine(self._fetch(task, directory))

    # Checks

    def _check(self, task: Task) -> None:
        faults = []
        event = ""
        for each in task.request.inputs:
            if isinstance(each.value, ReferenceValue):
                try:
                    self._checkReference(each.value)
                except ValueError as why:
                    text = f"the input {each.identifier} can't be fetched: {why}"
                    fault = Fault("InvalidParameterValue", text, each.identifier)
                    faults.append(fault)
                    if isinstance(why, Refused):
                        event = "reference-refused"
        if faults:
            raise OWSError(faults, event=event)

    def _checkReference(self, value: ReferenceValue) -> None:
        """
        @raise ValueError: it can't be fetched.
        """
        for name, text in value.headers:
            if not _TOKEN.fullmatch(name) or not text.isprintable():
                raise ValueError(f"the header {name[:40]!r} is malformed")
            if _OWN_HEADERS.fullmatch(name):
                raise ValueError(f"the header {name} is the server's own to send")
            try:
                text.encode("latin-1")
            except UnicodeEncodeError:
                raise ValueError(f"the header {name} is not in ISO 8859-1") from None
        hasBody = value.body is not None or value.bodyHref is not None
        if hasBody and value.method != "POST":
            raise ValueError("it has a body, which only a POST has")
        self._checkHref(value.href)
        if urls.scheme(value.href) not in ("http", "https") and (
            hasBody or value.headers
        ):
            raise ValueError("headers and a body are for http and https")
        if value.bodyHref is not None and value.body is None:
            self._checkHref(value.bodyHref)

    def _checkHref(self, href: str) -> None:
        match urls.scheme(href):
            case "data":
                urls.data(href)
            case "file":
                self._openFile(urls.path(href)).close()
            case _:
                self._guard.checkHost(urls.parse(href).host)

    def _openFile(self, path: str) -> IO[bytes]:
        """
        Open a file in one of the folders of which files may be taken.

        @raise Refused: it is not there.
        """
        real = os.path.realpath(path)
        for root in self._limits.roots:
            folder = os.path.realpath(root)
            if real.startswith(os.path.join(folder, "")):
                try:
                    # Nobody swaps it for a link now.
                    return openBelow(folder, os.path.relpath(real, folder))
                except OSError:
                    break
        # Whether there are files elsewhere is nobody's business.
        raise Refused("it is no file in a folder of server.allowed_file_roots")

    # Fetching

    async def _fetch(self, task: Task, directory: str) -> Task:
        inputs = task.request.inputs
        sinks: list[Sink] = []
        ofJob = DeferredSemaphore(PER_JOB)
        allowance = Allowance(self._limits.total << 20)

        def sink(path: str, megabytes: int) -> Sink:
            made = Sink(path, megabytes << 20, allowance)
            sinks.append(made)
            return made

        running = [
            Deferred.fromCoroutine(self._input(each, n, directory, sink, ofJob))
            for n, each in enumerate(inputs)
        ]
        try:
            fetched = await gatherResults(running, consumeErrors=True)
        except FirstError as error:
            # One that can't be had, or that all of it is cancelled.
            for d in running:
                d.cancel()
            await DeferredList(running, consumeErrors=True)
            await inThread(self._reactor, _remove, sinks)
            why = error.subFailure.value
            assert why is not None
            raise why from None
        request = attrs.evolve(task.request, inputs=tuple(fetched))
        return attrs.evolve(task, request=request)

    async def _input(
        self,
        given: Input,
        number: int,
        directory: str,
        sink: Callable[[str, int], Sink],
        ofJob: DeferredSemaphore,
    ) -> Input:
        """An input with what it refers to, if it is a reference."""
        value = given.value
        if not isinstance(value, ReferenceValue) or value.file is not None:
            return given
        name = _NAME.format(number=number)
        await ofJob.acquire()
        try:
            await self._all.acquire()
            place = self._reactor.callLater(PLACE, self._all.release)
            try:
                path = os.path.join(directory, name)
                mimeType = await self._within(given.identifier, value, path, sink)
            finally:
                if place.active():
                    place.cancel()
                    self._all.release()
        finally:
            ofJob.release()
        form = value.format if value.format.mimeType else Format(mimeType)
        file = FileValue(name, form)
        return attrs.evolve(given, value=attrs.evolve(value, file=file))

    async def _within(
        self,
        identifier: str,
        value: ReferenceValue,
        path: str,
        makeSink: Callable[[str, int], Sink],
    ) -> str:
        """
        Fetch one reference, in the time that it has.

        @return: the media type that came with it, or an empty text.
        @raise OWSError: it can't be had.
        """
        megabytes = min(
            self._limits.megabytes, value.maximumMegabytes or self._limits.megabytes
        )

        def sink(path: str) -> Sink:
            return makeSink(path, megabytes)

        began = self._reactor.seconds()
        transfer = Deferred.fromCoroutine(self._transfer(value, path, sink))
        transfer.addTimeout(self._limits.timeout, self._reactor)
        code = "InvalidParameterValue"
        try:
            mimeType: str = await transfer
        except (Unfetched, ValueError) as error:
            why = str(error)
        except Damaged as error:
            why = f"the data is damaged: {error}"
        except TooMuch:
            code = "FileSizeExceeded"
            most = self._limits.total
            why = f"with it, the job's data has more than {most} MiB together"
        except TooLarge:
            code = "FileSizeExceeded"
            why = f"it has more than {megabytes} MiB, which is the most that is taken"
        except TimeoutError:
            why = f"it took longer than {self._limits.timeout:g} s"
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            fault = Fault("NotEnoughStorage", "there is no room for the job's data")
            raise OWSError(fault, retryAfter=60) from None
        else:
            log.debug(
                "the input {input} was fetched from {place} in {seconds:.3f} s",
                input=identifier,
                place=_place(value.href),
                seconds=self._reactor.seconds() - began,
            )
            return mimeType
        text = f"the input {identifier} can't be fetched from {_place(value.href)}"
        raise OWSError(Fault(code, f"{text}: {why}", identifier))

    async def _transfer(
        self, value: ReferenceValue, path: str, sink: Callable[[str], Sink]
    ) -> str:
        """Fetch what a reference asks for, with the body to ask with."""
        headers = list(value.headers)
        opened: Callable[[], IO[bytes]] | None = None
        if value.method == "POST":
            named = {name.lower() for name, _ in headers}
            if value.bodyHref is not None and value.body is None:
                source = f"{path}.body"
                mimeType = await self._take(value.bodyHref, sink(source))
                opened = _opener(source)
            else:
                body = (value.body or "").encode("utf-8", "surrogateescape")
                opened = _bodyOpener(body)
                mimeType = _bodyType(body)
            if mimeType and "content-type" not in named:
                headers.append(("Content-Type", mimeType))
        target = sink(path)
        mimeType = await self._take(value.href, target, headers, opened)
        if (value.format.encoding or "").lower() == "base64":
            await inThread(self._reactor, target.decodeBase64)
        return mimeType

    async def _take(
        self,
        href: str,
        sink: Sink,
        headers: list[tuple[str, str]] | None = None,
        body: Callable[[], IO[bytes]] | None = None,
    ) -> str:
        """
        Take what a URL means into a sink.

        @return: its media type, or an empty text.
        """
        match urls.scheme(href):
            case "data":
                return await inThread(self._reactor, _takeData, href, sink)
            case "file":
                return await inThread(self._reactor, self._takeFile, href, sink)
        return await self._client.fetch(
            Fetch(urls.parse(href), headers or (), body), sink
        )

    def _takeFile(self, href: str, sink: Sink) -> str:
        path = urls.path(href)
        with self._openFile(path) as file:
            sink.begin()
            while block := file.read(BLOCK):
                sink.write(block)
        return mimetypes.guess_type(path)[0] or ""


def _takeData(href: str, sink: Sink) -> str:
    mimeType, content = urls.data(href)
    sink.begin()
    sink.write(content)
    return mimeType


def _remove(sinks: list[Sink]) -> None:
    for sink in sinks:
        sink.remove()


def _opener(path: str) -> Callable[[], IO[bytes]]:
    return lambda: open(path, "rb")


def _bodyOpener(body: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(body)


def _bodyType(body: bytes) -> str:
    """What a body is that a client does not name."""
    start = body.lstrip()[:1]
    if start == b"<":
        return "text/xml"
    if start in (b"{", b"["):
        return "application/json"
    return "application/x-www-form-urlencoded"


def _place(href: str) -> str:
    """Where a URL leads, without what might be secret in it."""
    scheme = urls.scheme(href)
    if scheme in ("data", "file"):
        return f"its {scheme} URL"
    return urls.parse(href).authority
