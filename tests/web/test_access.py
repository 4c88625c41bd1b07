"""Who may see which job, on every route that leads to one."""

from __future__ import annotations

import json
from http.client import HTTPResponse

from qgswps.model import Result, State
from qgswps.web.access import HEADER
from qgswps.web.site import JobRoutes, Root
from tests.fakes import makeJob
from tests.web.test_site import SiteTestCase

_EXECUTE = "/ows/?service=WPS&version=1.0.0&request=Execute&identifier=test:echo"
_RESULTS = "/ows/?service=WPS&request=GetResults&uuid="
_STATUS = "/ows/?service=WPS&request=GetExecutionStatus&executionId="


def routes(root: Root) -> list[tuple[str, str]]:
    """Every route of the resource tree that leads to a job: method and path."""
    found = []
    for name, child in root.children.items():
        if isinstance(child, JobRoutes):
            for rest, handlers in child.routes.items():
                path = "/".join(("", name.decode(), "{uuid}", rest)).rstrip("/")
                found += [(method.decode(), path) for method in handlers]
    return found


def bearing(realm: str) -> dict[str, str]:
    """The header of the bearer of a realm, if there is one."""
    return {HEADER: realm} if realm else {}


class RealmTests(SiteTestCase):
    """Jobs belong to the realm that made them."""

    realms = True

    def asked(self, path: str, method: str = "GET", realm: str = "") -> HTTPResponse:
        """The response to the bearer of a realm."""
        return self.ask(path, method, **bearing(realm))

    def paths(self, jobId: str) -> list[tuple[str, str]]:
        """All ways to a job; those that change it last."""
        found = [
            (method, path.replace("{uuid}", jobId))
            for method, path in routes(self.site.resource)
        ]
        found += [("GET", f"/jobs/{jobId}/files/a.txt")]
        found += [("GET", path + jobId) for path in (_RESULTS, _STATUS)]
        return sorted(found, key=lambda route: route[0] != "GET")

    def test_routes(self) -> None:
        """The ways that are known; a new one has to be added here."""
        self.assertEqual(
            sorted(routes(self.site.resource)),
            [
                ("DELETE", "/status/{uuid}"),
                ("GET", "/jobs/{uuid}/files"),
                ("GET", "/jobs/{uuid}/files.zip"),
                ("GET", "/jobs/{uuid}/log"),
                ("GET", "/jobs/{uuid}/wfs3"),
                ("GET", "/jobs/{uuid}/wfs3.html"),
                ("GET", "/jobs/{uuid}/wfs3.json"),
                ("GET", "/status/{uuid}"),
            ],
        )
        # All else in the tree leads to no single job.
        others = {
            name
            for name, child in self.site.resource.children.items()
            if not isinstance(child, JobRoutes)
        }
        self.assertEqual(others, {b"ows"})

    def test_foreign(self) -> None:
        """A job of others is answered like one that is not, whatever is asked."""
        job = makeJob("j", realm="mine", state=State.SUCCEEDED)
        self.keep(job, **{"a.txt": b"secret"})
        for realm in ("", "other", "min", "mine2", "MINE", "ädmin"):
            for method, path in self.paths("j"):
                foreign = self.asked(path, method, realm)
                unknown = self.asked(path.replace("j", "k", 1), method, realm)
                if "jobs" in path:
                    unknown = self.asked(path.replace("/j/", "/k/"), method, realm)
                elif path.endswith("j"):
                    unknown = self.asked(f"{path[:-1]}k", method, realm)
                self.assertEqual(foreign.status, 404, (method, path, realm))
                self.assertEqual(
                    foreign.read().replace(b"'j'", b"'k'"), unknown.read(), path
                )
        self.assertIn("j", self.store.jobs)

    def test_ownAndAdmin(self) -> None:
        """The bearer of the realm and the administrator see it by every way."""
        for realm in ("mine", "admin"):
            job = makeJob("j", realm="mine", state=State.DISMISSED)
            self.keep(job, **{"a.txt": b"secret"})
            for method, path in self.paths("j"):
                if "wfs3" in path:
                    continue  # a map server answers these
                # A file is sent in pieces.
                asked = "HEAD" if path.endswith("a.txt") else method
                response = self.asked(path, asked, realm)
                self.assertEqual(response.status, 200, (method, path, realm))
            self.assertNotIn("j", self.store.jobs)

    def test_listing(self) -> None:
        """Each sees his own jobs, the administrator all, a stranger none."""
        for jobId, realm in (("a", "r"), ("b", "s"), ("c", "r"), ("d", None)):
            self.keep(makeJob(jobId, realm=realm, created=float(ord(jobId))))
        for realm, expected in (
            ("r", ["c", "a"]),
            ("s", ["b"]),
            ("t", []),
            ("", []),
            ("admin", ["d", "c", "b", "a"]),
        ):
            listed = json.loads(self.asked("/status/", realm=realm).read())["status"]
            self.assertEqual([job["uuid"] for job in listed], expected, realm)
            for job in listed:
                self.assertEqual(job["realm"], self.store.jobs[job["uuid"]].realm)

    def test_newRealm(self) -> None:
        """Execute tells the realm, the caller's or a new one each time."""
        given = []
        for realm in ("mine", "", ""):
            exchange = self.exchange(
                f"{_EXECUTE}&datainputs=TEXT=a&storeExecuteResponse=true",
                **bearing(realm),
            )
            response = self.successResultOf(exchange.finished)
            self.assertEqual(response.status, 200)
            given.append(response.getheader(HEADER))
            # A free place for the next.
            self.executor.executions[-1].end(Result())
        self.assertEqual(given[0], "mine")
        self.assertEqual(len(set(given)), 3)
        self.assertEqual({job.realm for job in self.store.jobs.values()}, set(given))

    def test_badRealm(self) -> None:
        """What can't be a realm is refused."""
        for realm in ("x" * 201, "a\tb"):
            response = self.asked(f"{_EXECUTE}&datainputs=TEXT=a", realm=realm)
            self.assertEqual(response.status, 400)
            self.assertIn(HEADER.encode(), response.read())


class OpenTests(SiteTestCase):
    """Without realms everybody sees all, and no secret is told."""

    def test_open(self) -> None:
        self.keep(makeJob("j", state=State.DISMISSED))
        self.assertEqual(self.ask("/status/j").status, 200)
        exchange = self.exchange(
            f"{_EXECUTE}&datainputs=TEXT=a&storeExecuteResponse=true",
            **bearing("mine"),
        )
        response = self.successResultOf(exchange.finished)
        self.assertIsNone(response.getheader(HEADER))
        self.assertEqual({job.realm for job in self.store.jobs.values()}, {None})

    def test_left(self) -> None:
        """So it is with the secret of a job from when there were realms."""
        self.keep(makeJob("j", realm="mine"))
        self.assertIsNone(self.json("/status/j")["status"]["realm"])
        [listed] = self.json("/status/")["status"]
        self.assertIsNone(listed["realm"])
        self.assertNotIn(b"mine", self.ask("/status/j", Accept="text/html").read())
