"""A server as a sysadmin runs it: what docs/operations.md tells, done."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from qgswps.config import SECTIONS, load
from qgswps.metrics import Figures, Metrics
from tests.live import (
    NOBODY,
    PATIENCE,
    ROOT,
    Answer,
    AsNobody,
    LiveServer,
    descendants,
    freePort,
    notNobody,
)
from tests.test_metrics import samples
from tests.test_notify import ServiceManager

WPS = "http://www.opengis.net/wps/1.0.0"
OWS = "http://www.opengis.net/ows/1.1"

#: A line for journald: a priority, and a text that may have any form.
PLAIN = re.compile(r"<[2-7]>.")


def sleep(server: LiveServer, seconds: float = 0) -> None:
    """Run a job that takes so long, to its good end."""
    inputs = {"FILE": "/dev/null", "TOKEN": "x", "SECONDS": seconds}
    answer = server.execute("script:ledger", inputs)
    assert "ProcessSucceeded" in answer.text, answer.text


def environmentOf(pid: int) -> set[str]:
    """The names of a process's variables."""
    data = Path(f"/proc/{pid}/environ").read_bytes()
    return {entry.split(b"=")[0].decode() for entry in data.split(b"\0") if entry}


class PlainServer(LiveServer):
    """A server that logs for journald."""

    twistd: ClassVar = ("--logger", "qgswps.journal.plain")


class JSONServer(LiveServer):
    """A server that logs for machines."""

    twistd: ClassVar = ("--logger", "qgswps.journal.jsonLines")


