"""What jobs have made, for download."""

from __future__ import annotations

import functools
import os
import re
from html import escape
from typing import Any
from urllib.parse import quote

import attrs
from twisted.web.http import Request

from qgswps.errors import Fault, OWSError
from qgswps.interfaces import IMapServer
from qgswps.jobfiles import LOG, OUTPUTS
from qgswps.jobs.spool import OutputFile, Spool
from qgswps.journal import Logger
from qgswps.model import Job, MapRequest, State, resultProject
from qgswps.threads import inThread
from qgswps.web import archive, pages
from qgswps.web.access import fromSpool
from qgswps.web.addresses import Addresses
from qgswps.web.deferral import Response, Stream, jsonResponse
from qgswps.web.status import time, wantsHTML

log = Logger()

#: Media types of the files that jobs make, by ending: the registered ones, or
#: those that GDAL, QGIS and servers of the field use.
MEDIA_TYPES = {
    # vector data
    ".dbf": "application/vnd.dbf",
    ".dxf": "image/vnd.dxf",
    ".fgb": "application/flatgeobuf",
    ".geojson": "application/geo+json",
    ".geojsonl": "application/geo+json-seq",
    ".gml": "application/gml+xml",
    ".gpkg": "application/geopackage+sqlite3",
    ".gpx": "application/gpx+xml",
    ".kml": "application/vnd.google-earth.kml+xml",
    ".kmz": "application/vnd.google-earth.kmz",
    ".mbtiles": "application/vnd.sqlite3",
    ".mvt": "application/vnd.mapbox-vector-tile",
    ".parquet": "application/vnd.apache.parquet",
    ".shp": "application/vnd.shp",
    ".shx": "application/vnd.shx",
    ".sqlite": "application/vnd.sqlite3",
    ".topojson": "application/json",
    # and what stands beside it
    ".cpg": "text/plain",
    ".prj": "text/plain",
    ".wld": "text/plain",
    ".xsd": "application/xml",
    # rasters and pictures
    ".asc": "text/plain",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".h5": "application/x-hdf5",
    ".jp2": "image/jp2",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".nc": "application/x-netcdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".vrt": "application/xml",
    ".webp": "image/webp",
    # point clouds
    ".las": "application/vnd.las",
    ".laz": "application/vnd.laszip",
    # QGIS
    ".qgs": "application/x-qgis-project",
    ".qgz": "application/x-qgis-project",
    ".qml": "application/x-qgis-layer-settings",
    ".sld": "application/vnd.ogc.sld+xml",
    # tables, texts and documents
    ".csv": "text/csv",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".pdf": "application/pdf",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xml": "text/xml",
    # archives
    ".gz": "application/gzip",
    ".tar": "application/x-tar",
    ".zip": "application/zip",
}

#: Texts that do not tell their encoding themselves, as XML does.
_PLAIN_TEXT = frozenset({".csv", ".htm", ".html", ".log", ".md", ".tsv", ".txt"})

#: What of a name a header can't hold as it is.
_UNSAFE = re.compile(r'[^ -~]|["\\%]')


def noSuchFile(path: str) -> OWSError:
    """A file that is not, or is not one of the job's outputs."""
    return OWSError(
        Fault("InvalidParameterValue", f"there is no file {path!r}", "file"), 404
    )


def contained(root: str, path: str) -> str:
    """
    The absolute path of an output.  Looks at the disk.

    @param root: the folder of a job's outputs.
    @param path: below it, as a client names it.
    @raise OWSError: it is no file in there, wherever a symbolic link leads.
    """
    if "\0" in path:
        raise noSuchFile(path)
    base = os.path.realpath(root)
    found = os.path.realpath(os.path.join(base, path.lstrip("/")))
    if os.path.commonpath([base, found]) != base or not os.path.isfile(found):
        raise noSuchFile(path)
    return found


def mediaType(name: str) -> str:
    """The media type of a file, without parameters."""
    ending = os.path.splitext(name)[1].lower()
    return MEDIA_TYPES.get(ending, "application/octet-stream")


def disposition(name: str, kind: str = "inline") -> str:
    """
    A Content-Disposition (RFC 6266).

    @param name: what a client that saves it should call the file; any text.
    @param kind: C{attachment} for what is not to be shown.
    """
    plain = _UNSAFE.sub("_", name)
    header = f'{kind}; filename="{plain}"'
    if plain != name:
        encoded = quote(_readable(name), safe="!#$&+^`|")
        header += f"; filename*=UTF-8''{encoded}"
    return header


def isMarkup(contentType: str) -> bool:
    """Whether a browser may take it for a document with scripts in it."""
    return "html" in contentType or "xml" in contentType


def sandbox(connections: str = "'none'") -> str:
    """
    The policy of a document that clients have a say in.

    Its scripts run, for there may be a chart in it.  But they would else run as
    if they were the server's own, and could do and read there what the one who
    looks at it may.

    @param connections: what its scripts may read, as the policy has it.
    """
    return (
        f"sandbox allow-scripts allow-downloads; connect-src {connections};"
        " frame-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"
    )


def fileHeaders(name: str, contentType: str) -> dict[str, str]:
    """The headers of a file that a job has made, beside its media type."""
    headers = {"Content-Disposition": disposition(name)}
    if isMarkup(contentType):
        headers["Content-Security-Policy"] = sandbox()
    return headers


def _readable(name: str) -> str:
    """The name of a file, which may be of any bytes, as text."""
    return os.fsencode(name).decode("utf-8", "replace")


