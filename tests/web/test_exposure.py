"""Tests of L{qgswps.web.exposure}: policies in each operation."""

from __future__ import annotations

import os
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from qgswps.model import InputDescription, LiteralType, ProcessDescription, State
from qgswps.policy import Entry, Policy, Rule, load
from qgswps.web.exposure import INTERVAL, Exposure, PolicyKeeper
from tests.fakes import FakeReactor, makeJob
from tests.web.test_ows import OWSTestCase
from tests.web.test_site import ECHO

HIDDEN = ProcessDescription(
    "test:hidden",
    "Hidden",
    inputs=(
        InputDescription("TEXT", "Text", LiteralType()),
        InputDescription("EXTRA", "Extra", LiteralType(), minOccurs=0),
    ),
    outputs=ECHO.outputs,
)

POST = """<wps:{operation} service="WPS" version="1.0.0"
    xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1">
  <ows:Identifier>{identifier}</ows:Identifier>
</wps:{operation}>"""


def denying(*patterns: str, **conditions: frozenset[str]) -> Rule:
    """A rule with patterns, of processes or of inputs."""
    entries = []
    for pattern in patterns:
        process, _, name = pattern.partition("/")
        entries.append(Entry(False, process, name or None))
    return Rule(tuple(entries), **conditions)


class ExposureTestCase(OWSTestCase):
    """A server with two processes and a policy."""

    def setUp(self) -> None:
        super().setUp()
        self.catalogue.published["test:hidden"] = HIDDEN

    def capabilities(self, **headers: str) -> bytes:
        """The capabilities that a sender of these headers gets."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        response = self.ask(self.query("GetCapabilities"), **named)
        self.assertEqual(response.status, 200)
        return bytes(response.read())


class DeniedTests(ExposureTestCase):
    """What is denied looks as if it did not exist."""

    policy = Policy((denying("test:hidden"),))

    def test_capabilities(self) -> None:
        """It is not among the processes."""
        document = self.capabilities()
        self.assertIn(b"test:echo", document)
        self.assertNotIn(b"idden", document)

    def assertAlike(self, path: str, method: str = "GET", body: str = "") -> None:
        """The answers for it and for what does not exist differ by the name."""

        def answer(identifier: str) -> tuple[int, Any, bytes]:
            response: HTTPResponse = self.ask(
                path.replace("PROCESS", identifier),
                method,
                body=body.replace("PROCESS", identifier).encode(),
            )
            content = response.read().replace(identifier.encode(), b"PROCESS")
            headers = {name.lower(): text for name, text in response.getheaders()}
            for name in ("content-length", "x-request-id"):
                headers.pop(name, None)
            return response.status, headers, content

        denied, unknown = answer("test:hidden"), answer("test:nothere")
        self.assertEqual(denied, unknown)
        self.assertEqual(denied[0], 400)
        self.assertIn(b"there is no process", denied[2])

    def test_operations(self) -> None:
        """In all operations and both encodings."""
        for parameters in [
            {"identifier": "PROCESS"},
            {"identifier": "test:echo,PROCESS"},
            {"identifier": "PROCESS", "MAP": "nowhere"},
        ]:
            self.assertAlike(self.query("DescribeProcess", **parameters))
        for parameters in [
            {"identifier": "PROCESS"},
            {"identifier": "PROCESS", "datainputs": "TEXT=a"},
            {"identifier": "PROCESS", "datainputs": "NO=a", "MAP": "nowhere"},
        ]:
            self.assertAlike(self.query("Execute", **parameters))
        for operation in ("DescribeProcess", "Execute"):
            body = POST.format(operation=operation, identifier="PROCESS")
            self.assertAlike("/ows/", "POST", body)
        self.assertEqual(self.store.jobs, {})

    def test_all(self) -> None:
        """It is not among all."""
        document = self.ask(self.query("DescribeProcess", identifier="all")).read()
        self.assertIn(b"test:echo", document)
        self.assertNotIn(b"idden", document)

    def test_allDenied(self) -> None:
        """Nothing at all may be left, which capabilities can't say."""
        self.policies.policy = Policy((denying("*"),))
        path = self.query("GetCapabilities")
        self.refused(path, 503, "NoApplicableCode", None)
        response = self.ask(self.query("DescribeProcess", identifier="all"))
        self.assertNotIn(b"test:", response.read())

    def test_jobs(self) -> None:
        """A job that is there already stays its owner's."""
        self.keep(makeJob("j", processId="test:hidden", state=State.FAILED))
        self.assertEqual(self.json("/status/j")["status"]["identifier"], "test:hidden")
        [record] = self.json("/status/")["status"]
        self.assertEqual(record["uuid"], "j")
        document = self.ask(self.query("GetResults", uuid="j")).read()
        self.assertIn(b"<ows:Title>Hidden</ows:Title>", document)


