"""Tests of L{qgswps.ows.kvp}."""

from __future__ import annotations

import contextlib
import random
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError
from qgswps.ows.kvp import Item, parseInputs, parseOutputs, parseQuery


class QueryTests(SynchronousTestCase):
    """Query strings to parameters."""

    def test_values(self) -> None:
        """Names come in any letter case; values are decoded."""
        for query, name, value in [
            (b"service=WPS", "SERVICE", "WPS"),
            (b"SerVice=WPS&a=1", "service", "WPS"),
            (b"MAP=/a%20b.qgs", "map", "/a b.qgs"),
            (b"map=a+b", "MAP", "a b"),
            (b"map=a%2Bb", "MAP", "a+b"),
            (b"map=%C3%A9", "MAP", "é"),
            (b"map=\xc3\xa9", "MAP", "é"),
            (b"map=a=b=c", "MAP", "a=b=c"),
            (b"%6Dap=x", "MAP", "x"),
            (b"map=first&MAP=second", "map", "first"),
            (b"map=%20x%20", "map", "x"),
            (b"map=", "map", None),
            (b"map", "map", None),
            (b"", "map", None),
            (b"&&=x&", "map", None),
            (b"map=%", "map", "%"),
            (b"map=%ff", "map", "\ufffd"),
        ]:
            self.assertEqual(parseQuery(query).get(name), value, query)

    def test_has(self) -> None:
        """An empty parameter is there all the same."""
        parameters = parseQuery(b"A=&b=1")
        self.assertTrue(parameters.has("a"))
        self.assertFalse(parameters.has("c"))
        self.assertEqual(list(parameters), ["a", "b"])

    def test_parts(self) -> None:
        """A list has commas between; empty parts do not count."""
        parameters = parseQuery(b"identifier=a,b%2C,%20c,&x=")
        self.assertEqual(parameters.parts("Identifier"), ("a", "b", "c"))
        self.assertEqual(parameters.parts("x"), ())
        self.assertEqual(parameters.parts("y"), ())

    def test_semicolon(self) -> None:
        """A semicolon does not end a parameter."""
        raw = parseQuery(b"DataInputs=a=1;b=2&c=3").raw
        self.assertEqual(raw["datainputs"], b"a=1;b=2")


def pairs(text: bytes) -> list[tuple[str, str | None]]:
    return [(item.identifier, item.value) for item in parseInputs(text)]


