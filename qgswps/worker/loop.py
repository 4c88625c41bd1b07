"""
AMP without a reactor: a blocking socket as the transport of an AMP protocol.

QGIS has the main thread for itself, so fork server and workers read their
socket in a plain loop; L{twisted.protocols.amp} only parses and formats.
"""

from __future__ import annotations

import array
import socket
from collections.abc import Iterable

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import ITransport
from twisted.protocols.amp import AMP
from twisted.python.failure import Failure
from zope.interface import implementer

_CHUNK = 65536
_MAX_DESCRIPTORS = 16


@implementer(ITransport)
class BlockingTransport:
    """
    The transport of one AMP protocol over one blocking socket.

    @ivar connected: False once the other side has closed, or
        L{loseConnection} was called.
    """

    disconnecting = False

    def __init__(self, connection: socket.socket, protocol: AMP) -> None:
        self.connection = connection
        self.protocol = protocol
        self.connected = True
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        """Send all of it, however long that takes."""
        try:
            self.connection.sendall(data)
        except OSError:
            # The reader will see the end of the connection.
            self.connected = False

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send all of them."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Stop after what is being handled now."""
        self.connected = False

    def getPeer(self) -> UNIXAddress:
        """A socket pair has no names."""
        return UNIXAddress(None)

    def getHost(self) -> UNIXAddress:
        """A socket pair has no names."""
        return UNIXAddress(None)

    def receive(self) -> bool:
        """
        Wait for data and handle it.

        @return: whether the connection goes on.
        """
        size = array.array("i").itemsize * _MAX_DESCRIPTORS
        try:
            data, ancillary, _, _ = self.connection.recvmsg(
                _CHUNK, socket.CMSG_SPACE(size), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            data, ancillary = b"", []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                for descriptor in array.array("i", content):
                    self.protocol.fileDescriptorReceived(descriptor)
        if not data:
            self.connected = False
            return False
        try:
            self.protocol.dataReceived(data)
        except Exception:
            # What AMP can't parse is not going to get better.
            self.protocol.unhandledError(Failure())
            self.connected = False
        return self.connected
