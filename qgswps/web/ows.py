"""The OWS endpoint: WPS 1.0.0 requests to the queue, documents back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, DeferredLock
from twisted.web.http import Request

from qgswps.errors import Fault, OWSError, busy, failure
from qgswps.interfaces import IJobQueue
from qgswps.jobfiles import OUTPUTS
from qgswps.jobs.queue import TIMEOUT
from qgswps.jobs.spool import Spool
from qgswps.model import (
    ExecuteRequest,
    FileValue,
    Job,
    LayerValue,
    LiteralValue,
    ProcessDescription,
    Result,
    State,
    Task,
)
from qgswps.ows import binding, context, kvp
from qgswps.ows.limits import DEFAULT, RequestLimits, tooMany
from qgswps.ows.operations import (
    DescribeProcess,
    Execute,
    GetCapabilities,
    GetResults,
    Operation,
)
from qgswps.ows.service import ServiceIdentification
from qgswps.ows.wps100 import documents, requests
from qgswps.projects import Projects
from qgswps.threads import inThread, trim
from qgswps.web import bodies
from qgswps.web.access import HEADER, JobAccess, elsewhere, fromSpool
from qgswps.web.addresses import Addresses
from qgswps.web.cache import DocumentCache
from qgswps.web.deferral import Deferral, Response
from qgswps.web.exposure import Exposure, View
from qgswps.web.files import fileHeaders

XML = "text/xml"

#: Documents of more bytes are made in a thread, and bodies parsed.
_LARGE = 256 * 1024
_LARGE_BODY = 16 * 1024

#: Of these, and of those that are larger than this, one is parsed at a time: some
#: take many times the memory that they have bytes, and threads keep the reactor
#: waiting.
_HUGE_BODY = 1024 * 1024

#: After one of either kind, the next one waits for so many times what that took,
#: but for so many seconds at most: whoever sends nothing else slows down nobody
#: but those who send such bodies, too.
_REST = 9
_LONGEST_REST = 2.0

#: How much of documents is kept, compressed, in bytes.
_KEPT = 4 * 2**20


def exceptionReport(error: OWSError) -> Response:
    """What is wrong, as an ExceptionReport."""
    return Response(documents.exceptionReport(error), XML, error.status)


def refusal(job: Job) -> OWSError | None:
    """
    What a client that waits for a job is told in place of a document: the time
    to run, or to wait in the queue, was over.
    """
    for fault in job.faults[:1]:
        if fault.locator == TIMEOUT:
            return OWSError(job.faults, 504)
        if fault.code == "ServerBusy":
            return busy(fault.text)
    return None


def _process(view: View, identifier: str) -> ProcessDescription:
    description = view.processes.get(identifier)
    if description is None:
        raise binding.unknownProcess(identifier)
    return description


def _processes(view: View, identifiers: Iterable[str]) -> list[ProcessDescription]:
    """
    The processes of these names.

    @raise OWSError: with all that there are none of.
    """
    found: list[ProcessDescription] = []
    faults: list[Fault] = []
    for identifier in identifiers:
        try:
            found.append(_process(view, identifier))
        except OWSError as error:
            faults += error.faults
    if faults:
        raise OWSError(faults)
    return found


def _allWrong(
    error: OWSError,
    request: ExecuteRequest,
    description: ProcessDescription,
    known: Iterable[Fault],
) -> OWSError:
    """All that is wrong with a request whose C{MAP} is."""
    try:
        binding.bind(request, description, None, (*known, *error.faults))
    except OWSError as every:
        every.event = error.event
        # One fault alone has a status of its own.
        return error if every.faults == error.faults else every
    return error


def _isForm(request: Request, body: bytes) -> bool:
    """
    Whether a body has parameters, as forms of web pages send them.

    Some programs say that of XML, too.
    """
    mimeType = (request.getHeader("Content-Type") or "").partition(";")[0]
    isForm = mimeType.strip().lower() == "application/x-www-form-urlencoded"
    return isForm and bool(body.strip()) and not body.lstrip().startswith(b"<")


class OWSEndpoint:
    """
    Answers the operations of WPS 1.0.0 (OGC 05-007r7).

    Where a method takes C{base}, it is the base of the server's public URLs;
    C{maps} is the URL of the map service that has the results' layers.
    """

    def __init__(
        self,
        reactor: Any,
        exposure: Exposure,
        queue: IJobQueue,
        access: JobAccess,
        spool: Spool,
        projects: Projects,
        addresses: Addresses,
        service: ServiceIdentification,
        maximumBody: int,
        filesAsReferences: bool = False,
        limits: RequestLimits = DEFAULT,
    ) -> None:
        """
        @param maximumBody: the longest body of a request, in bytes.
        @param filesAsReferences: no document has files in it.
        """
        self._reactor = reactor
        self._exposure = exposure
        self._queue = queue
        self._access = access
        self._spool = spool
        self._projects = projects
        self._addresses = addresses
        self._service = service
        self._maximumBody = maximumBody
        self._documents = DocumentCache(reactor, _KEPT)
        self._filesAsReferences = filesAsReferences
        self._limits = limits
        self._parsingLarge = DeferredLock()
        self._parsingHuge = DeferredLock()

    def resource(self) -> Deferral:
        """The endpoint as a resource."""
        handlers = {b"GET": self.answer, b"POST": self.answer}
        return Deferral(handlers, exceptionReport)

    async def answer(self, request: Request) -> Response:
        """Answer one request of any operation."""
        operation = await self._parse(request)
        base = self._addresses.base(request)
        if isinstance(operation, GetCapabilities):
            view = self._exposure.view(request)
            return await self._getCapabilities(request, view, base)
        if isinstance(operation, DescribeProcess):
            view = self._exposure.view(request)
            return await self._describeProcess(request, operation, view)
        if isinstance(operation, Execute):
            return await self._execute(request, operation, base)
        assert isinstance(operation, GetResults)
        return await self._getResults(request, operation.uuid, base)

    async def _parse(self, request: Request) -> Operation:
        _, _, query = request.uri.partition(b"?")
        parameters = kvp.parseQuery(query)
        limits = self._limits
        if request.method != b"POST":
            return requests.parseKVP(parameters, limits)

        def parse() -> Operation:
            body = bodies.read(request, self._maximumBody)
            if _isForm(request, body):
                if body.count(b"&") >= limits.parameters:
                    raise tooMany("parameters", limits.parameters)
                form = kvp.parseQuery(body.strip() + b"&" + query)
                return requests.parseKVP(form, limits)
            return requests.parseXML(body, parameters, limits)

        packed = request.getHeader("Content-Encoding") is not None
        size = bodies.size(request)
        if not packed and size <= _LARGE_BODY:
            return parse()
        isHuge = packed or size > _HUGE_BODY
        place = self._parsingHuge if isHuge else self._parsingLarge

        def parseAndRelease() -> Operation:
            # Here, since a thread goes on when its client goes away.
            begun = time.monotonic()
            try:
                return parse()
            finally:
                if isHuge:
                    trim()
                rest = min((time.monotonic() - begun) * _REST, _LONGEST_REST)
                self._reactor.callFromThread(
                    self._reactor.callLater, rest, place.release
                )

        await place.acquire()
        return await inThread(self._reactor, parseAndRelease)

    # Processes

    async def _getCapabilities(
        self, request: Request, view: View, base: str
    ) -> Response:
        return await self._documents.respond(
            request,
            XML,
            ("capabilities", view.number, base),
            lambda: [
                documents.capabilities(
                    self._service,
                    view.processes.values(),
                    self._addresses.service(base),
                )
            ],
            self._vary(self._addresses.vary),
        )

    async def _describeProcess(
        self, request: Request, operation: DescribeProcess, view: View
    ) -> Response:
        processes: Iterable[ProcessDescription] = view.processes.values()
        if not operation.all:
            processes = _processes(view, operation.identifiers)
        summary = None
        if operation.map is not None:
            summary = await self._projects.summary(operation.map)

        def make() -> Iterator[bytes]:
            descriptions = processes
            if summary is not None:
                project = context.Context(summary)
                descriptions = map(project.inProject, descriptions)
            return documents.processDescriptionParts(descriptions)

        if not operation.all:
            return Response(b"".join(make()), XML, headers={"Vary": self._vary()})
        return await self._documents.respond(
            request, XML, ("all", view.number, summary), make, self._vary()
        )

    def _vary(self, *further: str) -> str:
        """The headers that an answer depends on."""
        return ", ".join(filter(None, (*further, self._exposure.vary)))

    # Jobs

    async def _execute(
        self, httpRequest: Request, operation: Execute, base: str
    ) -> Response:
        realm = self._access.newRealm(httpRequest)
        request, faults = operation.request, operation.faults
        try:
            description = _process(self._exposure.view(httpRequest), request.processId)
        except OWSError as error:
            if error.status >= 500:
                raise
            event = self._refusal(request)
            raise OWSError(
                (*error.faults, *faults), error.status, event=event
            ) from None
        summary = None
        project = None
        if request.map is not None:
            try:
                project = await self._projects.locate(request.map)
                summary = await self._projects.summary(request.map)
            except OWSError as error:
                if error.status >= 500:
                    raise
                raise _allWrong(error, request, description, faults) from None
        try:
            request = binding.bind(request, description, summary, faults)
        except OWSError as error:
            error.event = error.event or self._refusal(request, description)
            raise
        job = await self._queue.submit(Task(request, project), description, realm)
        if realm is not None:
            httpRequest.setHeader(HEADER, realm)
        maps = self._addresses.maps(httpRequest)
        if request.asynchronous:
            return await self._document(job, request, base, maps)
        try:
            job = await self._queue.wait(job.id)
        except CancelledError:
            self._queue.dismiss(job.id, "the client went away")
            raise
        refused = refusal(job)
        if refused is not None:
            raise refused
        if request.raw:
            return await self._raw(job, request, maps)
        return await self._document(job, request, base, maps)

    def _refusal(
        self, request: ExecuteRequest, shown: ProcessDescription | None = None
    ) -> str:
        """
        What the log calls it if somebody asks for what the policy hides.

        @param shown: the process as he sees it; None if he does not.
        """
        known = self._exposure.catalogue.processes().get(request.processId)
        if known is None:
            return ""
        if shown is None:
            return "process-refused"
        hidden = {each.identifier for each in known.inputs}
        hidden -= {each.identifier for each in shown.inputs}
        asked = {each.identifier for each in request.inputs}
        return "input-refused" if hidden & asked else ""

    async def _getResults(self, request: Request, jobId: str, base: str) -> Response:
        job = await self._access.job(request, jobId)
        maps = self._addresses.maps(request)
        if self._access.isLocal(job):
            task = await fromSpool(self._reactor, job, self._spool.task)
            return await self._document(job, task.request, base, maps)
        if job.state is State.SUCCEEDED:
            raise elsewhere(job)
        # The record says all there is to say.
        asked = ExecuteRequest(
            job.processId, asynchronous=True, status=True, map=job.map
        )
        return await self._document(job, asked, base, maps)

    async def _result(self, job: Job) -> Result:
        if job.state is not State.SUCCEEDED:
            return Result()
        return await fromSpool(self._reactor, job, self._spool.result)

    def _description(self, job: Job) -> ProcessDescription:
        """The process of a job, or what the record says of it."""
        try:
            known = self._exposure.catalogue.processes().get(job.processId)
        except OWSError:  # QGIS is not ready, but the results are
            known = None
        # It may be withdrawn or denied, its results are not.
        return known or ProcessDescription(
            job.processId, job.processTitle, job.processVersion
        )

    async def _document(
        self, job: Job, request: ExecuteRequest, base: str, maps: str
    ) -> Response:
        """The ExecuteResponse of a job as it is now."""
        description = self._description(job)
        result = await self._result(job)
        contents: dict[str, bytes] = {}
        embedded = documents.embedded(request, result)
        for identifier in () if self._filesAsReferences else embedded:
            value = result.outputs[identifier]
            assert isinstance(value, FileValue)
            contents[identifier] = await fromSpool(
                self._reactor, job, self._spool.read, value.path
            )

        def make() -> bytes:
            return documents.executeResponse(
                job,
                request,
                description,
                result,
                contents,
                self._addresses.status(base, job.id),
                self._addresses.capabilities(base),
                lambda path: self._addresses.file(
                    base, job.id, os.path.relpath(path, OUTPUTS)
                ),
                layerURL=lambda value: self._layerURL(job, value, maps),
            )

        large = sum(map(len, contents.values())) > _LARGE
        return Response(await inThread(self._reactor, make) if large else make(), XML)

    def _layerURL(self, job: Job, value: LayerValue, maps: str) -> str:
        return self._addresses.layer(
            maps, job.id, job.processId, value.layer, value.format.mimeType
        )

    async def _raw(self, job: Job, request: ExecuteRequest, maps: str) -> Response:
        """The one output asked for, and nothing else."""
        if job.state is not State.SUCCEEDED:
            if job.faults:
                raise OWSError(job.faults)
            raise failure(job.message or "the job was dismissed")
        result = await self._result(job)
        identifier = request.outputs[0].identifier
        value = result.outputs.get(identifier)
        if value is None:
            raise failure(f"the process did not make the output {identifier}")
        if isinstance(value, FileValue):
            mimeType = value.format.mimeType
            return Response(
                contentType=mimeType,
                path=value.path,
                within=self._spool.directory(job.id),
                headers=fileHeaders(os.path.basename(value.path), mimeType),
            )
        if isinstance(value, LayerValue):
            url = self._layerURL(job, value, maps)
            # RFC 2483, section 5: a line for each URL.
            return Response(
                f"{url}\r\n".encode(), "text/uri-list", 303, headers={"Location": url}
            )
        text = (
            value.value if isinstance(value, LiteralValue) else documents.corners(value)
        )
        return Response(text.encode(), "text/plain; charset=utf-8")