class FilesEndpoint:
    """
    Answers C{/jobs/{uuid}/files}, C{/jobs/{uuid}/files/{name}},
    C{/jobs/{uuid}/files.zip} and C{/jobs/{uuid}/log}.
    """

    def __init__(
        self,
        reactor: Any,
        spool: Spool,
        addresses: Addresses,
        maps: IMapServer | None = None,
    ) -> None:
        """
        @param maps: makes the result project that goes into the archive; None
            to leave it out where it is not there yet.
        """
        self._reactor = reactor
        self._spool = spool
        self._addresses = addresses
        self._maps = maps

    async def answer(self, request: Request, job: Job, path: str) -> Response:
        """One file of a job, or a list of them."""
        if path:
            return await self._send(job, path)
        base = self._addresses.base(request)
        found = await inThread(self._reactor, self._spool.outputs, job.id)
        if wantsHTML(request):
            response = self._page(job, base, found)
        else:
            response = self._list(job, base, found)
        return attrs.evolve(response, headers={**response.headers, "Vary": "Accept"})

    def _list(self, job: Job, base: str, found: list[OutputFile]) -> Response:
        return jsonResponse(
            {
                "files": [
                    {
                        "name": each.name,
                        "content_length": each.size,
                        "media_type": mediaType(each.name),
                        "last_modified": time(each.modified),
                        "store_url": self._url(job, base, each.name),
                    }
                    for each in found
                ],
                "archive": self._addresses.archive(base, job.id),
            }
        )

    def _page(self, job: Job, base: str, found: list[OutputFile]) -> Response:
        rows = "".join(
            f"<tr><td>{pages.link(self._url(job, base, each.name), shown)}</td>"
            f"<td>{_size(each.size)}</td><td>{time(each.modified)}</td></tr>\n"
            for each in found
            for shown in [_readable(each.name)]
        )
        table = f"<tr><th>file</th><th>size</th><th>changed</th></tr>\n{rows}"
        links = "".join(
            f"<li>{pages.link(url, text)}</li>\n"
            for url, text in (
                (self._addresses.archive(base, job.id), "All as ZIP"),
                (self._addresses.record(base, job.id), "Job"),
                (self._addresses.log(base, job.id), "Log"),
            )
        )
        return pages.page(
            f"Files of job {job.id}",
            f"<p>{escape(job.processId)}</p>\n<ul>\n{links}</ul>\n"
            + (f"<table>\n{table}</table>" if found else "<p>There are none.</p>"),
            refresh=not job.state.terminal,
        )

    def _url(self, job: Job, base: str, name: str) -> str:
        return f"{self._addresses.files(base, job.id)}/{quote(os.fsencode(name))}"

    async def _send(self, job: Job, path: str) -> Response:
        directory = self._spool.directory(job.id)
        base, found = await inThread(self._reactor, _located, directory, path)
        # The name that was asked for, which may be a link's.
        name = os.path.basename(path)
        contentType = mediaType(name)
        headers = fileHeaders(name, contentType)
        if os.path.splitext(name)[1].lower() in _PLAIN_TEXT:
            contentType += "; charset=utf-8"
        return Response(
            contentType=contentType, path=found, within=base, headers=headers
        )

    async def archive(self, request: Request, job: Job, path: str) -> Response:
        """All files of a job, and its log, as one ZIP archive."""
        if path:
            raise noSuchFile(path)
        await self._prepare(job)
        find = functools.partial(archive.members, self._spool)
        found = await fromSpool(self._reactor, job, find)
        parts = archive.parts(self._spool.directory(job.id), found)
        name = f"{job.processId.replace(':', '_')}-{job.id[:8]}.zip"
        return Response(
            contentType="application/zip",
            stream=Stream(parts, self._reactor),
            headers={
                "Content-Disposition": disposition(name, "attachment"),
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def _prepare(self, job: Job) -> None:
        """See to it that the result project is there, if there is one."""
        if self._maps is None or job.state is not State.SUCCEEDED:
            return
        result = await fromSpool(self._reactor, job, self._spool.result)
        if not result.layers:
            return
        directory = self._spool.directory(job.id)
        project = os.path.join(directory, resultProject(job.processId))
        if await inThread(self._reactor, os.path.exists, project):
            return
        try:
            await self._maps.prepare(MapRequest(project, "", directory))
        except OWSError as error:
            # What the job has made is worth having without it.
            log.warn(
                "the archive of job {job} has no project: {error}",
                job=job.id,
                error=error,
            )

    async def log(self, request: Request, job: Job, path: str) -> Response:
        """What the run has printed so far; nothing before it runs."""
        if path:
            raise noSuchFile(path)
        directory = self._spool.directory(job.id)
        there = await inThread(self._reactor, _isPlain, os.path.join(directory, LOG))
        return Response(
            contentType="text/plain; charset=utf-8",
            path=LOG if there else None,
            within=directory,
            headers={"Cache-Control": "no-store"},
        )


def _located(directory: str, path: str) -> tuple[str, str]:
    """
    Where a file of a job is: the job's directory, and the path below it, both
    free of symbolic links.
    """
    base = os.path.realpath(directory)
    outputs = os.path.join(base, OUTPUTS)
    if os.path.islink(outputs):
        raise noSuchFile(path)
    return base, os.path.relpath(contained(outputs, path), base)


def _isPlain(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _size(size: float) -> str:
    units = ["GB", "MB", "kB", "B"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop()
    return f"{size:.4g} {units[-1]}"
