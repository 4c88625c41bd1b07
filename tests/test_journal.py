"""Tests of L{qgswps.journal}."""

from __future__ import annotations

import io
import json
import sys
from enum import Enum
from typing import Any

from twisted.logger import ILogObserver, InvalidLogLevelError, LogEvent, LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider
from zope.interface.verify import verifyObject

from qgswps import journal
from qgswps.journal import Logger, setLevel


class LevelTests(SynchronousTestCase):
    """The level in force."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        self.log = Logger("here", observer=self.observe)
        # To be undone.
        self.patch(Logger, "threshold", LogLevel.info)

    @provider(ILogObserver)
    def observe(self, event: LogEvent) -> None:
        """Take an event."""
        self.events.append(event)

    def logged(self) -> list[str]:
        """The levels that get through."""
        self.events.clear()
        for level in ("debug", "info", "warn", "error", "critical"):
            getattr(self.log, level)("at {name}", name=level)
        return [event["name"] for event in self.events]

    def test_default(self) -> None:
        """Without a word, all but debug is logged."""
        self.assertEqual(self.logged(), ["info", "warn", "error", "critical"])

    def test_set(self) -> None:
        """The level counts for loggers that are there already."""
        setLevel("error")
        self.assertEqual(self.logged(), ["error", "critical"])
        setLevel("debug")
        self.assertEqual(len(self.logged()), 5)

    def test_attribute(self) -> None:
        """A logger that is a class's attribute keeps to the level too."""
        observe = self.observe

        class Source:
            log = Logger(observer=observe)

        setLevel("warn")
        Source().log.info("no")
        Source().log.warn("yes")
        self.assertEqual([event["log_format"] for event in self.events], ["yes"])
        self.assertTrue(self.events[0]["log_namespace"].endswith("Source"))

    def test_namespace(self) -> None:
        """A module's logger has the module's name."""
        self.assertEqual(Logger().namespace, __name__)

    def test_fields(self) -> None:
        """What is logged keeps its fields."""
        self.log.info("job {job} started", job="j1")
        self.assertEqual(self.events[0]["job"], "j1")
        self.assertEqual(self.events[0]["log_format"], "job {job} started")

    def test_failure(self) -> None:
        """A failure is critical, and always logged."""
        setLevel("critical")
        try:
            raise KeyError("x")
        except KeyError:
            self.log.failure("oh")
        self.assertIs(self.events[0]["log_level"], LogLevel.critical)

    def test_wrong(self) -> None:
        """No other level can be set."""
        self.assertRaises(InvalidLogLevelError, setLevel, "loud")


class Colour(Enum):
    """Something that JSON has no form for."""

    RED = 1


class Mute:
    """Something that has no text."""

    def __str__(self) -> str:
        raise ValueError("mute")


class ObserverCase(SynchronousTestCase):
    """Observers for twistd."""

    def setUp(self) -> None:
        self.patch(Logger, "threshold", LogLevel.debug)
        self.file = io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(self.file, "ascii"))

    def written(self, name: str, *events: LogEvent) -> str:
        """What an observer of that name writes."""
        observe: Any = getattr(journal, name)()
        self.assertTrue(verifyObject(ILogObserver, observe))
        for event in events:
            observe(event)
        return self.file.getvalue().decode()

    def event(self, level: str, format: str, **fields: object) -> LogEvent:
        """An event, as a logger makes it."""
        events: list[LogEvent] = []
        log = Logger("qgswps.here", observer=events.append)  # type: ignore[arg-type]
        log.emit(LogLevel.levelWithName(level), format, **fields)
        return events[0]

    def failure(self) -> LogEvent:
        """The event of an exception."""
        events: list[LogEvent] = []
        log = Logger("qgswps.here", observer=events.append)  # type: ignore[arg-type]
        try:
            raise KeyError("x")
        except KeyError:
            log.failure("oh {what}", what="no")
        return events[0]


class PlainTests(ObserverCase):
    """L{journal.plain}"""

    def test_levels(self) -> None:
        """Each level has its priority, and nothing has a time."""
        levels = ("critical", "error", "warn", "info", "debug")
        written = self.written(
            "plain", *(self.event(level, "job {job}", job="jä") for level in levels)
        )
        self.assertEqual(
            written, "".join(f"<{number}>job jä\n" for number in (2, 3, 4, 6, 7))
        )

    def test_lines(self) -> None:
        """Each line of a text is an entry of its priority."""
        written = self.written("plain", self.event("warn", "a\n\nb"))
        self.assertEqual(written, "<4>a\n<4>b\n")
        lines = self.written("plain", self.failure()).splitlines()[2:]
        self.assertIn("<2>oh no", lines)
        self.assertIn("<2>builtins.KeyError: 'x'", lines)
        self.assertEqual([line for line in lines if line[:3] != "<2>"], [])

    def test_odd(self) -> None:
        """Events of others, and odd bytes of file names, are written too."""
        written = self.written(
            "plain",
            {"log_format": "none", "log_system": "-"},
            {"log_format": "bad", "isError": 1},
            self.event("info", "{name}", name="\udcff"),
        )
        self.assertEqual(written, "<6>none\n<3>bad\n<6>\\udcff\n")


class JSONLinesTests(ObserverCase):
    """L{journal.jsonLines}"""

    def test_event(self) -> None:
        """An event has its fields, as far as JSON has forms for them."""
        event = self.event(
            "info",
            "job {job}: {text}",
            job="j1",
            pid=7,
            seconds=0.5,
            odd=float("nan"),
            none=None,
            colour=Colour.RED,
            text="t",
            mute=Mute(),
        )
        event["log_time"] = 1.25
        line = self.written("jsonLines", event)
        self.assertEqual(line.count("\n"), 1)
        found = json.loads(line)
        mute = found.pop("mute")
        self.assertIn("Mute", mute)
        self.assertEqual(
            found,
            {
                "time": "1970-01-01T00:00:01.250Z",
                "level": "info",
                "namespace": "qgswps.here",
                "text": "job j1: t",
                "job": "j1",
                "pid": 7,
                "seconds": 0.5,
                "odd": "nan",
                "none": None,
                "colour": "Colour.RED",
                "text_": "t",
            },
        )

    def test_failure(self) -> None:
        """A failure has its traceback, in the one line."""
        found = json.loads(self.written("jsonLines", self.failure()))
        self.assertEqual((found["level"], found["text"]), ("critical", "oh no"))
        self.assertIn("KeyError: 'x'", found["traceback"])

    def test_legacy(self) -> None:
        """What Twisted adds for its older logger is left out."""
        event = self.event("info", "a")
        event.update(message=("a",), isError=0, system="-", time=1.0, format="%s")
        found = json.loads(self.written("jsonLines", event))
        self.assertEqual(set(found), {"time", "level", "namespace", "text"})
