"""Tests of L{qgswps.web.authentication}, by requests to a whole site."""

from __future__ import annotations

import os
from base64 import b64encode
from http.client import HTTPResponse
from typing import Any

import bcrypt
from twisted.logger import capturedLogs
from twisted.python.filepath import FilePath

from qgswps import credentials
from qgswps.credentials import Credentials, parse, tokenLine
from qgswps.web import authentication
from qgswps.web.authentication import (
    PERIOD,
    REMEMBERED,
    Authenticator,
    CredentialsKeeper,
)
from tests import schemas
from tests.fakes import Exchange, makeJob
from tests.web.test_guard import CAPABILITIES, EXECUTE, GuardTestCase

MOST = 3


def line(name: str, password: str) -> str:
    """A line of the file, whose hash is soon made."""
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4))
    return f"{name}:{hashed.decode()}\n"


def basic(name: str = "ada", password: str = "s3cret") -> dict[str, str]:
    """The header for a name and a password."""
    text = b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


class AuthenticationTestCase(GuardTestCase):
    """A site for some people and one program."""

    text = line("ada", "s3cret") + line("grüße", "ä:b") + tokenLine("robot", "t0ken")

    def authenticator(self) -> Authenticator:
        """See L{SiteTestCase}."""
        self.path = os.path.abspath(self.mktemp())
        FilePath(self.path).setContent(self.text.encode())
        self.keeper = CredentialsKeeper(self.reactor, self.path, parse(self.text))
        self.keeper.startService()
        self.addCleanup(self.keeper.stopService)
        self.checked: list[bytes] = []
        real = credentials.matches

        def matches(password: bytes, hashed: bytes) -> bool:
            self.checked.append(password)
            return real(password, hashed)

        self.patch(authentication, "matches", matches)
        return Authenticator(self.reactor, self.keeper, 'our "maps"', MOST)

    def status(self, path: str = "/", **headers: Any) -> int:
        """The status of an answer."""
        return self.ask(path, **headers).status


class AnswerTests(AuthenticationTestCase):
    """Who is let in, and what the others are told."""

    def test_right(self) -> None:
        """By name and password, or by a token."""
        for headers in (
            basic(),
            basic("grüße", "ä:b"),
            {"Authorization": "Bearer t0ken"},
            {"Authorization": "bearer  t0ken "},
            {"Authorization": basic()["Authorization"].replace("Basic", "BASIC")},
        ):
            for path in ("/", CAPABILITIES, "/status/"):
                self.assertEqual(self.status(path, **headers), 200, headers)

    def test_wrong(self) -> None:
        """Whatever is wrong, the answer is the same but for its text."""
        for value in (
            None,
            "",
            "Basic",
            "Basic ",
            "Basic !!!",
            "Basic " + b64encode(b"ada").decode(),
            "Basic " + b64encode(b"\xff:\xff").decode(),
            basic(password="S3cret")["Authorization"],
            basic(password="")["Authorization"],
            basic(password="s3cret\0")["Authorization"],
            basic("eve")["Authorization"],
            basic("robot", "t0ken")["Authorization"],
            basic("", "")["Authorization"],
            basic(password="x" * 2000)["Authorization"],
            "Bearer ",
            "Bearer t0ke",
            "Bearer s3cret",
            "Digest username=ada",
            "x" * 5000,
        ):
            headers = {} if value is None else {"Authorization": value}
            response = self.ask(CAPABILITIES, **headers)
            self.assertEqual(response.status, 401, value)
            schemas.assertValid(self, response.read(), "ExceptionReport")
            self.assertEqual(
                response.headers.get_all("WWW-Authenticate"),
                [
                    'Basic realm="our \\"maps\\"", charset="UTF-8"',
                    'Bearer realm="our \\"maps\\""',
                ],
            )
            self.reactor.advance(PERIOD)

    def test_everywhere(self) -> None:
        """No way is open but those that say whether the server lives."""
        self.keep(makeJob("j"), **{"a.txt": b"secret"})
        for path, method in [
            ("/", "GET"),
            ("/nothing", "GET"),
            ("/ows/", "POST"),
            ("/ows/", "PUT"),
            ("/ows/?service=WMS", "GET"),
            ("/ows/below", "GET"),
            ("/status/", "GET"),
            ("/status/j", "GET"),
            ("/status/j", "DELETE"),
            ("/jobs/j/files", "GET"),
            ("/jobs/j/files", "HEAD"),
            ("/jobs/j/files/a.txt", "GET"),
            ("/jobs/j/files.zip", "GET"),
            ("/jobs/j/log", "GET"),
            ("/jobs/j/wfs3", "GET"),
            ("/jobs/k/log", "GET"),
        ]:
            response = self.ask(path, method)
            self.assertEqual(response.status, 401, (path, method))
            self.assertNotIn(b"secret", response.read())
        self.assertEqual(self.ask("/ows/", "OPTIONS").status, 204)
        self.assertIn("j", self.store.jobs)

    def test_maps(self) -> None:
        """Clients of map services read it in their own form."""
        response = self.ask("/ows/?service=WMS&request=GetMap")
        self.assertIn(b"ServiceExceptionReport", response.read())

    def test_noHeader(self) -> None:
        """What answers a request does not know the password."""
        seen = []
        resource = self.site.getResourceFor

        def spy(request: Any) -> Any:
            seen.append(dict(request.requestHeaders.getAllRawHeaders()))
            return resource(request)

        self.patch(self.site, "getResourceFor", spy)
        self.assertEqual(self.status(**basic()), 200)
        [headers] = seen
        self.assertNotIn(b"Authorization", headers)

    def test_userInLog(self) -> None:
        """The access log has the name."""
        lines: list[str] = []
        access = self.site._logFormatter
        self.patch(self.site, "log", lambda request: lines.append(access("-", request)))
        self.ask("/", **basic())
        self.ask("/", **basic("grüße", "ä:b"))
        self.ask("/")
        self.assertEqual(
            [each.partition(" - GET")[0].split(' "GET')[0] for each in lines],
            [
                '"127.0.0.1" - ada -',
                '"127.0.0.1" - "gr\\u00fc\\u00dfe" -',
                '"127.0.0.1" - - -',
            ],
        )


