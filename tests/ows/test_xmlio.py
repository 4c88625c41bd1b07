"""Tests of L{qgswps.ows.xmlio}."""

from __future__ import annotations

from urllib.parse import unquote

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError
from qgswps.ows.limits import RequestLimits
from qgswps.ows.xmlio import (
    Markup,
    anyURI,
    attribute,
    child,
    clean,
    content,
    document,
    element,
    escape,
    fragment,
    localName,
    optional,
    parse,
    relativeURI,
    textOf,
)


class ParseTests(SynchronousTestCase):
    """Documents from strangers."""

    def test_encodings(self) -> None:
        """The declaration, or a mark, tells the encoding."""
        declared = '<?xml version="1.0" encoding="{}"?><a>é</a>'
        for name in ["UTF-8", "iso-8859-1", "windows-1252", "utf8", "Latin1"]:
            body = declared.format(name).encode(name)
            self.assertEqual(parse(body).text, "é", name)
        self.assertEqual(parse("<a>漢</a>".encode()).text, "漢")
        for name in ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]:
            for text in ["<a>é</a>", declared.format("utf-16")]:
                self.assertEqual(parse(text.encode(name)).text, "é", name)
        jis = declared.format("Shift_JIS").replace("é", "漢").encode("shift_jis")
        self.assertEqual(parse(jis).text, "漢")
        # A string that some library has written out again as bytes.
        self.assertEqual(parse(declared.format("utf-16").encode()).text, "é")
        self.assertEqual(parse(b" \n<a>x</a>").text, "x")

    def test_refused(self) -> None:
        """What is no XML, or more than XML ought to be, is a client's fault."""
        bomb = b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a x="&d;">&d;</a>'
        for body in [
            b"",
            b"  ",
            b"a",
            b"<a>",
            b"<a/><b/>",
            b"<a>\x00</a>",
            b"<a>\xff</a>",
            b"<a>&b;</a>",
            b"<a>&#0;</a>",
            b"<!DOCTYPE a><a/>",
            bomb,
            b'<?xml version="1.0"?>\n<!-- > --><?x ?>\n' + bomb,
            b"\xef\xbb\xbf" + bomb,
            bomb.decode().encode("utf-16"),
            bomb.decode().encode("utf-16-le"),
            b'<?xml version="1.0" encoding="utf-7"?><a/>',
            b'<?xml version="1.0" encoding="idna"?><a/>',
            b'<?xml version="1.0" encoding="zlib"?><a/>',
            b'<?xml version="1.0" encoding="none-such"?><a/>',
            b'<?xml version="1.0" encoding="ascii"?><a>\xe9</a>',
            b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
            b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
            b"<a>" * 100000,
        ]:
            error = self.assertRaises(OWSError, parse, body)
            self.assertEqual(error.status, 400, body)
            document("a", str(error), attributes={})

    def test_depth(self) -> None:
        """Elements in each other, up to a limit."""
        for depth, most in ((256, 256), (20, 20), (2000, 2000)):
            limits = RequestLimits(depth=most)
            parse(b"<a>" * depth + b"</a>" * depth, limits)
            deeper = b"<a>" * (depth + 1) + b"</a>" * (depth + 1)
            error = self.assertRaises(OWSError, parse, deeper, limits)
            self.assertEqual(error.status, 413)
            self.assertIn(f"more than {most} elements deep", str(error))

    def test_markup(self) -> None:
        """Tags and attributes, up to a limit; texts don't count."""
        limits = RequestLimits(markup=100)
        parse(b"<a>" + b"<b/>" * 98 + b"x" * 1000 + b"</a>", limits)
        for body in (
            b"<a>" + b"<b/>" * 99 + b"</a>",
            b"<a>" + b"<b c='' d=''/>" * 40 + b"</a>",
        ):
            error = self.assertRaises(OWSError, parse, body, limits)
            self.assertEqual(error.status, 413)
            self.assertIn("more than 100 tags and attributes", str(error))

    def test_attributes(self) -> None:
        """Attributes of one element, which the parser compares with each other."""
        for form in (b'a%d=""', b"xmlns:a%d = 'urn:x'", b'\ta%d="\n>"'):
            many = b" ".join(form % n for n in range(1001))
            few = b" ".join(form % n for n in range(1000))
            parse(b"<r><b " + few + b"/><b " + few + b"/></r>")
            error = self.assertRaises(OWSError, parse, b"<r><b " + many + b"/></r>")
            self.assertEqual(error.status, 413)
        # Texts and values may have what looks like these.
        parse(b"<r b='%s'>%s</r>" % (b"a=1 " * 5000, b'a="1" ' * 5000))

    def test_large(self) -> None:
        """Data of many megabytes can stand in one element."""
        root = parse(b"<a>" + b"x" * (11 << 20) + b"</a>")
        self.assertEqual(len(root.text or ""), 11 << 20)

    def test_notes(self) -> None:
        """Comments and processing instructions do not part a text."""
        root = parse(b"<a>1<!-- x -->2<?y z?>3<![CDATA[<]]></a>")
        self.assertEqual(root.text, "123<")
        self.assertEqual(len(root), 0)


