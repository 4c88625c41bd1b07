"""Tests of L{qgswps.projects}."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from qgswps import projects
from qgswps.errors import OWSError, busy, failure, invalid
from qgswps.kinds import ProjectDatabase, ProjectFolder, ProjectPlace
from qgswps.model import LayerSummary, ProjectSummary
from qgswps.projects import Projects, locate
from tests.fakes import FakeExecutor, FakeReactor, refusal

URI = "postgresql://tester:pass%20word@h/?dbname=d&schema=s"

GOOD = LayerSummary("good", "Good", "line")
BAD = LayerSummary("bad", "Bad", "line", valid=False)


class Recorder:
    """A log that keeps its lines."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def _note(self, format: str, **fields: Any) -> None:
        self._lines.append(format.format(**fields))

    info = warn = _note


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
            self.assertEqual(
                locate(self.root, map, {}), os.path.join(self.root, expected)
            )

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
            "postgresql://?service=s&schema=x&project=p",
            "foo:a",
            "file:///etc/passwd",
        ]:
            error = self.assertRaises(OWSError, locate, self.root, map, {})
            [fault] = error.faults
            self.assertEqual(
                (fault.code, fault.locator), ("InvalidParameterValue", "MAP")
            )
            self.assertEqual(fault.text, f"there is no project {map!r}")

    def test_noProjects(self) -> None:
        """A server may have no projects at all, and no folder for them."""
        error = self.assertRaises(OWSError, locate, "", "a", {})
        self.assertIn("no projects", str(error))
        root = os.path.join(self.base, "nothing")
        self.assertRaises(OWSError, locate, root, "a", {})


class SchemeTests(SynchronousTestCase):
    """Further places with projects."""

    uri = "postgresql://u:secret@h/?dbname=d&schema=s"

    def setUp(self) -> None:
        self.base = os.path.realpath(self.mktemp())
        for path in ["root/a.qgs", "more/b.qgz", "more/sub/c.qgs", "d.qgs"]:
            file = FilePath(self.base).preauthChild(path)
            file.parent().makedirs(ignoreExistingDirectory=True)
            file.setContent(b"")
        os.symlink("../d.qgs", os.path.join(self.base, "more", "out.qgs"))
        self.schemes: dict[str, ProjectPlace] = {
            "more": ProjectFolder(os.path.join(self.base, "more")),
            "gis": ProjectDatabase(self.uri),
        }

    def locate(self, map: str, root: str = "root") -> str:
        """L{locate}, with these places."""
        return locate(root and os.path.join(self.base, root), map, self.schemes)

    def refused(self, map: str, root: str = "root") -> None:
        """There is no such project."""
        error = self.assertRaises(OWSError, self.locate, map, root)
        self.assertEqual(error.faults[0].locator, "MAP")
        self.assertEqual(str(error), f"there is no project {map!r}")

    def test_folder(self) -> None:
        """A folder is one like the root, and as closed."""
        for map, path in [
            ("a", "root/a.qgs"),
            ("more:b", "more/b.qgz"),
            ("more:sub/c.qgs", "more/sub/c.qgs"),
            ("more:/b", "more/b.qgz"),
        ]:
            self.assertEqual(self.locate(map), os.path.join(self.base, path))
        self.assertEqual(self.locate("more:b", ""), f"{self.base}/more/b.qgz")
        for map in [
            "b",
            "more:",
            "more:a",
            "More:b",
            "more:../d",
            "more:../root/a",
            "more:out",
            f"more:{self.base}/d.qgs",
            "more:more:b",
            "more:b\0",
        ]:
            self.refused(map)
        self.refused("a", "")

    def test_database(self) -> None:
        """What a client says is no more than the name of a project."""
        for name in [
            "one",
            "a b",
            "é€",
            "a&schema=public",
            "a&project=b",
            "a?b=c",
            "a#b",
            "a=b",
            "a+b",
            "../a",
            "a;drop",
            "a'b\"c",
            "gis:x",
        ]:
            uri = self.locate(f"gis:{name}")
            self.assertTrue(uri.startswith(f"{self.uri}&project="))
            self.assertTrue(uri.isascii())
            parts = urlsplit(uri)
            self.assertEqual((parts.fragment, parts.hostname), ("", "h"))
            self.assertEqual(
                parse_qsl(parts.query.replace("+", "%2B"), strict_parsing=True),
                [("dbname", "d"), ("schema", "s"), ("project", name)],
            )

    def test_noDatabaseProject(self) -> None:
        """Names that QGIS can't have are none."""
        for name in ["", "a\0", "a\nb", "a\x7f", "\udc80"]:
            self.refused(f"gis:{name}")

    def test_percent(self) -> None:
        """A percent sign can't escape anything."""
        uri = self.locate("gis:a%26schema=b")
        self.assertTrue(uri.endswith("&project=a%2526schema%3Db"))


