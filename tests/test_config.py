"""Tests of L{qgswps.config}, L{qgswps.kinds} and L{qgswps.configdoc}."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

import qgswps
from qgswps import config, configdoc
from qgswps.config import (
    SECTIONS,
    ConfigurationError,
    Layer,
    Settings,
    load,
)
from qgswps.kinds import (
    ORIGINS,
    ProjectDatabase,
    ProjectFolder,
    RedisStore,
    SQLiteStore,
)
from qgswps.tap import report

ROOT = Path(qgswps.__file__).parent.parent


class ConfigTestCase(SynchronousTestCase):
    """Loads configurations."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.warnings: list[str] = []

    def write(self, text: str | bytes) -> str:
        """Write the configuration file."""
        data = text.encode() if isinstance(text, str) else text
        Path(self.path).write_bytes(data)
        return self.path

    def load(
        self,
        text: str | bytes | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[tuple[str, str], str] | None = None,
    ) -> Settings:
        """Load a configuration with a file of this text."""
        path = None if text is None else self.write(text)
        return load(path, environ or {}, overrides or {}, self.warnings.append)

    def problems(
        self,
        text: str | bytes | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[tuple[str, str], str] | None = None,
    ) -> list[str]:
        """What is wrong, with FILE for the file's name."""
        error = self.assertRaises(
            ConfigurationError, self.load, text, environ, overrides
        )
        self.assertEqual(str(error), "\n".join(error.problems))
        return [problem.replace(self.path, "FILE") for problem in error.problems]


class SchemaTests(SynchronousTestCase):
    """The schema itself."""

    def test_defaults(self) -> None:
        """Each default is a value that its kind allows, as it is written."""
        for section in SECTIONS:
            for key in section.keys:
                value = key.kind.parse(key.defaultText, os.getcwd())
                if key.id != ("server", "workdir"):
                    self.assertEqual(value, key.default, key.id)

    def test_variablesAreUnambiguous(self) -> None:
        """No two keys share an environment variable, an option or a name."""
        for names in (
            [v for s in SECTIONS for key in s.keys for v in key.variables],
            [
                (s.name, n)
                for s in SECTIONS
                for k in s.keys
                for n in (k.name, *k.aliases)
            ],
            [k.option.name for s in SECTIONS for k in s.keys if k.option],
            [k.option.short for s in SECTIONS for k in s.keys if k.option],
        ):
            double = [n for n, count in Counter(names).items() if count > 1 and n]
            self.assertEqual(double, [])

    def test_knownVariables(self) -> None:
        """The variables of the field's servers are understood."""
        known = {v: k.id for s in SECTIONS for k in s.keys for v in k.variables}
        for variable, id in {
            "QGSWPS_SERVER_WORKDIR": ("server", "workdir"),
            "QGSWPS_SERVER_PARALLELPROCESSES": ("server", "parallelprocesses"),
            "QGSWPS_SERVER_HTTP_PORT": ("server", "port"),
            "QGSWPS_SERVER_PORT": ("server", "port"),
            "QGSWPS_SERVER_INTERFACES": ("server", "interfaces"),
            "QGSWPS_SERVER_PROXY_URL": ("server", "host_proxy"),
            "QGSWPS_CACHE_ROOTDIR": ("projects.cache", "rootdir"),
            "QGSWPS_PROJECTS_CACHE_ROOTDIR": ("projects.cache", "rootdir"),
            "QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH": (
                "processing",
                "providers_module_path",
            ),
            "QGSWPS_LOGLEVEL": ("logging", "level"),
            "QGSWPS_LOGGING_LEVEL": ("logging", "level"),
            "QGSWPS_METADATA_MAIN_TITLE": ("metadata:main", "title"),
            "QGSWPS_REDIS_HOST": ("logstorage:redis", "host"),
            "QGSWPS_REDIS_PORT": ("logstorage:redis", "port"),
            "QGSWPS_REDIS_DBNUM": ("logstorage:redis", "dbnum"),
            "QGSWPS_REDIS_PASSWORD": ("logstorage:redis", "password"),
            "QGSWPS_LOGSTORAGE_REDIS_HOST": ("logstorage:redis", "host"),
        }.items():
            self.assertEqual(known.get(variable), id, variable)

    def test_frozen(self) -> None:
        """Settings can't be changed by chance."""
        settings = Settings()
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            settings.server = config.Server()  # type: ignore[misc]

    def test_shippedFiles(self) -> None:
        """
        The shipped configuration and the reference are what the schema
        makes; if not, make them again by C{python3 -m qgswps.configdoc}.
        """
        conf = (ROOT / "conf" / "qgswps.conf").read_text(encoding="utf-8")
        self.assertEqual(conf, configdoc.conf())
        docs = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
        self.assertEqual(docs, configdoc.docs())

    def test_shippedFileIsDefault(self) -> None:
        """The shipped configuration changes nothing."""
        shipped = load(str(ROOT / "conf" / "qgswps.conf"), {}, {})
        self.assertEqual(shipped, load(None, {}, {}))

    def test_shippedKeysAreGood(self) -> None:
        """With all its keys uncommented the shipped file says the same."""
        lines = configdoc.conf().splitlines()
        lines = [re.sub("^#(?=[a-z])", "", line) for line in lines]
        path = self.mktemp()
        Path(path).write_text("\n".join(lines), encoding="utf-8")
        settings = load(path, {}, {})
        keys = {key.id for section in SECTIONS for key in section.keys}
        self.assertEqual(set(settings.origins), keys)
        workdir = os.path.join(os.path.dirname(os.path.abspath(path)), "qgswps-work")
        self.assertEqual(settings.server.workdir, workdir)
        server = attrs.evolve(
            settings.server, workdir=load(None, {}, {}).server.workdir
        )
        self.assertEqual(attrs.evolve(settings, server=server), load(None, {}, {}))