class CostTests(AuthenticationTestCase):
    """A password takes its time to be looked at."""

    def test_remembered(self) -> None:
        """What was right is not looked at again for a while."""
        for _ in range(5):
            self.assertEqual(self.status(**basic()), 200)
        self.assertEqual(len(self.checked), 1)
        self.reactor.advance(REMEMBERED)
        self.assertEqual(self.status(**basic()), 200)
        self.assertEqual(len(self.checked), 2)
        # What was wrong is.
        for _ in range(2):
            self.assertEqual(self.status(**basic(password="x")), 401)
        self.assertEqual(len(self.checked), 4)
        # And so is who is not there, so that it takes as long.
        self.assertEqual(self.status(**basic("eve")), 401)
        self.assertEqual(len(self.checked), 5)

    def test_inThreads(self) -> None:
        """The reactor does not wait; the same one is looked at once for all."""
        self.reactor.held = []
        exchanges = [self.exchange("/", **basic()) for _ in range(20)]
        self.assertEqual(len(self.reactor.held), 1)
        self.assertEqual(exchanges[0].sent, b"")
        exchanges[0].disconnect()
        self.reactor.release()
        for exchange in exchanges[1:]:
            self.assertEqual(self.successResultOf(exchange.finished).status, 200)
        self.assertEqual(len(self.checked), 1)

    def test_flood(self) -> None:
        """Few are looked at side by side, and not many wait for it."""
        self.reactor.held = []
        exchanges = [
            self.exchange("/", peer=f"192.0.2.{n}", **basic(password=str(n)))
            for n in range(100)
        ]
        self.assertEqual(len(self.reactor.held), 2)
        busy = [each for each in exchanges if each.closed]
        self.assertEqual(len(busy), 48)
        for each in busy:
            self.assertEqual(self.successResultOf(each.finished).status, 503)
        # Who has gone leaves no more of them at a time.
        for each in exchanges:
            if not each.closed:
                each.disconnect()
        self.assertEqual(len(self.reactor.held), 2)
        while self.reactor.held:
            held, self.reactor.held = self.reactor.held, []
            self.assertLessEqual(len(held), 2)
            for call in held:
                call()
        self.assertEqual(len(self.checked), 52)


class FailureTests(AuthenticationTestCase):
    """Who is wrong, and who is so too often."""

    def test_throttled(self) -> None:
        """Then he waits, and so does nobody else."""
        for _ in range(MOST):
            self.assertEqual(self.status(**basic(password="x")), 401)
        looked = len(self.checked)
        for headers in (basic(password="x"), basic(), {"Authorization": "Bearer x"}):
            response = self.ask("/", **headers)
            self.assertEqual(response.status, 429)
            self.assertLessEqual(int(str(response.getheader("Retry-After"))), 61)
        self.assertEqual(len(self.checked), looked)
        self.assertEqual(self.status(peer="192.0.2.2", **basic()), 200)
        # Who was right before goes on.
        self.assertEqual(self.status(**basic()), 200)
        self.reactor.advance(PERIOD)
        self.assertEqual(self.status(**basic(password="x")), 401)

    def test_right(self) -> None:
        """Who is right as often does not wait."""
        for _ in range(3 * MOST):
            self.assertEqual(self.status(**basic()), 200)
            self.reactor.advance(REMEMBERED)
        for _ in range(3 * MOST):
            self.assertEqual(self.status(), 401)
        self.assertEqual(self.status(**basic()), 200)

    def test_noted(self) -> None:
        """It is in the log, with the name and without the password."""
        for headers, details in [
            (basic("eve\r\nx", "s3cret"), {"user": "eve\r\nx", "scheme": "basic"}),
            ({"Authorization": "Bearer s3cret"}, {"scheme": "bearer"}),
            ({"Authorization": "Basic s3cret"}, {"scheme": "basic"}),
        ]:
            [event] = self.noted("/", peer="192.0.2.1", **headers)
            self.assertEqual(event["event"], "authentication-failed")
            self.assertEqual(event["client"], "192.0.2.1")
            self.assertEqual(event["details"], details)
        [event] = self.noted("/", peer="192.0.2.1", **basic())
        self.assertEqual(event["event"], "authentication-throttled")
        self.assertEqual(self.noted("/"), [])


