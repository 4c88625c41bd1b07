"""Tests of L{qgswps.policy}."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from qgswps.config import ConfigurationError, Processing, Settings
from qgswps.model import ECHO, InputDescription, LiteralType, ProcessDescription
from qgswps.policy import (
    DEFAULT,
    NONE,
    SHIPPED,
    Caller,
    Policy,
    PolicyError,
    forSettings,
    load,
    stateOf,
)


def process(identifier: str, **inputs: int) -> ProcessDescription:
    """A process, with the least occurrences of its inputs."""
    return ProcessDescription(
        identifier,
        identifier,
        inputs=tuple(
            InputDescription(name, name, LiteralType(), minOccurs=least)
            for name, least in inputs.items()
        ),
    )


ALL = (
    process("gdal:translate", INPUT=1, EXTRA=0, OPTIONS=0),
    process("gdal:warp", INPUT=1, EXTRA=0),
    process("native:buffer", INPUT=1, DISTANCE=0),
    process("native:download", URL=1),
)
ADMIN = Caller(groups=frozenset({"admins"}))


class PolicyTestCase(SynchronousTestCase):
    """Policies in files."""

    def setUp(self) -> None:
        self.folder = Path(os.path.abspath(self.mktemp()))
        self.folder.mkdir()

    def write(self, text: str, name: str = "policy.yml") -> str:
        """A file with a policy; its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def policy(self, text: str) -> Policy:
        """The policy that a text is."""
        return load(self.write(text))

    def seen(
        self,
        policy: Policy,
        caller: Caller = Caller(),  # noqa: B008
    ) -> Mapping[str, ProcessDescription]:
        """What a caller sees of all processes."""
        processes = {each.identifier: each for each in ALL}
        return policy.exposed(processes, policy.applying(caller))

    def names(self, text: str, caller: Caller = Caller()) -> str:  # noqa: B008
        """The names of what a caller sees, without the providers."""
        return " ".join(n.split(":")[1] for n in self.seen(self.policy(text), caller))