class InputsTests(SynchronousTestCase):
    """The value of DataInputs."""

    def test_bare(self) -> None:
        """Separators stand bare, values are escaped: split, then decode."""
        for text, expected in [
            (b"", []),
            (b"a=1", [("a", "1")]),
            (b"a=1;b=2", [("a", "1"), ("b", "2")]),
            (b"a=1;b=2;", [("a", "1"), ("b", "2")]),
            (b";;a=1", [("a", "1")]),
            (b"a=1;a=2", [("a", "1"), ("a", "2")]),
            (b"a=;b=2", [("a", ""), ("b", "2")]),
            (b"a=x%3By;b=u%3Dv", [("a", "x;y"), ("b", "u=v")]),
            (b"a=x=y;b=z", [("a", "x=y"), ("b", "z")]),
            (b"a=x=y", [("a", "x=y")]),
            (b"a=x%3By", [("a", "x;y")]),
            (b"a=x%3By%3Dz", [("a", "x;y=z")]),
            (b"a=100%25;b=1", [("a", "100%"), ("b", "1")]),
            (b"a=%2525;b=1", [("a", "%25"), ("b", "1")]),
            (b"a=x+y;b=x%2By", [("a", "x y"), ("b", "x+y")]),
            (b"a=me@example.org;b=1", [("a", "me@example.org"), ("b", "1")]),
            (b"a=x@y=z;b=1", [("a", "x@y=z"), ("b", "1")]),
            (b"a=x%40uom=m;b=1", [("a", "x@uom=m"), ("b", "1")]),
            (b"%61=1;b=2", [("a", "1"), ("b", "2")]),
            (b"a=%7B%22x%22:1%7D", [("a", '{"x":1}')]),
            (b"[a=1;b=2]", [("a", "1"), ("b", "2")]),
            (b"a=[1]", [("a", "[1]")]),
        ]:
            self.assertEqual(pairs(text), expected, text)

    def test_escapedOnceMore(self) -> None:
        """The whole is escaped once more, as most clients do."""
        for text, expected in [
            (b"a%3D1", [("a", "1")]),
            (b"a%3D1%3Bb%3D2", [("a", "1"), ("b", "2")]),
            (b"a%3d1%3bb%3d2%3b", [("a", "1"), ("b", "2")]),
            # Only the semicolon is, as the field's tests have it.
            (b"a=1%3Bb=2", [("a", "1"), ("b", "2")]),
            # Properly: the values were escaped before.
            (b"a%3Dx%253By%3Bb%3Du%253Dv", [("a", "x;y"), ("b", "u=v")]),
            (b"a%3Dx%2540uom%253Dm", [("a", "x@uom=m")]),
            (b"a%3D100%2525", [("a", "100%")]),
            (b"a%3D%25C3%25A9", [("a", "é")]),
            # Usually: they were not.
            (b"a%3Dx%20y%3Bb%3D%C3%A9", [("a", "x y"), ("b", "é")]),
            (b"a%3Dx%3Dy%3Bb%3D2", [("a", "x=y"), ("b", "2")]),
            (b"a%3Dx%3By%3Bb%3D2", [("a", "x;y"), ("b", "2")]),
            (b"a%3D100%25", [("a", "100%")]),
            (b"a%3D1%2B2", [("a", "1+2")]),
            (b"a%3Dn+LIKE+%27%25ab%25%27", [("a", "n LIKE '%ab%'")]),
            (b"a%3D%ff%25ff", [("a", "\ufffd%ff")]),
            (b"a%3D%25ff", [("a", "%ff")]),
            (b"a%3Dme%40example.org", [("a", "me@example.org")]),
            (b"%5Ba%3D1%3Bb%3D2%5D", [("a", "1"), ("b", "2")]),
            (b"a%3D1%3B%3Bb%3D2", [("a", "1"), ("b", "2")]),
        ]:
            self.assertEqual(pairs(text), expected, text)

    def test_attributes(self) -> None:
        """Known attributes are told from the value, in any letter case."""
        link = "http://example.org/wfs?a=1&b=2;c"
        escaped = quote(link, safe="").encode()
        gml = "text/xml; subtype=gml/3.1.1"
        for text, expected in [
            (
                b"a=1@dataType=integer@uom=m",
                Item("a", "1", {"datatype": "integer", "uom": "m"}),
            ),
            (b"a=1@DATATYPE=integer", Item("a", "1", {"datatype": "integer"})),
            (b"a=@xlink:href=" + escaped, Item("a", "", {"href": link})),
            (b"a=@xlink%3Ahref=" + escaped, Item("a", "", {"href": link})),
            (
                b"a=@href=" + escaped + b"@method=POST",
                Item("a", "", {"href": link, "method": "POST"}),
            ),
            (b"a@href=" + escaped, Item("a", None, {"href": link})),
            (b"a=@href=http://h/?x=1", Item("a", "", {"href": "http://h/?x=1"})),
            (
                b"a=<x/>@mimeType=text/xml@encoding=UTF-8@schema=http://s",
                Item(
                    "a",
                    "<x/>",
                    {"mimetype": "text/xml", "encoding": "UTF-8", "schema": "http://s"},
                ),
            ),
            (b"a%3D1%40uom%3Dm", Item("a", "1", {"uom": "m"})),
            (
                b"a%3D%40xlink%3Ahref%3D" + quote(escaped, safe="").encode(),
                Item("a", "", {"href": link}),
            ),
            (
                b"a%3D%40xlink%3Ahref%3Dhttp%3A%2F%2Fh%2Fa%2520b",
                Item("a", "", {"href": "http://h/a%20b"}),
            ),
            (
                b"a=x@mimeType=" + quote(gml, safe="").encode(),
                Item("a", "x", {"mimetype": gml}),
            ),
            (
                b"a=x%40mimeType%3D" + quote(gml, safe="").encode(),
                Item("a", "x@mimeType=" + gml),
            ),
            (
                b"a%3Dx%40mimeType%3D" + quote(gml, safe="").encode(),
                Item("a", "x", {"mimetype": gml}),
            ),
        ]:
            self.assertEqual(parseInputs(text), (expected,), text)

    def test_wrong(self) -> None:
        """A piece that is no input is refused, and named."""
        for text in [b"a", b"a=1;b", b"=1", b"a=1;=2", b"%3D1", b"@uom=m"]:
            error = self.assertRaises(OWSError, parseInputs, text)
            self.assertEqual(error.faults[0].code, "InvalidParameterValue", text)
            self.assertEqual(error.faults[0].locator, "DataInputs", text)

    def test_roundTrip(self) -> None:
        """Whatever the values are, both proper encodings give them again."""
        rng = random.Random(7)
        alphabet = "ab1;@=%&+[]{}\"'<>/?#é€ \n\t:,.~"
        names = ["uom", "datatype", "mimetype", "encoding", "schema", "href"]

        def text() -> str:
            return "".join(rng.choices(alphabet, k=rng.randint(0, 8)))

        for _ in range(2000):
            items = []
            for name in rng.sample("ABCD", rng.randint(1, 4)):
                chosen = rng.sample(names, rng.choice([0, 0, 1, 2]))
                items.append(Item(name, text(), {n: text().strip() for n in chosen}))
            bare = ";".join(
                f"{item.identifier}={quote(item.value or '', safe='')}"
                + "".join(
                    f"@{name}={quote(value, safe='')}"
                    for name, value in item.attributes.items()
                )
                for item in items
            )
            self.assertEqual(parseInputs(bare.encode()), tuple(items), bare)
            twice = quote(bare, safe="")
            self.assertEqual(parseInputs(twice.encode()), tuple(items), twice)

    def test_anything(self) -> None:
        """No bytes whatever do more than raise an OWSError."""
        rng = random.Random(8)
        alphabet = b"a=;@%3BbDd40+&uom\xff\x00[]"
        for _ in range(5000):
            text = bytes(rng.choices(alphabet, k=rng.randint(0, 20)))
            for parse in (parseInputs, lambda raw: parseOutputs(raw, "x")):
                with contextlib.suppress(OWSError):
                    parse(text)
            parseQuery(text)