class SummaryTestCase(SynchronousTestCase):
    """
    Projects, and an executor that makes the summaries that a test says.

    @ivar strict: refuse projects with layers that can't be opened.
    """

    strict = True

    def setUp(self) -> None:
        self.root = os.path.realpath(self.mktemp())
        os.mkdir(self.root)
        self.executor = FakeExecutor()
        self.reactor = FakeReactor()
        schemes = {"gis": ProjectDatabase(URI)}
        self.projects = Projects(
            self.reactor, self.root, self.executor, schemes, self.strict
        )
        self.save("a.qgs", 1)

    def save(self, name: str, time: int, content: bytes = b"") -> str:
        """
        A file is written.

        @return: its path.
        """
        path = os.path.join(self.root, name)
        FilePath(path).setContent(content)
        os.utime(path, (time, time))
        return path

    def settle(self) -> None:
        """What was written long ago is not what was written just now."""
        self.patch(projects, "_LAG", -(10**12))

    def ask(self, map: str = "a") -> Deferred[ProjectSummary]:
        """Ask for a summary."""
        return Deferred.fromCoroutine(self.projects.summary(map))

    def make(self, result: ProjectSummary | OWSError | None) -> None:
        """The summary that was asked for last is made."""
        _, made = self.executor.summaries[-1]
        if isinstance(result, OWSError):
            made.errback(result)
        else:
            made.callback(result)

    def made(
        self, title: str, map: str = "a", place: str = "", **facts: Any
    ) -> Deferred[ProjectSummary]:
        """
        A further summary has to be made, and is.

        @param place: the project that is looked into.
        @param facts: what else is in the summary.
        @return: what became of it.
        """
        asked = len(self.executor.summaries)
        d = self.ask(map)
        self.assertEqual(len(self.executor.summaries), asked + 1)
        path, _ = self.executor.summaries[-1]
        self.assertEqual(path, place or os.path.join(self.root, f"{map}.qgs"))
        self.assertNoResult(d)
        made = attrs.evolve(summary(title), **facts)
        self.make(made)
        if all(layer.valid for layer in made.layers) or not self.strict:
            self.assertEqual(self.successResultOf(d), made)
        return d

    def known(self, title: str, map: str = "a") -> None:
        """A summary is known."""
        asked = len(self.executor.summaries)
        self.assertEqual(self.successResultOf(self.ask(map)).title, title)
        self.assertEqual(len(self.executor.summaries), asked)


