"""
Attempts to get at files by what a client names: each form of a name at each
place where one becomes a path.  None is an error of the server, and none shows
anything of what lies outside.
"""

from __future__ import annotations

import atexit
import base64
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from urllib.parse import quote, unquote

from twisted.trial import unittest

from tests import live
from tests.system.test_jobs import jobId
from tests.system.test_references import RAW, execute, reference

#: What stands in each file outside.
MARK = "qgswps-secret-mark"

#: Names as they stand in a URL.  {base} is a folder with files outside, which are
#: called C{secret} with any ending {end}; of the links that lie inside {link} leads
#: to such a file, and {folder} to the folder.
NAMES = [
    # upwards, and in all writings of that
    "../secret{end}",
    "./../secret{end}",
    "x/../../secret{end}",
    "../../../../../../../../../etc/passwd",
    "..%2fsecret{end}",
    "%2e%2e/secret{end}",
    "%2E%2E%2Fsecret{end}",
    ".%2e/secret{end}",
    "%252e%252e%252fsecret{end}",
    "%25252e%25252e%25252fsecret{end}",
    "..\\secret{end}",
    "..%5csecret{end}",
    "..%255csecret{end}",
    "....//secret{end}",
    "..././secret{end}",
    "..;/secret{end}",
    "..%3b/secret{end}",
    "..%09/secret{end}",
    "..%20/secret{end}",
    # UTF-8 that is too long, or of other scripts
    "%c0%ae%c0%ae/secret{end}",
    "..%c0%afsecret{end}",
    "..%c1%9csecret{end}",
    "%e0%80%ae%e0%80%ae/secret{end}",
    "%f0%80%80%ae%f0%80%80%ae/secret{end}",
    "%ef%bc%8e%ef%bc%8e/secret{end}",
    "..%ef%bc%8fsecret{end}",
    "..%e2%88%95secret{end}",
    "..%u2215secret{end}",
    "%ff%fe",
    "%ed%a0%80",
    # absolute
    "{base}/secret{end}",
    "/{base}/secret{end}",
    "%2f{base}/secret{end}",
    "file://{base}/secret{end}",
    "file:{base}/secret{end}",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "/proc/self/environ",
    "/proc/self/root{base}/secret{end}",
    "/dev/zero",
    "/dev/stdin",
    "~root/.profile",
    "~/secret{end}",
    "$HOME/secret{end}",
    "C:%5cWindows%5cwin.ini",
    "%5c%5c127.0.0.1%5cshare",
    # what GDAL and QGIS would make of it
    "/vsicurl/http://127.0.0.1/",
    "/vsizip/{base}/secret{end}",
    "/vsisubfile/0_10,{base}/secret{end}",
    "ogr:{base}/secret{end}",
    "{base}/secret{end}%7clayername=x",
    # ends
    "%00",
    "a%00b",
    "../secret{end}%00",
    "..%00/secret{end}",
    "%2500",
    "../secret{end}/",
    "../secret{end}.",
    "../secret{end}%20",
    "../secret{end}/.",
    "..",
    "../",
    "%2e%2e",
    "%2e%2e%2f",
    "...",
    "%0d%0aX-Bad:%20y",
    "%1b[31m",
    # long
    "A" * 256,
    "A" * 4097,
    "%41" * 2000,
    "a/" * 2100,
    "../" * 1400 + "etc/passwd",
    # by links
    "{link}{end}",
    "{link}{end}/",
    "{folder}/secret{end}",
    "{folder}%2fsecret{end}",
    "{folder}/../secret{end}",
    "./{link}{end}",
]

#: Where names stand, the ending of files there, and the links there.
_WPS = "ows/?service=WPS&version=1.0.0&request="
PLACES = [
    ("jobs/{job}/files/{name}", ".txt"),
    ("jobs/{job}/{name}", ".txt"),
    ("jobs/{name}/files", ".txt"),
    ("jobs/{name}/log", ".txt"),
    ("status/{name}", ".txt"),
    ("{name}", ".txt"),
    (_WPS + "GetResults&uuid={name}", ".txt"),
    (_WPS + "DescribeProcess&identifier=native:buffer&MAP={name}", ".qgs"),
    (_WPS + "DescribeProcess&identifier=native:buffer&MAP={name}", ""),
    (_WPS + "DescribeProcess&identifier={name}", ".txt"),
    (_WPS + "DescribeProcess&identifier=native:buffer&MAP=more:{name}", ".qgs"),
    ("ows/?service=WMS&request=GetCapabilities&MAP={name}", ".qgs"),
    ("ows/?service=WMS&request=GetCapabilities&MAP=more:{name}", ".qgs"),
    ("ows/?service=WMS&request=GetCapabilities&MAP=wps-results:{job}/{name}", ".qgs"),
    ("ows/?service=WMS&request=GetCapabilities&MAP=wps-results:{name}", ".qgs"),
]