class ManagedTests(TestCase):
    """A server below a service manager."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.addCleanup(shutil.rmtree, self.home)
        address = os.path.join(self.home, "notify")
        self.manager = ServiceManager(self, address)
        self.told: list[dict[str, str]] = []
        self.server = PlainServer(
            NOTIFY_SOCKET=address,
            WATCHDOG_USEC="1000000",
        )
        self.addCleanup(self.server.stop)

    def hasTold(self, **fields: str) -> bool:
        """The manager was told that, since it was last asked for it."""
        self.told += self.manager.told()
        for number, each in enumerate(self.told):
            if fields.items() <= each.items():
                del self.told[: number + 1]
                return True
        return False

    def waitFor(self, **fields: str) -> None:
        """Wait until the manager was told that."""
        self.server.waitUntil(lambda: self.hasTold(**fields), f"{fields} not told")

    def noEnvironment(self) -> None:
        """What the manager means for the server, workers do not get."""
        self.assertIn("NOTIFY_SOCKET", environmentOf(self.server.process.pid))
        inherited = environmentOf(self.server.forkServer())
        self.assertEqual(inherited & {"NOTIFY_SOCKET", "WATCHDOG_USEC"}, set())

    def plainLines(self) -> None:
        """Each line of the log has a priority and no time."""
        lines = self.server.log().splitlines()
        self.assertEqual([line for line in lines if not PLAIN.match(line)], [])
        self.assertTrue(any(line.startswith("<6>ready: QGIS 3.") for line in lines))
        self.assertFalse(any(re.search(r"\d\d:\d\d:\d\d", line) for line in lines))

    def test_life(self) -> None:
        """From ready to stopping, with a reload and a watchdog between."""
        server = self.server
        self.waitFor(READY="1")
        self.noEnvironment()
        self.assertEqual(server.get("readyz").status, 200)
        self.waitFor(WATCHDOG="1")
        sleep(server, 2)
        statuses = [each["STATUS"] for each in self.manager.told() if "STATUS" in each]
        self.assertTrue(statuses[0].startswith("1 of 2 slots taken; 0 of 100"))
        self.assertIn("generation 1", statuses[0])
        server.process.send_signal(signal.SIGHUP)
        self.waitFor(RELOADING="1")
        self.waitFor(READY="1")
        self.assertEqual(
            samples(server.get("metrics").body)["qgswps_generation", ()], 2
        )
        server.process.send_signal(signal.SIGTERM)
        self.waitFor(STOPPING="1")
        # So ends who was ended by a signal, and systemd takes it as well done.
        self.assertEqual(server.process.wait(PATIENCE), -signal.SIGTERM)
        self.plainLines()


class MonitoredTests(TestCase):
    """The figures of a server that works."""

    def test_figures(self) -> None:
        """What jobs do is in the figures; these may have a port of their own."""
        port = freePort()
        server = JSONServer(
            "--debug",
            QGSWPS_SERVER_METRICS_LISTEN=f"tcp:{port}:interface=127.0.0.1",
            QGSWPS_SERVER_ENABLE_JOB_REALM="yes",
        )
        self.addCleanup(server.stop)
        self.assertEqual(server.get("metrics").status, 404)
        self.assertEqual(server.get("healthz").text, "ok\n")
        sleep(server, 0.3)
        server.execute("script:mishap", {"KIND": "abort"})
        base, server.port = server.port, port

        def found() -> Any:
            figures = samples(server.get("metrics").body)
            peaks = figures["qgswps_worker_peak_memory_bytes_count", ()]
            return figures if peaks == 2 else None

        figures = server.waitUntil(found, "the peaks are not there")
        self.assertEqual(json.loads(server.get("readyz").body)["ready"], True)
        self.assertEqual(server.get("ows/").status, 404)
        server.port = base
        ledger = "script:ledger"
        self.assertEqual(figures["qgswps_jobs_accepted_total", (ledger,)], 1)
        ended = ("qgswps_jobs_finished_total", (ledger, "succeeded"))
        self.assertEqual(figures[ended], 1)
        ended = ("qgswps_jobs_finished_total", ("script:mishap", "failed"))
        self.assertEqual(figures[ended], 1)
        self.assertGreater(figures["qgswps_job_running_seconds_sum", (ledger,)], 0.25)
        peak = figures["qgswps_worker_peak_memory_max_bytes", (ledger,)]
        self.assertGreater(peak, 50 * 2**20)
        # Those of the warm-up are the fork server's own.
        self.assertEqual(figures["qgswps_fork_seconds_count", ()], 2)
        self.assertLess(figures["qgswps_fork_seconds_sum", ()], 2)
        self.jsonLines(server)

    def jsonLines(self, server: LiveServer) -> None:
        """Each line of the log is an object, with the job's fields."""
        events = [json.loads(line) for line in server.log().splitlines()]
        event, *_ = [each for each in events if " started in " in each["text"]]
        self.assertEqual(event["level"], "debug")
        self.assertEqual(event["namespace"], "qgswps.jobs.queue")
        self.assertIsInstance(event["pid"], int)
        self.assertIn(event["job"], event["text"])
        ended, *_ = [each for each in events if each.get("state") == "succeeded"]
        self.assertEqual(ended["process"], "script:ledger")


class PrivilegesTests(TestCase):
    """Root starts a server that is not root's."""

    def test_dropped(self) -> None:
        """It works as another user, whose work directory it makes, and again."""
        reason = notNobody()
        if reason:
            raise SkipTest(reason)
        home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.addCleanup(shutil.rmtree, home)
        os.chmod(home, 0o755)
        workdir = os.path.join(home, "work")
        for _ in range(2):
            server = AsNobody(workdir=workdir)
            self.addCleanup(server.stop)
            for pid in (server.process.pid, *descendants(server.process.pid)):
                uids = Path(f"/proc/{pid}/status").read_text()
                self.assertIn(f"\nUid:\t{NOBODY}\t{NOBODY}\t", uids)
            sleep(server)
            self.assertEqual(server.stop(), -signal.SIGTERM)
        owners = {path.stat().st_uid for path in Path(workdir).rglob("*")}
        self.assertEqual(owners, {NOBODY})


PAGE = Path(ROOT, "docs", "operations.md")


def snippet(language: str) -> str:
    """The one block of the page in a language."""
    pattern = rf"^```{re.escape(language)}\n(.*?)^```$"
    (found,) = re.findall(pattern, PAGE.read_text(), re.MULTILINE | re.DOTALL)
    text: str = found
    return text


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """A text with others in place of some, each of which is there."""
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    return text


