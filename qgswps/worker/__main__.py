"""
C{python3 -m qgswps.worker DESCRIPTOR SETTINGS}: the fork server.

DESCRIPTOR is the number of an inherited UNIX socket to the server, SETTINGS a
JSON file of L{qgswps.model.WorkerSettings}.  With C{catalogue} in place of a
DESCRIPTOR only the catalogue is written, and nothing served.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

# numpy's threads would not survive the fork.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from qgswps import codec
from qgswps.model import WorkerSettings


def main() -> None:
    """Read the command line and serve."""
    _, descriptor, path = sys.argv
    errorsOnly = LogLevelFilterPredicate(LogLevel.error)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(textFileLogObserver(sys.stderr), [errorsOnly])],
        redirectStandardIO=False,
    )
    if descriptor == "catalogue":
        _catalogue(codec.read(path, WorkerSettings))
    from qgswps.worker import forkserver

    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    connection.setblocking(True)
    forkserver.serve(connection, codec.read(path, WorkerSettings))


def _catalogue(settings: WorkerSettings) -> NoReturn:
    from qgswps.worker import isolation, qgisapp

    isolation.dieWithParent()
    qgisapp.start(settings)
    # It needs QGIS's own plugins, which only a started QGIS can import.
    from qgswps.worker import catalogue

    codec.writeCatalogue(settings.catalogue, catalogue.build(settings))
    # QGIS's own end may crash.
    os._exit(0)


if __name__ == "__main__":
    main()
