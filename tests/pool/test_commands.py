"""Tests of L{qgswps.pool.commands}."""

from __future__ import annotations

import inspect
from typing import Any, cast

from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from qgswps.pool import commands
from qgswps.pool.commands import TEXT_LIMIT, WorkerFault, clip

#: A text as long as one may be, in bytes.
LONG = "\U0001f30d" * TEXT_LIMIT

#: The arguments and the answer of each command.
EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "Ready": (
        {
            "pid": 1,
            "protocol": 2,
            "qgisVersion": "3.22.16-Białowieża",
            "catalogue": "/ä",
        },
        None,
    ),
    "Fork": ({"socket": 5}, {"pid": 2**22}),
    "Exited": ({"pid": 7, "status": 9, "peak": 2**40, "excess": "ü"}, None),
    "Execute": ({"directory": "/tmp/ä b"}, {"result": "result.json"}),
    "SummarizeProject": (
        {"map": "/ä.qgs", "output": "/o", "known": "1"},
        {"changed": True},
    ),
    "PrepareProject": ({"directory": "/ä b"}, {}),
    "ServeMap": (
        {
            "project": "/ä.qgs",
            "directory": "/ä b",
            "method": "GET",
            "url": "http://h/?a=%20",
            "headers": "{}",
            "body": "",
            "output": "/o",
        },
        {"status": 200, "headers": "{}"},
    ),
    "Progress": ({"percent": -1.0, "message": LONG}, None),
    "LogMessage": ({"level": "info", "text": LONG}, None),
}


class Transport(StringTransport):
    """One that could send descriptors."""

    def sendFileDescriptor(self, descriptor: int) -> None:
        """See C{IUNIXTransport}."""


class CommandTests(SynchronousTestCase):
    """Each command goes through AMP's own parser and back."""

    def deliver(self, source: amp.AMP, target: amp.AMP) -> None:
        """Bring to one side what the other one has sent."""
        transport = cast(Transport, source.transport)
        data = transport.value()
        transport.clear()
        target.dataReceived(data)

    def ask(self, name: str, answer: Any) -> tuple[dict[str, Any], list[Any], bool]:
        """
        Send a command.

        @param answer: what it is answered, or an error to raise.
        @return: what it was received as, what came of it for the sender, and
            whether there was any answer.
        """
        command = getattr(commands, name)
        received: dict[str, Any] = {}

        def respond(self: amp.AMP, **arguments: Any) -> Any:
            received.update(arguments)
            if isinstance(answer, Exception):
                raise answer
            return answer

        responder = {"respond": command.responder(respond)}
        sender = amp.AMP()
        receiver = type("Receiver", (amp.AMP,), responder)()
        for each in (sender, receiver):
            each.makeConnection(Transport())
        arguments = EXAMPLES[name][0]
        outcome: list[Any] = []
        d = sender.callRemote(command, **arguments)
        if d is not None:
            d.addBoth(outcome.append)
        if "socket" in arguments:
            receiver.fileDescriptorReceived(arguments["socket"])
        self.deliver(sender, receiver)
        answered = receiver.transport.value() != b""
        self.deliver(receiver, sender)
        self.assertFalse(receiver.transport.disconnecting)
        return received, outcome, answered

    def test_all(self) -> None:
        """There is an example of each command."""
        found = {
            name
            for name, each in inspect.getmembers(commands, inspect.isclass)
            if issubclass(each, amp.Command) and not name.startswith("_")
        }
        self.assertEqual(found, set(EXAMPLES))

    def test_roundTrip(self) -> None:
        """Arguments and answers arrive as they were sent."""
        for name, (arguments, answer) in EXAMPLES.items():
            received, outcome, answered = self.ask(name, answer or {})
            self.assertEqual(received, arguments, name)
            self.assertEqual(answered, answer is not None)
            self.assertEqual(outcome, [] if answer is None else [answer])

    def test_fault(self) -> None:
        """A responder's fault arrives with its text, however long that is."""
        for name, (_, answer) in EXAMPLES.items():
            if answer is not None:
                _, [failure], _ = self.ask(name, WorkerFault(clip(LONG * 2)))
                self.assertIsInstance(failure.value, WorkerFault)
                self.assertTrue(str(failure.value) == clip(LONG * 2))


class ClipTests(SynchronousTestCase):
    """L{clip}"""

    def test_clip(self) -> None:
        """What is too long is cut, and the cut is marked."""
        for text, limit, expected in [
            ("", 5, ""),
            ("12345", 5, "12345"),
            ("123456", 5, "1234…"),
        ]:
            self.assertEqual(clip(text, limit), expected)
        self.assertLess(len(clip(LONG * 2).encode()), 65536)