class HelperTests(SynchronousTestCase):
    """Reading of elements."""

    def test_names(self) -> None:
        """Elements are found by their local names, attributes in any case."""
        root = parse(
            b'<a xmlns:o="o" o:CRS="1" MimeType="2"><o:b/><c> x<d>y</d> </c></a>'
        )
        self.assertEqual(attribute(root, "crs"), "1")
        self.assertEqual(attribute(root, "mimeType"), "2")
        self.assertIsNone(attribute(root, "schema"))
        found = child(root, "b", "c")
        assert found is not None
        self.assertEqual(localName(found), "b")
        self.assertEqual(textOf(child(root, "c")), "xy")
        self.assertIsNone(child(root, "d"))
        self.assertEqual(textOf(None), "")

    def test_content(self) -> None:
        """Data is the elements inside, with their namespaces, or the text."""
        for body, expected in [
            (b"<a/>", ""),
            (b"<a> x\n</a>", " x\n"),
            (b'<a>{"b": 1}</a>', '{"b": 1}'),
            (b"<a> <b>1</b> </a>", "<b>1</b>"),
            (b"<a><b/>\n<c/></a>", "<b/><c/>"),
            (b"<a><![CDATA[ <b/> ]]></a>", "<b/>"),
            (b"<a>\n&lt;?xml version='1.0'?&gt;</a>", "<?xml version='1.0'?>"),
            (b'<p:a xmlns:p="q"><p:b/></p:a>', '<p:b xmlns:p="q"/>'),
            ("<a><b>é</b></a>".encode(), "<b>é</b>"),
        ]:
            self.assertEqual(content(parse(body)), expected, body)


