"""Tests of L{qgswps.tap}, of the plugin, and of the package as installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import twisted
from twisted.application.service import IServiceMaker, MultiService
from twisted.logger import LogLevel
from twisted.plugin import getPlugins
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import qgswps
from qgswps import tap
from qgswps.config import SECTIONS, Settings
from qgswps.journal import Logger
from qgswps.kinds import RedisStore

ROOT = Path(qgswps.__file__).parent.parent


def options(*arguments: str) -> tap.Options:
    """The options of a command line."""
    made = tap.Options()
    made.parseOptions(arguments)
    return made


def withoutOurs() -> dict[str, str]:
    """The environment without what configures qgswps."""
    return {k: v for k, v in os.environ.items() if not k.startswith("QGSWPS_")}


class OptionsTests(SynchronousTestCase):
    """The options, without twistd."""

    def setUp(self) -> None:
        self.patch(os, "environ", withoutOurs())

    def test_all(self) -> None:
        """Each option reaches its key."""
        settings = options(
            *("--port", "1", "-b", "::1", "--workdir=/w", "--workers", "3"),
            *("--store", "redis://h:1/2", "-d"),
        ).settings()
        self.assertEqual(settings.server.port, 1)
        self.assertEqual(settings.server.interfaces, ("::1",))
        self.assertEqual(settings.server.workdir, "/w")
        self.assertEqual(settings.server.workers, 3)
        self.assertEqual(settings.server.store, RedisStore("h", 1, 2))
        self.assertEqual(settings.logging.level, "debug")
        self.assertEqual(settings.origins["logging", "level"].name, "--debug")

    def test_none(self) -> None:
        """Without options there are only defaults."""
        self.assertEqual(options().settings().origins, {})

    def test_listen(self) -> None:
        """Endpoints may be given repeatedly."""
        settings = options("--listen", "tcp:1", "--listen=unix:/x").settings()
        self.assertEqual(settings.server.listen, ("tcp:1", "unix:/x"))

    def test_wrongEndpoint(self) -> None:
        """Twisted is asked what it thinks of an endpoint."""
        for endpoint in ("foo:1", "tcp:x", "tcp:1:y=2", "ssl:1:privateKey=/nowhere"):
            error = self.assertRaises(
                SystemExit, options("--listen", endpoint).settings
            )
            self.assertIn(
                f"qgswps: --listen: expected an endpoint, not {endpoint!r}:", str(error)
            )

    def test_wrongTLS(self) -> None:
        """A certificate that can't be used is a fault of its key."""
        self.patch(
            os,
            "environ",
            {
                **os.environ,
                "QGSWPS_SERVER_SSL": "yes",
                "QGSWPS_SERVER_SSL_CERT": "/nowhere",
            },
        )
        error = self.assertRaises(SystemExit, options().settings)
        self.assertIn("qgswps: QGSWPS_SERVER_SSL_CERT: it can't be used", str(error))

    def test_wrongMetricsEndpoint(self) -> None:
        """So is another endpoint."""
        self.patch(
            os, "environ", {**os.environ, "QGSWPS_SERVER_METRICS_LISTEN": "foo:1"}
        )
        error = self.assertRaises(SystemExit, options().settings)
        self.assertIn(
            "qgswps: QGSWPS_SERVER_METRICS_LISTEN: expected an endpoint, not 'foo:1'",
            str(error),
        )

    def test_owner(self) -> None:
        """Who twistd becomes is what its options say."""
        group = pwd.getpwuid(65534).pw_gid
        for parent, expected in [
            (None, None),
            ({"uid": None, "gid": None}, None),
            ({"uid": 65534, "gid": None}, (65534, group)),
            ({"uid": 65534, "gid": 7}, (65534, 7)),
            ({"uid": None, "gid": 7}, (os.getuid(), 7)),
        ]:
            self.assertEqual(tap.owner(parent), expected)
        error = self.assertRaises(SystemExit, tap.owner, {"uid": 54321, "gid": None})
        self.assertEqual(str(error), "qgswps: --uid: there is no user 54321")

    def test_systemd(self) -> None:
        """An endpoint of systemd is fine without systemd."""
        endpoint = "systemd:domain=INET:index=0"
        settings = options("--listen", endpoint).settings()
        self.assertEqual(settings.server.endpoints, (endpoint,))

    def test_systemdMisspelt(self) -> None:
        """An endpoint of systemd must have the form of one all the same."""
        made = options("--listen", "systemd:domian=INET:index=0")
        error = self.assertRaises(SystemExit, made.settings)
        self.assertIn("--listen: expected an endpoint, not 'systemd:", str(error))

    def test_everyOption(self) -> None:
        """Each option of the schema is one of the command line."""
        usage = str(tap.Options())
        for section in SECTIONS:
            for key in section.keys:
                if key.option is not None:
                    self.assertIn(f"--{key.option.name}", usage)


