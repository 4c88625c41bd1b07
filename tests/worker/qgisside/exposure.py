"""The shipped access policy against the algorithms of the QGIS that is here."""

from __future__ import annotations

import re
import unittest

from qgis.core import QgsApplication

from qgswps.model import InputDescription, LiteralType, ProcessDescription
from qgswps.policy import Caller, load
from qgswps.worker import catalogue, compat, parameters

#: Types of parameters by which a client could name what is the server's.
TYPES = {
    "authcfg",
    "databaseschema",
    "databasetable",
    "file",
    "folder",
    "providerconnection",
}

#: What the names of algorithms and parameters tell of what they reach.
WORDS = re.compile(
    "sql|database|postgis|spatialite|connection|http|url|download|upload|geocod|wfs"
    "|wms|python|script|command|shell|import|device|folder|director|template|encod"
    "|truncate|overwrite|inplace|in_place|_over|metadata|bookmark|extra$|options$"
    "|_opt$|_lco$|_dsco$",
    re.IGNORECASE,
)

#: Providers of QGIS itself.
PROVIDERS = {"native", "qgis", "gdal", "3d", "pdal", "grass", "grass7"}

_FILE = "reads one file, which the client sends"
_FIELD = "text for a field or a title"
_OWN = "about results of the job's own"

#: Why it does no harm, for patterns of C{algorithm} or C{algorithm/PARAMETER}.
HARMLESS = {
    r"gdal:colorrelief/COLOR_TABLE": _FILE,
    r"gdal:gdal2tiles/URL": "text for the viewer's page",
    r"grass7?:[^/]*/(config|file|filter|infile|input|metfile|outfile|parameters|path"
    r"|points|rules|seed|signature|signaturefile|topidxstats|weight)": _FILE,
    r"native:(b3dmtogltf|gltftovector)/INPUT": _FILE,
    r"native:convertgp(sdata|xfeaturetype)/INPUT": _FILE,
    r"native:shpencodinginfo(/INPUT)?": _FILE,
    r"native:dxfexport/ENCODING": "how to write the result",
    r"native:(savefeatures|createvectortiles)/(DATASOURCE|LAYER)_OPTIONS": (
        "how a driver of GDAL is to write the result"
    ),
    r"[^:]*:[^/]*/(CREATE|CREATION)_OPTIONS": (
        "how a driver of GDAL is to write the result; gdal's own are denied"
    ),
    r"(native|qgis):[^/]*/OVERWRITE": _OWN,
    r"native:printlayout[^/]*/INCLUDE_METADATA": _OWN,
    r"native:atlaslayout[^/]*/INCLUDE_METADATA": _OWN,
    r"native:package/(SAVE_METADATA|OVERWRITE)": _OWN,
    r"gdal:gdalinfo/NO_METADATA": _OWN,
    r"gdal:ogrinfo(json)?/NO_METADATA": _OWN,
    r"native:writevectortiles_[^/]*/META_.*": _OWN,
    r"native:bookmarkstolayer": "reads bookmarks, of which a server has none",
    r"native:pointstopath/ORDER_.*": _FIELD,
    r"grass7?:v\.in\.(ascii|dxf|e00|geonames|lidar|lines|mapgen)": _FILE,
    r"grass7?:v\.distance/upload": "which values to add to the result",
    r"(native|qgis):tilesxyzdirectory": "writes into a folder of the job's own",
    r"grass7?:v\.db\.select": "selects from the copy that the job has made",
}


def wholeOf(algorithm: object) -> ProcessDescription:
    """
    An algorithm with all of its parameters, also those that the worker does
    not know how to fill yet.
    """
    inputs = []
    for param in algorithm.parameterDefinitions():  # type: ignore[attr-defined]
        if param.isDestination() or parameters.isHidden(param):
            continue
        optional = (
            compat.isSet(param.flags(), compat.PARAMETER_OPTIONAL)
            or parameters.default(param) is not None
        )
        inputs.append(
            InputDescription(
                param.name(),
                param.type(),
                LiteralType(),
                minOccurs=0 if optional else 1,
            )
        )
    identifier = algorithm.id()  # type: ignore[attr-defined]
    return ProcessDescription(identifier, identifier, inputs=tuple(inputs))


class ShippedPolicyTests(unittest.TestCase):
    """What the shipped policy leaves open is known to do no harm."""

    processes: dict[str, ProcessDescription]
    exposed: dict[str, ProcessDescription]

    @classmethod
    def setUpClass(cls) -> None:
        cls.processes = {
            algorithm.id(): wholeOf(algorithm)
            for algorithm in QgsApplication.processingRegistry().algorithms()
            if algorithm.provider().id() in PROVIDERS
            and catalogue.isPublished(algorithm)
        }
        policy = load("default")
        cls.exposed = dict(policy.exposed(cls.processes, policy.applying(Caller())))

    def suspects(self, processes: dict[str, ProcessDescription]) -> set[str]:
        """What looks as if it could reach what is the server's."""
        found = set()
        for identifier, process in processes.items():
            if WORDS.search(identifier.partition(":")[2]):
                found.add(identifier)
            for each in process.inputs:
                if each.title in TYPES or WORDS.search(each.identifier):
                    found.add(f"{identifier}/{each.identifier}")
        return found

    def test_nothingElse(self) -> None:
        """Each suspect is denied, or said above to do no harm."""
        unknown = {
            suspect
            for suspect in self.suspects(self.exposed)
            if not any(re.fullmatch(pattern, suspect) for pattern in HARMLESS)
        }
        self.assertEqual(sorted(unknown), [])

    def test_suspectsAreFound(self) -> None:
        """The search finds what the policy is for."""
        found = self.suspects(self.processes)
        for name in (
            "native:filedownloader",
            "native:postgisexecutesql/DATABASE",
            "native:importphotos/FOLDER",
            "qgis:executesql",
            "gdal:warpreproject/EXTRA",
            "gdal:colorrelief/COLOR_TABLE",
        ):
            self.assertIn(name, found)

    def test_denied(self) -> None:
        """Some of it by name; most of QGIS is left."""
        for identifier in (
            "native:filedownloader",
            "native:batchnominatimgeocoder",
            "native:postgisexecutesql",
            "native:spatialiteexecutesql",
            "native:truncatetable",
            "native:importphotos",
            "gdal:executesql",
            "gdal:rastercalculator",
            "gdal:rasterize_over",
            "gdal:importvectorintopostgisdatabasenewconnection",
            "qgis:executesql",
            "qgis:advancedpythonfieldcalculator",
        ):
            self.assertIn(identifier, self.processes)
            self.assertNotIn(identifier, self.exposed)
        self.assertGreater(len(self.exposed), len(self.processes) - 50)

    def test_inputs(self) -> None:
        """No input that is a command line is left, and nothing else goes."""
        for identifier, process in self.exposed.items():
            before = {each.identifier for each in self.processes[identifier].inputs}
            left = {each.identifier for each in process.inputs}
            if identifier.startswith("gdal:"):
                self.assertFalse(left & {"EXTRA", "OPTIONS", "GEOMETRY"}, identifier)
            gone = before - left
            if not identifier.startswith(("gdal:", "grass")):
                self.assertLessEqual(len(gone), 1, identifier)
        translate = self.exposed["gdal:translate"]
        self.assertIsNotNone(translate.input("NODATA"))
        self.assertIsNone(translate.input("EXTRA"))
