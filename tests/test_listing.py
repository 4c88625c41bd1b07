"""Tests of L{qgswps.listing}, with another worker than the real one."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qgswps import codec, listing
from qgswps.config import Processing, Server, Settings
from qgswps.model import (
    BoundingBoxType,
    Catalogue,
    ComplexType,
    Format,
    InputDescription,
    LayerType,
    LiteralType,
    Metadata,
    Omission,
    OutputDescription,
    ProcessDescription,
    ProjectPart,
    Range,
    WorkerSettings,
)

#: Publishes what is beside it, and keeps what it was told.
WORKER = """\
import json, os, shutil, sys
_, mode, path = sys.argv
here = os.path.dirname(__file__)
assert mode == "catalogue"
print("QGIS says something")
with open(path) as file:
    settings = json.load(file)
shutil.copy(path, os.path.join(here, "settings.json"))
shutil.copy(os.path.join(here, "catalogue.json"), settings["catalogue"])
"""

FORMATS = (Format("text/plain"), Format("image/png"))

FULL = ProcessDescription(
    "a:full",
    "All\nthere is",
    version="2",
    abstract="One.\n" + "word " * 20,
    inputs=(
        InputDescription(
            "N",
            "Number",
            LiteralType("integer", "3", ranges=(Range("1", "5"),), uoms=("m", "ft")),
            minOccurs=0,
        ),
        InputDescription("OVER", "Over", LiteralType(ranges=(Range("1"),))),
        InputDescription("UNDER", "Under", LiteralType(ranges=(Range(None, "1"),))),
        InputDescription(
            "WORD", "Word", LiteralType(allowed=("x", "y")), "Which.", 1, 4
        ),
        InputDescription(
            "FIELD", "Field", LiteralType(part=ProjectPart("field", "LAYER"))
        ),
        InputDescription("LAYER", "Layer", LayerType(("point", "line"), FORMATS, "l")),
        InputDescription("ANY", "Any", LayerType((), FORMATS)),
        InputDescription("BOX", "Box", BoundingBoxType(("EPSG:4326",), (0, 1, 2, 3.5))),
    ),
    outputs=(OutputDescription("OUT", "Result", ComplexType(FORMATS)),),
    metadata=(Metadata("processing:group", "g"),),
    keywords=("k", "l"),
)

DESCRIBED = """\
a:full\tAll there is
version 2
processing:group: g
keywords: k, l

One.
word word word word word word word word word word word word word word word word
word word word word

Inputs
  N\tNumber
      integer
      default: 3
      range: 1 to 5
      units: m, ft
      optional
  OVER\tOver
      string
      range: 1 or more
      required
  UNDER\tUnder
      string
      range: 1 or less
      required
  WORD\tWord
      string
      one of: x, y
      required, up to 4 values
      Which.
  FIELD\tField
      string
      names a field of LAYER
      required
  LAYER\tLayer
      layer: point, line
      default: l
      formats: text/plain, image/png
      required
  ANY\tAny
      layer: any
      formats: text/plain, image/png
      required
  BOX\tBox
      rectangle in EPSG:4326
      default: 0, 1, 2, 3.5
      required

Outputs
  OUT\tResult
      data
      formats: text/plain, image/png

not published: a:full HIDDEN: no such type
"""


class ListingTests(SynchronousTestCase):
    """L{listing.processes} and L{listing.description}"""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        package = self.folder / "qgswps"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        self.worker = package / "worker.py"
        self.worker.write_text(WORKER)
        self.told = package / "settings.json"
        self.publish(
            FULL,
            ProcessDescription("b:denied", "Denied"),
            ProcessDescription("a:also", "Also"),
        )
        environment = {"PYTHONPATH": str(self.folder)}
        self.patch(listing, "workerEnvironment", lambda further: environment)
        self.policy = self.folder / "policy.yml"
        self.policy.write_text("deny:\n- pattern: b:*\n  reason: because\n")
        self.settings = self.configured()

    def configured(self, startTimeout: float = 60) -> Settings:
        """Settings."""
        return Settings(
            server=Server(startTimeout=startTimeout),
            processing=Processing(
                providersModulePath=("/x",), accesspolicy=str(self.policy)
            ),
        )

    def publish(self, *processes: ProcessDescription) -> None:
        """What the worker is to find."""
        omitted = (
            Omission("plugin Bad (/b)", "it is\nbad"),
            Omission("a:full HIDDEN", "no such type"),
            Omission("a:gone", "broken"),
        )
        path = self.folder / "qgswps" / "catalogue.json"
        codec.writeCatalogue(str(path), Catalogue(processes, omitted))

    def test_processes(self) -> None:
        """One line each, in order."""
        self.assertEqual(
            list(listing.processes(self.settings)),
            [
                "a:also\tAlso",
                "a:full\tAll there is",
                "",
                "not published: a:full HIDDEN: no such type",
                "not published: a:gone: broken",
                f"not published: b:denied: denied by {self.policy}, line 2: because",
                "not published: plugin Bad (/b): it is bad",
            ],
        )

    def test_told(self) -> None:
        """The worker has the settings, a profile of its own, and all is gone."""
        list(listing.processes(self.settings))
        told = codec.read(str(self.told), WorkerSettings)
        self.assertEqual(told.providersPath, ("/x",))
        self.assertFalse(os.path.exists(os.path.dirname(told.profile)))

    def test_description(self) -> None:
        """All that is known of a process."""
        text = "".join(
            f"{line}\n" for line in listing.description(self.settings, "a:full")
        )
        self.assertEqual(text, DESCRIBED)

    def test_noDescription(self) -> None:
        """What is not published is told with the reason."""
        for identifier, reason in (
            ("a:ful", "there is no process 'a:ful'; did you mean a:full?"),
            ("zzz", "there is no process 'zzz'"),
            ("a:gone", "a:gone is not published: broken"),
            (
                "b:denied",
                f"b:denied is not published: denied by {self.policy}, line 2: because",
            ),
        ):
            error = self.assertRaises(
                SystemExit, list, listing.description(self.settings, identifier)
            )
            self.assertEqual(error.code, f"qgswps: {reason}")

    def test_fails(self) -> None:
        """What QGIS has said is told when it does not start, and only then."""
        stderr = io.StringIO()
        self.patch(sys, "stderr", stderr)
        self.worker.write_text("import sys\nprint('oh')\nsys.exit(3)\n")
        error = self.assertRaises(SystemExit, list, listing.processes(self.settings))
        self.assertEqual(error.code, "qgswps: QGIS ended with status 3")
        self.assertEqual(stderr.getvalue(), "oh\n")

    def test_tooSlow(self) -> None:
        """It is not waited for beyond the time for a start."""
        self.worker.write_text("import time\ntime.sleep(60)\n")
        error = self.assertRaises(
            SystemExit, list, listing.processes(self.configured(0.5))
        )
        self.assertEqual(error.code, "qgswps: QGIS was not ready after 0.5 seconds")