class MakeServiceTests(SynchronousTestCase):
    """L{tap.makeService}, with another application."""

    def setUp(self) -> None:
        self.patch(os, "environ", withoutOurs())
        self.built: list[tuple[Settings, object]] = []
        self.service = MultiService()
        self.module = types.ModuleType("qgswps.application")
        self.module.build = self.build  # type: ignore[attr-defined]
        self.patch(Logger, "threshold", LogLevel.info)
        before = sys.modules.get("qgswps.application")
        sys.modules["qgswps.application"] = self.module
        if before is None:
            self.addCleanup(sys.modules.pop, "qgswps.application")
        else:
            self.addCleanup(sys.modules.__setitem__, "qgswps.application", before)

    def build(self, settings: Settings, reactor: object, owner: object) -> MultiService:
        self.built.append((settings, reactor))
        return self.service

    def test_builds(self) -> None:
        """The application is built of the settings and twistd's reactor."""
        from twisted.internet import reactor

        made = tap.makeService(options("-p", "1", "--debug"))
        self.assertIs(made, self.service)
        ((settings, given),) = self.built
        self.assertEqual(settings.server.port, 1)
        self.assertIs(given, reactor)
        self.assertIs(Logger.threshold, LogLevel.debug)

    def test_refused(self) -> None:
        """A value that the application can't use ends the process."""

        def build(settings: Settings, reactor: object, owner: object) -> MultiService:
            raise settings.problem("server", "store", "there is no such thing")

        self.module.build = build  # type: ignore[attr-defined]
        error = self.assertRaises(
            SystemExit, tap.makeService, options("--store", "redis://h")
        )
        self.assertEqual(str(error), "qgswps: --store: there is no such thing")

    def test_noSocket(self) -> None:
        """A server that systemd has passed no socket says so, and ends."""
        for endpoint in ("systemd:domain=INET:index=0", "systemd:domain=INET:index=7"):
            error = self.assertRaises(
                SystemExit, tap.makeService, options("--listen", endpoint)
            )
            self.assertEqual(
                str(error),
                "qgswps: --listen: systemd has passed no such socket as"
                f" {endpoint!r}: start the server by its socket unit"
                " (qgswps.socket), or name an endpoint that needs none, such as"
                " tcp:8080",
            )
        self.assertEqual(self.built, [])


