"""
Maps of a result, from a warm process and from a new one.

    python3 -m benchmarks.maps [--output docs/performance.md]

Times are of whole HTTP requests, from one client; each asks for another part
of the map, so that nothing comes from a cache.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.roundtrip import Client, Row, measure
from tests import live
from tests.system.test_maps import Map, buffered

#: Plain QGIS that draws the same layer in its own process, for the ratio.
PLAIN = """
import os, sys, time
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import (QgsApplication, QgsMapRendererCustomPainterJob,
    QgsMapSettings, QgsProject, QgsRectangle)
from qgis.PyQt.QtCore import QBuffer, QSize
from qgis.PyQt.QtGui import QImage, QPainter
application = QgsApplication([], False)
application.initQgis()
path, width, height, count = sys.argv[1], *map(int, sys.argv[2:])
project = QgsProject.instance()
project.read(path)
times = []
for n in range(count):
    begun = time.perf_counter()
    settings = QgsMapSettings()
    settings.setLayers(list(project.mapLayers().values()))
    settings.setDestinationCrs(project.crs())
    settings.setOutputSize(QSize(width, height))
    settings.setExtent(QgsRectangle(-180 + n / 100, -90, 180 + n / 100, 90))
    image = QImage(settings.outputSize(), QImage.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QPainter(image)
    job = QgsMapRendererCustomPainterJob(settings, painter)
    job.renderSynchronously()
    painter.end()
    buffer = QBuffer()
    buffer.open(QBuffer.WriteOnly)
    image.save(buffer, "PNG")
    times.append(time.perf_counter() - begun)
print(sorted(times)[len(times) // 2] * 1000)
sys.stdout.flush()
os._exit(0)
"""


def plain(project: str, width: int, height: int) -> float:
    """The median of milliseconds that plain QGIS takes for a picture."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, project, str(width), str(height), "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": "/tmp"},
    )
    return float(done.stdout)


def requests(made: Map) -> dict[str, tuple[Callable[[int], str], str]]:
    """What is asked for: given a number, the path; and the target."""
    base = "/" + made.base.split("/", 3)[3]

    def getMap(width: int, height: int) -> Callable[[int], str]:
        return lambda shift: (
            f"{base}&SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS={made.layer}"
            f"&STYLES=&CRS=CRS:84&BBOX={shift / 100 - 180},-90,{shift / 100 + 180},90"
            f"&WIDTH={width}&HEIGHT={height}&FORMAT=image/png&TRANSPARENT=TRUE"
        )

    return {
        "GetMap 256 x 256": (getMap(256, 256), "p50 ≤ 60"),
        "GetMap 800 x 600": (getMap(800, 600), "p50 ≤ 60"),
        "GetCapabilities of WMS": (
            lambda n: f"{base}&SERVICE=WMS&REQUEST=GetCapabilities&N={n}",
            "",
        ),
        "GetFeature of WFS": (
            lambda n: (
                f"{base}&SERVICE=WFS&VERSION=1.1.0&REQUEST=GetFeature"
                f"&TYPENAME={made.layer}&N={n}"
            ),
            "",
        ),
        "items of API Features": (
            lambda n: (
                f"/jobs/{made.job}/wfs3/collections/{made.layer}/items.json?limit={n}"
            ),
            "",
        ),
    }


def first(server: live.LiveServer) -> Row:
    """The first map of a job, which takes a new process."""
    times = []
    for _ in range(10):
        made = buffered(server)
        begun = time.perf_counter()
        answer = made.getMap()
        times.append((time.perf_counter() - begun) * 1000)
        assert answer.status == 200, answer.text
    times.sort()
    return Row("first GetMap of a job", times[5], times[-1], 1000 / times[5])


def run() -> list[Row]:
    """Measure all."""
    rows = []
    with live.liveServer() as server:
        rows.append(first(server))
        made = buffered(server)
        for name, (path, target) in requests(made).items():
            numbers = itertools.count(1)

            def get(
                client: Client,
                path: Callable[[int], str] = path,
                numbers: itertools.count[int] = numbers,
            ) -> bytes:
                return client.get(path(next(numbers)))

            measure("warm-up", server.port, get, 5)
            rows.append(measure(name, server.port, get, 200, 1, target))
        project = os.path.join(
            server.workdir, "jobs", made.job, made.map.rpartition("/")[2]
        )
        for row, (width, height) in ((1, (256, 256)), (2, (800, 600))):
            alone = plain(project, width, height)
            text = f"{rows[row].p50 / alone:.1f} x plain QGIS"
            sys.stderr.write(f"{rows[row].name}: {text} ({alone:.1f} ms)\n")
    return rows


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", help="file whose table is replaced")
    options = parser.parse_args()
    lines = [
        "| maps of a result | p50, ms | p95, ms | a second | target |",
        "| --- | ---: | ---: | ---: | --- |",
        *map(str, run()),
    ]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.output:
        live.replaceFigures(options.output, text, "map figures")


if __name__ == "__main__":
    main()
