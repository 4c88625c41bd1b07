"""
A client library in a process of its own, as a test sees it.

The scripts that run there are in C{tests/clients/scripts}. They read lines of
JSON, C{{"do": NAME, …}}, and answer each with a line.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import threading
from typing import Any

from tests import live

SCRIPTS = os.path.join(live.HERE, "clients", "scripts")

#: Has Debian's OWSLib.
DEBIAN = sys.executable

#: Has the newest clients, of requirements-clients.txt.
NEWEST = os.path.join(live.ROOT, ".venv", "clients", "bin", "python")


@functools.cache
def sharedSession(python: str, script: str) -> Session:
    """A script for all tests; ends with this process."""
    session = Session(python, script)
    atexit.register(session.close)
    return session


class Session:
    """A script that runs until L{close}."""

    def __init__(self, python: str, script: str) -> None:
        """
        @param python: the interpreter.
        @param script: the name of one of L{SCRIPTS}.
        """
        if not os.path.exists(python):
            raise AssertionError(f"there is no {python}: run tools/install test")
        # What birdy and OWSLib warn of is no concern of the tests.
        self._process = subprocess.Popen(
            [python, "-W", "ignore", os.path.join(SCRIPTS, script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": live.ROOT},
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """
        Have the script do something.

        @raise AssertionError: the client has raised an error, or it hangs.
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        alarm = threading.Timer(live.PATIENCE, process.kill)
        alarm.start()
        try:
            process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            alarm.cancel()
            alarm.join()
        if not line:
            raise AssertionError(f"{do}: the client has ended or was hanging")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"{do}: the client has failed:\n{answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End it."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(live.PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
