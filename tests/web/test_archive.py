"""Tests of L{qgswps.web.archive}."""

from __future__ import annotations

import io
import os
import zipfile

from twisted.trial.unittest import SynchronousTestCase

from qgswps.jobs.spool import Spool
from qgswps.web.archive import Member, members, parts
from tests.fakes import makeTask


class ArchiveTests(SynchronousTestCase):
    """What goes into an archive, and how."""

    def setUp(self) -> None:
        self.spool = Spool(self.mktemp())
        self.directory = self.spool.create("j", makeTask())

    def write(self, path: str, content: bytes = b"x") -> str:
        """Make a file of the job."""
        found = os.path.join(self.directory, path)
        os.makedirs(os.path.dirname(found), exist_ok=True)
        with open(found, "wb") as file:
            file.write(content)
        return found

    def archive(self) -> zipfile.ZipFile:
        """The archive of the job, as it arrives."""
        content = b"".join(parts(self.directory, members(self.spool, "j")))
        archive = zipfile.ZipFile(io.BytesIO(content))
        self.addCleanup(archive.close)
        self.assertIsNone(archive.testzip())
        return archive

    def open(self) -> list[str]:
        """The files of the job that are open."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{name}"))
            except FileNotFoundError:
                continue
        return [each for each in found if each.startswith(self.directory)]

    def test_members(self) -> None:
        """Projects are at the top, beside what they refer to."""
        for path in (
            "b.qgs",
            "a.qgs",
            "outputs/b.tif",
            "outputs/a/c.shp",
            "outputs/d.qgs",
            "inputs/e",
            "tmp/f",
            "log",
            "result.json",
            "QGIS.conf",
        ):
            self.write(path, path.encode())
        archive = self.archive()
        self.assertEqual(
            archive.namelist(),
            [
                *("a.qgs", "b.qgs"),
                *("outputs/a/c.shp", "outputs/b.tif", "outputs/d.qgs"),
                "log.txt",
            ],
        )
        for name in archive.namelist()[:-1]:
            self.assertEqual(archive.read(name), name.encode())
        self.assertEqual(archive.read("log.txt"), b"log")
        self.assertEqual(self.open(), [])

    def test_unfinished(self) -> None:
        """A project that is being written is none yet."""
        for name in ("a.qgs", "a.12.new.qgs"):
            self.write(name)
        self.assertEqual(members(self.spool, "j"), [Member("a.qgs", "a.qgs")])

    def test_links(self) -> None:
        """Links are left out: of files, of folders, of projects and logs."""
        self.write("outputs/a")
        self.write("secret/b")
        for link, target in [
            ("outputs/link", "a"),
            ("outputs/outside", "/etc/passwd"),
            ("outputs/folder", "../secret"),
            ("p.qgs", "outputs/a"),
            ("log", "task.json"),
        ]:
            os.symlink(target, os.path.join(self.directory, link))
        self.assertEqual(self.archive().namelist(), ["outputs/a"])

    def test_linksLater(self) -> None:
        """What has become a link in the meantime is not followed."""
        self.write("outputs/a/b")
        found = members(self.spool, "j")
        os.rename(f"{self.directory}/outputs/a", f"{self.directory}/a")
        os.symlink("../a", f"{self.directory}/outputs/a")
        self.assertRaises(OSError, list, parts(self.directory, found))

    def test_empty(self) -> None:
        """A job that has made nothing has an archive of nothing."""
        self.assertEqual(self.archive().namelist(), [])

    def test_content(self) -> None:
        """Content stays as it is, compressed where there is something to gain."""
        random = os.urandom(700_000)
        for name, content in [
            ("zeros.tif", bytes(700_000)),
            ("random.tif", random),
            ("a.PNG", bytes(700_000)),
            ("empty", b""),
        ]:
            self.write(f"outputs/{name}", content)
        archive = self.archive()
        self.assertEqual(archive.read("outputs/random.tif"), random)
        self.assertEqual(archive.read("outputs/empty"), b"")
        self.assertLess(archive.getinfo("outputs/zeros.tif").compress_size, 7000)
        picture = archive.getinfo("outputs/a.PNG")
        self.assertGreaterEqual(picture.compress_size, 700_000)
        self.assertEqual(picture.compress_type, zipfile.ZIP_DEFLATED)

    def test_streamed(self) -> None:
        """No part holds much more than was read for it."""
        self.write("outputs/a", os.urandom(2_000_000))
        sizes = [len(part) for part in parts(self.directory, members(self.spool, "j"))]
        self.assertGreater(len(sizes), 7)
        self.assertLess(max(sizes), 400_000)

    def test_names(self) -> None:
        """Names are UTF-8, and folders of nobody's system."""
        for name in ("\xe4", "..\\..\\b", os.fsdecode(b"\xff")):
            self.write(f"outputs/{name}")
        self.assertEqual(
            sorted(self.archive().namelist()),
            ["outputs/.._.._b", "outputs/\xe4", "outputs/\ufffd"],
        )

    def test_dates(self) -> None:
        """A time that an archive can't tell is its first one."""
        for moment, year in [(0, 1980), (1_600_000_000, 2020), (9e9, 1980)]:
            os.utime(self.write("outputs/a"), (moment, moment))
            self.assertEqual(self.archive().infolist()[0].date_time[0], year)

    def test_grows(self) -> None:
        """A file that grows meanwhile is cut at what it was."""
        path = self.write("log", b"x" * 300_000)
        making = parts(self.directory, members(self.spool, "j"))
        content = next(making)
        with open(path, "ab") as file:
            file.write(b"y" * 300_000)
        content += b"".join(making)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.assertEqual(archive.read("log.txt"), b"x" * 300_000)

    def test_shrinks(self) -> None:
        """One that shrinks breaks the archive."""
        path = self.write("outputs/a", b"x" * 600_000)
        making = parts(self.directory, members(self.spool, "j"))
        next(making)
        os.truncate(path, 1000)
        self.assertRaises(OSError, list, making)
        self.assertEqual(self.open(), [])

    def test_vanishes(self) -> None:
        """So does one that is gone when its turn comes."""
        found = [Member("a", "outputs/a")]
        self.assertRaises(FileNotFoundError, list, parts(self.directory, found))
        self.spool.remove("j")
        self.assertRaises(FileNotFoundError, members, self.spool, "j")

    def test_closed(self) -> None:
        """Who needs no more of it closes it, and the file with it."""
        self.write("outputs/a", b"x" * 600_000)
        making = parts(self.directory, members(self.spool, "j"))
        next(making)
        self.assertEqual(self.open(), [f"{self.directory}/outputs/a"])
        making.close()
        self.assertEqual(self.open(), [])

    def test_big(self) -> None:
        """A file of more than 4 GiB gets ZIP64, a small one does not."""
        os.truncate(self.write("outputs/a"), 2**32 + 1)
        making = parts(self.directory, members(self.spool, "j"))
        header = next(making)
        making.close()
        self.assertEqual(int.from_bytes(header[28:30], "little"), 20, "no extra field")
        os.truncate(os.path.join(self.directory, "outputs/a"), 1)
        self.assertEqual(self.archive().infolist()[0].extra, b"")
