"""The status API as its clients see it, without sockets."""

from __future__ import annotations

import json
import os

from qgswps.model import State
from qgswps.web.status import STATUS
from tests.fakes import makeJob
from tests.web.test_site import SiteTestCase

_EXECUTE = (
    "/ows/?service=WPS&version=1.0.0&request=Execute&identifier=test:echo"
    "&datainputs=TEXT=a&storeExecuteResponse=true"
)


class ListingTests(SiteTestCase):
    """Pages and filters."""

    def setUp(self) -> None:
        super().setUp()
        states = list(State)
        for n in range(25):
            self.keep(
                makeJob(
                    f"j{n:02}",
                    created=float(n),
                    state=states[n % len(states)],
                    processId="a:b" if n % 2 else "c:d",
                )
            )

    def listed(self, query: str) -> list[str]:
        """The jobs of a page."""
        return [job["uuid"] for job in self.json(f"/status/{query}")["status"]]

    def test_pages(self) -> None:
        """Pages follow on each other, the newest first."""
        every = self.listed("")
        self.assertEqual(every, [f"j{n:02}" for n in reversed(range(25))])
        pages = [self.listed(f"?limit=10&offset={n}") for n in (0, 10, 20, 30)]
        self.assertEqual([len(page) for page in pages], [10, 10, 5, 0])
        self.assertEqual([each for page in pages for each in page], every)

    def test_filters(self) -> None:
        """By state, under both names, and by process."""
        for state in State:
            for name in (state.value, STATUS[state], STATUS[state].lower()):
                found = self.listed(f"?status={name}")
                self.assertEqual(len(found), 5)
                for jobId in found:
                    self.assertIs(self.store.jobs[jobId].state, state)
        self.assertEqual(len(self.listed("?STATE=accepted,started")), 10)
        for name in ("process", "identifier"):
            self.assertEqual(len(self.listed(f"?{name}=a:b")), 12)
        self.assertEqual(self.listed("?process=a:b&status=failed&limit=1"), ["j23"])

    def test_wrong(self) -> None:
        """A wrong value is named, with what was expected."""
        for query, name in (
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=ten", "limit"),
            ("offset=-1", "offset"),
            ("offset=%C2%B2", "offset"),
            ("status=lost", "status"),
        ):
            response = self.ask(f"/status/?{query}")
            self.assertEqual(response.status, 400, query)
            fault = json.loads(response.read())["faults"][0]
            self.assertEqual(fault["locator"], name)
            self.assertIn("expected", fault["text"])


class DismissTests(SiteTestCase):
    """DELETE of a job that waits, runs, or has ended."""

    def submit(self) -> str:
        """The id of a new job."""
        before = set(self.store.jobs)
        self.assertEqual(self.ask(_EXECUTE).status, 200)
        (found,) = set(self.store.jobs) - before
        return found

    def dismiss(self, jobId: str) -> str:
        """The state that the answer tells."""
        response = self.ask(f"/status/{jobId}", "DELETE")
        self.assertEqual(response.status, 200)
        status: str = json.loads(response.read())["status"]["status"]
        return status

    def test_all(self) -> None:
        running = [self.submit(), self.submit()]
        for execution in self.executor.executions:
            execution.observer.started(5)
        waiting = self.submit()
        self.assertEqual(self.json(f"/status/{waiting}")["status"]["queue_position"], 1)
        self.assertEqual(self.dismiss(waiting), "DISMISS_STATUS")
        self.assertEqual(self.dismiss(running[0]), "DISMISS_STATUS")
        self.assertEqual([e.cancelled for e in self.executor.executions], [1, 0])
        # Once more removes what is left of it.
        self.assertEqual(self.dismiss(waiting), "DISMISS_STATUS")
        self.assertEqual(self.ask(f"/status/{waiting}").status, 404)
        self.assertEqual(self.ask(f"/status/{waiting}", "DELETE").status, 404)
        self.assertNotIn(waiting, self.spool.jobIds())

    def test_elsewhere(self) -> None:
        """What another server runs can't be ended here."""
        self.keep(makeJob("j", state=State.STARTED, server="there"))
        response = self.ask("/status/j", "DELETE")
        self.assertEqual(response.status, 409)
        self.assertIn(b"another server", response.read())