class FileSummaryTests(SummaryTestCase):
    """What is in a project that is a file."""

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
        self.save("a.qgs", 2)
        self.made("second")
        self.save("a.qgs", 2, b"larger")
        self.made("third")
        self.known("third")

    def test_savedMeanwhile(self) -> None:
        """One that is saved while it is looked into is looked into again."""
        d = self.ask()
        self.save("a.qgs", 2)
        self.make(summary("old"))
        self.assertEqual(self.successResultOf(d), summary("old"))
        self.made("new")
        self.known("new")

    def test_together(self) -> None:
        """All who ask meanwhile wait, and the same summary is theirs."""
        asked = [self.ask() for _ in range(50)]
        self.assertEqual(len(self.executor.summaries), 1)
        self.make(summary("one"))
        for d in asked:
            self.assertEqual(self.successResultOf(d), summary("one"))
        self.assertEqual(len(self.executor.summaries), 1)

    def test_savedWhileOthersWait(self) -> None:
        """Who asks after the project was saved gets it as it is then."""
        before = self.ask()
        self.save("a.qgs", 2)
        after = [self.ask(), self.ask()]
        self.make(summary("old"))
        self.assertEqual(self.successResultOf(before), summary("old"))
        self.assertEqual(len(self.executor.summaries), 2)
        self.make(summary("new"))
        for d in after:
            self.assertEqual(self.successResultOf(d), summary("new"))

    def test_failure(self) -> None:
        """A failure is told, and the next ones get a new try."""
        asked = [self.ask() for _ in range(3)]
        self.make(failure("broken"))
        self.assertEqual(str(refusal(self, asked[0])), "broken")
        self.make(failure("still broken"))
        for d in asked[1:]:
            self.assertEqual(str(refusal(self, d)), "still broken")
        self.made("mended")
        self.save("a.qgs", 2)
        d = self.ask()
        self.make(failure("broken again"))
        refusal(self, d)
        self.made("mended again")

    def test_words(self) -> None:
        """An error does not tell where a project lies."""
        d = self.ask()
        self.make(invalid("MAP", f"{self.root}/a.qgs: no element"))
        error = refusal(self, d)
        self.assertEqual((error.status, str(error)), (400, "a: no element"))
        self.assertEqual(error.faults[0].locator, "MAP")

    def test_cancelled(self) -> None:
        """Whoever goes away, the others get theirs."""
        for gone in range(3):
            self.save("a.qgs", 10 + gone)
            asked = [self.ask() for _ in range(3)]
            asked[gone].cancel()
            self.failureResultOf(asked.pop(gone), CancelledError)
            self.make(summary("here"))
            for d in asked:
                self.assertEqual(self.successResultOf(d), summary("here"))

    def test_allCancelled(self) -> None:
        """If all go away, it is kept nevertheless, and a failure forgotten."""
        d = self.ask()
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.make(summary("kept"))
        self.known("kept")
        self.save("a.qgs", 2)
        d = self.ask()
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.make(failure("broken"))
        self.made("mended")

    def test_manyProjects(self) -> None:
        """The least used of too many is forgotten."""
        self.patch(projects, "_KEPT", 2)
        self.save("b.qgs", 1)
        self.save("c.qgs", 1)
        self.made("A", "a")
        self.made("B", "b")
        self.known("A", "a")
        self.made("C", "c")
        self.known("A", "a")
        self.made("B again", "b")

    def test_manyBroken(self) -> None:
        """Those that can't be read take no place."""
        self.patch(projects, "_KEPT", 2)
        self.made("A", "a")
        for name in "bcd":
            self.save(f"{name}.qgs", 1)
            d = self.ask(name)
            self.make(failure("broken"))
            refusal(self, d)
        self.known("A", "a")

    def test_unknown(self) -> None:
        """For what there is not, nobody is asked."""
        refusal(self, self.ask("nothing"))
        self.assertEqual(self.executor.summaries, [])


class LayerFileTests(SummaryTestCase):
    """The files that layers are in."""

    def setUp(self) -> None:
        super().setUp()
        self.settle()
        self.data = self.save("data.gpkg", 1)

    def test_changed(self) -> None:
        """A file that changes, goes or comes back makes a new summary."""
        missing = os.path.join(self.root, "missing.gpkg")
        files = (self.data, missing, os.path.join(self.root, "a.qgs"))
        self.made("first", files=files)
        self.known("first")
        self.save("data.gpkg", 2)
        self.made("changed", files=files)
        self.known("changed")
        os.unlink(self.data)
        self.made("gone", files=files)
        self.known("gone")
        self.save("data.gpkg", 2)
        self.made("back", files=files)
        self.known("back")
        self.save("missing.gpkg", 1)
        self.made("more", files=files)
        self.known("more")
        self.save("a.qgs", 9)
        self.made("without", files=())
        self.save("data.gpkg", 3)
        self.known("without")

    def test_changedMeanwhile(self) -> None:
        """
        A file that was perhaps changed while the layers were opened does not
        count as seen, whatever its time says.
        """
        self.patch(projects, "_LAG", 10**9)
        d = self.ask()
        self.save("data.gpkg", 5)
        self.make(attrs.evolve(summary("early"), files=(self.data,)))
        self.assertEqual(self.successResultOf(d).title, "early")
        self.made("late", files=(self.data,))
        # Nothing is there where its folder would be.
        missing = os.path.join(self.root, "sub", "missing.gpkg")
        self.settle()
        self.save("a.qgs", 2)
        self.made("settled", files=(self.data, missing))
        self.known("settled")

    def test_goneMeanwhile(self) -> None:
        """A file that went while the layers were opened was perhaps seen."""
        self.patch(projects, "_LAG", 10**9)
        d = self.ask()
        os.unlink(self.data)
        self.make(attrs.evolve(summary("with"), files=(self.data,)))
        self.successResultOf(d)
        self.settle()
        self.made("without", files=(self.data,))
        self.known("without")


