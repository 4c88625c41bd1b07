"""Tests of L{qgswps.forms}.

That a worker refuses what is refused here, and takes what it may take, is in
L{tests.worker.qgisside.parametertypes}.
"""

from __future__ import annotations

import json
import time

from twisted.trial.unittest import SynchronousTestCase

from qgswps import forms
from qgswps.forms import CrsName
from tests import formtexts


class FormsTests(SynchronousTestCase):
    """Which texts may be of a form."""

    def test_fits(self) -> None:
        """What may be of each form."""
        self.assertEqual(set(formtexts.GOOD), set(forms.FORMS))
        for form, texts in formtexts.GOOD.items():
            for text in texts:
                for given in (text, f" {text}\n"):
                    self.assertIsNone(forms.fault(form, given), (form, given))

    def test_unfit(self) -> None:
        """What can't be; what was expected is said."""
        for form, texts in formtexts.BAD.items():
            expected, _ = forms.FORMS[form]
            for text in texts:
                said = forms.fault(form, text) or ""
                self.assertTrue(said.startswith(expected), (form, text, said))

    def test_why(self) -> None:
        """Where more than what was expected can be said, it is."""
        for form, text, why in (
            ("crs", "EPSG:wgs", "codes of EPSG are numbers"),
            ("crs", 'GEOGCS["a",', "']' is missing"),
            ("point", "LINESTRING(0 0, 1 1)", "it is a linestring"),
            ("point", "<a", "it is not XML"),
            ("geometry", "<!DOCTYPE a []><a/>", "document type"),
            ("range", "1,inf", "'inf' is not finite"),
            ("expression", "(1 + 2", "')' is missing"),
            ("expression", "1)", "')' too many"),
        ):
            self.assertIn(why, forms.fault(form, text) or "", text)

    def test_other(self) -> None:
        """Of what is not known, and of long texts, nothing is said."""
        self.assertIsNone(forms.fault("", "anything"))
        self.assertIsNone(forms.fault("poem", "anything"))
        self.assertIsNone(forms.fault("expression", "(" * (forms.LONGEST + 1)))

    def test_crsNames(self) -> None:
        """Authority, code, and whose order of axes."""
        for text, expected in (
            ("epsg:4326", CrsName("EPSG", "4326")),
            ("urn:ogc:def:crs:EPSG::4326", CrsName("EPSG", "4326", True)),
            ("urn:ogc:def:crs:OGC:1.3:CRS84", CrsName("EPSG", "4326")),
            (
                "http://www.opengis.net/def/crs/EPSG/0/25832",
                CrsName("EPSG", "25832", True),
            ),
            ("CRS:84", CrsName("EPSG", "4326")),
            ("ESRI:102003", CrsName("ESRI", "102003")),
            ("+proj=longlat", None),
            ("PROJ:x", None),
            ('WKT:GEOGCS["a"]', None),
        ):
            self.assertEqual(forms.crsName(text), expected, text)

    def test_hostile(self) -> None:
        """No text takes long to look at."""
        begun = time.process_time()
        for unit in (
            *(" ", "(", "[", "'", '"', "\\'", "\\", "/*", "-", "+", ",", "1 "),
            *("a", "a ", "{", "<a>", "POINT ", "SRID=1;", "Z"),
        ):
            many = unit * (60_000 // len(unit))
            for text in (f"a{many}b", f"'{many}", f"POINT{many}(", f"1{many}2 [x"):
                for form in forms.FORMS:
                    forms.fault(form, text)
        self.assertLess(time.process_time() - begun, 20)

    def test_deep(self) -> None:
        """JSON that is nested without end is no geometry."""
        text = '{"type": ' * 5000
        self.assertIsNotNone(forms.fault("geometry", text))
        wide = json.dumps({"type": "Polygon", "coordinates": []})
        self.assertIsNone(forms.fault("geometry", wide))
        for depth, isTaken in ((20, True), (40, False), (10000, False)):
            nested = "GEOMETRYCOLLECTION(" * depth + "POINT(1 2)" + ")" * depth
            if isTaken:
                self.assertEqual(forms.placeText(nested).wkt, nested)
            else:
                with self.assertRaisesRegex(ValueError, "too deeply"):
                    forms.placeText(nested)

    def test_oddTypes(self) -> None:
        """What stands where the type of GeoJSON should may be anything."""
        values: tuple[object, ...] = ([], ["Point"], {}, None, 1, "point", "Topology")
        for value in values:
            for text in (
                json.dumps({"type": value}),
                json.dumps({"Type": "Point", "type": value}),
                json.dumps({"type": "Feature", "geometry": {"type": value}}),
                json.dumps({"type": "FeatureCollection", "features": [value]}),
            ):
                found = forms.fault("geometry", text) or ""
                self.assertIn("it is no geometry", found, text)
