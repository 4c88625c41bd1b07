"""QGIS itself: how it is started in the fork server, and warmed up."""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# The environment has to be right before QGIS, Qt and numpy are loaded.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
for _library in ("OPENBLAS", "OMP", "MKL"):
    # Threads of theirs would not survive the fork.
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# ruff: noqa: E402
import qgis
from osgeo import gdal, ogr, osr
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsSettings,
)
from qgis.PyQt.QtCore import QEvent

from qgswps.model import WorkerSettings
from qgswps.worker import compat

_LEVELS = {compat.LEVEL_WARNING: "warn", compat.LEVEL_CRITICAL: "error"}

#: QGIS's own settings, where its default does not suit a server.
_SETTINGS = {
    # Reading a GeoPackage would else write to it.
    "qgis/walForSqlite3": "false",
    # Result projects would else name the user that the server runs as.
    "core/projects/anonymize_saved_projects": "true",
}

#: QGIS ends with the last reference to its application.
_kept: list[QgsApplication] = []


def version() -> str:
    """QGIS's version with its name."""
    return str(Qgis.version() if hasattr(Qgis, "version") else Qgis.QGIS_VERSION)


def start(
    settings: WorkerSettings, log: Callable[[str, str], None] | None = None
) -> QgsApplication:
    """
    Start QGIS with all its processing providers; once in a process.

    @param log: is called with a level of C{twisted.logger} and a text for
        each message that QGIS logs; by default they go to stderr.
    """
    _ownProfile(settings.profile)
    for parent in Path(qgis.__file__).parents:
        # QGIS looks beside the interpreter, which may be in a venv.
        if (parent / "share" / "qgis").is_dir():
            QgsApplication.setPrefixPath(str(parent), True)
            break
    # Texts are published to clients of any language: English.
    QgsApplication.setTranslation("C")
    # Names the file of QGIS's settings.
    QgsApplication.setOrganizationName("QGIS")
    application = QgsApplication([], False, settings.profile)
    _kept.append(application)
    # Qt took over the locale of the environment.
    locale.setlocale(locale.LC_NUMERIC, "C")
    chosen = {**_SETTINGS, **settings.qgisSettings}
    _choose(chosen)
    _forwardMessages(log or _toStderr)
    application.initQgis()
    # From here on QGIS 3.40 has its settings in another file.
    _choose(chosen)
    for module in (gdal, ogr, osr):
        module.UseExceptions()
    gdal.SetConfigOption("GML_DOWNLOAD_SCHEMA", "NO")
    _startProcessing(settings)
    defaultProject(settings.defaultCRS)
    return application


def _ownProfile(profile: str) -> None:
    """Keep QGIS and what it uses out of the user's home."""
    for variable, name in (
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_RUNTIME_DIR", "runtime"),
    ):
        folder = os.path.join(profile, name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.environ[variable] = folder
    # Qt wants it to be private.
    os.chmod(os.environ["XDG_RUNTIME_DIR"], 0o700)


def _choose(settings: Mapping[str, str]) -> None:
    for key, value in settings.items():
        QgsSettings().setValue(key, value)


def _toStderr(level: str, text: str) -> None:
    sys.stderr.write(f"{level}: {text}\n")


def _forwardMessages(log: Callable[[str, str], None]) -> None:
    owner = os.getpid()

    def forward(text: str, tag: str, level: Any) -> None:
        name = _LEVELS.get(level, "info")
        # A worker's messages belong to its job's log.
        (log if os.getpid() == owner else _toStderr)(name, f"{tag}: {text}")

    signal = QgsApplication.messageLog().messageReceived
    try:
        signal["QString", "QString", "Qgis::MessageLevel"].connect(forward)
    except KeyError:
        signal.connect(forward)


def _startProcessing(settings: WorkerSettings) -> None:
    folder = os.path.join(QgsApplication.pkgDataPath(), "python", "plugins")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from processing.core.Processing import Processing

    from qgswps.worker import (
        formats,
        grass,
        models,
        plugins,
        resultproject,
        scripts,
        styles,
    )
    from qgswps.worker.parameters import connections

    Processing.initialize()
    plugins.install(settings)
    scripts.install(settings)
    grass.mend()
    # They may use all others.
    models.install(settings)
    styles.install(settings)
    formats.install(settings)
    connections.install(settings)
    resultproject.install(settings)


def defaultProject(defaultCrs: str) -> None:
    """What a job without a project of its own runs in."""
    project = QgsProject.instance()
    project.clear()
    project.setCrs(QgsCoordinateReferenceSystem(defaultCrs), True)


def warmUp() -> None:
    """Let QGIS make all that it makes when it is first needed."""
    from qgswps.worker import warmup

    crs = QgsProject.instance().crs().authid()
    warmup.run(_toStderr)
    # Layers are closed when Qt next handles its events; what is open now
    # would be open in all workers.
    application = QgsApplication.instance()
    application.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    application.processEvents()
    defaultProject(crs)
