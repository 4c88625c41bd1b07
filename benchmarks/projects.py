"""
What a job, or a description, costs in a project of many layers.

    python3 -m benchmarks.projects [--count 60] [--output docs/performance.md]

The projects have 5 and 200 layers, each a table in a GeoPackage file of its
own, with a categorized style (35 kB of the project file).  Requests for both
take turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import attrs

from benchmarks.roundtrip import HERE, POINTS, Client, percentiles, wps
from tests import live

SMALL, LARGE = 5, 200

#: Makes one project; the arguments are its path and how many layers it has.
MAKE = """
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from osgeo import gdal
from qgis.core import (QgsApplication, QgsCategorizedSymbolRenderer, QgsProject,
    QgsRendererCategory, QgsSymbol, QgsVectorLayer)
application = QgsApplication([], False)
application.initQgis()
gdal.UseExceptions()
path, count = sys.argv[1], int(sys.argv[2])
folder = os.path.splitext(path)[0]
os.mkdir(folder)
project = QgsProject.instance()
for n in range(count):
    name = f"layer{n}"
    data = os.path.join(folder, f"{name}.gpkg")
    source = os.path.join(os.path.dirname(path), "points.geojson")
    gdal.VectorTranslate(data, source, format="GPKG", layerName=name)
    layer = QgsVectorLayer(f"{data}|layername={name}", name, "ogr")
    symbol = QgsSymbol.defaultSymbol
    layer.setRenderer(QgsCategorizedSymbolRenderer("n", [
        QgsRendererCategory(k, symbol(layer.geometryType()), str(k))
        for k in range(8)]))
    project.addMapLayer(layer)
assert project.write(path), project.error()
sys.stdout.flush()
os._exit(0)
"""


@attrs.frozen
class Row:
    """One kind of request: p50 and p95 in both projects, in milliseconds."""

    name: str
    small: tuple[float, float]
    large: tuple[float, float]
    target: str = ""

    def __str__(self) -> str:
        numbers = (*self.small, *self.large, self.large[0] - self.small[0])
        cells = " | ".join(f"{number:.1f}" for number in numbers)
        return f"| {self.name} | {cells} | {self.target} |"


def makeProjects(folder: str) -> dict[int, str]:
    """Both projects' names, by how many layers they have."""
    with open(os.path.join(folder, "points.geojson"), "w") as file:
        file.write(POINTS)
    names = {count: f"layers{count}" for count in (SMALL, LARGE)}
    for count, name in names.items():
        path = os.path.join(folder, f"{name}.qgs")
        subprocess.run([sys.executable, "-c", MAKE, path, str(count)], check=True)
    return names


def buffer(project: str) -> str:
    """A buffer of one of the layers, as GeoJSON."""
    return _execute(
        project,
        "native:buffer",
        datainputs="INPUT=layer3;DISTANCE=1",
        rawdataoutput="OUTPUT@mimeType=application/geo+json",
    )


def _execute(project: str, process: str, **parameters: str) -> str:
    return wps(request="Execute", map=project, identifier=process, **parameters)


def describe(project: str) -> str:
    """The description of a process that has all kinds of choices."""
    return wps(request="DescribeProcess", map=project, identifier="native:buffer")


def alternately(
    name: str,
    client: Client,
    path: Callable[[str], str],
    names: dict[int, str],
    count: int,
    target: str = "",
) -> Row:
    """The same request to both projects in turns."""
    times: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for _ in range(count):
        for layers, found in times.items():
            begun = time.perf_counter()
            client.get(path(names[layers]))
            found.append(time.perf_counter() - begun)
    return Row(name, percentiles(times[SMALL]), percentiles(times[LARGE]), target)


def run(count: int) -> list[Row]:
    """All measurements."""
    with tempfile.TemporaryDirectory(prefix="qgswps-projects-") as folder:
        names = makeProjects(folder)
        with live.liveServer(
            "--workers",
            "2",
            QGSWPS_CACHE_ROOTDIR=folder,
            QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH=os.path.join(HERE, "algorithms"),
        ) as server:
            client = Client(server.port)
            first: dict[int, float] = {}
            for layers, name in names.items():
                begun = time.perf_counter()
                client.get(describe(name))
                first[layers] = (time.perf_counter() - begun) * 1000
            small, large = ((each, each) for each in first.values())
            rows = [Row("first DescribeProcess", small, large)]
            for label, path, times, target in (
                ("DescribeProcess", describe, count, ""),
                ("buffer of a layer", buffer, count, "difference ≤ 150"),
                (
                    "script that does not look at the project",
                    lambda name: _execute(
                        name, "script:trivial", datainputs="NUMBER=1"
                    ),
                    count,
                    "difference ≤ 150",
                ),
                (
                    "script that looks at all layers",
                    lambda name: _execute(name, "script:census"),
                    max(count // 10, 4),
                    "",
                ),
            ):
                for name in names.values():
                    client.get(path(name))
                rows.append(alternately(label, client, path, names, times, target))
            client.close()
            return rows


def report(rows: list[Row]) -> str:
    """The figures as Markdown."""
    head = (
        "| what | 5 layers: p50, ms | p95 | 200 layers: p50, ms | p95"
        " | difference of p50 | target |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
    )
    return head + "".join(f"{row}\n" for row in rows)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="requests a row")
    parser.add_argument("--output", help="file whose table is replaced")
    options = parser.parse_args()
    table = report(run(options.count))
    sys.stdout.write(table)
    if options.output:
        machine = (
            f"Measured with Python {platform.python_version()} on"
            f" {os.cpu_count()} cores, {time.strftime('%Y-%m-%d', time.gmtime())}."
        )
        live.replaceFigures(options.output, f"{machine}\n\n{table}", "projects")


if __name__ == "__main__":
    main()