class PageTests(SynchronousTestCase):
    """What the page says of the configuration."""

    def test_ini(self) -> None:
        """Each block of the ini file can be read, and none is warned about."""
        languages = re.findall(r"^```(ini \w+)$", PAGE.read_text(), re.MULTILINE)
        self.assertEqual(len(languages), 6)
        for language in languages:
            path = self.mktemp()
            Path(path).write_text(snippet(language))
            warnings: list[str] = []
            load(path, {}, {}, warnings.append)
            self.assertEqual(warnings, [], language)

    def test_words(self) -> None:
        """Keys and metrics that the page names are there."""
        text = PAGE.read_text()
        metrics = Metrics("").render(Figures()).decode()
        for name in set(re.findall(r"`(qgswps_\w+)[`{]", text)):
            self.assertIn(f"# TYPE {name.removesuffix('_total')}", metrics)
        keys = {name for s in SECTIONS for key in s.keys for name in key.names}
        for name in (
            *("stop_grace", "http_proxy", "host_proxy", "response_timeout"),
            *("maxbuffersize", "metrics", "metrics_listen", "strict_check", "rootdir"),
            *("providers_module_path", "response_expiration", "parallelprocesses"),
        ):
            self.assertIn(f"`{name}", text)
            self.assertIn(name, keys)

    def test_links(self) -> None:
        """Links lead to pages that are there."""
        for target in re.findall(r"\]\(([^)#]+)", PAGE.read_text()):
            self.assertTrue((PAGE.parent / target).exists(), target)


class ActivatedServer(LiveServer):
    """A server whose port is there before it is."""

    def before(self) -> list[str]:
        """What listens in its place until the first request comes."""
        names = [name for name in os.environ if name.startswith("LC_")]
        names += ["LANG", "PYTHONPATH", "QGSWPS_CACHE_ROOTDIR"]
        names += ["QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH"]
        passed = [word for name in names for word in ("-E", name)]
        # systemd itself names each socket, and newer Twisted wants that.
        named = "--fdname=qgswps.socket"
        address = f"127.0.0.1:{self.port}"
        return ["systemd-socket-activate", "-l", address, named, *passed]


def inodes(pid: int) -> set[str]:
    """The sockets that a process has open."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return {each for each in found if each.startswith("socket:")}


class SocketTests(TestCase):
    """Socket activation."""

    def test_activation(self) -> None:
        """The server takes the socket, and its workers have none of it."""
        if shutil.which("systemd-socket-activate") is None:
            raise SkipTest("systemd-socket-activate is not installed")
        match = re.search("listen = (.*)", snippet("ini socket"))
        assert match is not None
        server = ActivatedServer("--listen", match[1])
        self.addCleanup(server.stop)
        sleep(server)
        worker = server.forkServer()
        self.assertEqual(inodes(server.process.pid) & inodes(worker), set())
        names = environmentOf(worker)
        self.assertEqual(names & {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}, set())


class TLSTests(TestCase):
    """TLS without a web server."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.addCleanup(shutil.rmtree, self.home)
        self.cert, key = (os.path.join(self.home, f"{n}.pem") for n in ("cert", "key"))
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", key, "-out", self.cert, "-days", "2"),
            ],
            check=True,
            capture_output=True,
        )
        self.context = ssl.create_default_context(cafile=self.cert)

    def serve(self, text: str, *options: str, port: int = 0) -> LiveServer:
        """A server with a configuration, which is asked by TLS."""
        config = os.path.join(self.home, "qgswps.conf")
        Path(config).write_text(text)
        context = self.context

        class Secured(LiveServer):
            def request(self, method: str, path: str, *_: Any, **__: Any) -> Answer:
                connection = http.client.HTTPSConnection(
                    "localhost", port or self.port, timeout=PATIENCE, context=context
                )
                with contextlib.closing(connection):
                    connection.request(method, f"/{path}")
                    response = connection.getresponse()
                    headers = {n.lower(): v for n, v in response.getheaders()}
                    return Answer(response.status, headers, response.read())

        server = Secured("--config", config, *options)
        self.addCleanup(server.stop)
        return server

    def test_https(self) -> None:
        """The keys make an endpoint, and documents have its scheme."""
        server = self.serve(snippet("ini tls"))
        answer = server.wps("GetCapabilities")
        self.assertIn(f'"https://localhost:{server.port}/ows/', answer.text)
        self.assertNotIn("strict-transport-security", answer.headers)

    def versions(self, port: int) -> dict[str, bool]:
        """Which versions of TLS the server speaks, to who would speak any."""
        found = {}
        for version in (
            ssl.TLSVersion.TLSv1,
            ssl.TLSVersion.TLSv1_1,
            ssl.TLSVersion.TLSv1_2,
            ssl.TLSVersion.TLSv1_3,
        ):
            context = ssl.create_default_context(cafile=self.cert)
            # Else our own library would refuse the old ones before the server.
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = version
            with socket.create_connection(("localhost", port), PATIENCE) as raw:
                try:
                    with context.wrap_socket(raw, server_hostname="localhost") as tls:
                        found[tls.version() or ""] = True
                except (ssl.SSLError, ConnectionError):
                    found[version.name.replace("_", ".")] = False
        return found

    def test_endpoint(self) -> None:
        """An endpoint by itself; what is old is not spoken, and HSTS is told."""
        port = freePort()
        text = replaced(
            snippet("ini endpoint"),
            ("ssl:8443:", f"ssl:{port}:interface=127.0.0.1:"),
            ("key.pem", os.path.join(self.home, "key.pem")),
            ("cert.pem", self.cert),
        )
        endpoint = re.search("listen = (.*)", text)
        assert endpoint is not None
        server = self.serve(text, "--listen", endpoint[1], port=port)
        answer = server.wps("GetCapabilities")
        self.assertEqual(
            answer.headers["strict-transport-security"], "max-age=31536000"
        )
        self.assertEqual(
            self.versions(port),
            {"TLSv1": False, "TLSv1.1": False, "TLSv1.2": True, "TLSv1.3": True},
        )


