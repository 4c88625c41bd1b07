"""Tests of L{qgswps.audit}."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from qgswps import audit
from qgswps.audit import ALL, EACH, PERIOD, Audit, network, shown
from qgswps.journal import _jsonLine, _plainLines


class AuditTests(SynchronousTestCase):
    """The lines, and how many there are of them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.audit = Audit(self.clock.seconds)

    def lines(self, *events: tuple[str, str], **details: Any) -> list[str]:
        """What is logged of some events, by their names and clients."""
        with capturedLogs() as captured:
            for event, client in events:
                self.audit.note(event, client=client, request="r1", **details)
        for each in captured:
            self.assertIs(each["log_level"], LogLevel.warn)
        return [formatEvent(each) for each in captured]

    def test_line(self) -> None:
        """Event, client and request come first, then the rest."""
        self.assertEqual(
            self.lines(("no-entry", "::1"), user="a b", status=401, why=None),
            ['security: event=no-entry client=::1 request=r1 user="a b" status=401'],
        )
        with capturedLogs() as captured:
            audit.note("nothing-known")
        self.assertEqual(
            formatEvent(captured[0]),
            "security: event=nothing-known client=- request=-",
        )

    def test_context(self) -> None:
        """Who asks need not be said again, whatever comes between."""
        gate: Deferred[None] = Deferred()

        async def fetch() -> None:
            await gate
            self.audit.note("e")

        async def answer(client: str) -> None:
            audit.speakFor(client, f"id-{client}")
            Deferred.fromCoroutine(fetch())

        for client in ("a", "b"):
            Deferred.fromCoroutine(answer(client))
        with capturedLogs() as captured:
            gate.callback(None)
            self.audit.note("e")
        self.assertEqual(
            [(each["client"], each["request"]) for each in captured],
            [("a", "id-a"), ("b", "id-b"), ("-", "-")],
        )

    def test_escaped(self) -> None:
        """No value ends a line, begins one, or looks like another field."""
        for value, expected in [
            ("a\r\nsecurity: event=x", '"a\\r\\nsecurity: event=x"'),
            ("\x1b[2J\0\x85\u2028", '"\\u001b[2J\\u0000\\u0085\\u2028"'),
            ('a" client=::1', '"a\\" client=::1"'),
            ("{event}", '"{event}"'),
            ("ü", '"\\u00fc"'),
            ("\ud800", '"\\ud800"'),
            ("", '""'),
            ("native:buffer", "native:buffer"),
        ]:
            self.assertEqual(shown(value), expected)
            [line] = self.lines(("e", "-"), value=value)
            self.assertTrue(line.endswith(f" value={expected}"), line)
            self.clock.advance(PERIOD)
        self.assertEqual(len(shown("x" * 10_000)), 208)

    def test_observers(self) -> None:
        """It is one line in both forms, and JSON has the fields apart."""
        with capturedLogs() as captured:
            self.audit.note("e", client="192.0.2.1", request="r\n1", path="/\r\n<0>x")
        [event] = captured
        self.assertEqual(
            _plainLines(event),
            '<4>security: event=e client=192.0.2.1 request="r\\n1"'
            ' path="/\\r\\n<0>x"\n',
        )
        [line] = _jsonLine(event).splitlines()
        found = json.loads(line)
        self.assertEqual(
            {name: found[name] for name in ("level", "event", "client")},
            {"level": "warn", "event": "e", "client": "192.0.2.1"},
        )
        self.assertIn("path", found["details"])

    def test_limited(self) -> None:
        """A flood has few lines, and the next one says how many it had."""
        flood = [("e", "192.0.2.1")] * (EACH + 5)
        self.assertEqual(len(self.lines(*flood)), EACH)
        # Nobody else is in its way, and no other event.
        self.assertEqual(len(self.lines(("e", "192.0.2.2"), ("f", "192.0.2.1"))), 2)
        self.clock.advance(PERIOD)
        [line] = self.lines(("e", "192.0.2.1"))
        self.assertTrue(line.endswith(" omitted=5"), line)
        self.clock.advance(1)
        [line] = self.lines(("e", "192.0.2.1"))
        self.assertNotIn("omitted", line)

    def test_networks(self) -> None:
        """Who has many addresses has no more lines for it."""
        self.assertEqual(network("192.0.2.1"), "192.0.2.1")
        self.assertEqual(network("2001:db8::1"), network("2001:db8::2:3"))
        self.assertNotEqual(network("2001:db8::1"), network("2001:db8:0:1::1"))
        self.assertEqual(network("unix"), "unix")
        self.assertEqual(
            len(self.lines(*(("e", f"2001:db8::{n:x}") for n in range(1, 100)))), EACH
        )

    def test_limitedInAll(self) -> None:
        """Nor have many clients together, and what is counted stays small."""
        clients = [f"10.0.{n // 250}.{n % 250}" for n in range(10 * ALL)]
        self.assertEqual(len(self.lines(*(("e", each) for each in clients))), ALL)
        self.assertLessEqual(len(self.audit._each), audit._KNOWN)
        self.clock.advance(PERIOD)
        [line] = self.lines(("e", "192.0.2.1"))
        self.assertTrue(line.endswith(f" omitted={9 * ALL}"), line)
