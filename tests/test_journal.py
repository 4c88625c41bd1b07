"""Tests of L{qgswps.journal}."""

from __future__ import annotations

from twisted.logger import ILogObserver, InvalidLogLevelError, LogEvent, LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

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