class PluginTests(SynchronousTestCase):
    """The plugin."""

    def test_one(self) -> None:
        """There is one plugin of the name."""
        found = [p for p in getPlugins(IServiceMaker) if p.tapname == "qgswps"]
        self.assertEqual(len(found), 1)
        self.assertIs(found[0].options, tap.Options)
        self.assertIs(found[0].makeService, tap.makeService)

    def test_noPackage(self) -> None:
        """Our folders of plugins are no packages, which would hide Twisted."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class TwistdTests(SynchronousTestCase):
    """The real twistd."""

    def setUp(self) -> None:
        self.cwd = Path(self.mktemp())
        self.cwd.mkdir()

    def twistd(
        self, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run twistd on the plugin, in a folder of its own."""
        return subprocess.run(
            ["/usr/bin/twistd3", "-n", "qgswps", *arguments],
            cwd=self.cwd,
            env={**withoutOurs(), "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def assertFails(self, done: subprocess.CompletedProcess[str], *lines: str) -> None:
        """A run ended with status 1 and said nothing but these lines."""
        self.assertEqual(
            done.stderr.splitlines(), [f"qgswps: {line}" for line in lines]
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""))

    def test_version(self) -> None:
        """Both versions are told."""
        done = self.twistd("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        expected = f"qgswps {qgswps.__version__}\nTwisted {twisted.__version__}\n"
        self.assertEqual(done.stdout, expected)

    def test_help(self) -> None:
        """All options are listed, with their defaults."""
        done = self.twistd("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in ("-c, --config=", "-p, --port=", "-b, --bind=", "-d, --debug"):
            self.assertIn(option, done.stdout)
        self.assertIn("[default: 127.0.0.1]", done.stdout)

    def test_check(self) -> None:
        """What is in force is told, with where it comes from."""
        (self.cwd / "x.conf").write_text("[qgis.settings]\na/B = 1\n")
        done = self.twistd(
            *("-c", "x.conf", "--check", "-p", "81"),
            QGSWPS_LOGLEVEL="debug",
            QGSWPS_LOGLEVLE="x",
        )
        self.assertEqual(done.returncode, 0)
        for lines in (
            "# --port:\nport = 81\n",
            "# QGSWPS_LOGLEVEL:\nlevel = debug\n",
            "# x.conf:\na/B = 1\n",
            "#interfaces = 127.0.0.1\n",
        ):
            self.assertIn(lines, done.stdout)
        self.assertEqual(
            done.stderr,
            "qgswps: QGSWPS_LOGLEVLE: there is no such variable; did you mean"
            " QGSWPS_LOGLEVEL?\n",
        )
        # Nothing was made, and no pid file looked for.
        self.assertEqual([path.name for path in self.cwd.iterdir()], ["x.conf"])

    def test_listing(self) -> None:
        """What would be published is listed and described, and nothing made."""
        scripts = self.cwd / "own" / "scripts"
        scripts.mkdir(parents=True)
        (scripts / "wrong.py").write_text("def wrong(:\n")
        own = {"QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH": "own"}
        listed = self.twistd("--list-processes", **own)
        self.assertEqual((listed.returncode, listed.stderr), (0, ""))
        lines = listed.stdout.splitlines()
        published = lines[: lines.index("")]
        self.assertIn("native:buffer\tBuffer", published)
        self.assertEqual(published, sorted(published, key=lambda x: x.split("\t")[0]))
        path = scripts.absolute() / "wrong.py"
        self.assertTrue(
            any(x.startswith(f"not published: {path}: SyntaxError") for x in lines)
        )
        self.assertTrue(
            any(
                x.startswith("not published: native:filedownloader: den") for x in lines
            )
        )
        described = self.twistd("--describe", "native:buffer")
        self.assertEqual((described.returncode, described.stderr), (0, ""))
        for text in ("native:buffer\tBuffer\n", "\nInputs\n", "\nOutputs\n"):
            self.assertIn(text, described.stdout)
        self.assertFails(
            self.twistd("--describe", "native:bufer", QGSWPS_LOGLEVEL="debug"),
            "there is no process 'native:bufer'; did you mean native:buffer or"
            " native:bufferbym or native:wedgebuffers?",
        )
        self.assertEqual([path.name for path in self.cwd.iterdir()], ["own"])

    def test_checkCanBeRead(self) -> None:
        """What is told is a configuration that says the same."""
        first = self.twistd("--check", "--listen", "tcp:1", "--listen", "tcp:2")
        (self.cwd / "x.conf").write_text(first.stdout)
        second = self.twistd("--check", "-c", "x.conf")
        self.assertEqual(second.stdout, first.stdout.replace("--listen:", "x.conf:"))

    def test_wrong(self) -> None:
        """What is wrong is told by its place, with and without --check."""
        (self.cwd / "x.conf").write_text("[server]\nprot = 1\nmaxqueuesize = x\n")
        for check in ([], ["--check"]):
            self.assertFails(
                self.twistd(*check, "-c", "x.conf", QGSWPS_SERVER_HTTP_PORT="p"),
                "x.conf: [server] prot: there is no such key; did you mean port?",
                "QGSWPS_SERVER_HTTP_PORT: expected a whole number from 0 to 65535,"
                " not 'p'",
                "x.conf: [server] maxqueuesize: expected a whole number, 1 or more,"
                " not 'x'",
            )

    def test_noFile(self) -> None:
        """A file that is not there is named."""
        self.assertFails(
            self.twistd("-c", "none.conf"), "none.conf: No such file or directory"
        )

    def test_usage(self) -> None:
        """A wrong option ends in status 1, unlike with twistd alone."""
        hint = "twistd3 qgswps --help lists the options"
        self.assertFails(self.twistd("--foo"), "option --foo not recognized", hint)
        self.assertFails(self.twistd("foo"), "Wrong number of arguments.", hint)

    def test_noReactorEarly(self) -> None:
        """Neither the command line nor the plugin chooses the reactor."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, qgswps.tap, twisted.plugins.qgswps_plugin\n"
                "qgswps.tap.Options().parseOptions(['--listen', 'tcp:1'])\n"
                "sys.exit('twisted.internet.reactor' in sys.modules)",
            ],
            env={**withoutOurs(), "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0)


class PackageTests(SynchronousTestCase):
    """The package, as it gets installed."""

    def setUp(self) -> None:
        # Building leaves files in the tree.
        self.tree = Path(self.mktemp()).absolute()
        self.tree.mkdir()
        for name in ("qgswps", "twisted"):
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(ROOT / name, self.tree / name, ignore=ignored)
        self.expected = self.files(self.tree)
        for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"):
            shutil.copy(ROOT / name, self.tree)
        self.target = self.tree / "target"

    def python(self, *arguments: str) -> None:
        """Run Python in the tree."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.tree,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def files(self, folder: Path) -> set[str]:
        """The files of the package in a folder."""
        return {
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file()
            and "__pycache__" not in path.parts
            and not any(part.endswith(".dist-info") for part in path.parts)
        }

    def assertComplete(self) -> None:
        """All that belongs to the package is there, and no more."""
        found = self.files(self.target)
        self.assertIn("twisted/plugins/qgswps_plugin.py", found)
        self.assertIn("qgswps/py.typed", found)
        self.assertEqual(found, self.expected)

    def test_build(self) -> None:
        """What setup.py builds is complete."""
        self.python("setup.py", "--quiet", "build_py", "--build-lib", str(self.target))
        self.assertComplete()

    def test_pip(self) -> None:
        """What pip installs is complete, and has name and version."""
        if find_spec("pip") is None or find_spec("wheel") is None:
            raise SkipTest("pip and wheel are not installed")
        self.python(
            *("-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--target", str(self.target), "."),
        )
        self.assertComplete()
        name = f"qgswps-{qgswps.__version__}.dist-info"
        metadata = (self.target / name / "METADATA").read_text(encoding="utf-8")
        self.assertIn("\nLicense: GPL-2.0-or-later\n", metadata)