class SemanticsTests(PolicyTestCase):
    """What a policy means."""

    def test_patterns(self) -> None:
        """The entry that counts is the most specific; of equal ones, allow."""
        for text, expected in [
            ("deny:", "translate warp buffer download"),
            ("deny: ['*']", ""),
            ("deny: '*'", ""),
            ("deny: ['gdal:*']", "buffer download"),
            ("deny: ['gdal:w?rp', 'native:[a-c]*']", "translate download"),
            ("deny: ['GDAL:*', '*:war', 'translate*']", ALL_NAMES),
            ("deny: ['*']\nallow: ['native:*']", "buffer download"),
            ("allow: ['native:*']\ndeny: ['*']", "buffer download"),
            ("deny: ['native:download']\nallow: ['native:*']", "translate warp buffer"),
            ("deny: ['native:download']\nallow: ['*']", "translate warp buffer"),
            ("deny: ['native:*']\nallow: ['native:*']", ALL_NAMES),
            ("deny: [{pattern: 'gdal:*', reason: because}]", "buffer download"),
        ]:
            self.assertEqual(self.names(text), expected, text)

    def test_nothing(self) -> None:
        """Without entries the processes are the very same."""
        processes = {each.identifier: each for each in ALL}
        for policy in (load(NONE), self.policy("deny: []")):
            applying = policy.applying(Caller())
            self.assertIs(policy.exposed(processes, applying), processes)

    def test_inputs(self) -> None:
        """Inputs are hidden; a process that needs one is denied with it."""
        for text, name, expected in [
            ("deny: ['gdal:*/EXTRA']", "gdal:translate", ["INPUT", "OPTIONS"]),
            ("deny: ['gdal:*/EXTRA']", "gdal:warp", ["INPUT"]),
            ("deny: ['*/?????*']", "native:buffer", None),
            ("deny: ['*/DIST*']", "native:buffer", ["INPUT"]),
            ("deny: ['*/INPUT']", "native:buffer", None),
            ("deny: ['*/input']", "native:buffer", ["INPUT", "DISTANCE"]),
            ("deny: ['*/INPUT']", "native:download", ["URL"]),
            (
                "deny: ['gdal:*/EXTRA']\nallow: ['gdal:warp/EXTRA']",
                "gdal:warp",
                ["INPUT", "EXTRA"],
            ),
            # To allow a process is not to allow its hidden inputs.
            ("deny: ['gdal:*/EXTRA']\nallow: ['gdal:warp']", "gdal:warp", ["INPUT"]),
            ("deny: ['gdal:*', '*/EXTRA']\nallow: ['*/EXTRA']", "gdal:warp", None),
        ]:
            found = self.seen(self.policy(text)).get(name)
            names = found and [each.identifier for each in found.inputs]
            self.assertEqual(names, expected, text)

    def test_rules(self) -> None:
        """A rule counts more than what stands before it, for those it is for."""
        text = """
deny: ["native:download", "gdal:*"]
rules:
  - groups: [editors, admins]
    allow: ["gdal:*"]
  - groups: admins
    users: [eve]
    deny: ["*"]
  - realms: [secret]
    allow: ["*"]
    deny: ["gdal:warp"]
"""
        for caller, expected in [
            (Caller(), "buffer"),
            (Caller("other", "eve"), "buffer"),
            (ADMIN, "translate warp buffer"),
            (Caller(groups=frozenset({"editors", "x"})), "translate warp buffer"),
            (attrs.evolve(ADMIN, user="eve"), ""),
            (Caller("secret"), "translate buffer download"),
            (attrs.evolve(ADMIN, realm="secret"), "translate buffer download"),
            (Caller("sécret"), "buffer"),
            (Caller("secret\udcff"), "buffer"),
        ]:
            self.assertEqual(self.names(text, caller), expected, caller)

    def test_ruleForInputs(self) -> None:
        """Rules show inputs too."""
        policy = self.policy(
            "deny: ['*/EXTRA']\nrules: [{groups: [admins], allow: ['*/*']}]"
        )
        for caller, expected in [(Caller(), 1), (ADMIN, 2)]:
            found = self.seen(policy, caller)["gdal:warp"]
            self.assertEqual(len(found.inputs), expected)

    def test_applying(self) -> None:
        """Callers whom the rules don't tell apart are the same."""
        policy = self.policy("rules: [{users: [a, b], deny: ['*']}]")
        self.assertEqual(policy.applying(Caller()), policy.applying(Caller("r", "c")))
        a, b = (policy.applying(Caller(user=name)) for name in "ab")
        self.assertEqual(a, b)
        self.assertNotEqual(a, policy.applying(Caller()))

    def test_include(self) -> None:
        """What a file includes is pooled; its rules come before the file's own."""
        self.write("deny: ['native:download']\nrules: [{users: u, deny: '*'}]", "a.yml")
        (self.folder / "more").mkdir()
        self.write("include: ../a.yml\ndeny: 'gdal:*'", "more/b.yml")
        rules = "rules: [{users: u, allow: '*:warp'}]"
        for text, user, expected in [
            ("include: more/b.yml", "", "buffer"),
            ("include: [a.yml, more/b.yml]", "", "buffer"),
            ("include: [a.yml]\nallow: ['native:*']", "", "translate warp buffer"),
            ("include: [a.yml]\nallow: ['native:download']", "", ALL_NAMES),
            (f"include: [a.yml]\n{rules}", "u", "warp"),
        ]:
            found = self.names(text, Caller(user=user))
            self.assertEqual(found, expected, text)
        policy = self.policy("include: more/b.yml")
        names = [os.path.relpath(path, self.folder) for path in policy.files]
        self.assertEqual(sorted(names), ["a.yml", "more/b.yml", "policy.yml"])
        for path, state in policy.files.items():
            self.assertEqual(state, stateOf(path))

    def test_includeDefault(self) -> None:
        """The shipped one can be included by its name."""
        policy = self.policy("include: default")
        self.assertIn(SHIPPED, policy.files)
        self.assertEqual(policy.rules, load(DEFAULT).rules)

    def test_omissions(self) -> None:
        """What is not seen is named, with the reason and where it stands."""
        path = self.write(
            "deny:\n"
            "  - 'native:download'\n"
            "  - {pattern: '*/EXTRA', reason: the shell}\n"
            "  - pattern: '*/DISTANCE'\n"
            "  - '*:buffer/INPUT'\n"
        )
        found = {each.name: each.reason for each in load(path).omissions(ALL)}
        self.assertEqual(
            found,
            {
                "gdal:translate EXTRA": f"denied by {path}, line 3: the shell",
                "gdal:warp EXTRA": f"denied by {path}, line 3: the shell",
                "native:buffer": f"denied by {path}, line 5",
                "native:download": f"denied by {path}, line 2",
            },
        )
        self.assertEqual(list(Policy().omissions(ALL)), [])

    def test_withoutProvider(self) -> None:
        """The one process that has none can be named."""
        policy = self.policy("deny: [echo]")
        processes = {ECHO: process(ECHO)}
        self.assertEqual(policy.exposed(processes, policy.applying(Caller())), {})


ALL_NAMES = "translate warp buffer download"


