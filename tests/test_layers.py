"""
The import rule: a module imports only what stands below it.

The rule is read from the sources, so an import inside a function or under
C{if TYPE_CHECKING} counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
from twisted.trial import unittest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "qgswps"
PLUGIN = "twisted.plugins.qgswps_plugin"

_VALUES = frozenset(
    {"errors", "forms", "jobfiles", "jsonschema", "layerref", "model", "codec", "units"}
)
_SEAMS = _VALUES | {
    "interfaces",
    "kinds",
    "config",
    "journal",
    "audit",
    "threads",
    "workdir",
    "landlock",
    "processes",
    "removal",
}
_PARTS = _SEAMS | {
    "ows",
    "projects",
    "policy",
    "credentials",
    "reload",
    "notify",
    "metrics",
    "pool.commands",
    "jobs",
    "pool",
    "references",
}

#: What each layer may import of the others.  A layer is a module or package of
#: qgswps; the AMP vocabulary is one of its own within C{pool}.
LAYERS: dict[str, frozenset[str]] = {
    "audit": frozenset({"journal"}),
    "errors": frozenset(),
    "forms": frozenset({"jsonschema"}),
    "jobfiles": frozenset(),
    "jsonschema": frozenset(),
    "landlock": frozenset(),
    "layerref": frozenset(),
    "model": frozenset({"errors"}),
    "processes": frozenset(),
    "removal": frozenset(),
    "codec": frozenset({"errors", "model"}),
    "interfaces": _VALUES,
    "journal": frozenset({"errors"}),
    "kinds": frozenset({"errors"}),
    "threads": frozenset(),
    "units": frozenset(),
    "workdir": frozenset(),
    "reload": frozenset({"journal", "threads"}),
    "notify": frozenset({"journal"}),
    "metrics": _VALUES | {"interfaces"},
    "config": frozenset({"errors", "journal", "kinds"}),
    "manpage": frozenset({"kinds", "config", "tap"}),
    "configdoc": frozenset({"errors", "kinds", "config", "manpage"}),
    "ows": _VALUES | {"interfaces"},
    "projects": _SEAMS,
    "policy": _SEAMS,
    "credentials": _SEAMS,
    "pool.commands": _VALUES | {"interfaces"},
    "jobs": _SEAMS | {"ows", "projects"},
    "pool": _SEAMS | {"ows", "projects", "pool.commands"},
    "references": _SEAMS | {"jobs"},
    "web": _PARTS - {"references"},
    "application": _PARTS | {"web"},
    "listing": _PARTS | {"web", "application"},
    "tap": _PARTS | {"web", "application", "listing"},
    "plugin": _PARTS | {"web", "application", "listing", "tap"},
    "worker": _VALUES | {"landlock", "processes", "removal", "pool.commands"},
}

#: Layers that are functions on values.
PURE = _VALUES | {"ows"}

#: What only workers have.
QGIS = frozenset({"qgis", "processing", "osgeo", "PyQt5", "PyQt6"})

REACTOR = "twisted.internet.reactor"


@attrs.frozen
class Import:
    """
    One name that a module imports.

    @ivar name: dotted, absolute; C{from a import b} is C{a.b}, which may be a
        module or a name in one.
    @ivar line: where.
    @ivar whenLoaded: whether importing the module is enough for it to happen.
    """

    name: str
    line: int
    whenLoaded: bool

    def within(self, module: str) -> bool:
        """Whether it is that module or something in it."""
        return self.name == module or self.name.startswith(module + ".")


def imports(module: str, source: str, isPackage: bool = False) -> list[Import]:
    """
    All imports of a module, at whatever depth.

    @param module: the module's dotted name.
    @param isPackage: whether the source is that of an C{__init__.py}.
    """
    package = module.split(".") if isPackage else module.split(".")[:-1]

    def walk(node: ast.AST, whenLoaded: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, whenLoaded)
            elif isinstance(child, ast.ImportFrom):
                above = len(package) - child.level + 1
                base = package[:above] if child.level else []
                origin = [*base, *(child.module.split(".") if child.module else [])]
                for alias in child.names:
                    name = ".".join([*origin, alias.name])
                    yield Import(name, child.lineno, whenLoaded)
            else:
                inFunction = isinstance(
                    child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
                )
                yield from walk(child, whenLoaded and not inFunction)

    return list(walk(ast.parse(source), True))


def layerOf(name: str) -> str | None:
    """
    The layer that a dotted name of ours belongs to.

    @return: a key of L{LAYERS}, C{""} for the package itself and the names
        that stand in it, None if there is no such layer.
    """
    if name == PLUGIN:
        return "plugin"
    parts = name.split(".")[1:]
    if not parts or parts[0].startswith("__"):
        return ""
    # Whoever imports qgswps.pool.commands also runs qgswps/pool/__init__.py.
    if parts[0] == "pool" and (len(parts) == 1 or parts[1] == "commands"):
        return "pool.commands"
    return parts[0] if parts[0] in LAYERS else None


def faults(module: str, source: str, isPackage: bool = False) -> list[str]:
    """
    What a module imports against the rule.

    @return: a line for each fault, with the module, the line and the reason.
    """
    layer = layerOf(module)
    if layer is None:
        return [f"{module}: belongs to no layer; give it a place in LAYERS"]
    allowed = LAYERS.get(layer, frozenset()) | {layer, ""}
    if layer == "pool.commands" and isPackage:
        # The package's own modules must not come along with the vocabulary.
        allowed |= {"pool.commands"}
    found = []
    for each in imports(module, source, isPackage):

        def refuse(reason: str, each: Import = each) -> None:
            found.append(f"{module}:{each.line}: imports {each.name}: {reason}")

        if each.within(PACKAGE):
            target = layerOf(each.name)
            if target is None:
                refuse("belongs to no layer")
            elif target not in allowed:
                refuse(f"{layer or 'the package'} stands below or beside {target}")
        elif each.name.split(".")[0] in QGIS:
            if layer != "worker":
                refuse("only workers have QGIS")
        elif each.within("txredisapi"):
            if layer != "jobs" or "redis" not in module:
                refuse("only the Redis store speaks to Redis")
        elif each.within(REACTOR):
            if layer == "worker":
                refuse("workers have no reactor")
            elif layer in PURE:
                refuse(f"{layer} is functions on values")
            elif each.whenLoaded and layer != "tap":
                refuse("ask for the reactor you need")
        elif each.within("twisted.internet") and layer in PURE:
            refuse(f"{layer} is functions on values")
    return found


def sources() -> Iterator[tuple[str, str, bool]]:
    """Each module of ours: its name, its source, whether it is a package."""
    plugin = Path(*PLUGIN.split(".")).with_suffix(".py")
    paths = [*sorted((ROOT / PACKAGE).rglob("*.py")), ROOT / plugin]
    for path in paths:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        isPackage = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if isPackage else parts)
        yield name, path.read_text(encoding="utf-8"), isPackage


class LayersTests(unittest.SynchronousTestCase):
    """The sources keep the rule."""

    def test_sources(self) -> None:
        """No module imports what stands above or beside it."""
        found = [fault for each in sources() for fault in faults(*each)]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_allLayersAreThere(self) -> None:
        """Each layer of the rule has sources: the walk misses none."""
        seen = {layerOf(name) for name, _, _ in sources()}
        self.assertEqual(seen - {""}, set(LAYERS))

    def test_rulesAreWithoutCycles(self) -> None:
        """No two layers may import each other, directly or not."""
        done: set[str] = set()
        while len(done) < len(LAYERS):
            ready = {name for name, below in LAYERS.items() if below <= done} - done
            self.assertTrue(ready, f"a cycle among {set(LAYERS) - done}")
            done |= ready


class CheckerTests(unittest.SynchronousTestCase):
    """The checker refuses what it should, and nothing else."""

    def assertRefused(
        self, module: str, source: str, name: str, isPackage: bool = False
    ) -> None:
        """A source has exactly one fault, and that names the import."""
        found = faults(module, source, isPackage)
        self.assertEqual(len(found), 1, found)
        self.assertIn(f" imports {name}: ", found[0])

    def assertAllowed(self, module: str, source: str, isPackage: bool = False) -> None:
        """A source has no fault."""
        self.assertEqual(faults(module, source, isPackage), [])

    def test_upward(self) -> None:
        """An import of a layer above is refused, in each form."""
        module = "qgswps.ows.execute"
        for source, name in [
            ("import qgswps.web.site", "qgswps.web.site"),
            ("import qgswps.web.site as site", "qgswps.web.site"),
            ("from qgswps import web", "qgswps.web"),
            ("from qgswps.web import site", "qgswps.web.site"),
            ("from qgswps.web.site import *", "qgswps.web.site.*"),
            ("from .. import web", "qgswps.web"),
            ("from ..web.site import Site", "qgswps.web.site.Site"),
        ]:
            self.assertRefused(module, source, name)

    def test_hidden(self) -> None:
        """An import counts wherever it stands."""
        for source in [
            "def f():\n    import qgswps.tap",
            "async def f():\n    import qgswps.tap",
            "class C:\n    import qgswps.tap",
            "if TYPE_CHECKING:\n    import qgswps.tap",
            "try:\n    pass\nexcept E:\n    import qgswps.tap",
            "match x:\n    case 1:\n        import qgswps.tap",
        ]:
            self.assertRefused("qgswps.web.site", source, "qgswps.tap")

    def test_relativeInPackage(self) -> None:
        """In an C{__init__.py} one dot is the package itself."""
        self.assertAllowed("qgswps.ows", "from . import execute", True)
        self.assertRefused("qgswps.ows", "from .. import web", "qgswps.web", True)

    def test_downward(self) -> None:
        """What stands below may be imported, and so may a layer itself."""
        self.assertAllowed("qgswps.model", "from qgswps.errors import Fault")
        self.assertAllowed("qgswps.codec", "from qgswps import model, errors")
        self.assertAllowed("qgswps.web.site", "from qgswps.jobs.queue import Queue")
        self.assertAllowed("qgswps.web.site", "from . import status")
        self.assertAllowed("qgswps.tap", "from qgswps import __version__, application")
        self.assertAllowed(PLUGIN, "from qgswps import tap")

    def test_values(self) -> None:
        """The lowest modules have an order of their own."""
        self.assertRefused("qgswps.errors", "from qgswps import model", "qgswps.model")
        self.assertRefused("qgswps.model", "from qgswps import codec", "qgswps.codec")
        self.assertRefused("qgswps.config", "from qgswps import model", "qgswps.model")

    def test_jobsAndPool(self) -> None:
        """They meet only through interfaces."""
        self.assertRefused(
            "qgswps.jobs.queue", "from qgswps.pool import pool", "qgswps.pool.pool"
        )
        self.assertRefused(
            "qgswps.jobs.queue",
            "from qgswps.pool import commands",
            "qgswps.pool.commands",
        )
        self.assertRefused(
            "qgswps.pool.pool", "from qgswps.jobs import queue", "qgswps.jobs.queue"
        )
        for module in ["qgswps.jobs.queue", "qgswps.pool.pool"]:
            self.assertAllowed(module, "from qgswps.interfaces import IJobQueue")

    def test_worker(self) -> None:
        """Workers know the values and the vocabulary; nobody knows workers."""
        worker = "qgswps.worker.run"
        self.assertAllowed(worker, "from qgswps import codec, errors, layerref, model")
        self.assertAllowed(worker, "from qgswps.pool.commands import Execute")
        self.assertAllowed(worker, "from qgswps.worker import loop")
        for name in ["config", "interfaces", "ows.kvp", "pool.pool", "jobs.queue"]:
            self.assertRefused(worker, f"import qgswps.{name}", f"qgswps.{name}")
        for module in ["qgswps.pool.pool", "qgswps.application", PLUGIN]:
            self.assertRefused(module, "from qgswps import worker", "qgswps.worker")

    def test_vocabularyComesAlone(self) -> None:
        """C{pool/__init__.py} runs in workers too, so it brings nothing along."""
        self.assertRefused(
            "qgswps.pool",
            "from qgswps.pool.pool import ProcessPool",
            "qgswps.pool.pool.ProcessPool",
            True,
        )
        self.assertRefused(
            "qgswps.pool.commands", "from . import pool", "qgswps.pool.pool"
        )
        self.assertAllowed("qgswps.pool", "from .commands import Fork", True)

    def test_qgis(self) -> None:
        """Only workers import QGIS."""
        for source, name in [
            ("import processing", "processing"),
            ("from qgis.core import QgsProject", "qgis.core.QgsProject"),
            ("from osgeo import gdal", "osgeo.gdal"),
        ]:
            self.assertAllowed("qgswps.worker.run", source)
            for module in ["qgswps.pool.pool", "qgswps.ows.kvp", "qgswps.tap"]:
                self.assertRefused(module, source, name)

    def test_reactor(self) -> None:
        """Only C{tap.py} imports the reactor when it is loaded."""
        for source, name in [
            ("from twisted.internet import defer, reactor", REACTOR),
            ("import twisted.internet.reactor", REACTOR),
            ("from twisted.internet.reactor import callLater", f"{REACTOR}.callLater"),
            ("if True:\n    from twisted.internet import reactor", REACTOR),
            ("class C:\n    from twisted.internet import reactor", REACTOR),
        ]:
            self.assertAllowed("qgswps.tap", source)
            for module in ["qgswps.application", "qgswps.pool.pool", PLUGIN]:
                self.assertRefused(module, source, name)
        inFunction = "def f():\n    from twisted.internet import reactor"
        self.assertAllowed("qgswps.application", inFunction)
        self.assertRefused("qgswps.worker.loop", inFunction, REACTOR)

    def test_pure(self) -> None:
        """Parsing and documents know no event loop."""
        for layer in sorted(PURE):
            self.assertRefused(
                f"qgswps.{layer}",
                "from twisted.internet.defer import Deferred",
                "twisted.internet.defer.Deferred",
            )
        self.assertAllowed("qgswps.ows.kvp", "from twisted.python import log")

    def test_redis(self) -> None:
        """Only the Redis store imports its client."""
        self.assertAllowed("qgswps.jobs.redisstore", "import txredisapi")
        self.assertRefused("qgswps.jobs.sqlite", "import txredisapi", "txredisapi")
        self.assertRefused("qgswps.web.site", "import txredisapi", "txredisapi")

    def test_noLayer(self) -> None:
        """A module that the rule does not know is a fault, and so is its use."""
        self.assertEqual(len(faults("qgswps.helpers", "")), 1)
        self.assertRefused(
            "qgswps.web.site", "from qgswps import helpers", "qgswps.helpers"
        )
