"""
A real PostgreSQL with PostGIS for tests, in processes of its own.

Several tests may share one, each with a schema of its own: L{sharedPostgres}.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import itertools
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping

from tests.live import PATIENCE

#: The names of its database and of its entry in the file of services.
DATABASE = "gis"
SERVICE = "qgswps_tests"

#: Nothing is to outlast the tests, and they are to be quick.
_OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "autovacuum": "off",
}

#: Run by Debian's python3 with QGIS's bindings: the URI to save to, the title,
#: and a JSON object of the layers' sources by name.
_SAVE = """
import json, sys
from qgis.core import QgsApplication, QgsProject, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
project = QgsProject.instance()
uri, title, layers = sys.argv[1:]
project.setTitle(title)
for name, source in json.loads(layers).items():
    layer = QgsVectorLayer(source, name, "postgres")
    assert layer.isValid(), source
    project.addMapLayer(layer)
    project.setCrs(layer.crs())
assert project.write(uri), project.error()
project.clear()
application.exitQgis()
"""


def _binaries() -> str:
    """The folder of the newest release's programs."""
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    assert found, "PostgreSQL is not installed"
    newest = max(found, key=lambda path: float(path.split("/")[4]))
    return os.path.dirname(newest)


class PostgresServer:
    """
    A running C{postgres} that keeps its data in a folder of its own, and
    listens only on a socket there.

    @ivar folder: with the socket.
    @ivar serviceFile: path of a file that names the connection L{SERVICE}.
    """

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="qgswps-postgres-")
        self.serviceFile = os.path.join(self.folder, "pg_service.conf")
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        # PostgreSQL refuses to be root's.
        self._user: int | None = None
        self._group: int | None = None
        if os.getuid() == 0:
            account = pwd.getpwnam("nobody")
            self._user, self._group = account.pw_uid, account.pw_gid
            os.chown(self.folder, self._user, self._group)
        os.chmod(self.folder, 0o755)
        self._data = os.path.join(self.folder, "data")
        self._program(
            *("initdb", "--pgdata", self._data, "--username", "tester"),
            *("--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"),
        )
        self.start()
        self.sql(f"create database {DATABASE}", "postgres")
        self.sql("create extension postgis")
        with open(self.serviceFile, "w", encoding="utf-8") as file:
            file.write(
                f"[{SERVICE}]\nhost={self.folder}\ndbname={DATABASE}\nuser=tester\n"
            )

    def _program(self, name: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs; what it writes."""
        done = subprocess.run(
            [os.path.join(_binaries(), name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            user=self._user,
            group=self._group,
            extra_groups=None if self._group is None else [],
            timeout=PATIENCE,
            check=False,
            text=True,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}"
        return done.stdout

    def start(self) -> None:
        """Start it, and wait until it serves."""
        assert self.process is None
        options = {**_OPTIONS, "unix_socket_directories": self.folder}
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [
                    *(os.path.join(_binaries(), "postgres"), "-D", self._data),
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self._user,
                group=self._group,
                extra_groups=None if self._group is None else [],
            )
        deadline = time.monotonic() + PATIENCE
        while not self._serves():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.log()
                self.close()
                raise AssertionError(f"postgres does not serve:\n{text}")
            time.sleep(0.02)

    def _serves(self) -> bool:
        # The last line is "ready" when clients are let in.
        with contextlib.suppress(OSError):
            path = os.path.join(self._data, "postmaster.pid")
            with open(path, encoding="utf-8") as file:
                return file.read().splitlines()[7:8] == ["ready   "]
        return False

    def log(self) -> str:
        """What it has logged."""
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as file:
            return file.read()

    def sql(self, text: str, database: str = DATABASE) -> str:
        """
        Have it execute statements, and wait for that.

        @return: the rows, as lines with C{|} between the values.
        """
        return self._program(
            *("psql", "--host", self.folder, "--username", "tester", "--no-psqlrc"),
            *("--dbname", database, "--quiet", "--no-align", "--tuples-only"),
            *("--set", "ON_ERROR_STOP=1", "--command", text),
        ).strip()

    def close(self) -> None:
        """End it, and remove its data."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            # It ends its children too, at once.
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    @property
    def environment(self) -> Mapping[str, str]:
        """What lets a process know the service."""
        return {"PGSERVICEFILE": self.serviceFile}

    # Projects

    def newSchema(self) -> str:
        """A schema that no other test has."""
        name = f"test{next(_schemas)}"
        self.sql(f"create schema {name}")
        return name

    def uri(self, schema: str) -> str:
        """The URI of the projects in a schema, without that of one."""
        return f"postgresql://?service={SERVICE}&schema={schema}"

    def addPoints(self, schema: str, table: str, *names: str) -> None:
        """Make a table of points, one each degree to the east of 0°, 0°."""
        rows = ", ".join(
            f"({n}, '{name}', {n}.5, st_setsrid(st_makepoint({n}, 0), 4326))"
            for n, name in enumerate(names)
        )
        self.sql(
            f"create table {schema}.{table} (id integer primary key, name text,"
            f" size double precision, geom geometry(Point, 4326));"
            f"insert into {schema}.{table} values {rows}"
        )

    def source(self, schema: str, table: str) -> str:
        """The source of a layer of points, as QGIS writes it."""
        return (
            f"service='{SERVICE}' key='id' srid=4326 type=Point"
            f' table="{schema}"."{table}" (geom)'
        )

    def save(self, uri: str, title: str, layers: Mapping[str, str]) -> None:
        """
        Have QGIS save a project.

        @param uri: of the project.
        @param layers: the sources of its layers, by name.
        """
        done = subprocess.run(
            ["/usr/bin/python3", "-c", _SAVE, uri, title, json.dumps(layers)],
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stdout


_shared: list[PostgresServer] = []
_schemas = itertools.count(1)


def sharedPostgres() -> PostgresServer:
    """The server for tests that let it run; ends with this process."""
    if not _shared:
        _shared.append(PostgresServer())
    return _shared[0]
