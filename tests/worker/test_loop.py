"""Tests of L{qgswps.worker.loop}: AMP over a real socket pair."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.interfaces import ITransport
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from qgswps.pool.commands import Execute, Fork, Progress
from qgswps.worker.loop import BlockingTransport


class Protocol(amp.AMP):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    @Fork.responder
    def fork(self, socket: int) -> dict[str, int]:
        """Take a descriptor."""
        self.asked.append(socket)
        return {"pid": len(self.asked)}

    @Execute.responder
    def execute(self, directory: str) -> dict[str, str]:
        """Report, then answer."""
        self.asked.append(directory)
        self.callRemote(Progress, percent=5.0, message="at it")
        return {"result": directory.upper()}


class Peer(amp.AMP):
    """The server's side."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: list[tuple[float, str]] = []

    @Progress.responder
    def report(self, percent: float, message: str) -> dict[str, Any]:
        """Take a report."""
        self.progress.append((percent, message))
        return {}


class LoopTests(SynchronousTestCase):
    """L{BlockingTransport}"""

    def setUp(self) -> None:
        ours, self.theirs = socket.socketpair()
        for end in (ours, self.theirs):
            self.addCleanup(end.close)
            end.settimeout(10)  # a test that waits for ever is no use
        self.protocol = Protocol()
        self.transport = BlockingTransport(ours, self.protocol)
        self.peer = Peer()
        self.peerTransport = StringTransport()
        self.peerTransport.sendFileDescriptor = lambda number: None  # type: ignore[attr-defined]
        self.peer.makeConnection(self.peerTransport)

    def send(self, *descriptors: int, pieces: int = 1) -> None:
        """
        Send what the peer has to say, with descriptors as Twisted sends
        them: each with a byte of its own.
        """
        data = self.peerTransport.value()
        self.peerTransport.clear()
        for number in descriptors:
            socket.send_fds(self.theirs, [data[:1]], [number])
            data = data[1:]
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            self.theirs.sendall(data[start : start + size])

    def answer(self) -> None:
        """Bring the answers to the peer."""
        self.peer.dataReceived(self.theirs.recv(65536))

    def test_interface(self) -> None:
        """It is a transport."""
        verifyObject(ITransport, self.transport)

    def test_command(self) -> None:
        """A command is handled within C{receive}, and answered."""
        outcome: list[Any] = []
        d = self.peer.callRemote(Execute, directory="/ä")
        d.addBoth(outcome.append)
        self.send()
        self.assertTrue(self.transport.receive())
        self.assertEqual(self.protocol.asked, ["/ä"])
        self.answer()
        self.assertEqual(self.peer.progress, [(5.0, "at it")])
        self.assertEqual(outcome, [{"result": "/Ä"}])

    def test_pieces(self) -> None:
        """A command may come in any number of pieces."""
        self.peer.callRemote(Execute, directory="x" * 1000)
        self.send(pieces=50)
        for _ in range(1100):
            if self.protocol.asked:
                break
            self.assertTrue(self.transport.receive())
        self.assertEqual(self.protocol.asked, ["x" * 1000])

    def test_descriptors(self) -> None:
        """Descriptors come with the commands that they belong to."""
        files = [os.open("/", os.O_RDONLY), os.open("/proc", os.O_RDONLY)]
        for number in files:
            self.peer.callRemote(Fork, socket=number)
        self.send(*files)
        while len(self.protocol.asked) < 2:
            self.assertTrue(self.transport.receive())
        for ours, theirs in zip(files, self.protocol.asked, strict=True):
            self.assertNotEqual(ours, theirs)
            self.assertTrue(os.path.samestat(os.fstat(ours), os.fstat(theirs)))
            self.assertFalse(os.get_inheritable(theirs))
            os.close(ours)
            os.close(theirs)

    def test_end(self) -> None:
        """The end of the connection ends the loop."""
        self.theirs.close()
        self.assertFalse(self.transport.receive())
        self.assertFalse(self.transport.connected)

    def test_reset(self) -> None:
        """So does an end with data that nobody has read."""
        self.transport.write(b"unread")
        self.theirs.close()
        self.assertFalse(self.transport.receive())

    def test_writeTooLate(self) -> None:
        """What is written after the end is lost, and that is no error."""
        self.theirs.close()
        self.transport.writeSequence([b"a", b"b"])
        self.assertFalse(self.transport.connected)

    def test_writeMuch(self) -> None:
        """All is sent, however much it is."""
        reader = os.fork()
        if reader == 0:
            size = 0
            try:
                while size < 5_000_000:
                    size += len(self.theirs.recv(65536))
            finally:
                os._exit(0 if size == 5_000_000 else 1)
        self.transport.write(b"x" * 5_000_000)
        self.assertEqual(os.waitpid(reader, 0)[1], 0)
        self.assertTrue(self.transport.connected)

    def test_loseConnection(self) -> None:
        """A protocol may end the loop."""
        self.transport.loseConnection()
        self.peer.callRemote(Execute, directory="last")
        self.send()
        self.assertFalse(self.transport.receive())

    def test_garbage(self) -> None:
        """What is no AMP ends the loop."""
        for data, logged in [(b"\xff" * 100, 0), (b"\0\1a\0\1b\0\0", 1)]:
            self.setUp()
            self.theirs.sendall(data)
            self.assertFalse(self.transport.receive())
            self.assertEqual(len(self.flushLoggedErrors()), logged)
