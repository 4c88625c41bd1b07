"""Tests of L{qgswps.projects}."""

from __future__ import annotations

import os

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from qgswps import projects
from qgswps.errors import OWSError, failure
from qgswps.model import ProjectSummary
from qgswps.projects import Projects, locate
from tests.fakes import FakeExecutor, FakeReactor, refusal


def summary(title: str) -> ProjectSummary:
    """A project without layers."""
    return ProjectSummary(title, "EPSG:4326", ())


class LocateTests(SynchronousTestCase):
    """What C{MAP} means."""

    def setUp(self) -> None:
        self.base = os.path.realpath(self.mktemp())
        self.root = os.path.join(self.base, "root")
        for path in [
            "root/a.qgs",
            "root/b.qgz",
            "root/both.qgs",
            "root/both.qgz",
            "root/sub/c.qgs",
            "root/data.gpkg",
            "root/folder.qgs/x",
            "root2/d.qgs",
            "secret.qgs",
            "root.qgs",
        ]:
            file = FilePath(self.base).preauthChild(path)
            file.parent().makedirs(ignoreExistingDirectory=True)
            file.setContent(b"")
        for link, target in [
            ("inside.qgs", "sub/c.qgs"),
            ("outside.qgs", "../secret.qgs"),
            ("absolute.qgs", f"{self.base}/secret.qgs"),
            ("out", "../root2"),
            ("nowhere.qgs", "nothing"),
        ]:
            os.symlink(target, os.path.join(self.root, link))

    def test_found(self) -> None:
        """A project is named by its path, with or without its ending."""
        for map, expected in [
            ("a", "a.qgs"),
            ("a.qgs", "a.qgs"),
            ("/a", "a.qgs"),
            ("b", "b.qgz"),
            ("both", "both.qgs"),
            ("both.qgz", "both.qgz"),
            ("sub/c", "sub/c.qgs"),
            ("sub/../a", "a.qgs"),
            ("inside", "sub/c.qgs"),
        ]:
            self.assertEqual(locate(self.root, map), os.path.join(self.root, expected))

    def test_notFound(self) -> None:
        """What is elsewhere is answered like what does not exist."""
        for map in [
            "",
            "/",
            ".",
            "..",
            "nothing",
            "nothing.qgs",
            "data.gpkg",
            "folder",
            "folder.qgs",
            "sub",
            "../secret",
            "../secret.qgs",
            "../root2/d",
            "../root",
            "sub/../../secret",
            f"{self.base}/secret.qgs",
            f"{self.root}/a.qgs",
            "outside",
            "outside.qgs",
            "absolute",
            "out/d",
            "nowhere",
            "a\0",
            "a.qgs\0",
            "x" * 5000,
            "postgresql://host/db?project=p",
        ]:
            error = self.assertRaises(OWSError, locate, self.root, map)
            [fault] = error.faults
            self.assertEqual(
                (fault.code, fault.locator), ("InvalidParameterValue", "MAP")
            )
            self.assertEqual(fault.text, f"there is no project {map!r}")

    def test_noProjects(self) -> None:
        """A server may have no projects at all, and no folder for them."""
        error = self.assertRaises(OWSError, locate, "", "a")
        self.assertIn("no projects", str(error))
        self.assertRaises(OWSError, locate, os.path.join(self.base, "nothing"), "a")


class SummaryTests(SynchronousTestCase):
    """What is in a project."""

    def setUp(self) -> None:
        self.root = os.path.realpath(self.mktemp())
        os.mkdir(self.root)
        self.executor = FakeExecutor()
        self.projects = Projects(FakeReactor(), self.root, self.executor)
        self.save("a", 1)

    def save(self, name: str, time: int, content: bytes = b"") -> None:
        """A project is saved."""
        path = os.path.join(self.root, f"{name}.qgs")
        FilePath(path).setContent(content)
        os.utime(path, (time, time))

    def ask(self, name: str = "a") -> Deferred[ProjectSummary]:
        """Ask for a summary."""
        return Deferred.fromCoroutine(self.projects.summary(name))

    def made(self, title: str, name: str = "a") -> None:
        """A further summary has to be made, and is."""
        asked = len(self.executor.summaries)
        d = self.ask(name)
        self.assertEqual(len(self.executor.summaries), asked + 1)
        path, made = self.executor.summaries[-1]
        self.assertEqual(path, os.path.join(self.root, f"{name}.qgs"))
        self.assertNoResult(d)
        made.callback(summary(title))
        self.assertEqual(self.successResultOf(d), summary(title))

    def known(self, title: str, name: str = "a") -> None:
        """A summary is known."""
        self.assertEqual(self.successResultOf(self.ask(name)), summary(title))

    def test_locate(self) -> None:
        """L{locate}, in a thread."""
        path = os.path.join(self.root, "a.qgs")
        self.assertEqual(self.successResultOf(self.projects.locate("a")), path)

    def test_kept(self) -> None:
        """A summary is made once, whatever the project is called."""
        self.made("first")
        for name in ("a", "a.qgs", "/a"):
            self.known("first", name)
        self.assertEqual(len(self.executor.summaries), 1)

    def test_savedAgain(self) -> None:
        """After the project is saved, it is made anew."""
        self.made("first")
        self.save("a", 2)
        self.made("second")
        self.save("a", 2, b"larger")
        self.made("third")
        self.known("third")

    def test_together(self) -> None:
        """All who ask meanwhile wait for the same summary."""
        asked = [self.ask() for _ in range(5)]
        [(_, made)] = self.executor.summaries
        made.callback(summary("one"))
        for d in asked:
            self.assertEqual(self.successResultOf(d), summary("one"))
        self.known("one")

    def test_failure(self) -> None:
        """All who wait get the error, and the next one a new try."""
        asked = [self.ask() for _ in range(3)]
        [(_, made)] = self.executor.summaries
        made.errback(failure("broken"))
        for d in asked:
            self.assertEqual(str(refusal(self, d)), "broken")
        self.made("mended")

    def test_cancelled(self) -> None:
        """Whoever goes away, the others get theirs."""
        for gone in range(3):
            self.save("a", 10 + gone)
            asked = [self.ask() for _ in range(3)]
            asked[gone].cancel()
            self.failureResultOf(asked.pop(gone), CancelledError)
            self.executor.summaries[-1][1].callback(summary("here"))
            for d in asked:
                self.assertEqual(self.successResultOf(d), summary("here"))

    def test_allCancelled(self) -> None:
        """If all go away, it is kept nevertheless, and a failure forgotten."""
        d = self.ask()
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.executor.summaries[-1][1].callback(summary("kept"))
        self.known("kept")
        self.save("a", 2)
        d = self.ask()
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.executor.summaries[-1][1].errback(failure("broken"))
        self.made("mended")

    def test_manyProjects(self) -> None:
        """The least used of too many is forgotten."""
        self.patch(projects, "_KEPT", 2)
        self.save("b", 1)
        self.save("c", 1)
        self.made("A", "a")
        self.made("B", "b")
        self.known("A", "a")
        self.made("C", "c")
        self.known("A", "a")
        self.made("B again", "b")

    def test_unknown(self) -> None:
        """For what there is not, nobody is asked."""
        refusal(self, self.ask("nothing"))
        self.assertEqual(self.executor.summaries, [])