#: Requests to map services with a name somewhere.
_MAP = "&MAP=world&CRS=EPSG:4326&BBOX=40,0,50,10&WIDTH=9&HEIGHT=9&FORMAT=image/png"
_GETMAP = f"service=WMS&version=1.3.0&request=GetMap{_MAP}"
MAPS = [
    _GETMAP + "&STYLES=&LAYERS={name}",
    _GETMAP + "&LAYERS=cities&STYLES={name}",
    _GETMAP + "&LAYERS=cities&STYLES=&SLD={name}",
    _GETMAP + "&LAYERS=cities&STYLES=&SLD_BODY={name}",
    _GETMAP + "&LAYERS=cities&STYLES=&map0:SLD={name}",
    _GETMAP + "&LAYERS=EXTERNAL_WMS:a&STYLES=&a:url={name}",
    "service=WMS&request=GetPrint&MAP=world&TEMPLATE={name}",
    f"service=WMS&version=1.3.0&request=GetLegendGraphic{_MAP}&LAYER={{name}}",
    "service=WFS&version=1.1.0&request=GetFeature&MAP=world&TYPENAME={name}",
    "service=WFS&version=1.1.0&request=DescribeFeatureType&MAP=world&TYPENAME={name}",
    "service=WCS&version=1.0.0&request=GetCoverage&MAP=world&COVERAGE={name}"
    "&CRS=EPSG:4326&BBOX=0,0,1,1&WIDTH=9&HEIGHT=9&FORMAT=GTiff",
    "service=WMTS&request=GetTile&MAP=world&LAYER={name}&STYLE=&TILEMATRIXSET=EPSG:3857"
    "&TILEMATRIX=0&TILEROW=0&TILECOL=0&FORMAT=image/png",
]

#: Fewer names, where each costs a process.
FEW = [
    "../secret{end}",
    "%2e%2e%2fsecret{end}",
    "{base}/secret{end}",
    "file://{base}/secret{end}",
    "/vsizip/{base}/secret{end}",
    "{link}{end}",
    "a%00b",
    "%c0%ae%c0%ae/secret{end}",
    "A" * 4097,
]


@cache
def folder() -> str:
    """A folder with secrets, and projects in a folder in it; goes in the end."""
    base = tempfile.mkdtemp(prefix="qgswps-test-")
    atexit.register(shutil.rmtree, base, True)
    root = os.path.join(base, "projects")
    shutil.copytree(live.PROJECTS, root)
    for end in (".txt", ".csv"):
        with open(os.path.join(base, f"secret{end}"), "w", encoding="utf-8") as file:
            file.write(f"a,{MARK}\n1,2\n")
    with open(os.path.join(root, "inside.csv"), "w", encoding="utf-8") as file:
        file.write("WKT,a\nPOINT(7 47),1\n")
    with open(os.path.join(root, "world.qgs"), encoding="utf-8") as file:
        project = file.read()
    for name in ("secret.qgs", "secret"):
        with open(os.path.join(base, name), "w", encoding="utf-8") as file:
            file.write(project.replace("cities", MARK))
    for end in ("", ".qgs", ".txt", ".csv"):
        os.symlink(f"../secret{end}", os.path.join(root, f"link{end}"))
    os.symlink("..", os.path.join(root, "away"))
    return base


