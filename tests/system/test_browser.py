"""The pages that people look at, in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from html import unescape

from twisted.trial import unittest

from tests import live

#: Debian's Chromium, without all that would reach for the network.
CHROMIUM = [
    "/usr/bin/chromium",
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]


def seen(url: str) -> str:
    """The document at a URL, as the browser has it after loading it."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [*CHROMIUM, f"--user-data-dir={profile}", "--dump-dom", url],
            capture_output=True,
            text=True,
            timeout=live.PATIENCE,
            check=True,
            env={**os.environ, "HOME": profile},
        )
    return done.stdout


def links(page: str) -> dict[str, str]:
    """The links of a page: addresses by texts."""
    found = re.findall(r'<a href="([^"]*)">([^<]*)</a>', page)
    return {unescape(text): unescape(address) for address, text in found}


class BrowserTests(unittest.TestCase):
    """From the landing page to a job's log."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def test_way(self) -> None:
        """Each page leads on to the next."""
        hostile = "<img src=x onerror=alert(1)>"
        self.server.execute("script:mishap", {"KIND": hostile})
        landing = seen(self.server.url)
        self.assertIn("QGIS Processing", landing)
        jobs = seen(self.server.url + links(landing)["Jobs"])
        self.assertIn("script:mishap", jobs)
        self.assertIn("<progress", jobs)
        self.assertIn('http-equiv="refresh"', jobs)
        newest = self.server.get("status/?limit=1").json()["status"][0]
        job = seen(links(jobs)[newest["uuid"][:8]])
        self.assertIn("ERROR_STATUS", job)
        # What the script was told stands there as text, and not as an image.
        self.assertNotIn("<img", job)
        log = seen(links(job)[newest["log_url"]])
        self.assertIn("about to", log)
        self.assertNotIn("<img", log)