class ProxyTests(TestCase):
    """The web servers of the page."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.addCleanup(shutil.rmtree, self.home)
        os.chmod(self.home, 0o755)
        self.port = freePort()

    @property
    def base(self) -> str:
        """The public URL."""
        return f"http://127.0.0.1:{self.port}/wps/"

    def run_(self, *command: str) -> None:
        """Run a web server until the test has ended."""
        log = open(os.path.join(self.home, "log"), "wb")  # noqa: SIM115
        self.addCleanup(log.close)
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        self.through = proxied()

        def answers() -> bool:
            if process.poll() is not None:
                raise AssertionError(Path(self.home, "log").read_text())
            with contextlib.suppress(OSError):
                return self.ask("wps/healthz").status == 200
            return False

        self.through.waitUntil(answers, "the web server does not answer")

    def ask(self, path: str, *arguments: Any, **options: Any) -> Answer:
        """What is answered by way of the web server."""
        server = proxied()
        there, server.port = server.port, self.port
        try:
            return server.request("GET", path, *arguments, **options)
        finally:
            server.port = there

    def works(self) -> None:
        """Clients notice nothing of the web server."""
        # Nobody can say another public URL, or who he is.
        spoofed = {
            "X-Forwarded-Url": "http://evil.example/",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "host=evil.example",
            "X-Qgis-Service-Url": "http://evil.example/",
            "X-Forwarded-For": "203.0.113.9",
            "X-Request-ID": "forged",
        }
        query = "service=WPS&version=1.0.0&request="
        answer = self.ask(f"wps/ows/?{query}GetCapabilities", None, spoofed)
        self.assertEqual(answer.status, 200)
        self.assertIn(f'"{self.base}ows/', answer.text)
        self.assertNotIn("evil.example", answer.text)
        # Separators that are percent-encoded stay so.
        inputs = "FILE=%2Fdev%2Fnull%3BTOKEN=a%252Fb%253Bc%3BSECONDS=0"
        execute = f"wps/ows/?{query}Execute&identifier=script%3Aledger"
        answer = self.ask(f"{execute}&datainputs={inputs}")
        self.assertIn("ProcessSucceeded", answer.text)
        # A map of a result, by the reference in the document.
        buffer = (
            "identifier=native:buffer&map=world&datainputs=INPUT=cities%3BDISTANCE=2"
            "%3BOUTPUT=our%20zones"
        )
        answer = self.ask(f"wps/ows/?{query}Execute&{buffer}", None, spoofed)
        (url,) = re.findall(r'Reference[^>]* href="([^"]+)"', answer.text)
        url = url.replace("&amp;", "&")
        self.assertTrue(url.startswith(self.base), url)
        self.assertIn("our%20zones", url)
        found = self.ask(url.removeprefix(self.base.removesuffix("wps/")))
        self.assertIn("our zones", found.text)
        # A body of some size.
        layer = {
            "type": "MultiPoint",
            "coordinates": [[x / 1e5, 1.0] for x in range(100_000)],
        }
        body = (
            f'<wps:Execute service="WPS" version="1.0.0" xmlns:wps="{WPS}"'
            f' xmlns:ows="{OWS}"><ows:Identifier>native:boundingboxes'
            "</ows:Identifier><wps:DataInputs><wps:Input><ows:Identifier>INPUT"
            '</ows:Identifier><wps:Data><wps:ComplexData mimeType="application/'
            f'geo+json">{json.dumps(layer)}</wps:ComplexData></wps:Data></wps:Input>'
            "</wps:DataInputs><wps:ResponseForm><wps:RawDataOutput><ows:Identifier>"
            "OUTPUT</ows:Identifier></wps:RawDataOutput></wps:ResponseForm>"
            "</wps:Execute>"
        )
        self.assertGreater(len(body), 1_500_000)
        server = proxied()
        there, server.port = server.port, self.port
        try:
            answer = server.request(
                "POST", "wps/ows/", body, {"Content-Type": "text/xml"}
            )
        finally:
            server.port = there
        self.assertEqual((answer.status, len(answer.json()["features"])), (200, 1))
        for path in ("wps/metrics", "wps/readyz"):
            self.assertEqual(self.ask(path).status, 404, path)
        self.assertEqual(server.get("metrics").status, 200)
        # Nor is he somebody else in the log.
        for text in ("203.0.113.9", "forged"):
            self.assertNotIn(text, server.log())

    def test_nginx(self) -> None:
        """nginx"""
        if shutil.which("nginx") is None:
            raise SkipTest("nginx is not installed")
        site = replaced(
            snippet("nginx"),
            ("127.0.0.1:8080", f"127.0.0.1:{proxied().port}"),
            ("listen 80;", f"listen 127.0.0.1:{self.port};"),
        )
        folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{name}_temp_path {self.home}/{name};" for name in folders)
        user = "user root;" if os.geteuid() == 0 else ""
        config = os.path.join(self.home, "nginx.conf")
        Path(config).write_text(
            f"daemon off; {user} pid {self.home}/pid; error_log stderr;"
            f"events {{}} http {{ access_log off; {paths}\n{site}}}\n"
        )
        self.run_("nginx", "-c", config, "-e", "stderr")
        self.works()

    def test_apache(self) -> None:
        """Apache"""
        if shutil.which("apache2") is None:
            raise SkipTest("apache2 is not installed")
        site = replaced(
            snippet("apache"),
            ("127.0.0.1:8080", f"127.0.0.1:{proxied().port}"),
            ("*:80", f"127.0.0.1:{self.port}"),
        )
        modules = "mpm_event authz_core proxy proxy_http headers"
        load = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in modules.split()
        )
        config = os.path.join(self.home, "apache.conf")
        Path(config).write_text(
            f"{load}ServerName localhost\nListen 127.0.0.1:{self.port}\n"
            f"PidFile {self.home}/pid\nDefaultRuntimeDir {self.home}\n"
            f"ErrorLog /dev/stderr\nUser nobody\nGroup nogroup\n{site}"
        )
        self.run_("apache2", "-D", "FOREGROUND", "-f", config)
        self.works()


@cache
def proxied() -> LiveServer:
    """The server behind the web servers, with the page's configuration."""
    folder = tempfile.mkdtemp(prefix="qgswps-test-")
    atexit.register(shutil.rmtree, folder)
    config = os.path.join(folder, "qgswps.conf")
    Path(config).write_text(snippet("ini proxy"))
    return LiveServer("--config", config)