class OrderTests(ConfigTestCase):
    """Default < file < environment < command line."""

    def test_layers(self) -> None:
        """Each layer wins over the one before."""
        text = "[server]\nport = 1001\n"
        environ = {"QGSWPS_SERVER_HTTP_PORT": "1002"}
        overrides = {("server", "port"): "1003"}
        self.assertEqual(self.load().server.port, 8080)
        self.assertEqual(self.load(text).server.port, 1001)
        self.assertEqual(self.load(text, environ).server.port, 1002)
        self.assertEqual(self.load(text, environ, overrides).server.port, 1003)

    def test_origins(self) -> None:
        """It is known where a value comes from."""
        settings = self.load(
            "[server]\nworkdir = w\n",
            {"QGSWPS_LOGLEVEL": "WARNING"},
            {("server", "port"): "1"},
        )
        origins = settings.origins
        self.assertEqual(origins["server", "workdir"].layer, Layer.FILE)
        self.assertEqual(origins["logging", "level"].name, "QGSWPS_LOGLEVEL")
        self.assertEqual(origins["server", "port"].name, "--port")
        self.assertNotIn(("server", "interfaces"), origins)
        self.assertEqual(settings.logging.level, "warn")

    def test_problem(self) -> None:
        """A value that proves wrong later is named by its origin too."""
        settings = self.load(
            "[projects.cache]\nrootdir = /x\n",
            {"QGSWPS_SERVER_STORE": "redis://h"},
            {("server", "port"): "80"},
        )
        for id, expected in {
            ("projects.cache", "rootdir"): f"{self.path}: [projects.cache] rootdir: no",
            ("server", "store"): "QGSWPS_SERVER_STORE: no",
            ("server", "port"): "--port: no",
            ("server", "workdir"): "[server] workdir: no",
        }.items():
            self.assertEqual(str(settings.problem(*id, "no")), expected)

    def test_emptyVariable(self) -> None:
        """An empty variable is as good as none."""
        self.assertEqual(
            self.load(environ={"QGSWPS_SERVER_PORT": ""}).server.port, 8080
        )

    def test_unknownVariable(self) -> None:
        """A variable that is not known is warned about, with the nearest."""
        self.load(environ={"QGSWPS_SERVER_PROT": "1", "PATH": "/bin", "QGSWPSX": "1"})
        self.assertEqual(
            self.warnings,
            [
                "QGSWPS_SERVER_PROT: there is no such variable; did you mean"
                " QGSWPS_SERVER_PORT?"
            ],
        )

    def test_sameVariableTwice(self) -> None:
        """Two variables for one key may agree, and must not differ."""
        environ = {"QGSWPS_SERVER_PORT": "1", "QGSWPS_SERVER_HTTP_PORT": "1"}
        self.assertEqual(self.load(environ=environ).server.port, 1)
        environ["QGSWPS_SERVER_PORT"] = "2"
        self.assertEqual(
            self.problems(environ=environ),
            [
                "QGSWPS_SERVER_PORT: this means the same as"
                " QGSWPS_SERVER_HTTP_PORT, which has another value"
            ],
        )

    def test_listenYields(self) -> None:
        """Endpoints lose to a port from a stronger layer, and to no other."""
        text = "[server]\nport = 1\nlisten = tcp:2\n"
        self.assertEqual(self.load(text).server.endpoints, ("tcp:2",))
        strong = self.load(text, overrides={("server", "port"): "3"})
        self.assertEqual(
            strong.server.endpoints, ("tcp:port=3:interface=127.0.0.1:backlog=1024",)
        )
        self.assertNotIn(("server", "listen"), strong.origins)

    def test_redisHost(self) -> None:
        """To set a host selects Redis."""
        settings = self.load("[logstorage:redis]\nport = 1\n")
        self.assertIsInstance(settings.storeURL, SQLiteStore)
        settings = self.load(
            "[logstorage:redis]\nport = 1\ndbnum = 2\n", {"QGSWPS_REDIS_HOST": "h"}
        )
        self.assertEqual(settings.storeURL, RedisStore("h", 1, 2))

    def test_storeAndRedis(self) -> None:
        """
        Of a store's URL and the keys of the Redis server the stronger layer
        wins; what a URL says stands in these keys then.
        """
        file = "[server]\nstore = redis://f:1/1\n"
        option = {("server", "store"): "redis://o:3"}
        for text, environ, overrides, expected in [
            (file, {}, {}, RedisStore("f", 1, 1)),
            (file, {"QGSWPS_REDIS_HOST": "e"}, {}, RedisStore("e")),
            (file, {"QGSWPS_REDIS_PORT": "2"}, {}, RedisStore("f", 2, 1)),
            (file, {"QGSWPS_REDIS_HOST": "e"}, option, RedisStore("o", 3)),
            (file, {"QGSWPS_REDIS_DBNUM": "4"}, option, RedisStore("o", 3)),
            (
                "[logstorage:redis]\nhost = f\n",
                {"QGSWPS_SERVER_STORE": "sqlite:///e"},
                {},
                SQLiteStore("/e"),
            ),
            (
                "[server]\nstore = sqlite:///f\n",
                {"QGSWPS_REDIS_HOST": "e"},
                {},
                RedisStore("e"),
            ),
            (
                "[logstorage:redis]\nhost = f\n[server]\nstore=\n",
                {},
                {},
                RedisStore("f"),
            ),
            (
                file + "[logstorage:redis]\nhost = f\nport = 1\n",
                {},
                {},
                RedisStore("f", 1, 1),
            ),
        ]:
            settings = self.load(text, environ, overrides)
            self.assertEqual(settings.storeURL, expected, (text, environ))

    def test_storeAgainstRedis(self) -> None:
        """In one layer they may not differ."""
        place = "this is not what FILE: [server] store says; give one of the two"
        for text, expected in {
            "store = redis://a:1\n[logstorage:redis]\nhost = b\nport = 1\n": ["host"],
            "store = redis://a:1/2\n[logstorage:redis]\nport = 2\n": ["port"],
            "store = sqlite:///a\n[logstorage:redis]\nhost = a\n": ["host"],
            "store = sqlite:///a\n[logstorage:redis]\nport = 2\n": [],
        }.items():
            if expected:
                self.assertEqual(
                    self.problems(f"[server]\n{text}"),
                    [f"FILE: [logstorage:redis] {name}: {place}" for name in expected],
                )
            else:
                self.load(f"[server]\n{text}")

    def test_schemes(self) -> None:
        """Further places with projects are folders and databases."""
        uri = "postgresql://u:p%20w@h:5433/?dbname=d&schema=s"
        settings = self.load(
            "[projects.schemes]\n"
            "one = /a/b/../c/\ntwo: file:///a%20b\nthree-3 = file://localhost/c\n"
            f"gis = {uri}\nPG = postgresql://?service=x&schema=y&sslmode=require\n"
        )
        self.assertEqual(
            settings.schemes,
            {
                "one": ProjectFolder("/a/c"),
                "two": ProjectFolder("/a b"),
                "three-3": ProjectFolder("/c"),
                "gis": ProjectDatabase(uri),
                "PG": ProjectDatabase(
                    "postgresql://?service=x&schema=y&sslmode=require"
                ),
            },
        )
        self.assertEqual(self.load().schemes, {})
        gis = settings.schemes["gis"]
        self.assertEqual(str(gis), "postgresql://u:********@h:5433/?dbname=d&schema=s")
        self.assertNotIn("p%20w", repr(settings))

    def test_wrongSchemes(self) -> None:
        """What is wrong with one is said, without its password."""
        start = (
            "expected an absolute path of a folder or"
            " postgresql://…?service=…&schema=…: "
        )
        for text, said in {
            "": "it is neither",
            "a/b": "it is neither",
            "http://h/": "it is neither",
            "postgres://?service=x&schema=y": "it is neither",
            "postgresql:?service=x&schema=y": "it is neither",
            "file://h/a": "a URL of a folder is file:///PATH",
            "file:a": "a URL of a folder is file:///PATH",
            "postgresql://u:secret@h:x/?schema=y": "it is no URL",
            "postgresql://u:secret@h/": "it has no schema=",
            "postgresql://u:secret@h/?schema=": "it has no schema=",
            "postgresql://u:secret@h/db?schema=y": "the database goes after the"
            " question mark, as dbname=",
            "postgresql://h/?schema=y#z": "the database goes after the"
            " question mark, as dbname=",
            "postgresql://u:secret@h/?schema=y&project=z": "it has project=, which is"
            " for requests to say",
            "postgresql://u@h/?schema=y&password=secret": "after the question mark it"
            " has more than, once each, service, sslmode, authcfg, dbname, schema",
            "postgresql://h/?schema=y&schema=z": "after the question mark it"
            " has more than, once each, service, sslmode, authcfg, dbname, schema",
            "postgresql://h/?secret": "after the question mark it has something else"
            " than key=value",
        }.items():
            self.assertEqual(
                self.problems(f"[projects.schemes]\ngis = {text}\n"),
                [f"FILE: [projects.schemes] gis: {start}{said}"],
            )
        for name in ("g.s", "1a", "a b", "é", "-"):
            self.assertEqual(
                self.problems(f"[projects.schemes]\n{name} = /a\n"),
                [
                    f"FILE: [projects.schemes] {name}: expected a name of letters and"
                    " digits"
                ],
            )

    def test_paths(self) -> None:
        """A path in the file starts from its folder, others from here."""
        settings = self.load(
            "[server]\nworkdir = w\n[processing]\nproviders_module_path = a, /b:c\n",
            {"QGSWPS_CACHE_ROOTDIR": "../p"},
        )
        folder = os.path.dirname(self.path)
        self.assertEqual(settings.server.workdir, f"{folder}/w")
        self.assertEqual(
            settings.processing.providersModulePath,
            (f"{folder}/a", "/b", f"{folder}/c"),
        )
        self.assertEqual(settings.projects.rootdir, os.path.abspath("../p"))
        self.assertTrue(os.path.isabs(self.load().server.workdir))
        self.assertEqual(self.load().projects.rootdir, "")


