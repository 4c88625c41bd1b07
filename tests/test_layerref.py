"""Tests of L{qgswps.layerref}."""

from __future__ import annotations

from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from qgswps.layerref import LayerReference, parse


class ParseTests(SynchronousTestCase):
    """References as text."""

    def test_none(self) -> None:
        """Other texts are no references."""
        for text in ["", "Roads", "layer", "Layer:Roads", " layer:Roads", "a layer:b"]:
            self.assertIsNone(parse(text))

    def test_names(self) -> None:
        """A name may hold anything, if it is encoded."""
        for name in ["Roads", "a b", "a?b&c=d#e", "50%", "a+b", "é", "layer:x", " "]:
            reference = LayerReference(name)
            self.assertEqual(parse("layer:" + quote(name, safe="")), reference)
            self.assertFalse(reference.isSubset)
        self.assertEqual(parse("layer:a b+c:é"), LayerReference("a b+c:é"))

    def test_subsets(self) -> None:
        """Some of the features, by an expression and a rectangle."""
        for text, expected in [
            ("?select=a", LayerReference("x", "a")),
            ("?select=a=1", LayerReference("x", "a=1")),
            ("?select=%22a%22+%3E%201%26", LayerReference("x", '"a"+> 1&')),
            ("?rect=0,1,2,3", LayerReference("x", rect=(0, 1, 2, 3))),
            ("?rect= -1.5, 1 ,2e1,1", LayerReference("x", rect=(-1.5, 1, 20, 1))),
            (
                "?rect=0,1,2,3,EPSG:2154&select=a",
                LayerReference("x", "a", (0, 1, 2, 3), "EPSG:2154"),
            ),
            (
                "?select=a&rect=0%2C1%2C2%2C3%2CEPSG%3A2154",
                LayerReference("x", "a", (0, 1, 2, 3), "EPSG:2154"),
            ),
        ]:
            parsed = parse(f"layer:x{text}")
            self.assertEqual(parsed, expected)
            assert parsed is not None
            self.assertTrue(parsed.isSubset)

    def test_refused(self) -> None:
        """What is wrong is said."""
        for text, said in [
            ("", "needs the name"),
            ("?select=a", "needs the name"),
            ("x?", "not ''"),
            ("x?a", "not 'a'"),
            ("x?Select=a", "not 'Select=a'"),
            ("x?select=a&&rect=0,0,1,1", "not ''"),
            ("x?select=a&select=b", "select= twice"),
            ("x?select=%20", "empty select="),
            ("x?rect=", "empty rect="),
            ("x?rect=1,2,3", "not '1,2,3'"),
            ("x?rect=1,2,3,4,EPSG:1,6", "not '1,2,3,4,EPSG:1,6'"),
            ("x?rect=1,2,a,4", "not '1,2,a,4'"),
            ("x?rect=1,2,1_0,4", "not '1,2,1_0,4'"),
            ("x?rect=1,2,inf,4", "finite"),
            ("x?rect=nan,2,3,4", "finite"),
            ("x?rect=3,2,1,4", "smaller numbers first"),
            ("x?rect=1,4,3,2", "smaller numbers first"),
            ("x?rect=1,2,3,4,4326", "a CRS such as"),
            ("x?rect=1,2,3,4,", "a CRS such as"),
            ("%ff", "not UTF-8"),
            ("x?select=%c3", "not UTF-8"),
        ]:
            error = self.assertRaises(ValueError, parse, f"layer:{text}")
            self.assertIn(said, str(error))
