"""Inputs that the server has fetched from where they were referred to."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterFile,
    QgsProcessingParameterGeometry,
    QgsProcessingParameterMatrix,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterPoint,
    QgsRasterLayer,
)

from qgswps.model import (
    FileValue,
    Format,
    Input,
    LiteralValue,
    OutputRequest,
    ReferenceValue,
)
from qgswps.worker import formats, parameters
from qgswps.worker.parameters import base
from tests.worker.qgisside.formats import ELEVATION, packed
from tests.worker.qgisside.support import GEOJSON, JobCase, features, literal

COLLECTION = (
    '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties":'
    ' {"a": 1}, "geometry": {"type": "Point", "coordinates": [7, 47]}}]}'
)
TABLE = "WKT,a\nPOINT(7 47),1\n"


class FetchedCase(JobCase):
    """A case with files that were fetched."""

    def fetched(
        self, content: bytes | str, said: str = "", mimeType: str = ""
    ) -> ReferenceValue:
        """
        A reference whose data is there.

        @param said: the media type that the client has said.
        @param mimeType: that which came with the data.
        """
        path = Path(self.directory, "fetched", "@0")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        file = FileValue("fetched/@0", Format(said or mimeType))
        return ReferenceValue("http://h/x", Format(said), file=file)

    def place(self, value: ReferenceValue) -> list[dict[str, Any]]:
        """The features of a layer that a job takes."""
        result = self.run_(
            "native:centroids",
            Input("INPUT", value),
            outputs=(OutputRequest("OUTPUT", GEOJSON),),
        )
        return features(self.file(result))


class FetchedLayerTests(FetchedCase):
    """Layers by reference."""

    def test_formats(self) -> None:
        """
        What it is is said by the client, by the server that had it, or by the
        data itself.
        """
        rows: list[tuple[bytes | str, str, str]] = [
            (COLLECTION, "application/geo+json", ""),
            (COLLECTION, "application/geo+json", "text/html"),
            (COLLECTION, "", "application/geo+json; charset=utf-8"),
            (COLLECTION, "", "application/json"),
            (COLLECTION, "", "text/plain"),
            (COLLECTION, "", "text/html"),
            (COLLECTION, "", "no media type"),
            (COLLECTION, "", ""),
            (TABLE, "text/csv", "application/octet-stream"),
            (TABLE, "", "text/csv;charset=UTF-8"),
            (packed({"x.geojson": COLLECTION.encode()}), "application/zip", ""),
            (packed({"x.geojson": COLLECTION.encode()}), "", "application/zip"),
            (packed({"x.geojson": COLLECTION.encode()}), "", "binary/octet-stream"),
        ]
        for content, said, mimeType in rows:
            [feature] = self.place(self.fetched(content, said, mimeType))
            found = feature["geometry"]["coordinates"]
            self.assertEqual(found, [7, 47], (said, mimeType))

    def test_wrong(self) -> None:
        """It has to be what it is said to be, and something."""
        for content, said, mimeType in [
            (COLLECTION, "application/gml+xml", ""),
            (COLLECTION, "", "application/gml+xml"),
            (TABLE, "", ""),
            ("", "", ""),
            ("<html/>", "", "text/html"),
        ]:
            result = self.run_(
                "native:centroids",
                Input("INPUT", self.fetched(content, said, mimeType)),
            )
            told = self.fault(result, "InvalidParameterValue", "INPUT")
            self.assertNotIn(self.directory, told)

    def test_raster(self) -> None:
        """A raster in a format whose description has it in base64."""
        for said in ("image/tiff", ""):
            value = self.fetched(Path(ELEVATION).read_bytes(), said, "image/tiff")
            result = self.run_("native:slope", Input("INPUT", value))
            layer = QgsRasterLayer(str(self.file(result)), "x")
            self.assertTrue(layer.isValid())

    def test_notThere(self) -> None:
        """A reference that nobody has fetched, or whose file has gone."""
        value = ReferenceValue("http://h/x", GEOJSON)
        result = self.run_("native:centroids", Input("INPUT", value))
        told = self.fault(result, "InvalidParameterValue", "INPUT")
        self.assertIn("not fetched", told)
        gone = self.fetched(COLLECTION)
        shutil.rmtree(Path(self.directory, "fetched"))
        result = self.run_("native:centroids", Input("INPUT", gone))
        told = self.fault(result, "InvalidParameterValue", "INPUT")
        self.assertIn("no data", told)

    def test_elsewhere(self) -> None:
        """Only files of the job are taken."""
        value = ReferenceValue(
            "http://h/x", GEOJSON, file=FileValue("../../etc/passwd", GEOJSON)
        )
        result = self.run_("native:centroids", Input("INPUT", value))
        self.fault(result, "InvalidParameterValue", "INPUT")

    def test_structure(self) -> None:
        """JSON of a structure."""
        mapping = [{"name": "n", "type": "integer", "expression": "a * 2"}]
        layer = self.fetched(COLLECTION)
        assert layer.file is not None
        path = Path(self.directory, "fetched", "@1")
        path.write_text(json.dumps(mapping))
        value = ReferenceValue(
            "data:,",
            Format(""),
            file=FileValue("fetched/@1", Format("application/json")),
        )
        result = self.run_(
            "native:refactorfields",
            Input("INPUT", layer),
            Input("FIELDS_MAPPING", value),
            outputs=(OutputRequest("OUTPUT", GEOJSON),),
        )
        [feature] = features(self.file(result))
        self.assertEqual(feature["properties"], {"n": 2})

    def test_withLiterals(self) -> None:
        """Other inputs are as ever."""
        result = self.run_(
            "native:buffer",
            Input("INPUT", self.fetched(COLLECTION)),
            literal("DISTANCE", 1),
            outputs=(OutputRequest("OUTPUT", GEOJSON),),
        )
        self.assertEqual(len(features(self.file(result))), 1)


class FetchedParameterTests(FetchedCase):
    """Parameters of other kinds."""

    def setUp(self) -> None:
        super().setUp()
        self.given = self.job()

    def value(self, param: Any, content: bytes | str, said: str = "") -> Any:
        """What QGIS gets."""
        file = self.fetched(content, said).file
        assert file is not None
        return parameters.value(param, [file], self.given)

    def test_places(self) -> None:
        """Points and geometries, in each form."""
        gml = (
            '<gml:Point xmlns:gml="http://www.opengis.net/gml"'
            ' srsName="EPSG:4326"><gml:pos>7 47</gml:pos></gml:Point>'
        )
        for content in (
            '{"type": "Point", "coordinates": [7, 47]}',
            "\ufeffPOINT(7 47)\n",
            gml,
        ):
            for param in (
                QgsProcessingParameterPoint("P", "P"),
                QgsProcessingParameterGeometry("P", "P"),
            ):
                found, sent = (
                    value if isinstance(value, str) else value.asWkt()
                    for value in (
                        self.value(param, content),
                        parameters.value(param, [LiteralValue(content)], self.given),
                    )
                )
                self.assertEqual(found, sent)
                self.assertRegex(found, r"7\D.*47")

    def test_table(self) -> None:
        """A table as CSV."""
        param = QgsProcessingParameterMatrix("P", "P", 1, False, ["low", "high"])
        found = self.value(param, "low,high\n1,2\n", "text/csv")
        self.assertEqual([float(each) for each in found], [1, 2])

    def test_files(self) -> None:
        """A file stays on the disk, however large it is."""
        wanted = QgsProcessingParameterFile("P", "P", extension="las")
        several = QgsProcessingParameterMultipleLayers("P", "P", QgsProcessing.TypeFile)
        with mock.patch.object(base, "content", side_effect=AssertionError):
            for param in (wanted, several):
                path = self.value(param, b"LASF")
                path = path[0] if isinstance(path, list) else path
                self.assertTrue(path.startswith(self.directory))
                source = Path(self.directory, "fetched", "@0")
                self.assertTrue(os.path.samefile(path, source))
            self.assertTrue(self.value(wanted, b"LASF").endswith(".las"))

    def test_archives(self) -> None:
        """A folder, and a file that comes with others."""
        folder = QgsProcessingParameterFile(
            "P", "P", QgsProcessingParameterFile.Behavior.Folder
        )
        content = packed({"a.las": b"LASF", "sub/b.txt": b"b"})
        path = self.value(folder, content, formats.ZIP.mimeType)
        self.assertEqual(Path(path, "sub", "b.txt").read_bytes(), b"b")
        wanted = QgsProcessingParameterFile("P", "P", extension="las")
        path = self.value(wanted, content, formats.ZIP.mimeType)
        self.assertEqual(Path(path).read_bytes(), b"LASF")
        # What was fetched is still there.
        self.assertEqual(Path(self.directory, "fetched", "@0").read_bytes(), content)
