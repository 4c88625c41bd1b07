"""Tests of L{qgswps.web.connections}; those of its use are in L{test_http}."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from qgswps.web.connections import allow


class AllowTests(SynchronousTestCase):
    """How many connections the system allows."""

    def assertAllowed(self, soft: int, hard: int, wanted: int, expected: int) -> None:
        """So many are, and the limit is as high as it can be."""
        limits = [(soft, hard)]
        self.patch(resource, "getrlimit", lambda _: limits[-1])
        self.patch(resource, "setrlimit", lambda _, both: limits.append(both))
        self.assertEqual(allow(wanted), expected)
        self.assertEqual(limits[-1], (hard, hard))

    def test_limits(self) -> None:
        """Two files for each, and some for other things."""
        self.assertAllowed(1024, 65536, 2000, 2000)
        self.assertAllowed(1024, 1024, 2000, 384)
        self.assertAllowed(1024, 4096, 5000, 1920)
        self.assertAllowed(100, 100, 2000, 16)
        infinity = resource.RLIM_INFINITY
        self.assertAllowed(1024, infinity, 10_000, 10_000)

    def test_forbidden(self) -> None:
        """Where the limit can't be changed, it is what there is."""

        def forbid(*_: object) -> None:
            raise PermissionError

        self.patch(resource, "getrlimit", lambda _: (1024, 4096))
        self.patch(resource, "setrlimit", forbid)
        self.assertEqual(allow(2000), 384)
