"""Tests of L{qgswps.jobs.spool}."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from qgswps import codec, jobfiles
from qgswps.jobs import spool
from qgswps.model import FileValue, Format, Result
from tests.fakes import makeTask


class SpoolTests(SynchronousTestCase):
    """L{spool.Spool}"""

    def setUp(self) -> None:
        self.spool = spool.Spool(self.mktemp())

    def path(self, *names: str) -> str:
        """A path in the directory of the job C{j}."""
        return os.path.join(self.spool.directory("j"), *names)

    def test_create(self) -> None:
        """A new job has its task and its folders."""
        task = makeTask(map="France")
        self.assertEqual(self.spool.create("j", task), self.path())
        self.assertTrue(os.path.isabs(self.path()))
        self.assertEqual(
            sorted(os.listdir(self.path())), [jobfiles.OUTPUTS, jobfiles.TASK]
        )
        self.assertEqual(self.spool.task("j"), task)
        self.assertEqual(self.spool.jobIds(), ["j"])
        self.assertEqual(os.stat(self.path()).st_mode & 0o007, 0, "others may look")
        mode = os.stat(self.path(jobfiles.TASK)).st_mode
        self.assertEqual(mode & 0o077, 0, "a password may be read")

    def test_createTwice(self) -> None:
        """A directory that is there is left as it is."""
        self.spool.create("j", makeTask(map="first"))
        self.assertRaises(FileExistsError, self.spool.create, "j", makeTask())
        self.assertEqual(self.spool.task("j").request.map, "first")

    def test_createFails(self) -> None:
        """If a job can't be made, nothing of it is left."""

        def full(path: str, value: object, mode: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(codec, "write", full)
        self.assertRaises(OSError, self.spool.create, "j", makeTask())
        self.assertEqual(self.spool.jobIds(), [])

    def test_result(self) -> None:
        """The result and the files that it names can be read."""
        self.spool.create("j", makeTask())
        result = Result({"OUT": FileValue("outputs/a.txt", Format("text/plain"))})
        codec.write(self.path(jobfiles.RESULT), result)
        with open(self.path("outputs", "a.txt"), "wb") as file:
            file.write(b"\0data")
        self.assertEqual(self.spool.result("j"), result)
        self.assertEqual(self.spool.read("j", "outputs/a.txt"), b"\0data")

    def test_lastLines(self) -> None:
        """The last lines that say something, cut to a length that can be told."""
        self.spool.create("j", makeTask())
        self.assertEqual(self.spool.lastLines("j"), [], "no log yet")
        for text, lines in [
            (b"", []),
            (b"one\n\n  \ntwo", ["one", "two"]),
            (b"".join(b"%d\n" % n for n in range(9000)), ["8997", "8998", "8999"]),
            (b"\xff\n" + b"x" * 9000, ["x" * 500]),
        ]:
            with open(self.path(jobfiles.LOG), "wb") as file:
                file.write(text)
            self.assertEqual(self.spool.lastLines("j", 3), lines)

    def test_remove(self) -> None:
        """What a run needed goes first, then all; neither needs to be there."""
        self.spool.create("j", makeTask())
        os.makedirs(self.path(jobfiles.TEMPORARY, "deep"))
        for _ in range(2):
            self.spool.tidy("j")
            self.assertNotIn(jobfiles.TEMPORARY, os.listdir(self.path()))
        for _ in range(2):
            self.spool.remove("j")
            self.assertEqual(self.spool.jobIds(), [])

    def test_crash(self) -> None:
        """Where a crash happened is not for clients."""
        self.spool.create("j", makeTask())
        with open(self.path(jobfiles.LOG), "w") as file:
            file.write('a\nFatal Python error: Aborted\n\n  File "/x.py", line 1\n')
        self.assertEqual(self.spool.lastLines("j"), ["a"])

    def test_noFolder(self) -> None:
        """Without a folder there are no jobs."""
        self.assertEqual(spool.Spool(self.mktemp()).jobIds(), [])

    def test_outputFiles(self) -> None:
        """Outputs are listed with their sizes, links are not."""
        self.assertEqual(self.spool.outputFiles("j"), [])
        self.spool.create("j", makeTask())
        os.mkdir(self.path("outputs", "sub"))
        for name, size in (("a.tif", 3), ("..b", 1), ("sub/ä.txt", 2)):
            with open(self.path("outputs", name), "wb") as file:
                file.write(b"x" * size)
        os.symlink("/etc/passwd", self.path("outputs", "link"))
        expected = [("..b", 1), ("a.tif", 3), ("sub/ä.txt", 2)]
        self.assertEqual(self.spool.outputFiles("j"), expected)

    def test_outputs(self) -> None:
        """Outputs are told with the time of their last change."""
        self.spool.create("j", makeTask())
        with open(self.path("outputs", "a"), "wb") as file:
            file.write(b"123")
        os.utime(self.path("outputs", "a"), (1, 1000.5))
        os.mkfifo(self.path("outputs", "pipe"))
        self.assertEqual(
            self.spool.outputs("j"), [spool.OutputFile("a", 3, modified=1000.5)]
        )

    def test_outputsGo(self) -> None:
        """A file that goes while the others are looked at is not there."""
        self.spool.create("j", makeTask())
        with open(self.path("outputs", "a"), "wb"):
            pass

        def walk(root: str) -> list[tuple[str, list[str], list[str]]]:
            return [(root, [], ["a", "gone"])]

        self.patch(os, "walk", walk)
        self.assertEqual(self.spool.outputFiles("j"), [("a", 0)])

    def test_outputsAreALink(self) -> None:
        """What is elsewhere is none of the job's."""
        self.spool.create("j", makeTask())
        os.rmdir(self.path("outputs"))
        os.symlink("/etc", self.path("outputs"))
        self.assertEqual(self.spool.outputs("j"), [])

    def test_openBelow(self) -> None:
        """A file is opened where it is, not where a link leads."""
        self.spool.create("j", makeTask())
        os.mkdir(self.path("outputs", "sub"))
        with open(self.path("outputs", "sub", "a"), "wb") as file:
            file.write(b"123")
        for link, target in (("link", "a"), ("../folder", "sub"), ("../out", "..")):
            os.symlink(target, self.path("outputs", "sub", link))
        os.mkfifo(self.path("outputs", "pipe"))
        before = len(os.listdir("/proc/self/fd"))
        with spool.openBelow(self.path(), "outputs/sub/a") as opened:
            self.assertEqual(opened.read(), b"123")
        for path in (
            "outputs/sub/link",
            "outputs/folder/a",
            "outputs/out/task.json",
            "outputs/../task.json",
            "outputs/sub",
            "outputs/pipe",
            "outputs/nothing",
            "nothing/a",
            "task.json/a",
        ):
            self.assertRaises(OSError, spool.openBelow, self.path(), path)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_traces(self) -> None:
        """The directory tells how far a run has come."""
        self.spool.create("j", makeTask())
        self.assertFalse(self.spool.hasBegun("j") or self.spool.hasResult("j"))
        with open(self.path(jobfiles.LOG), "w"):
            pass
        self.assertTrue(self.spool.hasBegun("j"))
        codec.write(self.path(jobfiles.RESULT), Result())
        self.assertTrue(self.spool.hasResult("j"))
