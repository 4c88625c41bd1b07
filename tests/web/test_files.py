"""Tests of L{qgswps.web.files}."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError
from qgswps.web.files import contained


class FilesTests(SynchronousTestCase):
    """L{contained}"""

    def setUp(self) -> None:
        self.base = os.path.realpath(self.mktemp())
        self.root = os.path.join(self.base, "outputs")
        os.makedirs(os.path.join(self.root, "sub"))
        os.makedirs(os.path.join(self.base, "outputs2"))
        for path, size in [
            ("outputs/a.tif", 3),
            ("outputs/..b", 1),
            ("outputs/sub/ä.txt", 2),
            ("outputs2/secret", 1),
            ("secret", 1),
        ]:
            with open(os.path.join(self.base, path), "wb") as file:
                file.write(b"x" * size)
        for link, target in [
            ("inside", "sub/ä.txt"),
            ("outside", "../secret"),
            ("absolute", os.path.join(self.base, "secret")),
            ("folder", "../outputs2"),
            ("loop", "loop"),
            ("nowhere", "nothing"),
        ]:
            os.symlink(target, os.path.join(self.root, link))

    def test_contained(self) -> None:
        """What is in there is found under its name."""
        for path, expected in [
            ("a.tif", "a.tif"),
            ("/a.tif", "a.tif"),
            ("..b", "..b"),
            ("sub/ä.txt", "sub/ä.txt"),
            ("sub/../a.tif", "a.tif"),
            ("./a.tif", "a.tif"),
            ("inside", "sub/ä.txt"),
        ]:
            self.assertEqual(
                contained(self.root, path), os.path.join(self.root, expected)
            )

    def test_refused(self) -> None:
        """All else is answered alike, whether it is there or not."""
        for path in [
            "",
            ".",
            "..",
            "sub",
            "nothing",
            "../secret",
            "sub/../../secret",
            "../outputs2/secret",
            os.path.join(self.base, "secret"),
            "//" + os.path.join(self.base, "secret"),
            "outside",
            "absolute",
            "folder/secret",
            "loop",
            "nowhere",
            "a.tif\0",
            "\0",
            "a.tif/x",
            "x" * 5000,
        ]:
            error = self.assertRaises(OWSError, contained, self.root, path)
            self.assertEqual((error.status, error.faults[0].locator), (404, "file"))
            self.assertIn("there is no file", str(error))
            self.assertNotIn(self.base + os.sep, str(error).replace(path, ""))

    def test_rootIsALink(self) -> None:
        """The folder itself may be reached by a link."""
        link = os.path.join(self.base, "link")
        os.symlink("outputs", link)
        self.assertEqual(contained(link, "a.tif"), os.path.join(self.root, "a.tif"))
