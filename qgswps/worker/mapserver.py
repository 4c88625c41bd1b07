"""
QGIS Server in a map worker.

Importing this module loads the libraries of QGIS Server: only a process that
is to serve maps does so.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Callable, Mapping
from typing import Any

from osgeo import gdal
from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtCore import QByteArray, QIODevice, QLoggingCategory
from qgis.server import (
    QgsBufferServerRequest,
    QgsServer,
    QgsServerRequest,
    QgsServerResponse,
)

from qgswps.model import LARGEST_PICTURE

#: What QGIS Server finds in its environment; coverages are limited in the server.
_ENVIRONMENT = {
    "QGIS_SERVER_WMS_MAX_WIDTH": str(LARGEST_PICTURE),
    "QGIS_SERVER_WMS_MAX_HEIGHT": str(LARGEST_PICTURE),
    # What a client says becomes the text of labels there, and expressions in
    # it are evaluated.
    "QGIS_SERVER_DISABLE_GETPRINT": "1",
    # The server's own processes run side by side.
    "QGIS_SERVER_PARALLEL_RENDERING": "0",
    "QGIS_SERVER_MAX_THREADS": "1",
}

_METHODS = {
    "GET": QgsServerRequest.Method.GetMethod,
    "POST": QgsServerRequest.Method.PostMethod,
}


class Output(QIODevice):
    """
    A file for QGIS to write to.

    A C{QFile} may write a part of what it is given without an error, and
    forgets its errors: this one keeps the first.

    @ivar error: what went wrong; None if nothing did.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._file = open(path, "w+b")  # noqa: SIM115
        self.open(QIODevice.OpenModeFlag.ReadWrite)

    def empty(self) -> None:
        """Begin anew."""
        self._attempt(lambda: self._file.seek(0))
        self._attempt(self._file.truncate)

    def content(self) -> bytes:
        """What was written so far."""
        parts: list[bytes] = []
        self._attempt(lambda: self._file.seek(0))
        self._attempt(lambda: parts.append(self._file.read()))
        return b"".join(parts)

    def finish(self) -> None:
        """
        Have all of it in the file.

        @raise OSError: that did not succeed, now or earlier.
        """
        self._attempt(self._file.close)
        if self.error is not None:
            raise self.error

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except OSError as error:
            self.error = self.error or error

    # What Qt calls

    def isSequential(self) -> bool:
        return True

    def writeData(self, data: bytes) -> int:
        if self.error is None:
            self._attempt(lambda: self._file.write(data))
        return len(data) if self.error is None else -1

    def readData(self, maxlen: int) -> bytes:
        return b""


class FileResponse(QgsServerResponse):
    """
    An answer whose body goes to a file, so that its size does not matter.

    @ivar status: the HTTP status.
    @ivar fields: the headers.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.status = 200
        self.fields: dict[str, str] = {}
        self._file = Output(path)

    def close(self) -> None:
        """
        Have all of it in the file.

        @raise OSError: that did not succeed.
        """
        self._file.finish()

    # What QGIS Server calls

    def setHeader(self, key: str, value: str) -> None:
        self.fields[key] = value

    def removeHeader(self, key: str) -> None:
        self.fields.pop(key, None)

    def header(self, key: str) -> str:
        return self.fields.get(key, "")

    def headers(self) -> dict[str, str]:
        return dict(self.fields)

    def headersSent(self) -> bool:
        return False

    def setStatusCode(self, code: int) -> None:
        self.status = code

    def statusCode(self) -> int:
        return self.status

    def sendError(self, code: int, message: str) -> None:
        self.clear()
        self.status = code
        self.fields["Content-Type"] = "text/plain; charset=utf-8"
        self._file.write(message.encode())

    def io(self) -> QIODevice:
        return self._file

    def finish(self) -> None:
        """Nothing is kept back."""

    def flush(self) -> None:
        """Nothing is kept back."""

    def clear(self) -> None:
        self.fields.clear()
        self.truncate()

    def data(self) -> QByteArray:
        return QByteArray(self._file.content())

    def truncate(self) -> None:
        self._file.empty()


class MapServer:
    """QGIS Server; there is one in a process."""

    def __init__(self) -> None:
        for name in list(os.environ):
            if name.startswith("QGIS_") or name == "QUERY_STRING":
                del os.environ[name]
        os.environ.update(_ENVIRONMENT)
        os.environ["QGIS_SERVER_CACHE_DIRECTORY"] = os.path.join(
            os.environ.get("XDG_CACHE_HOME", ""), "server"
        )
        # It tells of each library that it loads, and GDAL of drivers that it
        # has not.
        QLoggingCategory.setFilterRules("default.debug=false")
        gdal.PushErrorHandler("CPLQuietErrorHandler")
        try:
            self._server = QgsServer()
        finally:
            gdal.PopErrorHandler()
        # It took over the locale of the environment.
        locale.setlocale(locale.LC_NUMERIC, "C")

    def answer(
        self,
        project: QgsProject,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        output: str,
    ) -> tuple[int, dict[str, str]]:
        """
        Answer a request.

        @param output: absolute path of the file for the answer's body.
        @return: status and headers.
        """
        # It is kept by host and version only, but holds all of the URL.
        capabilities = self._server.serverInterface().capabilitiesCache()
        capabilities.removeCapabilitiesDocument(project.fileName())
        request = QgsBufferServerRequest(
            url, _METHODS[method], dict(headers), QByteArray(body)
        )
        response = FileResponse(output)
        try:
            self._server.handleRequest(request, response, project)
        finally:
            response.close()
        return response.status, response.fields


def forwardMessages(log: Any, levels: Mapping[Any, str]) -> None:
    """
    Have QGIS's messages go to a function alone.

    @param log: is called with a level of C{twisted.logger} and a text.
    @param levels: by QGIS's levels; other messages are dropped.
    """
    signal = QgsApplication.messageLog().messageReceived

    def forward(text: str, tag: str, level: Any) -> None:
        name = levels.get(level)
        if name is not None:
            log(name, f"{tag}: {text}")

    try:
        chosen = signal["QString", "QString", "Qgis::MessageLevel"]
    except KeyError:
        chosen = signal
    chosen.disconnect()
    chosen.connect(forward)