class InputTests(ExposureTestCase):
    """Inputs that are hidden."""

    policy = Policy((denying("test:*/EXTRA"),))

    def test_describe(self) -> None:
        """It is not described, and the rest is."""
        for identifier in ("test:hidden", "all"):
            path = self.query("DescribeProcess", identifier=identifier)
            document = self.ask(path).read()
            self.assertIn(b"TEXT", document)
            self.assertNotIn(b"EXTRA", document)

    def test_execute(self) -> None:
        """It is refused like one that does not exist."""
        texts = []
        for name in ("EXTRA", "NOSUCH"):
            path = self.query(
                "Execute", identifier="test:hidden", datainputs=f"TEXT=a;{name}=b"
            )
            text = self.refused(path, 400, "InvalidParameterValue", name)
            texts.append(text.replace(name, "NAME"))
        self.assertEqual(texts[0], texts[1])
        self.execute(identifier="test:hidden", datainputs="TEXT=a")[0].disconnect()


class HeaderTests(ExposureTestCase):
    """Policies that tell callers apart."""

    policy = Policy(
        (
            denying("test:hidden"),
            Rule((Entry(True, "*"),), realms=frozenset({"secret"})),
            Rule((Entry(True, "*"),), users=frozenset({"ada"})),
            Rule((Entry(True, "*"),), groups=frozenset({"admins"})),
        )
    )

    def sees(self, **headers: str) -> bool:
        """Whether all operations show the denied process."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        seen = {
            b"test:hidden" in self.capabilities(**headers),
            b"test:hidden"
            in self.ask(
                self.query("DescribeProcess", identifier="all"), **named
            ).read(),
            self.ask(
                self.query("DescribeProcess", identifier="test:hidden"), **named
            ).status
            == 200,
            b"there is no process"
            not in self.ask(
                self.query("Execute", identifier="test:hidden"), **named
            ).read(),
        }
        [answer] = seen
        return answer

    def test_realm(self) -> None:
        """A realm is a secret, so who has it is believed."""
        for _ in range(2):
            self.assertTrue(self.sees(X_Job_Realm="secret"))
            self.assertFalse(self.sees(X_Job_Realm="other"))
            self.assertFalse(self.sees())

    def test_forged(self) -> None:
        """Without a proxy nobody is believed to be somebody."""
        self.assertFalse(self.sees(X_Lizmap_User="ada"))
        self.assertFalse(self.sees(X_Lizmap_User_Groups="admins"))


class ProxyTests(HeaderTests):
    """The same behind a proxy."""

    behindProxy = True

    def test_forged(self) -> None:
        """With one its headers count."""
        self.assertTrue(self.sees(X_Lizmap_User="ada"))
        self.assertFalse(self.sees(X_Lizmap_User="eve"))
        for groups in ("admins", "a,admins", "a , admins,"):
            self.assertTrue(self.sees(X_Lizmap_User_Groups=groups), groups)
        for groups in ("", "a,b", "admin", "admins a"):
            self.assertFalse(self.sees(X_Lizmap_User_Groups=groups), groups)


class ViewTests(ExposureTestCase):
    """What is kept, and for how long."""

    policy = Policy(
        (
            denying("test:hidden"),
            denying("test:*", realms=frozenset({"a"})),
            denying("test:e*", realms=frozenset({"b"})),
            denying("test:hidden", realms=frozenset({"c"})),
        )
    )

    def setUp(self) -> None:
        super().setUp()
        self.exposure = Exposure(self.catalogue, self.policies)

    def view(self, realm: str | None = None) -> Any:
        """The view of a realm."""

        class Headers:
            def getHeader(self, name: str) -> str | None:
                return realm

        return self.exposure.view(Headers())  # type: ignore[arg-type]

    def test_shared(self) -> None:
        """Callers who see the same share a view."""
        first = self.view()
        self.assertIs(self.view("x"), first)
        self.assertIs(self.view("c"), first, "by what it shows")
        self.assertEqual(dict(self.view("a").processes), {})
        self.assertIs(self.view("b"), self.view("a"))
        self.assertIs(self.view(), first)

    def test_generation(self) -> None:
        """A new catalogue makes new views."""
        first = self.view()
        del self.catalogue.published["test:echo"]
        self.assertIs(self.view(), first)
        self.catalogue.generation += 1
        second = self.view()
        self.assertEqual(dict(second.processes), {})
        self.assertNotEqual(second.number, first.number)

    def test_policy(self) -> None:
        """And so does a new policy."""
        first = self.view()
        self.policies.policy = Policy()
        self.assertIn("test:hidden", self.view().processes)
        self.assertNotEqual(self.view().number, first.number)

    def test_bounded(self) -> None:
        """However many rules there are, not all views are kept."""
        self.policies.policy = Policy(
            tuple(denying("x:y", realms=frozenset({str(n)})) for n in range(100))
        )
        for number in range(100):
            self.view(str(number))
        self.assertLess(len(self.exposure._views), 50)
        document = self.capabilities()
        for number in range(100):
            self.policies.policy = Policy((denying(f"x:{number}"),))
            self.assertEqual(self.capabilities(), document)


class KeeperTests(SynchronousTestCase):
    """L{PolicyKeeper}"""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.path = Path(os.path.abspath(self.mktemp()))
        self.number = 0
        self.write("deny: ['a:*']")
        self.keeper = PolicyKeeper(self.reactor, str(self.path), load(str(self.path)))
        self.keeper.startService()
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def tearDown(self) -> None:
        self.successResultOf(self.keeper.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def observe(self, event: Any) -> None:
        """Take down what the module logs."""
        if event["log_namespace"] == "qgswps.web.exposure":
            self.events.append(event)

    @property
    def levels(self) -> list[Any]:
        """How bad it was."""
        return [event["log_level"] for event in self.events]

    def write(self, text: str, path: Path | None = None) -> None:
        """Change a file, at another time than ever before."""
        path = path or self.path
        path.write_text(text)
        self.number += 1
        os.utime(path, ns=(self.number, self.number))

    def look(self, times: int = 2) -> None:
        """Let the keeper look."""
        for _ in range(times):
            self.reactor.advance(INTERVAL)

    def denied(self) -> list[str]:
        """The patterns of the policy in force."""
        rule, *_ = self.keeper.policy.rules
        return sorted(entry.process for entry in rule.entries)

    def test_unchanged(self) -> None:
        """What has not changed is not read again."""
        before = self.keeper.policy
        self.look(5)
        self.assertIs(self.keeper.policy, before)
        self.assertEqual(self.events, [])

    def test_changed(self) -> None:
        """A change is taken up when it has settled."""
        self.write("deny: ['b:*']")
        self.look(1)
        self.assertEqual(self.denied(), ["a:*"])
        self.write("deny: ['c:*']")
        self.look(1)
        self.assertEqual(self.denied(), ["a:*"])
        self.look(1)
        self.assertEqual(self.denied(), ["c:*"])
        self.assertEqual(self.levels, [LogLevel.info])

    def test_broken(self) -> None:
        """A broken file changes nothing; the log says why, once."""
        for text in ("deny: [", "denny: []", ""):
            self.events.clear()
            self.write(text)
            self.look(10)
            self.assertEqual(self.denied(), ["a:*"])
            self.assertEqual(self.levels, [LogLevel.error])
            told = str(self.events[0]["error"])
            self.assertTrue(told.startswith(f"{self.path}: "), told)
        self.write("deny: ['b:*']")
        self.look()
        self.assertEqual(self.denied(), ["b:*"])

    def test_removed(self) -> None:
        """Neither does one that goes away; it may come back."""
        self.path.unlink()
        self.look(10)
        self.assertEqual(self.denied(), ["a:*"])
        self.assertEqual(self.levels, [LogLevel.error])
        self.write("deny: ['b:*']")
        self.look()
        self.assertEqual(self.denied(), ["b:*"])

    def test_included(self) -> None:
        """Files that are included count, also one that is missing at first."""
        other = self.path.with_name(self.path.name + "-other")
        self.write(f"include: {other.name}")
        self.look(3)
        self.assertEqual(self.denied(), ["a:*"])
        self.write("deny: ['b:*']", other)
        self.look()
        self.assertEqual(self.denied(), ["b:*"])
        self.write("deny: ['c:*']", other)
        self.look()
        self.assertEqual(self.denied(), ["c:*"])

    def test_slow(self) -> None:
        """A disk that hangs delays the next look, and nothing else."""
        self.reactor.held = []
        self.look(10)
        self.assertEqual(len(self.reactor.held), 1)
        stopped = self.keeper.stopService()
        self.assertNoResult(stopped)
        self.reactor.release()
        self.successResultOf(stopped)

    def test_unexpected(self) -> None:
        """What nobody has thought of is logged, and does not end it."""
        self.patch(self.keeper, "_source", 5)
        self.write("deny: ['b:*']")
        self.look()
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.keeper._source = str(self.path)
        self.look()
        self.assertEqual(self.denied(), ["b:*"])

    def test_none(self) -> None:
        """Without files there is nothing to look at."""
        reactor = FakeReactor()
        keeper = PolicyKeeper(reactor, "none", Policy())
        keeper.startService()
        self.assertEqual(reactor.getDelayedCalls(), [])
        self.successResultOf(keeper.stopService())