class StrictTests(SummaryTestCase):
    """Layers that can't be opened, where they must not be."""

    def test_refused(self) -> None:
        """The project is refused, with their names, until something changes."""
        layers = (GOOD, attrs.evolve(BAD, name="B 1"), attrs.evolve(BAD, name=""))
        expected = "the project 'a' has layers that can't be opened: 'B 1', 'bad'"
        d = self.made("first", layers=layers)
        for _ in range(3):
            error = refusal(self, d)
            self.assertEqual((error.status, str(error)), (422, expected))
            [fault] = error.faults
            self.assertEqual(
                (fault.code, fault.locator), ("InvalidParameterValue", "MAP")
            )
            d = self.ask()
        refusal(self, d)
        self.assertEqual(len(self.executor.summaries), 1)
        self.save("a.qgs", 2)
        self.made("mended", layers=(GOOD,))

    def test_many(self) -> None:
        """Of very many only the first are named."""
        layers = tuple(attrs.evolve(BAD, name=str(n)) for n in range(100, 130))
        text = str(refusal(self, self.made("bad", layers=layers)))
        self.assertIn("'119' and 10 more", text)
        self.assertNotIn("120", text)

    def test_again(self) -> None:
        """After a while they are tried again: not all that changes is a file."""
        refusal(self, self.made("bad", layers=(BAD,)))
        self.reactor.advance(9)
        refusal(self, self.ask())
        self.reactor.advance(1)
        refusal(self, self.made("still bad", layers=(BAD,)))
        self.reactor.advance(10)
        self.made("good", layers=(GOOD,))
        self.reactor.advance(1000)
        self.known("good")


class LenientTests(SummaryTestCase):
    """Layers that can't be opened, where they may be."""

    strict = False

    def test_taken(self) -> None:
        """The project is taken, and the files of its layers are their affair."""
        data = self.save("data.gpkg", 1)
        self.settle()
        self.made("first", layers=(GOOD, BAD), files=(data,))
        self.save("data.gpkg", 2)
        self.known("first")
        self.reactor.advance(10)
        self.made("second", layers=(GOOD, BAD))


class DatabaseTests(SummaryTestCase):
    """Projects in PostgreSQL."""

    place = f"{URI}&project=one"

    def makeFirst(self, **facts: Any) -> None:
        """There is a summary."""
        self.made("first", "gis:one", self.place, modified="1", **facts)
        self.assertEqual(self.executor.known, [""])

    def test_unchanged(self) -> None:
        """Each time it is asked whether the project was saved."""
        self.makeFirst()
        for n in range(2, 4):
            d = self.ask("gis:one")
            self.assertEqual(len(self.executor.summaries), n)
            self.make(None)
            self.assertEqual(self.successResultOf(d).title, "first")
        self.made("second", "gis:one", self.place, modified="2")
        self.ask("gis:one")
        self.assertEqual(self.executor.known, ["", "1", "1", "1", "2"])

    def test_together(self) -> None:
        """Of many who ask, one has it made, and one asks for the others."""
        asked = [self.ask("gis:one") for _ in range(50)]
        self.make(attrs.evolve(summary("one"), modified="1"))
        self.successResultOf(asked[0])
        self.assertNoResult(asked[1])
        self.make(None)
        for d in asked[1:]:
            self.assertEqual(self.successResultOf(d).title, "one")
        self.assertEqual(self.executor.known, ["", "1"])

    def test_files(self) -> None:
        """Its layers may be in files."""
        self.settle()
        data = self.save("data.gpkg", 1)
        self.makeFirst(files=(data,))
        self.save("data.gpkg", 2)
        self.ask("gis:one")
        self.assertEqual(self.executor.known, ["", ""])

    def test_invalid(self) -> None:
        """One with layers that can't be opened is not made again either."""
        refusal(self, self.made("bad", "gis:one", self.place, layers=(BAD,)))
        d = self.ask("gis:one")
        self.make(None)
        self.assertEqual(refusal(self, d).status, 422)

    def test_words(self) -> None:
        """Nobody is told where the project is, the log has no password."""
        lines: list[str] = []
        self.patch(projects, "log", Recorder(lines))
        for reason in [
            invalid("MAP", f"{self.place} is damaged"),
            failure("no connection for tester with pass word"),
            failure("no connection for tester with pass%20word"),
        ]:
            d = self.ask("gis:one")
            self.make(reason)
            error = refusal(self, d)
            self.assertEqual(
                str(error), "there is no project 'gis:one', or it can't be opened"
            )
            self.assertEqual(error.status, reason.status)
        self.assertEqual(len(lines), 3)
        self.assertIn("gis:one is damaged", lines[0])
        for line in lines:
            self.assertNotIn("word", line)

    def test_busy(self) -> None:
        """That the server has no time is told as it is."""
        d = self.ask("gis:one")
        self.make(busy("QGIS is starting"))
        error = refusal(self, d)
        self.assertEqual((error.status, str(error)), (503, "QGIS is starting"))