class FileTests(ConfigTestCase):
    """The ini file."""

    def test_sections(self) -> None:
        """All sections are read; QGIS's settings as they are."""
        settings = self.load(
            "\ufeff; a comment\n"
            "[qgis.settings]\nProcessing/Configuration/X = 50%%(a)s\nqgis/Y: é\n"
            "[metadata:main]\nidentification_title = Ünï\nabstract = one\n  two\n"
            "[processing]\nexposed_providers = native, gdal\n"
            "vector_formats = GPX, MapInfo File\nraster_formats = JPEG\n"
        )
        self.assertEqual(
            settings.qgisSettings,
            {"Processing/Configuration/X": "50%%(a)s", "qgis/Y": "é"},
        )
        self.assertEqual(settings.metadata.title, "Ünï")
        self.assertEqual(settings.metadata.abstract, "one\ntwo")
        self.assertEqual(settings.processing.exposedProviders, ("native", "gdal"))
        vectors = ("GPX", "MapInfo File")
        self.assertEqual(settings.processing.vectorFormats, vectors)
        self.assertEqual(settings.processing.rasterFormats, ("JPEG",))

    def test_lineEnds(self) -> None:
        """A file from another system is read."""
        self.assertEqual(self.load("[server]\r\nport = 1\r\n").server.port, 1)

    def test_unknown(self) -> None:
        """Unknown sections and keys are errors that suggest the nearest."""
        self.assertEqual(
            self.problems("[server]\nprot = 1\nzzzz = 1\n[sever]\n[DEFAULT]\nx=1\n"),
            [
                "FILE: [server] prot: there is no such key; did you mean port?",
                "FILE: [server] zzzz: there is no such key",
                "FILE: [sever]: there is no such section; did you mean server?",
                "FILE: [DEFAULT]: there is no such section",
            ],
        )

    def test_alias(self) -> None:
        """A key may not be there under two names."""
        self.assertEqual(
            self.problems("[server]\nhost_proxy = http://a\nproxy_url = http://b\n"),
            [
                "FILE: [server] proxy_url: this is another name of host_proxy, which"
                " is there too"
            ],
        )

    def test_syntax(self) -> None:
        """What can't be read is named by its line."""
        for text, expected in {
            "port = 1\n": "FILE: line 1: expected a section such as [server] before"
            " 'port = 1'",
            "[server]\nport\n": "FILE: line 2: expected key = value, not 'port'",
            "[server]\n[server]\n": "FILE: line 2: the section [server] is there twice",
            "[server]\nport=1\nport=1\n": "FILE: [server] port: line 3: the key is"
            " there twice",
        }.items():
            self.assertEqual(self.problems(text), [expected])
        self.assertEqual(
            self.problems(b"[server]\n\nport = \xff\n"),
            ["FILE: line 3: expected UTF-8"],
        )

    def test_unreadable(self) -> None:
        """A file that can't be read is named."""
        for path, expected in {
            "/nowhere/x": "/nowhere/x: No such file or directory",
            "/": "/: Is a directory",
            "a\0b": r"'a\x00b': embedded null byte",
        }.items():
            error = self.assertRaises(ConfigurationError, load, path, {}, {})
            self.assertEqual(str(error), expected)

    def test_allProblems(self) -> None:
        """All that is wrong is told at once, each by its place."""
        self.assertEqual(
            self.problems(
                "[server]\nport = x\n",
                {"QGSWPS_SERVER_MAXQUEUESIZE": "0"},
                {("server", "parallelprocesses"): "many"},
            ),
            [
                "FILE: [server] port: expected a whole number from 0 to 65535, not 'x'",
                "--workers: expected a whole number from 0 to 4096, not 'many'",
                "QGSWPS_SERVER_MAXQUEUESIZE: expected a whole number, 1 or more,"
                " not '0'",
            ],
        )

    def test_oddCharacters(self) -> None:
        """Characters that no document can carry are errors."""
        start = "expected text without control characters, not with"
        self.assertEqual(
            self.problems(
                "[server]\nworkdir = a\0b\n[metadata:main]\ntitle = a\n b\n"
                "abstract = a\x1bb\n[qgis.settings]\nx = \x07\n"
            ),
            [
                f"FILE: [server] workdir: {start} U+0000",
                f"FILE: [qgis.settings] x: {start} U+0007",
                f"FILE: [metadata:main] title: {start} a line break",
                f"FILE: [metadata:main] abstract: {start} U+001B",
            ],
        )
        self.assertEqual(
            self.problems(environ={"QGSWPS_SERVER_WORKDIR": "/\udcff"}),
            [f"QGSWPS_SERVER_WORKDIR: {start} U+DCFF"],
        )


