"""What is reported of a run."""

from __future__ import annotations

import contextlib
import io
import unittest

from qgis.core import QgsProcessingMultiStepFeedback

from qgswps.worker.feedback import KEPT_ERRORS, Feedback


class FeedbackTests(unittest.TestCase):
    """Progress and texts."""

    def setUp(self) -> None:
        self.now = 0.0
        self.reports: list[tuple[float | None, str]] = []
        self.feedback = Feedback(lambda *r: self.reports.append(r), lambda: self.now)
        self.output = io.StringIO()
        redirection = contextlib.redirect_stdout(self.output)
        redirection.__enter__()
        self.addCleanup(redirection.__exit__, None, None, None)

    def progress(self, *values: float, each: float = 1.0) -> list[float | None]:
        """Report progress, some seconds apart, and say what came out."""
        for value in values:
            self.now += each
            self.feedback.setProgress(value)
        return [percent for percent, _ in self.reports]

    def test_wholePercentsThatGrow(self) -> None:
        """Never backwards, never out of 0 to 100, never not a number."""
        nan, inf = float("nan"), float("inf")
        given = (0.2, 1.5, 1.9, nan, 1.2, 50, 20, inf, -inf, -5, 50.5, 100, 120)
        self.assertEqual(self.progress(*given), [0, 1, 50, 100])

    def test_rate(self) -> None:
        """Not more than ten in a second, but the end is always told."""
        percents = self.progress(*range(1, 101), each=0.01)
        self.assertLessEqual(len(percents), 12)
        self.assertEqual(percents[-1], 100)

    def test_steps(self) -> None:
        """An algorithm of steps starts from 0 again and again."""
        steps = QgsProcessingMultiStepFeedback(2, self.feedback)
        for step in range(2):
            steps.setCurrentStep(step)
            for value in (0, 50, 100):
                self.now += 1
                steps.setProgress(value)
        percents = [percent for percent, _ in self.reports]
        self.assertEqual(percents, [25, 50, 75, 100])

    def test_texts(self) -> None:
        """The progress text is reported; all texts are in the log."""
        self.feedback.setProgressText("reading")
        self.now += 1
        self.feedback.setProgress(3)
        self.feedback.pushInfo("info")
        self.feedback.pushWarning("warning")
        self.feedback.reportError("error")
        self.feedback.pushCommandInfo("command")
        self.assertEqual(self.reports, [(None, "reading"), (3, "reading")])
        log = self.output.getvalue()
        for text in ("reading", "info", "WARNING: warning", "ERROR: error", "command"):
            self.assertIn(f"{text}\n", log)

    def test_errorsAreBounded(self) -> None:
        """An algorithm that complains of each feature fills no memory."""
        for number in range(1000):
            self.feedback.reportError(f"error {number}")
        self.assertEqual(len(self.feedback.errors), KEPT_ERRORS)
        self.assertEqual(self.feedback.errors[-1], "error 999")