@cache
def server() -> live.LiveServer:
    """A server of these projects; ends with this process."""
    root = os.path.join(folder(), "projects")
    path = os.path.join(folder(), "secret.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"[projects.schemes]\nmore = {root}\n")
    return live.LiveServer(
        *("--config", path),
        QGSWPS_CACHE_ROOTDIR=root,
        QGSWPS_SERVER_ALLOWED_FILE_ROOTS=root,
    )


class PathsCase(unittest.TestCase):
    """
    A server, and a job in it with links that lead out.

    @ivar job: its id.
    """

    def setUp(self) -> None:
        self.server = server()
        self.base = folder()
        self.logged = len(self.server.log())

    def tearDown(self) -> None:
        log = self.server.log()[self.logged :]
        self.assertNotIn("Traceback", log)
        self.assertNotIn("Unhandled", log)

    def makeJob(self) -> str:
        """The id of a job whose outputs have links that lead out."""
        job = jobId(self.server.execute("script:mishap", {"KIND": "nothing"}))
        outputs = os.path.join(self.server.workdir, "jobs", job, "outputs")
        os.makedirs(outputs, exist_ok=True)
        os.symlink(f"{self.base}/secret.txt", os.path.join(outputs, "link.txt"))
        os.symlink(f"{self.base}/secret.qgs", os.path.join(outputs, "link.qgs"))
        os.symlink(self.base, os.path.join(outputs, "away"))
        return job

    def names(self, forms: list[str], end: str) -> Iterator[str]:
        """Forms of names, as they stand in a URL."""
        for form in forms:
            yield (
                form.replace("{base}", self.base)
                .replace("{end}", end)
                .replace("{link}", "link")
                .replace("{folder}", "away")
            )

    def assertRefused(self, answers: Iterable[tuple[str, live.Answer]]) -> None:
        """
        Clear answers that it is not to be had.

        @param answers: with what was asked for.
        """
        wrong = []
        for what, answer in answers:
            # 501 is for operations that there are not.
            if not (400 <= answer.status < 500 or answer.status == 501):
                wrong.append(f"{answer.status}: {what[:300]}")
            wrong += self.shown(answer, what)
        self.assertEqual(wrong, [])

    def assertShowsNothing(self, answer: live.Answer, what: str) -> None:
        """An answer, but nothing of what lies outside."""
        self.assertNotEqual(answer.status, 500, what[:300])
        self.assertEqual(self.shown(answer, what), [])

    def shown(self, answer: live.Answer, what: str) -> list[str]:
        """What an answer has that lies outside, or that nobody should see."""
        secrets = (MARK, "root:x:0", "QGSWPS_CACHE_ROOTDIR", "Traceback")
        found = [each for each in secrets if each.encode() in answer.body]
        if "x-bad" in answer.headers:
            found.append("a header")
        return [f"{each}: {what[:300]}" for each in found]


class NameTests(PathsCase):
    """Names in URLs."""

    def test_control(self) -> None:
        """What is refused is there, and names inside are answered: rows can fail."""
        for name in ("secret.txt", "secret.qgs", "projects/link.qgs", "secret"):
            with open(os.path.join(self.base, name), encoding="utf-8") as file:
                self.assertIn(MARK, file.read())
        for name in ("world", "./world.qgs", "%2e%2fworld", "x/../world", "more:world"):
            answer = self.server.get(
                f"{_WPS}DescribeProcess&identifier=native:buffer&MAP={name}"
            )
            self.assertEqual(answer.status, 200, name)
        job = self.makeJob()
        path = os.path.join(self.server.workdir, "jobs", job, "outputs", "in.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("inside")
        for name in ("in.txt", "%69n.txt", "./in.txt"):
            answer = self.server.get(f"jobs/{job}/files/{name}")
            self.assertEqual((answer.status, answer.body), (200, b"inside"), name)

    def test_places(self) -> None:
        """Each name at each place."""
        job = self.makeJob()
        paths = [
            place.replace("{job}", job).replace("{name}", name)
            for place, end in PLACES
            for name in self.names(NAMES, end)
        ]
        self.assertRefused((path, self.server.request("GET", path)) for path in paths)

    def test_archive(self) -> None:
        """Links that lead out are not in the archive, and not in the list."""
        job = self.makeJob()
        answer = self.server.get(f"jobs/{job}/files.zip")
        self.assertEqual(answer.status, 200)
        with zipfile.ZipFile(io.BytesIO(answer.body)) as packed:
            for name in packed.namelist():
                self.assertNotIn(MARK.encode(), packed.read(name), name)
                self.assertNotIn("link", name)
        listed = self.server.get(f"jobs/{job}/files")
        self.assertNotIn("link", listed.text)
        self.assertNotIn("secret", listed.text)

    def test_maps(self) -> None:
        """Parameters of map services."""
        paths = [
            "ows/?" + query.replace("{name}", name)
            for query in MAPS
            for name in self.names(FEW, ".txt")
        ]
        self.assertRefused((path, self.server.request("GET", path)) for path in paths)


class ValueTests(PathsCase):
    """Names in requests."""

    def left(self) -> set[str]:
        """All that is there but jobs."""
        found = set()
        for top in (self.base, self.server.workdir, tempfile.gettempdir()):
            for name in os.listdir(top):
                if top != tempfile.gettempdir() or name.startswith("evil"):
                    found.add(os.path.join(top, name))
        found.update(os.listdir(os.path.join(self.base, "projects")))
        return found

    def test_inputs(self) -> None:
        """A layer is named, never a path; a file that is a text is that text."""
        for end in (".csv", ".qgs"):
            for escaped in self.names(
                [*FEW, "~/secret{end}", "../projects/world"], end
            ):
                name = unquote(escaped)
                for map in ("", "&map=world"):
                    query = (
                        f"{_WPS}Execute&identifier=native:centroids&rawdataoutput=OUTPUT"
                        f"&datainputs=INPUT={quote(quote(name, safe=''), safe='')}{map}"
                    )
                    answer = self.server.get(query)
                    self.assertRefused([(query, answer)])

    def test_references(self) -> None:
        """Files of a folder that may be read, and no others."""
        root = os.path.join(self.base, "projects")
        inside = reference("INPUT", f"file://{root}/inside.csv", mimeType="text/csv")
        answer = self.server.post(execute("native:centroids", inside, RAW))
        self.assertEqual(answer.status, 200, answer.text)
        for escaped in self.names(NAMES, ".csv"):
            if escaped.startswith(("file:", "ogr:")):
                continue
            href = f"file://{root}/{escaped}"
            given = reference("INPUT", href, mimeType="text/csv")
            answer = self.server.post(execute("native:centroids", given, RAW))
            self.assertRefused([(href, answer)])

    def test_outputs(self) -> None:
        """What a result is called says nothing of where it lies."""
        before = self.left()
        for name in (
            "../../../evil",
            "/tmp/evil.gpkg",
            f"{self.base}/evil.gpkg",
            f"{self.base}/projects/world.gpkg",
            "..\\evil",
            "evil\0.gpkg",
            "%2e%2e%2fevil",
            "e" * 5000,
            f"ogr:dbname='{self.base}/evil.gpkg' table=\"x\"",
            "/vsizip//tmp/evil.zip/a.gpkg",
        ):
            answer = self.server.execute(
                "native:centroids",
                {"INPUT": "cities", "OUTPUT": name},
                map="world",
                responsedocument="OUTPUT@asReference=true",
            )
            self.assertShowsNothing(answer, name)
            self.assertLess(answer.status, 500, name)
            answer = self.server.execute(
                "native:centroids",
                {"INPUT": "cities"},
                map="world",
                responsedocument=quote(name, safe=""),
            )
            self.assertRefused([(name, answer)])
        self.assertEqual(self.left(), before)

    def test_archives(self) -> None:
        """Members of an archive go nowhere else, whatever they are called."""
        before = self.left()
        names = [
            "../../../../evil.geojson",
            "/tmp/evil.geojson",
            f"{self.base}/evil.geojson",
            "..\\..\\evil.geojson",
            "a/" * 1000 + "evil.geojson",
            "evil" * 1000 + ".geojson",
            "C:\\evil.geojson",
        ]
        feature = (
            '{"type": "Feature", "properties": {}, "geometry":'
            ' {"type": "Point", "coordinates": [1, 2]}}'
        )
        for name in names:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as file:
                file.writestr(name, feature)
            self.assertShowsNothing(self.sendArchive(packed), name)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as file:
            link = zipfile.ZipInfo("evil.csv")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(link, f"{self.base}/secret.csv")
        self.assertShowsNothing(self.sendArchive(packed), "a link")
        self.assertEqual(self.left(), before)

    def sendArchive(self, packed: io.BytesIO) -> live.Answer:
        """The centroids of what is in it."""
        text = base64.b64encode(packed.getvalue()).decode()
        data = (
            "<wps:Input><ows:Identifier>INPUT</ows:Identifier><wps:Data><wps:ComplexData"
            f' mimeType="application/zip" encoding="base64">{text}</wps:ComplexData>'
            "</wps:Data></wps:Input>"
        )
        answer = self.server.post(execute("native:centroids", data, RAW))
        self.assertLess(answer.status, 500)
        return answer