class KindTests(ConfigTestCase):
    """The kinds of values."""

    def value(self, section: str, key: str, text: str) -> object:
        """The value that the text has for a key."""
        settings = self.load(overrides={(section, key): text})
        found = next(k for s in SECTIONS for k in s.keys if k.id == (section, key))
        attribute = next(s.attribute for s in SECTIONS if s.name == section)
        return getattr(getattr(settings, attribute), found.attribute)

    def wrong(self, section: str, key: str, *texts: str) -> list[str]:
        """The problems that a key has with texts."""
        return [self.problems(overrides={(section, key): text})[0] for text in texts]

    def test_integer(self) -> None:
        """Whole numbers, in ASCII digits and within bounds."""
        self.assertEqual(self.value("server", "port", " 0 "), 0)
        self.assertEqual(self.value("server", "port", "65535"), 65535)
        texts = ("", "-1", "65536", "1.0", "1_0", "٣", "9" * 5000, "0x10")
        self.assertEqual(len(self.wrong("server", "port", *texts)), len(texts))

    def test_number(self) -> None:
        """Finite numbers within bounds."""
        self.assertEqual(self.value("server", "cancel_grace", "0.5"), 0.5)
        self.wrong("server", "cancel_grace", "", "nan", "inf", "-1", "3601", "x")

    def test_boolean(self) -> None:
        """The usual words."""
        for text in ("yes", "True", "on", "1"):
            self.assertIs(self.value("server", "http_proxy", text), True)
        for text in ("no", "FALSE", "off", "0"):
            self.assertIs(self.value("server", "http_proxy", text), False)
        self.wrong("server", "http_proxy", "", "2", "oui")

    def test_origins(self) -> None:
        """All, none, or those that are named, as browsers write them."""
        for text, expected in [
            ("yes", ("*",)),
            ("true", ("*",)),
            ("*", ("*",)),
            ("no", ()),
            ("https://Maps.example.org/", ("https://maps.example.org",)),
            (
                "http://a:8080, https://b:443\n*",
                ("http://a:8080", "https://b", "*"),
            ),
            ("http://[::1]:81", ("http://[::1]:81",)),
        ]:
            found = self.value("server", "cross_origin", text)
            self.assertEqual(found, expected)
            shown = ORIGINS.show(expected)
            self.assertEqual(ORIGINS.parse(shown, ""), expected)
        self.wrong(
            *("server", "cross_origin", "", ",", "oui", "a.example", "null"),
            *("https://a/b", "https://a?b", "ftp://a", "https://", "https://u@a"),
            *("https://a:x", "https://*.a"),
        )

    def test_networks(self) -> None:
        """Addresses and networks; names say nothing of who sends."""
        self.assertEqual(
            self.value("server", "trusted_proxies", "127.0.0.1, 10.1.2.3/8 ::1"),
            ("127.0.0.1/32", "10.0.0.0/8", "::1/128"),
        )
        self.assertEqual(self.value("server", "trusted_proxies", ""), ())
        self.wrong("server", "trusted_proxies", "localhost", "1.2.3", "10.0.0.0/33")

    def test_choice(self) -> None:
        """One of the words, in any case."""
        self.assertEqual(self.value("logging", "level", "DEBUG"), "debug")
        self.assertEqual(
            self.problems("[logging]\nlevel = loud\n"),
            [
                "FILE: [logging] level: expected one of critical, error, warn, info,"
                " debug, not 'loud'"
            ],
        )

    def test_hosts(self) -> None:
        """Names, addresses and networks."""
        for text, expected in [
            ("", ()),
            ("127.0.0.0/8", ("127.0.0.0/8",)),
            ("10.1.2.3/16, ::1\nfd00::/8", ("10.1.2.3/16", "::1", "fd00::/8")),
            ("data.intranet,my-host_1 a.b.", ("data.intranet", "my-host_1", "a.b.")),
        ]:
            found = self.value("server", "allowed_references", text)
            self.assertEqual(found, expected)
        wrong = ("127.0.0.0/33", "http://h", "h:80", "*.h", "127.1", "300.1.1.1", "ä")
        for text, problem in zip(
            wrong, self.wrong("server", "allowed_references", *wrong), strict=True
        ):
            self.assertIn(repr(text), problem)
        settings = self.load(
            environ={"QGSWPS_SERVER_ALLOWED_REFERENCES": "127.0.0.0/8"}
        )
        self.assertEqual(settings.server.allowedReferences, ("127.0.0.0/8",))

    def test_accessPolicy(self) -> None:
        """One of the words, in any case, or a path."""
        for text, expected in [
            ("default", "default"),
            ("None", "none"),
            ("./none", os.path.abspath("none")),
            ("a/b.yml", os.path.abspath("a/b.yml")),
        ]:
            found = self.value("processing", "accesspolicy", text)
            self.assertEqual(found, expected)
        [problem] = self.wrong("processing", "accesspolicy", "")
        self.assertIn("expected default, none or a path", problem)
        settings = self.load(environ={"QGSWPS_PROCESSING_ACCESSPOLICY": "none"})
        self.assertEqual(settings.processing.accesspolicy, "none")
        self.assertEqual(self.load().processing.accesspolicy, "default")

    def test_interfaces(self) -> None:
        """Addresses, of which Twisted gets endpoints."""
        settings = self.load("[server]\ninterfaces = 0.0.0.0, ::1, localhost\n")
        self.assertEqual(
            settings.server.endpoints,
            (
                "tcp:port=8080:interface=0.0.0.0:backlog=1024",
                r"tcp6:port=8080:interface=\:\:1:backlog=1024",
                "tcp:port=8080:interface=localhost:backlog=1024",
            ),
        )
        self.wrong("server", "interfaces", "", ",", "256.0.0.1", "example.org")

    def test_listen(self) -> None:
        """Endpoints, with blanks or new lines between."""
        settings = self.load(
            "[server]\nlisten = tcp:80:interface=127.0.0.1 unix:/x\n  ssl:443\n"
        )
        self.assertEqual(
            settings.server.endpoints,
            ("tcp:80:interface=127.0.0.1", "unix:/x", "ssl:443"),
        )
        (problem,) = self.wrong("server", "listen", "tcp:1 8080")
        self.assertTrue(problem.startswith("--listen: expected endpoints as Twisted"))
        self.assertTrue(problem.endswith(": '8080' is none"))

    def test_store(self) -> None:
        """The forms of a store's URL."""
        for text, expected in {
            "sqlite:///var/x.sqlite": SQLiteStore("/var/x.sqlite"),
            "sqlite:////var/x.sqlite": SQLiteStore("/var/x.sqlite"),
            "redis://localhost": RedisStore("localhost", 6379, 0),
            "redis://10.0.0.1:6380/3": RedisStore("10.0.0.1", 6380, 3),
            "redis://[::1]:1/": RedisStore("::1", 1, 0),
        }.items():
            self.assertEqual(self.value("server", "store", text), expected)
            # What is shown can be read again.
            self.assertEqual(self.value("server", "store", str(expected)), expected)
        wrong = (
            *("sqlite:", "sqlite:///", "sqlite://host/x", "/x", "redis://", "x://y"),
            *("redis://h:x/0", "redis://h:70000", "redis://h/x", "redis://h/1?a=b"),
        )
        self.wrong("server", "store", *wrong)

    def test_storeDefault(self) -> None:
        """Without one, jobs are kept in the working directory."""
        settings = self.load("[server]\nworkdir = /w\nstore =\n")
        self.assertEqual(settings.storeURL, SQLiteStore("/w/jobs.sqlite"))
        settings = self.load("[server]\nstore = redis://h\n")
        self.assertEqual(settings.storeURL, RedisStore("h"))

    def test_passwordIsNotShown(self) -> None:
        """A password in a store's URL is refused, and not repeated."""
        (problem,) = self.wrong("server", "store", "redis://:secret@h/0")
        self.assertNotIn("secret", problem)
        self.assertIn("password", problem)
        settings = self.load(environ={"QGSWPS_REDIS_PASSWORD": "secret"})
        self.assertEqual(settings.redis.password, "secret")
        shown = "\n".join(report(settings))
        self.assertIn("# QGSWPS_REDIS_PASSWORD:\n#password = ********", shown)
        for text in (shown, repr(settings)):
            self.assertNotIn("secret", text)
        (problem,) = self.wrong("logstorage:redis", "password", "secret\0")
        self.assertNotIn("secret", problem)

    def test_redisPrefix(self) -> None:
        """A prefix is one word."""
        self.assertEqual(self.value("logstorage:redis", "prefix", "a:b"), "a:b")
        self.wrong("logstorage:redis", "prefix", "", "a b")

    def test_baseURL(self) -> None:
        """A public URL ends in a slash."""
        for text, expected in {
            "": "",
            "https://a.example/wps": "https://a.example/wps/",
            "http://a:81/": "http://a:81/",
        }.items():
            self.assertEqual(self.value("server", "host_proxy", text), expected)
        wrong = ("a.example", "ftp://a", "http://", "http://a/?x", "http://a:x/", "//a")
        self.wrong("server", "host_proxy", *wrong)

    def test_crs(self) -> None:
        """An authority and a code."""
        self.assertEqual(
            self.value("processing", "default_crs", "IGNF:LAMB93"), "IGNF:LAMB93"
        )
        self.wrong("processing", "default_crs", "", "4326", "EPSG:", ":1", "a:b c")

    def test_workers(self) -> None:
        """Without a number, there is one worker a CPU."""
        self.assertEqual(self.load().server.workers, len(os.sched_getaffinity(0)))
        settings = self.load(overrides={("server", "parallelprocesses"): "7"})
        self.assertEqual(settings.server.workers, 7)


