"""Tests of L{qgswps.ows.naming}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError
from qgswps.model import (
    ExecuteRequest,
    Input,
    InputDescription,
    LiteralType,
    LiteralValue,
    OutputDescription,
    ProcessDescription,
)
from qgswps.ows.binding import bind
from qgswps.ows.naming import find, published
from qgswps.ows.wps100.describe import processDescriptions


def process(*identifiers: str) -> ProcessDescription:
    return ProcessDescription(
        "p",
        "P",
        inputs=tuple(
            InputDescription(name, name, LiteralType(), minOccurs=0)
            for name in identifiers
        ),
        outputs=(OutputDescription("O", "O", LiteralType()),),
    )


class NamingTests(SynchronousTestCase):
    """Names of inputs that clients can tell apart."""

    def test_published(self) -> None:
        """A number is added where two names are one for clients."""
        for given, expected in [
            ((), []),
            (("INPUT", "DISTANCE"), ["INPUT", "DISTANCE"]),
            (("-A", "-a"), ["-A", "-a_2"]),
            (("a.b", "a b", "A-B"), ["a.b", "a b_2", "A-B_3"]),
            (("a", "a_2", "A"), ["a", "a_2", "A_3"]),
            (("é", "É", "e"), ["é", "É_2", "e"]),
        ]:
            found = published(process(*given))
            self.assertEqual(list(found), list(given))
            self.assertEqual(list(found.values()), expected)

    def test_find(self) -> None:
        """By either name; a name as it is goes first."""
        described = process("-A", "-a", "b")
        for name, identifier in [("-A", "-A"), ("-a", "-a"), ("-a_2", "-a")]:
            item = find(described, name)
            assert item is not None
            self.assertEqual(item.identifier, identifier, name)
        for name in ("-A_2", "B", "b_2", ""):
            self.assertIsNone(find(described, name), name)

    def test_described(self) -> None:
        """Descriptions have the published names."""
        document = processDescriptions([process("-A", "-a")])
        self.assertIn(b"<ows:Identifier>-a_2<", document)
        self.assertNotIn(b"<ows:Identifier>-a<", document)

    def test_bound(self) -> None:
        """Of requests, the process gets its own names; one input is one."""
        described = process("-A", "-a")

        def request(*names: str) -> ExecuteRequest:
            value = LiteralValue("x")
            return ExecuteRequest("p", tuple(Input(name, value) for name in names))

        bound = bind(request("-a_2", "-A"), described)
        self.assertEqual([item.identifier for item in bound.inputs], ["-a", "-A"])
        self.assertRaises(OWSError, bind, request("-a_2", "-a"), described)
