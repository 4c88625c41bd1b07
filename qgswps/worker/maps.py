"""Answers to requests for maps: which project, and what of it is still to make."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from qgis.core import QgsApplication, QgsProject

from qgswps import codec
from qgswps.errors import Fault, OWSError, invalid
from qgswps.jobfiles import RESULT, TASK
from qgswps.model import Result, Task
from qgswps.worker import compat, resultproject
from qgswps.worker import project as projects

if TYPE_CHECKING:
    from qgswps.worker.mapserver import MapServer

#: The Debian packages that QGIS Server and its services are in.
PACKAGES = "qgis-server-wms, -wfs, -wfs3, -wcs and -wmts"

#: The entry of a project that has the keywords of its services.
_KEYWORDS = "WMSKeywordList"

#: What becomes of QGIS's messages in the server's log.
_LEVELS = {compat.LEVEL_WARNING: "debug", compat.LEVEL_CRITICAL: "warn"}


def prepare(directory: str) -> None:
    """
    Make the result project of a job if it is missing.

    @param directory: absolute path of the job directory.
    @raise OWSError: the job has made no layers, or is not there.
    """
    try:
        task = codec.read(os.path.join(directory, TASK), Task)
        if resultproject.exists(directory, task.request.processId):
            return
        result = codec.read(os.path.join(directory, RESULT), Result)
    except FileNotFoundError:
        raise invalid("MAP", "the results of this job are gone", 404) from None
    if not result.layers:
        raise invalid("MAP", "this job has made no layers", 404)
    resultproject.write(directory, task.request.processId, result.layers, None)


def _stamp(project: str) -> object:
    """Something that is another with each saving of a project."""
    if "://" not in project:
        state = os.stat(project)
        return state.st_mtime_ns, state.st_size
    registry = QgsApplication.projectStorageRegistry()
    storage = registry.projectStorageFromUri(project)
    if storage is None:
        raise invalid("MAP", "there is no such project", 404)
    found, metadata = storage.readProjectStorageMetadata(project)
    return metadata.lastModified.toString() if found else None


def _withTileLayer(url: str, project: QgsProject) -> str:
    """
    A URL that names the layer of a tile as QGIS Server knows it.

    Its capabilities of WMTS have C{_} for blanks in the names of layers, but
    it does not know the layers by these names.
    """
    address, _, query = url.partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    given = parameters.get("LAYER", "")
    if parameters.get("SERVICE") != "WMTS" or not given:
        return url
    names = [_serverName(layer) for layer in project.mapLayers().values()]
    if given in names:
        return url
    parameters["LAYER"] = next(
        (name for name in names if name.replace(" ", "_") == given), given
    )
    return f"{address}?{urlencode(parameters, quote_via=quote)}"


def _serverName(layer: Any) -> str:
    properties = layer.serverProperties()
    if not hasattr(properties, "shortName"):
        # It was the layer's own before QGIS 3.38.
        properties = layer
    return str(properties.shortName() or layer.name())


class Maps:
    """
    The project that this process serves, and QGIS Server.

    Both are made for the first request.
    """

    def __init__(self, log: Callable[[str, str], None]) -> None:
        """
        @param log: is called with a level of C{twisted.logger} and a text.
        """
        self._log = log
        self._server: MapServer | None = None
        self._opened: tuple[str, object] | None = None

    def serve(
        self,
        project: str,
        directory: str,
        method: str,
        url: str,
        headers: str,
        body: str,
        output: str,
    ) -> dict[str, object]:
        """
        Answer a request.  See L{ServeMap<qgswps.pool.commands.ServeMap>}.

        @raise OWSError: QGIS Server could not be asked.
        """
        server = self._startedServer()
        if directory and not os.path.isfile(project):
            prepare(directory)
        content = b""
        if body:
            with open(body, "rb") as file:
                content = file.read()
        opened = self._open(project, bool(directory))
        status, fields = server.answer(
            opened,
            method,
            _withTileLayer(url, opened),
            json.loads(headers),
            content,
            output,
        )
        return {"status": status, "headers": json.dumps(fields)}

    def _startedServer(self) -> MapServer:
        if self._server is None:
            try:
                from qgswps.worker import mapserver
            except ImportError as error:
                text = f"this server has no QGIS Server: install {PACKAGES} ({error})"
                raise OWSError(Fault("OperationNotSupported", text), 501) from None
            mapserver.forwardMessages(self._log, _LEVELS)
            self._server = mapserver.MapServer()
        return self._server

    def _open(self, path: str, isResult: bool) -> QgsProject:
        project = QgsProject.instance()
        try:
            opened = (path, _stamp(path))
        except FileNotFoundError:
            raise invalid("MAP", "there is no such project", 404) from None
        if opened == self._opened:
            return project
        self._opened = None
        projects.readWhole(path)
        # A layer that can't be opened would spoil the answers for the others.
        layers = project.mapLayers()
        project.removeMapLayers(
            [key for key, layer in layers.items() if not layer.isValid()]
        )
        if isResult and not project.readListEntry(_KEYWORDS, "/")[0]:
            # OWSLib can't read what WFS 1.0.0 says of itself without any.
            project.writeEntry(_KEYWORDS, "/", [project.title()])
        self._opened = opened
        return project