class FileTests(AuthenticationTestCase):
    """The file may change."""

    def write(self, text: str) -> None:
        """Write another one, and wait until it was seen."""
        FilePath(self.path).setContent(text.encode())
        for _ in range(3):
            self.reactor.advance(authentication.INTERVAL)

    def test_changed(self) -> None:
        """Who is no longer in it is out at once, and who is new is in."""
        self.assertEqual(self.status(**basic()), 200)
        self.write(line("eve", "x"))
        self.assertEqual(self.status(**basic()), 401)
        self.assertEqual(self.status(Authorization="Bearer t0ken"), 401)
        self.assertEqual(self.status(**basic("eve", "x")), 200)
        response = self.ask("/")
        self.assertEqual(len(response.headers.get_all("WWW-Authenticate") or ()), 1)
        self.write(line("eve", "y"))
        self.assertEqual(self.status(**basic("eve", "x")), 401)

    def test_broken(self) -> None:
        """One that can't be used changes nothing, and the log says so."""
        for text in ("s3cret", ""):
            with capturedLogs() as captured:
                self.write(text)
            found = [each for each in captured if "stay as they were" in str(each)]
            self.assertEqual(len(found), 1)
            self.assertNotIn("s3cret", str(found[0]["error"]))
        os.remove(self.path)
        for _ in range(3):
            self.reactor.advance(authentication.INTERVAL)
        self.assertEqual(self.status(**basic()), 200)


class ForgeryTests(AuthenticationTestCase):
    """Browsers send what they know for whoever has them do so."""

    crossOrigin = ("*", "https://maps.example.org")

    def answer(
        self, path: str, method: str = "GET", user: Any = None, **headers: str
    ) -> int | None:
        """The status of the answer; None if a job runs."""
        body = b"<x/>" if method == "POST" else b""
        fields = {**(basic() if user is None else user), **headers}
        exchange: Exchange = self.exchange(path, method, body=body, **fields)
        if not exchange.closed:
            exchange.disconnect()
            return None
        response: HTTPResponse = self.successResultOf(exchange.finished)
        return response.status

    def test_forged(self) -> None:
        """Nobody else's page has them run or remove a job."""
        self.keep(makeJob("j"))
        run = f"{EXECUTE}&datainputs=TEXT=a"
        for path, method in [(run, "GET"), ("/ows/", "POST"), ("/status/j", "DELETE")]:
            for headers in (
                {"Sec_Fetch_Site": "cross-site"},
                {"Sec_Fetch_Site": "same-site", "Origin": "https://b.example.org"},
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
                {"Origin": "http://["},
            ):
                found = self.answer(path, method, **headers)
                self.assertEqual(found, 403, (path, headers))
        self.assertIn("j", self.store.jobs)
        self.reactor.advance(PERIOD)
        [event] = self.noted(run, **basic(), Sec_Fetch_Site="cross-site")
        self.assertEqual(event["event"], "origin-refused")

    def test_allowed(self) -> None:
        """Its own pages do, those of named origins, and what is no browser."""
        run = f"{EXECUTE}&datainputs=TEXT=a"
        for headers in (
            {},
            {"Sec_Fetch_Site": "none"},
            {"Sec_Fetch_Site": "same-origin", "Origin": "http://example.org"},
            {"Origin": "http://example.org"},
            {"Sec_Fetch_Site": "cross-site", "Origin": "https://maps.example.org"},
        ):
            self.assertIsNone(self.answer(run, **headers), headers)
            self.assertEqual(self.answer("/ows/", "POST", **headers), 400, headers)
        # Reading is safe, and nobody sends a token without wanting to.
        far = {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"}
        self.assertEqual(self.answer(CAPABILITIES, **far), 200)
        token = {"Authorization": "Bearer t0ken"}
        self.assertIsNone(self.answer(run, user=token, **far))


class EmptyTests(GuardTestCase):
    """A server for everybody."""

    def test_ignored(self) -> None:
        """It takes no notice of what somebody says of himself."""
        response = self.ask("/", **basic())
        self.assertEqual(response.status, 200)
        self.assertEqual(Credentials().bearer(""), None)
