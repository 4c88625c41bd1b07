"""
Requests for maps and features, to QGIS Server and back.

What a job has made does not change, so clients may keep the answers.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO
from urllib.parse import quote

import attrs
from twisted.web.http import Request
from twisted.web.resource import IResource, Resource

from qgswps.errors import OWSError, failure, invalid, missing, unsupported
from qgswps.interfaces import IMapServer
from qgswps.jobs.spool import Spool
from qgswps.model import Job, MapRequest, MapResponse, State, resultProject
from qgswps.ows import xmlio
from qgswps.projects import Projects
from qgswps.threads import inThread
from qgswps.web import bodies, mapquery, ranges
from qgswps.web.access import JobAccess
from qgswps.web.addresses import Addresses
from qgswps.web.deferral import Deferral, Response, Stream
from qgswps.web.files import isMarkup, sandbox

#: Answers of more bytes are sent as they are read.
_LARGE = 1024 * 1024

#: How much of a header of media types is passed on.
_LONGEST_ACCEPT = 1000

#: Seconds that a client may keep an answer without asking again, at most.
_LONGEST = 3600

#: A result project in MAP, after the prefix if there is one.
_RESULT = re.compile(r"/?([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})/(.+)")

#: Headers of QGIS Server's that are ours to set.
_OURS = frozenset({"content-type", "content-length", "connection", "date", "server"})


def exceptionReport(error: OWSError) -> Response:
    """What is wrong, as a ServiceExceptionReport, which all map services know."""
    faults = [
        xmlio.element(
            "ServiceException",
            fault.text,
            attributes={"code": fault.code, "locator": fault.locator},
        )
        for fault in error.faults
    ]
    report = xmlio.element(
        "ServiceExceptionReport",
        *faults,
        attributes={"version": "1.3.0", "xmlns": "http://www.opengis.net/ogc"},
    )
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{report}\n'.encode()
    return Response(body, "text/xml; charset=utf-8", error.status)


class ByService(Resource):
    """The OWS endpoint: WPS here, the map services there."""

    isLeaf = True

    def __init__(
        self, processes: IResource, maps: IResource, nowhere: IResource
    ) -> None:
        """
        @param nowhere: answers for paths below the endpoint's.
        """
        super().__init__()
        self._processes = processes
        self._maps = maps
        self._nowhere = nowhere

    def render(self, request: Any) -> Any:
        """See L{IResource}."""
        if any(request.postpath or ()):
            return self._nowhere.render(request)
        isMap = mapquery.service(request) is not None
        return (self._maps if isMap else self._processes).render(request)


@attrs.frozen
class _Target:
    """
    What a request is about.

    @ivar project: absolute path or URI of the project.
    @ivar job: whose result that is, or None.
    @ivar directory: of the job, or None.
    """

    project: str
    job: Job | None = None
    directory: str | None = None


class MapsEndpoint:
    """
    Answers WMS, WFS, WCS and WMTS, and OGC API Features of jobs.

    @ivar prefix: what C{MAP} may begin with where it names a result.
    """

    def __init__(
        self,
        reactor: Any,
        maps: IMapServer | None,
        access: JobAccess,
        spool: Spool,
        addresses: Addresses,
        prefix: str,
        projects: Projects | None,
        folder: str,
    ) -> None:
        """
        @param maps: makes the maps; None for none.
        @param projects: the source projects to be served; None for none.
        @param folder: absolute path of a folder for bodies of requests.
        """
        self.prefix = prefix
        self._reactor = reactor
        self._maps = maps
        self._access = access
        self._spool = spool
        self._addresses = addresses
        self._projects = projects
        self._folder = folder

    def resource(self) -> Deferral:
        """The services but for OGC API Features, as a resource."""
        handlers = {b"GET": self.answer, b"POST": self.answer}
        return Deferral(handlers, exceptionReport)

    async def answer(self, request: Request) -> Response:
        """Answer a request of any of the services."""
        service = mapquery.service(request)
        assert service is not None
        maps = self._served()
        _, _, query = request.uri.partition(b"?")
        parameters = mapquery.parse(query)
        content = None
        if request.method == b"POST":
            content = bodies.content(request)
            if _isForm(request, content):
                # QGIS Server is asked by GET: there is one way to check it.
                form = content.read(mapquery.LONGEST + 1)
                if len(form) > mapquery.LONGEST:
                    text = f"a form has at most {mapquery.LONGEST} bytes"
                    raise failure(text, 413)
                parameters = {**mapquery.parse(form), **parameters}
                content = None
        parameters["SERVICE"] = service
        mapquery.check(parameters)
        target = await self._locate(request, parameters.get("MAP", ""))
        body = None
        if content is not None:
            body = await inThread(self._reactor, _checked, content, parameters)
        base = self._addresses.base(request)
        url = f"{self._addresses.service(base)}?{mapquery.compose(parameters)}"
        asked = MapRequest(target.project, url, target.directory)
        if body is None:
            return await self._cached(maps, request, asked, target.job)
        path = await inThread(self._reactor, self._write, body)
        try:
            asked = attrs.evolve(asked, method="POST", body=path)
            return await self._serve(maps, asked)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)

    async def features(
        self, request: Request, job: Job, path: str, ending: str = ""
    ) -> Response:
        """
        Answer a request of OGC API Features.

        @param path: what follows C{wfs3/} in that of the request.
        @param ending: what follows C{wfs3}, such as C{.json}.
        """
        maps = self._served()
        _, _, query = request.uri.partition(b"?")
        parameters = mapquery.parseAsGiven(query)
        mapquery.checkFeatures(parameters)
        # QGIS Server looks for its static files wherever they lead.
        if {"..", "."}.intersection(re.split(r"[/\\]", path)) or "\0" in path:
            raise invalid("path", f"there is no {path!r} here", 404)
        target = self._result(job)
        address = f"{self._addresses.base(request)}jobs/{job.id}/wfs3{ending}"
        if path:
            address += "/" + quote(os.fsencode(path))
        if parameters:
            # What was looked at, and nothing else: of a parameter that is
            # given twice QGIS Server takes the other one.
            address += f"?{mapquery.compose(parameters)}"
        accept = (request.getHeader("Accept") or "")[:_LONGEST_ACCEPT]
        asked = MapRequest(
            target.project, address, target.directory, headers={"Accept": accept}
        )
        response = await self._cached(maps, request, asked, job)
        headers = {**response.headers, "Vary": "Accept"}
        if "Content-Security-Policy" in headers:
            # QGIS's own scripts show features of the same job on a map.
            headers["Content-Security-Policy"] = sandbox(
                f"{self._addresses.base(request)}jobs/{job.id}/"
            )
        return attrs.evolve(response, headers=headers)

    def _served(self) -> IMapServer:
        if self._maps is None:
            raise unsupported("SERVICE", "this server shows no maps")
        return self._maps

    # Requests

    def _write(self, body: bytes) -> str:
        """Write a body to a file that has yet to be removed."""
        handle, path = tempfile.mkstemp(".request", dir=self._folder)
        with open(handle, "wb") as file:
            file.write(body)
        return path

    async def _locate(self, request: Request, map: str) -> _Target:
        """
        The project that a client means by C{MAP}.

        @raise OWSError: there is none, or it is not for this client.
        """
        if not map:
            raise missing("MAP", "MAP is missing: the project to show")
        named = self.prefix and map.startswith(self.prefix)
        found = _RESULT.fullmatch(map[len(self.prefix) :] if named else map)
        if found is not None:
            job = await self._access.localJob(request, found.group(1))
            if found.group(2) == resultProject(job.processId):
                return self._result(job)
        if self._projects is not None and found is None and not named:
            return _Target(await self._projects.locate(map))
        raise invalid("MAP", f"there is no map {map!r}", 404)

    def _result(self, job: Job) -> _Target:
        """The result project of a job, which may have to be made yet."""
        if not job.state.terminal:
            text = f"the job {job.id} is {job.state}: it has no results yet"
            raise invalid("MAP", text, 409)
        if job.state is not State.SUCCEEDED:
            text = f"the job {job.id} is {job.state}: it has no results"
            raise invalid("MAP", text, 404)
        directory = self._spool.directory(job.id)
        project = os.path.join(directory, resultProject(job.processId))
        return _Target(project, job, directory)

    # Answers

    async def _cached(
        self, maps: IMapServer, request: Request, asked: MapRequest, job: Job | None
    ) -> Response:
        """Answer, or say that the client has the answer already."""
        if job is None:
            response = await self._serve(maps, asked)
            return _with(response, {"Cache-Control": "no-cache"})
        text = "\n".join([job.id, asked.url, *asked.headers.values()])
        etag = f'"{hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]}"'
        left = _LONGEST
        if job.expires is not None:
            left = max(0, min(left, int(job.expires - self._reactor.seconds())))
        cache = {"ETag": etag, "Cache-Control": f"private, max-age={left}"}
        if ranges.isAmong(etag, request.getHeader("If-None-Match") or ""):
            return Response(status=304, headers=cache)
        response = await self._serve(maps, asked)
        return _with(response, cache) if response.status == 200 else response

    async def _serve(self, maps: IMapServer, asked: MapRequest) -> Response:
        if len(asked.url.encode()) > mapquery.LONGEST:
            raise failure("the request has too many parameters", 414)
        answer = await maps.serve(asked)
        return await inThread(self._reactor, _response, answer)


def _isForm(request: Request, content: BinaryIO) -> bool:
    kind = (request.getHeader("Content-Type") or "").partition(";")[0].strip().lower()
    head = content.read(mapquery.HEAD)
    content.seek(0)
    head = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return kind == mapquery.FORM or not head.startswith(b"<")


def _checked(content: BinaryIO, parameters: Mapping[str, str]) -> bytes:
    return mapquery.checkBody(content.read(), parameters)


def _with(response: Response, headers: dict[str, str]) -> Response:
    return attrs.evolve(response, headers={**response.headers, **headers})


def _response(answer: MapResponse) -> Response:
    """What QGIS Server answers; its file is gone then, or is as it is closed."""
    file = open(answer.body, "rb")  # noqa: SIM115
    os.unlink(answer.body)
    size = os.fstat(file.fileno()).st_size
    fields = {name.lower(): value for name, value in answer.headers.items()}
    given = answer.headers.items()
    headers = {name: value for name, value in given if name.lower() not in _OURS}
    contentType = fields.get("content-type", "application/octet-stream")
    if isMarkup(contentType.lower()):
        # Attributes of features are in these pages as they are.
        headers["Content-Security-Policy"] = sandbox()
    response = Response(
        contentType=contentType,
        status=answer.status,
        headers=headers,
    )
    if size <= _LARGE:
        with file:
            return attrs.evolve(response, body=file.read())
    response = _with(response, {"Content-Length": str(size)})
    pieces = ranges.whole(file, contentType).pieces
    return attrs.evolve(response, stream=Stream(ranges.read(file, pieces)))
