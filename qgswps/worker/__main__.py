"""
C{python3 -m qgswps.worker DESCRIPTOR SETTINGS}: the fork server.

DESCRIPTOR is the number of an inherited UNIX socket to the server, SETTINGS a
JSON file of L{qgswps.model.WorkerSettings}.
"""

from __future__ import annotations

import os
import socket
import sys

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
    from qgswps.worker import forkserver

    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    connection.setblocking(True)
    forkserver.serve(connection, codec.read(path, WorkerSettings))


if __name__ == "__main__":
    main()