class WriterTests(SynchronousTestCase):
    """Elements as text."""

    def test_escapes(self) -> None:
        """All that has a meaning in XML loses it."""
        text = "<&>\"' \t\r\n]]>é\U0001f600"
        made = element("a", text, attributes={"b": text, "c": None})
        root = etree.fromstring(made)
        self.assertEqual(root.text, text)
        self.assertEqual(root.get("b"), text)
        self.assertEqual(list(root.attrib), ["b"])

    def test_forbidden(self) -> None:
        """What XML can't hold is replaced, whatever it stands in."""
        text = "a\0\x01\x0b\x1f\ud800\udfff\ufffe\uffffz"
        self.assertEqual(clean(text), "a" + "\ufffd" * 8 + "z")
        made = document("a", text, attributes={"b": text})
        self.assertEqual(etree.fromstring(made).text, clean(text))

    def test_nested(self) -> None:
        """Markup goes in as it is, None and empty text not at all."""
        self.assertEqual(
            element("a", "<", element("b"), None, "", optional("c", "")),
            "<a>&lt;<b/></a>",
        )
        self.assertEqual(element("a", Markup("")), "<a/>")
        self.assertEqual(optional("c", "x"), "<c>x</c>")
        self.assertIsInstance(escape("x"), Markup)

    def test_document(self) -> None:
        """Nothing but the declaration stands before the root."""
        made = document("wps:A", element("ows:B"), attributes={"xml:lang": "en"})
        self.assertTrue(
            made.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<wps:A ')
        )
        root = etree.fromstring(made)
        self.assertEqual(root.tag, "{http://www.opengis.net/wps/1.0.0}A")
        self.assertEqual(root[0].tag, "{http://www.opengis.net/ows/1.1}B")

    def test_fragment(self) -> None:
        """Foreign data is embedded if it does no harm to the document."""
        xlink = 'xmlns:x="http://www.w3.org/1999/xlink"'
        xsi = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
        for data, expected in [
            ("<a/>", "<a/>"),
            ("<?xml version='1.0'?>\n<a>é</a>\n", "<a>é</a>"),
            ("<a><!-- b --></a>", "<a><!-- b --></a>"),
            (f'<a {xlink} x:href="#b"/>', f'<a {xlink} x:href="#b"/>'),
            (f'<a {xsi} i:nil="true"/>', f'<a {xsi} i:nil="true"/>'),
            ('<a xml:lang="fr"/>', '<a xml:lang="fr"/>'),
            ("<a", None),
            ("", None),
            ("<!DOCTYPE a><a/>", None),
            (f'<a {xlink} x:href="%zz"/>', None),
            (f'<a {xlink} x:type="bogus"/>', None),
            (f'<a {xsi} i:type="b"/>', None),
            ('<a xml:lang="?"/>', None),
            ('<a xml:id="b"/>', None),
            ('<a><b xmlns="http://www.opengis.net/ows/1.1"/></a>', None),
        ]:
            self.assertEqual(fragment(data), expected, data)
            self.assertEqual(fragment(data.encode()), expected, data)
        latin = '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'
        self.assertEqual(fragment(latin), "<a>é</a>")
        self.assertEqual(fragment(latin.encode("latin-1")), "<a>é</a>")
        self.assertIsNone(fragment("<a>\ud800\0</a>"))


class URITests(SynchronousTestCase):
    """Texts that have to be URIs."""

    schema = etree.XMLSchema(
        etree.XML(
            '<schema xmlns="http://www.w3.org/2001/XMLSchema"><element name="a">'
            '<complexType><attribute name="b" type="anyURI"/></complexType>'
            "</element></schema>"
        )
    )

    def assertURI(self, text: str) -> None:
        root = etree.fromstring(element("a", attributes={"b": text}))
        self.assertTrue(self.schema.validate(root), text)

    def test_kept(self) -> None:
        """A URI stays as it is."""
        for text in [
            "",
            "EPSG:4326",
            "urn:ogc:def:crs:EPSG::4326",
            "UTF-8",
            "base64",
            "http://example.org:8080/ows/?MAP=/a%20b.qgs&x=1#y",
            "http://[::1]:80/",
            "file:///a/b",
            "a/b:c",
        ]:
            self.assertEqual(anyURI(text), text)
            self.assertURI(text)

    def test_mended(self) -> None:
        """What is none becomes what comes nearest."""
        for text, expected in [
            (" http://h/a b ", "http://h/a%20b"),
            ("http://h/é", "http://h/%C3%A9"),
            ("http://h/[a]", "http://h/%5Ba%5D"),
            ("100%", "100%25"),
            ("1:x", "1%3Ax"),
            ("http://h:port/", "http%3A//h%3Aport/"),
            ("a\0\ud800", "a%EF%BF%BD%EF%BF%BD"),
        ]:
            self.assertEqual(anyURI(text), expected)
            self.assertURI(expected)

    def test_relative(self) -> None:
        """Any text becomes a relative reference, and can be read again."""
        for text, expected in [
            ("vector", "vector"),
            ("-1.5", "-1.5"),
            ("a,b;c", "a,b;c"),
            ("EPSG:4326", "EPSG%3A4326"),
            ("a b", "a%20b"),
            ("//host/x", "%2F/host/x"),
            ("?#%", "%3F%23%25"),
            ("é", "%C3%A9"),
        ]:
            self.assertEqual(relativeURI(text), expected)
            self.assertEqual(unquote(expected), text)
            self.assertURI(expected)