class OutputsTests(SynchronousTestCase):
    """The values of ResponseDocument and RawDataOutput."""

    def test_items(self) -> None:
        """Outputs come with their attributes, in both encodings."""
        png = {"mimetype": "image/png", "asreference": "true"}
        gml = {"mimetype": "text/xml; subtype=gml/3.1.1"}
        for text, expected in [
            (b"", ()),
            (b"a", (Item("a"),)),
            (b"a;b", (Item("a"), Item("b"))),
            (b"a%3Bb", (Item("a"), Item("b"))),
            (b"[a;b]", (Item("a"), Item("b"))),
            (
                b"a@mimeType=image/png@asReference=true;b",
                (Item("a", None, png), Item("b")),
            ),
            (
                b"a@mimeType=image%2Fpng@asReference=true%3Bb",
                (Item("a", None, png), Item("b")),
            ),
            (
                b"a%40mimeType%3Dimage%2Fpng%40asReference%3Dtrue%3Bb",
                (Item("a", None, png), Item("b")),
            ),
            (b"a@mimeType=image%252Fpng@asReference=true", (Item("a", None, png),)),
            (
                b"a@mimeType=image/svg%2Bxml",
                (Item("a", None, {"mimetype": "image/svg+xml"}),),
            ),
            (b"a@mimeType=text/xml%3B%20subtype%3Dgml/3.1.1", (Item("a", None, gml),)),
            (
                b"a@mimeType=text/xml%3B%20subtype%3Dgml/3.1.1;b",
                (Item("a", None, gml), Item("b")),
            ),
            (
                b"a@mimeType=text/xml%3B%20subtype%3Dgml/3.1.1%3Bb",
                (Item("a", None, gml), Item("b")),
            ),
            (b"a=", (Item("a", ""),)),
        ]:
            self.assertEqual(parseOutputs(text, "ResponseDocument"), expected, text)

    def test_value(self) -> None:
        """An output takes no value."""
        error = self.assertRaises(OWSError, parseOutputs, b"a=1;b", "RawDataOutput")
        self.assertEqual(error.faults[0].locator, "RawDataOutput")