class ErrorTests(PolicyTestCase):
    """A file that is no policy."""

    def test_errors(self) -> None:
        """The file, the line and what was expected."""
        for text, line, expected in [
            ("", 0, "the file is empty"),
            ("# nothing\n", 0, "expected include, deny, allow or rules"),
            ("- a:b", 1, "expected include, deny, allow or rules"),
            ("deny: [*]", 1, "a text with * needs quotes"),
            ("deny: ['*'", 1, "expected YAML"),
            ("deny: '*'\n\tx: y", 2, "expected YAML"),
            ("deny: ['*']\ndenny: []", 2, "not 'denny'; did you mean deny?"),
            ("deny: '*'\nAllow: []", 2, "did you mean allow?"),
            ("deny: '*'\nfoo: []", 2, "not 'foo'"),
            ("deny: '*'\ndeny: '*'", 2, "the key deny is there twice"),
            ("deny:\n- ['*']", 2, "expected a pattern"),
            ("deny:\n- 5", 2, "expected a pattern, not 5 (put it in quotes)"),
            ("deny:\n- ''", 2, "expected a pattern"),
            ("deny:\n- buffer", 2, "expected PROVIDER:ALGORITHM"),
            ("deny:\n- 'a: b'", 2, "expected a pattern"),
            ("deny:\n- 'a:b/'", 2, "expected a pattern or PATTERN/INPUT"),
            ("deny:\n- '/a'", 2, "expected a pattern or PATTERN/INPUT"),
            ("deny:\n- {reason: x}", 2, "expected a pattern beside the reason"),
            ("deny:\n- {pattern: '*', why: x}", 2, "pattern or reason, not 'why'"),
            ("deny:\n- {patern: '*'}", 2, "did you mean pattern?"),
            ("rules:\n- deny: '*'", 2, "expected realms, users or groups in a rule"),
            ("rules:\n- group: a", 2, "did you mean groups?"),
            ("rules:\n- groups: [5]", 2, "expected one of the groups, not 5"),
            ("rules: yes", 1, "expected realms, users, groups, deny or allow"),
            ("include: nowhere.yml", 1, "nowhere.yml: No such file"),
            ("include: [policy.yml]", 1, "policy.yml would include itself"),
            ("include: [cycle.yml]", 0, "policy.yml would include itself"),
            ("include: [broken.yml]", 0, "broken.yml: line 1: expected"),
        ]:
            self.write("include: policy.yml", "cycle.yml")
            self.write("oh: no", "broken.yml")
            path = self.write(text)
            with self.assertRaises(PolicyError, msg=text) as caught:
                load(path)
            told = str(caught.exception)
            self.assertIn(expected, told, text)
            self.assertTrue(told.startswith(str(self.folder)), told)
            if line:
                self.assertTrue(told.startswith(f"{path}: line {line}: "), told)
            self.assertEqual(caught.exception.files[path], stateOf(path))

    def test_noText(self) -> None:
        """Neither is what is no text."""
        path = self.write("")
        Path(path).write_bytes(b"deny: \xff\n")
        self.assertIn("expected YAML", str(self.assertRaises(PolicyError, load, path)))

    def test_deep(self) -> None:
        """Nor is what is nested without end."""
        for text in ("deny: " + "[" * 5000, "- " * 5000, "? " * 5000):
            path = self.write(text)
            error = self.assertRaises(PolicyError, load, path)
            self.assertEqual(
                str(error), f"{path}: expected YAML: it is nested too deeply"
            )

    def test_noFile(self) -> None:
        """A file that is missing is still one to look for."""
        path = str(self.folder / "no.yml")
        error = self.assertRaises(PolicyError, load, path)
        self.assertEqual(str(error), f"{path}: No such file or directory")
        self.assertEqual(error.files, {path: None})

    def test_settings(self) -> None:
        """In the configuration it is an error of the key."""
        path = self.write("foo: x")
        settings = Settings(processing=Processing(accesspolicy=path))
        error = self.assertRaises(ConfigurationError, forSettings, settings)
        self.assertIn("[processing] accesspolicy: ", str(error))
        self.assertIn(f"{path}: line 1: ", str(error))
        self.assertEqual(forSettings(Settings()), load(DEFAULT))


class DocumentationTests(PolicyTestCase):
    """The policies in docs/policy.md."""

    def test_examples(self) -> None:
        """They can be used."""
        page = Path(__file__).parent.parent / "docs" / "policy.md"
        examples = page.read_text().split("```yaml\n")[1:]
        self.assertEqual(len(examples), 2)
        self.write("deny: 'x:*'", "more.yml")
        for example in examples:
            self.assertIn(SHIPPED, self.policy(example.partition("```")[0]).files)

    def test_table(self) -> None:
        """What the table says of two patterns is so."""
        for denied, allowed, expected in [
            ("*", "native:*", "buffer download"),
            ("native:*", "native:buffer", "translate warp buffer"),
            ("native:buffer", "native:*", "translate warp download"),
            ("native:buffer", "native:buffer", ALL_NAMES),
            ("gdal:*/EXTRA", "gdal:*", ALL_NAMES),
            ("*/INPUT", "x:y", "download"),
        ]:
            text = f"deny: '{denied}'\nallow: '{allowed}'"
            self.assertEqual(self.names(text), expected, text)


class ShippedTests(SynchronousTestCase):
    """The policy that is shipped."""

    def test_reasons(self) -> None:
        """It only denies, and says why each time."""
        [rule] = load(DEFAULT).rules
        for entry in rule.entries:
            self.assertFalse(entry.allows, entry)
            self.assertTrue(entry.reason, entry)
        patterns = [(entry.process, entry.input) for entry in rule.entries]
        self.assertEqual(len(patterns), len(set(patterns)))
