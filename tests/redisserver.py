"""
A real Redis server for tests, in a process of its own.

Several tests may share one, each with a prefix of its own: L{sharedRedis}.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from tests.live import PATIENCE, freePort


class RedisServer:
    """
    A running C{redis-server} that keeps its data in a folder of its own.

    @ivar port: where it listens on 127.0.0.1, also after a restart; with
        C{tls} that is where it listens for TLS.
    @ivar unixSocket: path of the socket on which it listens as well, without
        TLS.
    """

    def __init__(
        self,
        appendOnly: bool = False,
        password: str = "",
        tls: tuple[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        """
        @param appendOnly: keep the data when it is killed, too.
        @param tls: paths of a certificate and its key; of clients it wants
            none.
        @param options: further options, as on the command line.
        """
        self.folder = tempfile.mkdtemp(prefix="qgswps-redis-")
        self.unixSocket = os.path.join(self.folder, "socket")
        self.port = freePort()
        self.password = password
        self._arguments = [
            *("redis-server", "--bind", "127.0.0.1", "--dir", self.folder),
            *("--unixsocket", self.unixSocket, "--save", ""),
            *("--appendonly", "yes" if appendOnly else "no"),
            # What was answered is on the disk, or kill would lose it.
            *("--appendfsync", "always"),
            *(("--requirepass", password) if password else ()),
        ]
        if tls is None:
            self._arguments += ["--port", str(self.port)]
        else:
            certificate, key = tls
            self._arguments += [
                *("--port", "0", "--tls-port", str(self.port)),
                *("--tls-cert-file", certificate, "--tls-key-file", key),
                *("--tls-auth-clients", "no"),
            ]
        self._arguments += options
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        self.start()

    @property
    def url(self) -> str:
        """As the option C{--store} takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, again on the same port, and wait until it serves."""
        assert self.process is None
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while not self._serves():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.log()
                self.close()
                raise AssertionError(f"redis-server does not serve:\n{text}")
            time.sleep(0.01)

    def _serves(self) -> bool:
        with contextlib.suppress(OSError, IndexError):
            answer = self.command("PING").split()[0]
            return answer in ("+PONG", "-NOAUTH")
        return False

    def log(self) -> str:
        """What it has logged."""
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as file:
            return file.read()

    def command(self, *words: str) -> str:
        """
        Have it execute a command, and wait for that.

        @return: the answer, as the protocol has it.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self.unixSocket)
            login = ("AUTH", self.password) if self.password else ("PING",)
            for command in (login, words):
                parts = [f"*{len(command)}\r\n"]
                for word in command:
                    parts.append(f"${len(word.encode())}\r\n{word}\r\n")
                connection.sendall("".join(parts).encode())
                answer = connection.recv(65536).decode()
            return answer

    def pause(self) -> None:
        """It accepts connections, and answers nothing any more."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo L{pause}."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it by SIGKILL.  Nothing if it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it by SIGTERM.  Nothing if it does not run."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Kill it, and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)


_shared: list[RedisServer] = []
_prefixes = itertools.count(1)


def sharedRedis() -> RedisServer:
    """The server for tests that let it run; ends with this process."""
    if not _shared:
        _shared.append(RedisServer())
    return _shared[0]


def newPrefix() -> str:
    """A prefix that no other test has."""
    return f"test{next(_prefixes)}"