#: A configuration with all keys that py-qgis-wps has in its sample and its
#: documentation.
PY_QGIS_WPS = """
[server]
logstorage = REDIS
encoding = utf-8
language = en-US
url = {host_url}
port = 8081
interfaces = 0.0.0.0
outputfile_as_reference = yes
maxbuffersize = 1500k
maxinputsize = 200m
store_url = {host_url}store/{uuid}/{file}?service=WPS
status_url = {host_url}ows/?service=WPS&request=GetResults&uuid={uuid}
outputurl = %(store_url)s
workdir = /srv/wps
host_proxy = ''
http_proxy = yes
parallelprocesses = 3
processlifecycle = 1
maxqueuesize = 50
response_timeout = 600
response_expiration = 3600
wms_service_url = {host_url}
wps_result_map_uri = results:
wms_response_uri = %(wms_service_url)s?MAP=%(wps_result_map_uri)s{uuid}/{name}.qgs
wms_response_url = ${wms_service_url}?MAP={map_url}&service=WMS
cleanup_interval = 600
download_ttl = 30
enable_filters = yes
sys_config_path = /usr/share/qgis_wps
cross_origin = no
restartmon = /srv/restart
ssl = yes
ssl_cert = /srv/cert.pem
ssl_key = /srv/key:1.pem
enable_job_realm = yes
admin_realm = secret

[logging]
level = INFO

[logstorage:redis]
host = localhost
port = 6380
dbnum = 2
prefix = pyqgiswps

[projects.cache]
size = 10
rootdir = /srv/projects
strict_check = no

[projects.schemes]
other = /srv/other

[processing]
providers_module_path = /srv/algorithms
exposed_providers = script,model
accesspolicy = ${providers_module_path}/accesspolicy.yml
default_module_path = /x
vector.fileext = .fgb
raster.fileext = tif
unsafe.raw_destination_input_sink = no
destination_root_path = ./
adjust_ellipsoid = yes
default_crs = EPSG:2154

[qgis.settings.folders]
Processing/Configuration/SCRIPTS_FOLDERS = /srv/scripts

[qgis.settings]
qgis/x = 1

[qgis.projects]
wmsurl = http://a

[metadata:main]
identification_title = Our service
identification_abstract = All of it
identification_keywords = a,b
identification_keywords_type = theme
identification_fees = NONE
identification_accessconstraints = NONE
provider_name = We
provider_url = http://example.org
contact_name = Last, First
contact_position = chief
contact_address = Street
contact_email = a@example.org
contact_url = http://example.org
contact_role = pointOfContact
"""