class ShowTests(SiteTestCase):
    """What there is to know of one job."""

    def test_request(self) -> None:
        """What was asked, in no protocol's words."""
        self.keep(makeJob("j"))
        found = self.json("/status/j?key=request")["request"]
        self.assertEqual(found["processId"], self.spool.task("j").request.processId)

    def test_outputFiles(self) -> None:
        self.keep(makeJob("j", state=State.SUCCEEDED), **{"a.tif": b"abc"})
        self.assertEqual(
            self.json("/status/j")["status"]["output_files"], [["a.tif", 3]]
        )

    def test_log(self) -> None:
        """What the run printed; nothing before."""
        self.keep(makeJob("j"))
        response = self.ask("/jobs/j/log")
        self.assertEqual((response.status, response.read()), (200, b""))
        with open(os.path.join(self.spool.directory("j"), "log"), "w") as file:
            file.write("«so far»\n")
        response = self.ask("/jobs/j/log", "HEAD")
        self.assertEqual(response.getheader("Content-Length"), "11")
        self.assertEqual(
            response.getheader("Content-Type"), "text/plain; charset=utf-8"
        )
        self.assertEqual(self.ask("/jobs/j/log/x").status, 404)

    def test_html(self) -> None:
        """A browser gets tables, in which texts stay texts."""
        self.keep(makeJob("j", message="<script>alert(1)</script>", percent=40.0))
        self.keep(makeJob("k", state=State.FAILED))
        accept = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        for path in ("/status/", "/status/j"):
            response = self.ask(path, **accept)
            self.assertEqual(
                response.getheader("Content-Type"), "text/html; charset=utf-8"
            )
            self.assertIn(
                "default-src 'none'", response.getheader("Content-Security-Policy")
            )
            page = response.read().decode()
            self.assertNotIn("<script>", page)
            self.assertIn("&lt;script&gt;", page)
            self.assertIn('http-equiv="refresh"', page)
            self.assertIn('value="40"', page)
        ended = self.ask("/status/k", **accept).read().decode()
        self.assertNotIn('http-equiv="refresh"', ended)
        for accepted in ("*/*", "application/json", "application/json, text/html"):
            response = self.ask("/status/", Accept=accepted)
            self.assertEqual(response.getheader("Content-Type"), "application/json")

    def test_vary(self) -> None:
        """Caches are told what the form depends on."""
        self.keep(makeJob("j"))
        for path in ("/status/", "/status/j"):
            for accepted in ("text/html", "application/json"):
                response = self.ask(path, Accept=accepted)
                self.assertEqual(response.getheader("Vary"), "Accept")

    def test_htmlLinks(self) -> None:
        """From one job a browser gets to its files and its log."""
        job = makeJob("j", state=State.SUCCEEDED)
        self.keep(job, **{"a <b>.tif": b"abc", "log": b""})
        page = self.ask("/status/j", Accept="text/html").read().decode()
        base = "http://example.org/jobs/j"
        for url, text in (
            (f"{base}/files/a%20%3Cb%3E.tif", "a &lt;b&gt;.tif"),
            (f"{base}/files/log", "log"),
            (f"{base}/log", "Log"),
        ):
            self.assertIn(f'<a href="{url}">{text}</a>', page)

    def test_removed(self) -> None:
        """A job whose files go while it is asked for is not there any more."""
        self.keep(makeJob("j"))
        self.spool.remove("j")
        self.assertEqual(self.ask("/status/j?key=request").status, 404)

    def test_htmlPages(self) -> None:
        """Pages are linked."""
        for n in range(3):
            self.keep(makeJob(f"j{n}", created=float(n)))
        page = self.ask("/status/?limit=1&offset=1", Accept="text/html").read()
        for query in (b"limit=1&amp;offset=0", b"limit=1&amp;offset=2"):
            self.assertIn(query, page)


class ElsewhereTests(SiteTestCase):
    """Jobs of another server that has the same store."""

    instance = "here"

    def test_files(self) -> None:
        """What is in the other's directory can't be had here, nor removed."""
        for state in State:
            self.store.jobs["j"] = makeJob("j", server="there", state=state)
            for method, path in (
                ("GET", "/status/j?key=request"),
                ("DELETE", "/status/j"),
                ("GET", "/jobs/j/files"),
                ("GET", "/jobs/j/files/a.tif"),
                ("GET", "/jobs/j/log"),
            ):
                response = self.ask(path, method)
                self.assertEqual(response.status, 409, (method, path))
                [fault] = json.loads(response.read())["faults"]
                self.assertEqual(fault["code"], "InvalidParameterValue")
                self.assertEqual(fault["locator"], "uuid")
                self.assertIn("another server", fault["text"])
            self.assertIn("j", self.store.jobs)

    def test_record(self) -> None:
        """The record can, but for the files."""
        job = makeJob("j", server="there", state=State.SUCCEEDED)
        self.store.jobs["j"] = job
        shown = self.json("/status/j")["status"]
        self.assertEqual(shown["status"], "DONE_STATUS")
        self.assertNotIn("output_files", shown)
        self.assertEqual(self.ask("/status/j", Accept="text/html").status, 200)
        self.assertEqual(len(self.json("/status/")["status"]), 1)

    def test_own(self) -> None:
        """One's own are as ever."""
        self.keep(makeJob("j", state=State.SUCCEEDED), **{"a.tif": b"abc"})
        for path in ("/status/j?key=request", "/jobs/j/files", "/jobs/j/log"):
            self.assertEqual(self.ask(path).status, 200)
        self.assertEqual(self.ask("/status/j", "DELETE").status, 200)


class ExpiryTests(SiteTestCase):
    """Jobs whose time is over, and that nobody has removed."""

    expiring = True

    def test_expired(self) -> None:
        """They are as if they were not there, from that second on."""
        for jobId, expires in (("a", 1010.0), ("b", 1020.0), ("c", None)):
            job = makeJob(jobId, state=State.SUCCEEDED, expires=expires)
            self.keep(job, x=b"")
        paths = ("/status/a", "/status/a?key=request", "/jobs/a/files", "/jobs/a/log")
        results = "/ows/?service=WPS&request=GetResults&uuid=a"
        self.reactor.advance(9.5)
        for path in paths:
            self.assertEqual(self.ask(path).status, 200, path)
        self.assertEqual(len(self.json("/status/")["status"]), 3)
        self.store.jobs["a"] = makeJob("a", state=State.SUCCEEDED, expires=1010.0)
        self.reactor.advance(0.5)
        for path in (*paths, results):
            self.assertEqual(self.ask(path).status, 404, path)
        self.assertEqual(self.ask("/status/a", "DELETE").status, 404)
        listed = self.json("/status/")["status"]
        self.assertEqual({job["uuid"] for job in listed}, {"b", "c"})

    def test_pages(self) -> None:
        """A page that they shorten is not taken for the last."""
        for n, expires in enumerate((None, 1.0, 1.0)):
            self.keep(makeJob(f"j{n}", created=float(n), expires=expires))
        page = self.ask("/status/?limit=2", Accept="text/html").read()
        self.assertIn(b"limit=2&amp;offset=2", page)
