"""Values against schemas."""

from __future__ import annotations

from typing import Any

from twisted.trial import unittest

from qgswps import jsonschema

NUMBER = {"type": "number"}
NAME = {"type": "string", "minLength": 1}
ROW = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": NAME, "size": {"type": "integer", "minimum": 0}},
}
STRICT = {**ROW, "additionalProperties": False}
CHOICE = {"anyOf": [NAME, {"type": "array", "items": NUMBER}]}


class SchemaTests(unittest.TestCase):
    """L{jsonschema.faults} and L{jsonschema.parse}."""

    def test_fits(self) -> None:
        """What is as it should be."""
        cases: list[tuple[Any, Any]] = [
            (1, NUMBER),
            (1.5, NUMBER),
            (2.0, {"type": "integer"}),
            (None, {"type": "null"}),
            (True, {"type": "boolean"}),
            ({"name": "a", "size": 0, "more": 1}, ROW),
            ("a", CHOICE),
            ([1, 2], CHOICE),
            ("b", {"enum": ["a", "b"]}),
            ([1], {"type": "array", "minItems": 1, "maxItems": 1}),
            ({"anything": 1}, {}),
        ]
        for value, schema in cases:
            self.assertEqual(list(jsonschema.faults(value, schema)), [], value)

    def test_faults(self) -> None:
        """What is wrong, and where."""
        cases: list[tuple[Any, Any, str]] = [
            ("1", NUMBER, 'the value is "1", not a number'),
            (True, NUMBER, "the value is true, not a number"),
            (1.5, {"type": "integer"}, "the value is 1.5, not an integer"),
            ({}, ROW, "name is missing"),
            ({"name": ""}, ROW, "name is empty"),
            ({"name": "a", "size": -1}, ROW, "size is -1, less than 0"),
            ({"name": "a", "x": 1}, STRICT, "x is none of name, size"),
            ([{"name": 1}], {"items": ROW}, "[0].name is 1, not a string"),
            ([1, "x"], CHOICE, '[1] is "x", not a number'),
            (1, CHOICE, "the value is 1, not a string"),
            ("c", {"enum": ["a", 1]}, 'the value is "c", not one of "a", 1'),
            ([], {"minItems": 1}, "the value has 0 items, at least 1 are needed"),
            ([1, 2], {"maxItems": 1}, "the value has 2 items, at most 1 are taken"),
        ]
        for value, schema, text in cases:
            self.assertEqual(list(jsonschema.faults(value, schema)), [text])

    def test_all(self) -> None:
        """All faults are found."""
        value = [{"size": "x"}, {"name": ""}]
        found = list(jsonschema.faults(value, {"type": "array", "items": ROW}))
        self.assertEqual(len(found), 3, found)

    def test_parse(self) -> None:
        """JSON and nothing beside it."""
        self.assertEqual(
            jsonschema.parse('{"a": [1, 2.5, null]}'), {"a": [1, 2.5, None]}
        )
        for text in ("NaN", "[Infinity]", "{'a': 1}", "", "[" * 100000):
            self.assertRaises(ValueError, jsonschema.parse, text)
