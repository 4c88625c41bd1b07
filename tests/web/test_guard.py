"""Tests of L{qgswps.web.guard} and L{qgswps.web.origins}."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from qgswps import audit
from qgswps.policy import Policy
from qgswps.web.guard import accessLine, climbs, redacted
from qgswps.web.http import LINGER
from qgswps.web.origins import Origins
from tests.fakes import makeJob
from tests.web.test_exposure import denying
from tests.web.test_site import SiteTestCase

CAPABILITIES = "/ows/?service=WPS&request=GetCapabilities"

EXECUTE = "/ows/?service=WPS&version=1.0.0&request=Execute&identifier=test:echo"

#: A browser that shows a page.
BROWSER = {"Accept": "text/html,*/*"}


class GuardTestCase(SiteTestCase):
    """A site, and what it logs."""

    def setUp(self) -> None:
        super().setUp()
        # No other test has used up the lines.
        self.patch(audit, "AUDIT", audit.Audit(self.reactor.seconds))

    def noted(self, path: str, method: str = "GET", **options: Any) -> list[Any]:
        """The security lines of a request, as events."""
        with capturedLogs() as captured:
            self.exchange(path, method, **options)
        return [each for each in captured if "event" in each]


class HeaderTests(GuardTestCase):
    """The headers of all answers."""

    def test_all(self) -> None:
        """None is taken for what it is not, or tells others where it was."""
        self.keep(makeJob("j"), **{"a.txt": b"x"})
        for path, method in [
            ("/", "GET"),
            ("/", "OPTIONS"),
            (CAPABILITIES, "GET"),
            (CAPABILITIES, "HEAD"),
            ("/ows/?service=WPS", "GET"),
            ("/ows/", "PUT"),
            ("/nothing", "GET"),
            ("/status/", "GET"),
            ("/jobs/j/files/a.txt", "GET"),
            ("/jobs/j/files.zip", "GET"),
            ("/jobs/j/log", "GET"),
        ]:
            response = self.ask(path, method)
            self.assertEqual(
                [
                    response.getheader(name)
                    for name in ("X-Content-Type-Options", "Referrer-Policy")
                ],
                ["nosniff", "no-referrer"],
                path,
            )
            self.assertRegex(str(response.getheader("X-Request-ID")), "^[0-9a-f]{16}$")
            self.assertIsNone(response.getheader("Strict-Transport-Security"))

    def test_pages(self) -> None:
        """The server's own pages have no scripts, and no place in others."""
        self.keep(makeJob("j"))
        for path in ("/", "/status/", "/status/j", "/jobs/j/files"):
            response = self.ask(path, **BROWSER)
            policy = str(response.getheader("Content-Security-Policy"))
            for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action"):
                self.assertIn(part, policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(response.getheader("X-Frame-Options"), "DENY")

    def test_documents(self) -> None:
        """What clients have put into a document does not run from there."""
        for path in (CAPABILITIES, "/ows/?service=WPS&request=%3Cscript%3E"):
            policy = self.ask(path).getheader("Content-Security-Policy")
            self.assertEqual(
                policy,
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
            )
        self.assertIsNone(self.ask("/status/").getheader("Content-Security-Policy"))

    def test_fault(self) -> None:
        """Twisted's own page on a fault has them, too."""
        self.patch(self.site, "getResourceFor", lambda _: 1 / 0)
        response = self.ask("/")
        self.assertEqual(response.status, 500)
        self.assertIn("none", str(response.getheader("Content-Security-Policy")))
        self.flushLoggedErrors(ZeroDivisionError)


class SecureTests(GuardTestCase):
    """A server that browsers are to reach by https alone."""

    hsts = 600
    behindProxy = True

    def test_hsts(self) -> None:
        """They are told so if they have come so."""
        name = "Strict-Transport-Security"
        for headers in ({}, {"X_Forwarded_Proto": "http"}):
            self.assertIsNone(self.ask("/", **headers).getheader(name))
        for headers in ({"X_Forwarded_Proto": "https"}, {"Forwarded": "proto=https"}):
            self.assertEqual(self.ask("/", **headers).getheader(name), "max-age=600")
            response = self.ask("/", peer="192.0.2.1", **headers)
            self.assertIsNone(response.getheader(name))

    def test_ids(self) -> None:
        """A trusted proxy's name for a request is ours, too."""
        for path in ("/", "/nothing"):
            response = self.ask(path, X_Request_ID="abc")
            self.assertEqual(response.getheader("X-Request-ID"), "abc")
            response = self.ask(path, X_Request_ID="abc", peer="192.0.2.1")
            self.assertNotEqual(response.getheader("X-Request-ID"), "abc")


class LineTests(GuardTestCase):
    """Lines of the log."""

    behindProxy = True

    def note(self, path: str, **options: Any) -> dict[str, str]:
        """What the one line on a request says."""
        options = {"X_Forwarded_For": "192.0.2.9", "X_Request_ID": "r1", **options}
        [event] = self.noted(path, **options)
        self.assertEqual((event["client"], event["request"]), ("192.0.2.9", "r1"))
        return {"event": event["event"], **event["details"]}

    def test_paths(self) -> None:
        """Who looks for other files."""
        for path in (
            "/jobs/j/files/../task.json",
            "/jobs/j/files/%2e%2e/task.json",
            "/jobs/j/files/%252e%252e%252ftask.json",
            "/../../etc/passwd",
            "/jobs/j/files/a%00",
        ):
            found = self.note(path)
            self.assertEqual(found["event"], "path-refused")
        self.assertEqual(self.noted("/nothing"), [])
        self.assertEqual(self.noted("/jobs/j/files/a..b"), [])

    def test_limits(self) -> None:
        """Who sends too much."""
        found = self.note("/ows/", method="POST", body=b"x" * 2000)
        self.assertEqual(found, {"event": "limit-exceeded", "status": "413"})
        with capturedLogs() as captured:
            self.exchange("/" + "x" * 70_000)
        [event] = [each for each in captured if "event" in each]
        self.assertEqual(
            (event["client"], event["details"]), ("127.0.0.1", {"status": "414"})
        )

    def test_projects(self) -> None:
        """Who looks for projects elsewhere."""
        found = self.note(f"{EXECUTE}&datainputs=TEXT=a&map=../../etc/x.qgs")
        self.assertEqual(found["event"], "path-refused")
        self.assertEqual(self.noted(f"{EXECUTE}&datainputs=TEXT=a&map=nothing"), [])

    def test_policy(self) -> None:
        """Who asks for what the access policy hides."""
        self.policies.policy = Policy((denying("test:*/LAYER"),))
        found = self.note(f"{EXECUTE}&datainputs=TEXT=a;LAYER=b")
        self.assertEqual(found["event"], "input-refused")
        self.assertEqual(self.noted(f"{EXECUTE}&datainputs=TEXT=a;OTHER=b"), [])
        self.policies.policy = Policy((denying("test:*"),))
        found = self.note(f"{EXECUTE}&datainputs=TEXT=a")
        self.assertEqual(found["event"], "process-refused")
        self.assertEqual(self.noted(f"{EXECUTE}x&datainputs=TEXT=a"), [])

    def test_access(self) -> None:
        """The access log has the client, the id, and no password."""
        lines: list[str] = []
        self.patch(
            self.site, "log", lambda request: lines.append(accessLine("-", request))
        )
        url = "http%3A%2F%2Fada%3As3cret%40example.org%2Fx"
        self.ask(
            f"/nothing?href={url}&b=http://eve:s3cret@example.org/",
            X_Forwarded_For="203.0.113.9, 192.0.2.9",
            X_Request_ID="r3",
            Referer="https://ada:s3cret@example.org/",
            Authorization="Basic czNjcmV0",
        )
        [line] = lines
        self.assertTrue(line.startswith('"192.0.2.9" - - - "GET /nothing?'), line)
        self.assertTrue(line.endswith(" r3"), line)
        for secret in ("s3cret", "czNjcmV0"):
            self.assertNotIn(secret, line)

    def test_injection(self) -> None:
        """Nobody begins a line of his own."""
        for path, name in (
            ("/%0d%0asecurity:%20event=x/..", "path-refused"),
            ("/%1b[2J/..", "path-refused"),
            ("/\x1b[2J/..", "request-malformed"),
        ):
            [event] = self.noted(path)
            text = formatEvent(event)
            self.assertTrue(text.isprintable() and text.isascii(), text)
            self.assertTrue(text.startswith(f"security: event={name} "), text)


class RealmTests(GuardTestCase):
    """Jobs of others."""

    realms = True

    def test_foreign(self) -> None:
        """Who asks for one is in the log, and not what the realm is called."""
        self.keep(makeJob("j", realm="mine"), **{"a.txt": b"x"})
        for path in ("/status/j", "/jobs/j/files/a.txt", "/jobs/j/log"):
            [event] = self.noted(path, X_Job_Realm="s3cret")
            self.assertEqual(event["event"], "job-refused")
            self.assertEqual(event["details"]["path"], path)
            self.assertNotIn("s3cret", formatEvent(event))
        for path, realm in [("/status/j", "mine"), ("/status/k", "s3cret")]:
            self.assertEqual(self.noted(path, X_Job_Realm=realm), [])


class TextTests(SynchronousTestCase):
    """Texts in lines."""

    def test_redacted(self) -> None:
        """Names and passwords in URLs, as often as they are quoted."""
        for given, expected in [
            ("http://a:b@c/", "http://***@c/"),
            ("http://a@c/", "http://***@c/"),
            ("x=http%3A%2F%2Fa%3Ab%40c", "x=http%3A%2F%2F***%40c"),
            ("x=http%253a%252f%252fa%253Ab%2540c", "x=http%253a%252f%252f***%2540c"),
            ("postgresql://u:p%40w@h/d", "postgresql://***@h/d"),
            ("http://c/a@b", "http://c/a@b"),
            ("http%3A%2F%2Fc%2Fa%40b", "http%3A%2F%2Fc%2Fa%40b"),
            ("http://c/?q=a@b", "http://c/?q=a@b"),
            ("nothing at all", "nothing at all"),
        ]:
            self.assertEqual(redacted(given), expected)
        redacted("http://" * 10_000 + "x" * 60_000)

    def test_climbs(self) -> None:
        """Paths that lead up."""
        for path in (b"/..", b"/a/../b", b"/%2e%2E/", b"/..\\x", b"/a%00", b"/%252e."):
            self.assertTrue(climbs(path), path)
        for path in (b"/", b"/a..b", b"/...", b"/%41", b"/%"):
            self.assertFalse(climbs(path), path)


class OriginsTests(SynchronousTestCase):
    """What pages of other origins are told."""

    def test_none(self) -> None:
        """Nothing, if none may come."""
        self.assertEqual(Origins().headers("https://a"), {})
        self.assertEqual(Origins().headers("https://a", "GET"), {})
        self.assertEqual(Origins().ancestors, "'self'")

    def test_all(self) -> None:
        """All may come, but nobody in another's name."""
        for origin in ("https://a", "null", None, "*"):
            headers = Origins(("*",)).headers(origin)
            self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
            self.assertNotIn("Access-Control-Allow-Credentials", headers)
            self.assertNotIn("Vary", headers)

    def test_named(self) -> None:
        """Those that are named may, and nobody else learns that they may."""
        origins = Origins(("https://a", "http://b:81"))
        for origin in ("https://a", "http://b:81"):
            headers = origins.headers(origin, "GET, POST")
            self.assertEqual(headers["Access-Control-Allow-Origin"], origin)
            self.assertEqual(headers["Access-Control-Allow-Credentials"], "true")
            self.assertEqual(headers["Access-Control-Allow-Methods"], "GET, POST")
            allowed = headers["Access-Control-Allow-Headers"].split(", ")
            for name in ("Authorization", "Content-Type", "X-Job-Realm"):
                self.assertIn(name, allowed)
            self.assertEqual(headers["Vary"], "Origin")
        for wrong in ("http://a", "https://a:444", "https://a.evil", "null", "*", None):
            self.assertEqual(origins.headers(wrong), {"Vary": "Origin"}, wrong)
        self.assertEqual(origins.ancestors, "'self' http://b:81 https://a")


class NamedOriginTests(GuardTestCase):
    """A server for the pages of one origin."""

    crossOrigin = ("https://maps.example.org",)

    def test_preflight(self) -> None:
        """A browser that asks first is told what it may send."""
        response = self.ask(
            "/ows/",
            "OPTIONS",
            Origin="https://maps.example.org",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="authorization, content-type",
        )
        self.assertEqual(response.status, 204)
        self.assertEqual(
            response.getheader("Access-Control-Allow-Methods"),
            "GET, HEAD, OPTIONS, POST",
        )
        self.assertIn(
            "Authorization", str(response.getheader("Access-Control-Allow-Headers"))
        )

    def test_answers(self) -> None:
        """Answers, errors and what is too large say who may read them."""
        name = "Access-Control-Allow-Origin"
        for path, method, body in [
            (CAPABILITIES, "GET", b""),
            ("/nothing", "GET", b""),
            ("/status/x", "GET", b""),
            ("/ows/", "POST", b"x" * 2000),
        ]:
            for origin, expected in [
                (self.crossOrigin[0], self.crossOrigin[0]),
                ("https://evil.example", None),
            ]:
                exchange = self.exchange(path, method, body=body, Origin=origin)
                self.reactor.advance(LINGER)
                response = self.successResultOf(exchange.finished)
                self.assertEqual(response.getheader(name), expected)
                self.assertIn("Origin", str(response.getheader("Vary")))
        for path in ("/", "/status/"):
            policy = self.ask(path, **BROWSER).getheader("Content-Security-Policy")
            self.assertIn("frame-ancestors 'none'", str(policy))
        policy = self.ask(CAPABILITIES).getheader("Content-Security-Policy")
        self.assertIn("'self' https://maps.example.org", str(policy))