class OtherServersTests(ConfigTestCase):
    """Configurations of the field's other servers."""

    def warned(self) -> dict[str, str]:
        """The warnings by what they are about."""
        texts = [text.replace(self.path, "FILE") for text in self.warnings]
        return dict(text.split(": ", 2)[1:] for text in texts if text[:4] == "FILE")

    def test_values(self) -> None:
        """What has a meaning here has it."""
        settings = self.load(PY_QGIS_WPS)
        server = settings.server
        for value, expected in [
            (server.port, 8081),
            (server.interfaces, ("0.0.0.0",)),
            (server.outputfileAsReference, True),
            (server.maxbuffersize, 2),
            (server.maxinputsize, 200),
            (server.workdir, "/srv/wps"),
            (server.hostProxy, ""),
            (server.httpProxy, True),
            (server.workers, 3),
            (server.maxqueuesize, 50),
            (server.responseTimeout, 600),
            (server.responseExpiration, 3600),
            (server.owsServiceURL, ""),
            (server.resultsMapURI, "results:"),
            (server.crossOrigin, ()),
            (server.restartmon, "/srv/restart"),
            (server.enableJobRealm, True),
            (server.adminRealm, "secret"),
            (settings.storeURL, RedisStore("localhost", 6380, 2)),
            (settings.redis.prefix, "pyqgiswps"),
            (settings.projects.rootdir, "/srv/projects"),
            (settings.projects.strictCheck, False),
            (settings.schemes, {"other": ProjectFolder("/srv/other")}),
            (settings.processing.providersModulePath, ("/srv/algorithms",)),
            (settings.processing.exposedProviders, ("script", "model")),
            (settings.processing.vectorFileext, "fgb"),
            (settings.processing.rasterFileext, "tif"),
            (settings.processing.adjustEllipsoid, True),
            (settings.processing.defaultCRS, "EPSG:2154"),
            (settings.qgisSettings, {"qgis/x": "1"}),
            (settings.metadata.title, "Our service"),
            (settings.metadata.contactPosition, "chief"),
        ]:
            self.assertEqual(value, expected)
        self.assertEqual(
            server.endpoints,
            (
                "ssl:port=8081:interface=0.0.0.0:backlog=1024:privateKey=/srv/key\\:1.pem"
                ":certKey=/srv/cert.pem",
            ),
        )

    def test_warnings(self) -> None:
        """What has none is said, with what to use; nothing else is warned about."""
        self.load(PY_QGIS_WPS)
        warned = self.warned()
        nothing = "no meaning here: "
        server = dict.fromkeys(
            (
                *("logstorage", "encoding", "language", "url", "store_url"),
                *("status_url", "outputurl", "processlifecycle", "wms_response_url"),
                *("cleanup_interval", "download_ttl", "enable_filters"),
                "sys_config_path",
            ),
            nothing,
        )
        expected = {
            **{f"[server] {name}": text for name, text in server.items()},
            "[server] wms_service_url": "this key is now ows_service_url",
            "[server] wms_response_uri": "a whole URL has no meaning here: use",
            "[projects.cache] size": nothing,
            "[processing] accesspolicy": "there is no interpolation: the value is",
            "[processing] default_module_path": nothing,
            "[processing] unsafe.raw_destination_input_sink": nothing,
            "[processing] destination_root_path": nothing,
            "[qgis.settings.folders]": nothing,
            "[qgis.projects]": nothing,
            "[metadata:main] identification_keywords_type": nothing,
            "[metadata:main] contact_url": nothing,
            "[metadata:main] contact_role": nothing,
        }
        self.assertEqual(set(warned), set(expected))
        for place, text in expected.items():
            self.assertTrue(warned[place].startswith(text), (place, warned[place]))
            self.assertGreater(len(warned[place]), len(nothing), place)

    def test_issueKeys(self) -> None:
        """Each key of the issue's list is one of the schema, or says why not."""
        known = {
            (section.name, name): None
            for section in SECTIONS
            for names in (*(key.names for key in section.keys), section.obsolete)
            for name in names
        }
        listed = {
            "server": "port interfaces workdir host_proxy proxy_url http_proxy"
            " parallelprocesses maxqueuesize response_timeout response_expiration"
            " wms_service_url ows_service_url wms_response_uri results_map_uri"
            " cross_origin restartmon ssl ssl_cert ssl_key enable_job_realm"
            " admin_realm outputfile_as_reference maxinputsize maxbuffersize",
            "logging": "level",
            "logstorage:redis": "host port dbnum prefix",
            "projects.cache": "size rootdir strict_check",
            "processing": "providers_module_path exposed_providers accesspolicy"
            " vector.fileext raster.fileext adjust_ellipsoid default_crs",
        }
        variables = {v for s in SECTIONS for key in s.keys for v in key.variables}
        for section, names in listed.items():
            for name in names.split():
                self.assertIn((section, name), known)
                variable = re.sub(r"\W", "_", f"QGSWPS_{section}_{name}").upper()
                if name != "size":
                    self.assertIn(variable, variables)
        sections = {section.name for section in SECTIONS}
        self.assertLessEqual(
            {"projects.schemes", "qgis.settings", "metadata:main"}, sections
        )

    def test_formerSection(self) -> None:
        """A section under its former name is read, and warned about."""
        settings = self.load("[cache]\nsize=1\nrootdir=/p\n")
        self.assertEqual(settings.projects.rootdir, "/p")
        self.assertEqual(
            [text.replace(self.path, "FILE") for text in self.warnings],
            [
                "FILE: [cache]: this section is now [projects.cache]",
                "FILE: [cache] size: no meaning here: no project stays open; its"
                " summary is kept until it changes",
            ],
        )

    def test_variables(self) -> None:
        """Variables are warned about likewise."""
        settings = self.load(
            environ={
                "QGSWPS_SERVER_WMS_SERVICE_URL": "http://a/ows",
                "QGSWPS_SERVER_PROCESSLIFECYCLE": "1",
                "QGSWPS_CACHE_SIZE": "10",
                "QGSWPS_PROCESSING_VECTOR_FILEEXT": "gpkg",
            }
        )
        self.assertEqual(settings.server.owsServiceURL, "http://a/ows")
        self.assertEqual(settings.processing.vectorFileext, "gpkg")
        self.assertEqual(
            self.warnings,
            [
                "QGSWPS_CACHE_SIZE: no meaning here: no project stays open",
                "QGSWPS_SERVER_PROCESSLIFECYCLE: no meaning here: each job has a"
                " process of its own",
                "QGSWPS_SERVER_WMS_SERVICE_URL: this variable is now"
                " QGSWPS_SERVER_OWS_SERVICE_URL",
            ],
        )

    def test_bothNames(self) -> None:
        """A key under its old and its new name is too much."""
        self.assertEqual(
            self.problems(
                "[server]\nows_service_url=http://a\nwms_service_url=http://b\n"
            ),
            [
                "FILE: [server] wms_service_url: this is another name of"
                " ows_service_url, which is there too"
            ],
        )

    def test_size(self) -> None:
        """A size is a number of MiB, or says its unit."""
        for text, expected in {
            "100": 100,
            "100m": 100,
            "2 GB": 2048,
            "2GiB": 2048,
            "1k": 1,
            "1025k": 2,
        }.items():
            settings = self.load(f"[server]\nmaxbuffersize = {text}\n")
            self.assertEqual(settings.server.maxbuffersize, expected, text)
        for text in ("0", "-1", "1.5m", "m", "1048576", "100t", "100g"):
            (problem,) = self.problems(f"[server]\nmaxbuffersize = {text}\n")
            self.assertIn("expected a number of MiB from 1 to 65536, or a si", problem)

    def test_wrongTexts(self) -> None:
        """Extensions and what MAP begins with have their forms."""
        for line in ("vector.fileext = a/b", "raster.fileext = ..tif"):
            self.assertEqual(len(self.problems(f"[processing]\n{line}\n")), 1)
        (problem,) = self.problems("[server]\nresults_map_uri = x?MAP=\n")
        self.assertIn("no beginning of the value of MAP alone", problem)

    def test_tls(self) -> None:
        """TLS needs a certificate, and endpoints have their own."""
        self.assertEqual(
            self.problems("[server]\nssl = yes\n"),
            ["FILE: [server] ssl: it needs ssl_cert"],
        )
        text = "[server]\nssl = yes\nssl_cert = /c\ninterfaces = ::1\nport = 1\n"
        self.assertEqual(
            self.load(text).server.endpoints,
            ("ssl:port=1:interface=\\:\\:1:backlog=1024:privateKey=/c:certKey=/c",),
        )
        self.assertEqual(self.warnings, [])
        settings = self.load(f"{text}listen = tcp:2\n")
        self.assertEqual(settings.server.endpoints, ("tcp:2",))
        self.assertEqual(len(self.warnings), 1)
        self.assertIn("[server] ssl: no meaning with listen", self.warnings[0])

    def test_proxies(self) -> None:
        """Proxies are trusted only where there is said to be one."""
        text = "[server]\ntrusted_proxies = 10.0.0.1\n"
        self.load(f"{text}http_proxy = yes\n")
        self.assertEqual(self.warnings, [])
        self.load(text)
        self.assertEqual(len(self.warnings), 1)
        expected = "[server] trusted_proxies: no meaning without http_proxy"
        self.assertIn(expected, self.warnings[0])
