"""
The access policy: which processes, and which of their inputs, a caller sees.

A policy is a YAML file; docs/policy.md has its form.  What is denied is left
out of the processes that a request is answered with, so that it looks as if
it did not exist.
"""

from __future__ import annotations

import difflib
import fnmatch
import hmac
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import yaml

from qgswps.config import Settings
from qgswps.model import ECHO, InputDescription, Omission, ProcessDescription

#: What the configuration may say in place of a path.
DEFAULT = "default"
NONE = "none"

#: The policy that is shipped.
SHIPPED = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "data", "accesspolicy.yml"
)

#: What changes when a file does; None if there is no such file.
State = tuple[int, int, int] | None


class PolicyError(Exception):
    """
    A policy that can't be used: the file, the line, what was expected.

    @ivar files: the files that were looked at, with their states.
    """

    def __init__(self, text: str, files: Mapping[str, State]) -> None:
        super().__init__(text)
        self.files = files


@attrs.frozen
class Caller:
    """
    Who asks, as far as a policy may tell callers apart.

    @ivar realm: the value of X-Job-Realm; empty for none.
    @ivar user: the name that a proxy vouches for; empty for none.
    @ivar groups: the groups that it vouches for.
    """

    realm: str = ""
    user: str = ""
    groups: frozenset[str] = frozenset()


_WILDCARDS = re.compile(r"\[[^]]+\]|[*?]")


@attrs.frozen
class Entry:
    """
    A pattern, and what is to become of what it matches.

    @ivar process: a glob for identifiers of processes.
    @ivar input: a glob for names of inputs; None if whole processes are meant.
    @ivar place: the file and line that it stands in.
    """

    allows: bool
    process: str
    input: str | None = None
    reason: str = ""
    place: str = ""
    _process: re.Pattern[str] = attrs.field(init=False, eq=False, repr=False)

    @_process.default
    def _compile(self) -> re.Pattern[str]:
        return re.compile(fnmatch.translate(self.process))

    @property
    def rank(self) -> tuple[int, bool]:
        """What to sort by so that the entry that counts comes first."""
        text = self.process + (self.input or "")
        return (-len(_WILDCARDS.sub("", text)), not self.allows)

    def matches(self, identifier: str) -> bool:
        """Whether a process is meant, or an input of it."""
        return self._process.match(identifier) is not None

    def matchesInput(self, name: str) -> bool:
        """Whether an input of that name is meant."""
        return self.input is not None and fnmatch.fnmatchcase(name, self.input)


def _ranked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.rank))


@attrs.frozen
class Rule:
    """
    Entries for some callers.

    A caller is meant who fulfils each condition that is there; one that is
    None is not there.
    """

    entries: tuple[Entry, ...] = attrs.field(converter=_ranked)
    realms: frozenset[str] | None = None
    users: frozenset[str] | None = None
    groups: frozenset[str] | None = None

    def appliesTo(self, caller: Caller) -> bool:
        """Whether a caller is meant."""
        return (
            (self.realms is None or _isAmong(caller.realm, self.realms))
            and (self.users is None or caller.user in self.users)
            and (self.groups is None or not self.groups.isdisjoint(caller.groups))
        )


def _isAmong(realm: str, secrets: Iterable[str]) -> bool:
    # Takes the same time wherever they differ: a realm is a secret.
    given = realm.encode("utf-8", "surrogateescape")
    found = [hmac.compare_digest(given, secret.encode()) for secret in secrets]
    return any(found)


@attrs.frozen
class Policy:
    """
    Rules, of which a later one counts more than an earlier one.

    @ivar files: the files that it was read from, with their states then.
    """

    rules: tuple[Rule, ...] = ()
    files: Mapping[str, State] = attrs.field(factory=dict, eq=False)

    def applying(self, caller: Caller) -> tuple[int, ...]:
        """
        Which rules are for a caller: all that the policy knows of him.

        @return: positions in C{rules}.
        """
        return tuple(
            number for number, rule in enumerate(self.rules) if rule.appliesTo(caller)
        )

    def exposed(
        self, processes: Mapping[str, ProcessDescription], applying: Sequence[int]
    ) -> Mapping[str, ProcessDescription]:
        """
        The processes as some callers see them.

        @param applying: what L{applying} says of these.
        """
        rules = self._latestFirst(applying)
        if not any(rule.entries for rule in rules):
            return processes
        found = ((name, _shown(each, rules)) for name, each in processes.items())
        return {name: shown for name, (shown, _) in found if shown is not None}

    def omissions(
        self,
        processes: Iterable[ProcessDescription],
        caller: Caller = Caller(),
    ) -> Iterator[Omission]:
        """What a caller does not see of some processes, and why."""
        rules = self._latestFirst(self.applying(caller))
        for process in processes:
            shown, entries = _shown(process, rules)
            for name, entry in entries.items():
                what = process.identifier if shown is None else name
                yield Omission(what, _why(entry))

    def _latestFirst(self, applying: Sequence[int]) -> list[Rule]:
        return [self.rules[number] for number in reversed(applying)]


def _why(entry: Entry) -> str:
    text = f"denied by {entry.place}"
    return f"{text}: {entry.reason}" if entry.reason else text


def _shown(
    process: ProcessDescription, rules: Sequence[Rule]
) -> tuple[ProcessDescription | None, dict[str, Entry]]:
    """
    A process as it is to be seen.

    @param rules: the one that counts most first.
    @return: the process without hidden inputs, None if it is denied; and what
        has denied it or its inputs, by their names.
    """
    matching = [
        entry
        for rule in rules
        for entry in rule.entries
        if entry.matches(process.identifier)
    ]
    decisive = next((entry for entry in matching if entry.input is None), None)
    if decisive is not None and not decisive.allows:
        return None, {process.identifier: decisive}
    hidden: dict[str, Entry] = {}
    kept: list[InputDescription] = []
    for each in process.inputs:
        entry = next((e for e in matching if e.matchesInput(each.identifier)), None)
        if entry is None or entry.allows:
            kept.append(each)
        elif each.minOccurs:
            # Without it the process can't be run at all.
            return None, {f"{process.identifier} {each.identifier}": entry}
        else:
            hidden[f"{process.identifier} {each.identifier}"] = entry
    if not hidden:
        return process, hidden
    return attrs.evolve(process, inputs=tuple(kept)), hidden


# Files


def stateOf(path: str) -> State:
    """The state of a file.  Looks at the disk."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def load(source: str) -> Policy:
    """
    Read a policy.  Looks at the disk.

    @param source: the path of a file, L{DEFAULT} or L{NONE}.
    @raise PolicyError: it can't be used.
    """
    if source == NONE:
        return Policy()
    reader = _Reader()
    reader.read(SHIPPED if source == DEFAULT else os.path.abspath(source))
    general = Rule(tuple(reader.general))
    return Policy((general, *reader.rules), reader.files)


def forSettings(settings: Settings) -> Policy:
    """
    The policy that the settings name.  Looks at the disk.

    @raise ConfigurationError: it can't be used.
    """
    try:
        return load(settings.processing.accesspolicy)
    except PolicyError as error:
        raise settings.problem("processing", "accesspolicy", str(error)) from None


#: What YAML calls a value that was left empty, and a text.
_NULL = "tag:yaml.org,2002:null"
_TEXT = "tag:yaml.org,2002:str"

_ENTRIES = ("deny", "allow")
_CONDITIONS = ("realms", "users", "groups")
_TOP = ("include", *_ENTRIES, "rules")
_IN_RULE = (*_CONDITIONS, *_ENTRIES)
_IN_ENTRY = ("pattern", "reason")


class _Reader:
    """
    Reads a file and those that it includes.

    @ivar general: the entries for all callers.
    @ivar rules: those for some.
    @ivar files: all files that were looked at.
    """

    def __init__(self) -> None:
        self.general: list[Entry] = []
        self.rules: list[Rule] = []
        self.files: dict[str, State] = {}
        self._open: list[str] = []

    def read(self, path: str, includedFrom: yaml.Node | None = None) -> None:
        """
        Read a file, after those that it includes.

        @param includedFrom: where it is named.
        """
        if path in self._open:
            raise self._problem(includedFrom, f"{path} would include itself")
        if path in self.files:
            return  # included twice, it says the same twice
        root = self._parse(path, includedFrom)
        self._open.append(path)
        fields = self._mapping(root, _TOP)
        for node in self._items(fields.get("include")):
            name = self._text(node, "the path of a file")
            target = os.path.join(os.path.dirname(path), name)
            self.read(SHIPPED if name == DEFAULT else os.path.normpath(target), node)
        self.general += self._entries(fields)
        for node in self._items(fields.get("rules")):
            self.rules.append(self._rule(node))
        self._open.pop()

    def _parse(self, path: str, includedFrom: yaml.Node | None) -> yaml.Node:
        self.files[path] = None
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                self.files[path] = (found.st_mtime_ns, found.st_size, found.st_ino)
                root = yaml.compose(file.read(), yaml.SafeLoader)
        except OSError as error:
            text = f"{path}: {error.strerror}"
            if includedFrom is not None:
                raise self._problem(includedFrom, text) from None
            raise PolicyError(text, self.files) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f"line {mark.line + 1}: " if mark is not None else ""
            hint = "" if "alias" not in str(error) else "; a text with * needs quotes"
            text = f"{path}: {line}expected YAML: {error.problem}{hint}"
            raise PolicyError(text, self.files) from None
        except yaml.YAMLError as error:
            text = f"{path}: expected YAML: {str(error).splitlines()[0]}"
            raise PolicyError(text, self.files) from None
        except RecursionError:
            text = f"{path}: expected YAML: it is nested too deeply"
            raise PolicyError(text, self.files) from None
        if root is None:
            # It may be half written; and nothing is denied by saying nothing.
            text = f"{path}: expected {_oneOf(_TOP)}; the file is empty"
            raise PolicyError(text, self.files)
        return root

    def _rule(self, node: yaml.Node) -> Rule:
        fields = self._mapping(node, _IN_RULE)
        conditions = {
            name: frozenset(
                self._text(each, f"one of the {name}")
                for each in self._items(fields[name])
            )
            for name in _CONDITIONS
            if name in fields
        }
        if not conditions:
            raise self._problem(node, f"expected {_oneOf(_CONDITIONS)} in a rule")
        return Rule(tuple(self._entries(fields)), **conditions)

    def _entries(self, fields: Mapping[str, yaml.Node]) -> Iterator[Entry]:
        for name in _ENTRIES:
            for node in self._items(fields.get(name)):
                yield self._entry(node, name == "allow")

    def _entry(self, node: yaml.Node, allows: bool) -> Entry:
        place = f"{self._open[-1]}, line {node.start_mark.line + 1}"
        reason = ""
        if isinstance(node, yaml.MappingNode):
            fields = self._mapping(node, _IN_ENTRY)
            if "pattern" not in fields:
                raise self._problem(node, "expected a pattern beside the reason")
            if "reason" in fields:
                reason = self._text(fields["reason"], "a text")
            node = fields["pattern"]
        pattern = self._text(node, "a pattern")
        process, slash, name = pattern.rpartition("/")
        if not slash:
            process, name = pattern, ""
        isWhole = bool(process) and bool(name) == bool(slash)
        if re.search(r"\s", pattern) or not isWhole:
            raise self._problem(
                node, f"expected a pattern or PATTERN/INPUT, not {pattern!r}"
            )
        isName = ":" in process or process == ECHO
        if not isName and not _WILDCARDS.search(process):
            expected = f"expected PROVIDER:ALGORITHM, perhaps with *, not {process!r}"
            raise self._problem(node, f"{expected}, which can't match anything")
        return Entry(allows, process, name if slash else None, reason, place)

    # YAML's nodes, which know their lines

    def _items(self, node: yaml.Node | None) -> list[yaml.Node]:
        """The items of a list; a single one may stand for a list of one."""
        if node is None or node.tag == _NULL:
            return []
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        return [node]

    def _mapping(self, node: yaml.Node, known: tuple[str, ...]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._problem(node, f"expected {_oneOf(known)} with a colon")
        fields: dict[str, yaml.Node] = {}
        for keyNode, value in node.value:
            key = self._text(keyNode, _oneOf(known))
            if key not in known:
                near = difflib.get_close_matches(key.lower(), known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                text = f"expected {_oneOf(known)}, not {key!r}{hint}"
                raise self._problem(keyNode, text)
            if key in fields:
                raise self._problem(keyNode, f"the key {key} is there twice")
            fields[key] = value
        return fields

    def _text(self, node: yaml.Node, expected: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._problem(node, f"expected {expected}")
        if node.tag != _TEXT or not node.value:
            what = f", not {node.value}" if node.value else ""
            quotes = " (put it in quotes)" if node.value else ""
            raise self._problem(node, f"expected {expected}{what}{quotes}")
        return str(node.value)

    def _problem(self, node: yaml.Node | None, text: str) -> PolicyError:
        line = f"line {node.start_mark.line + 1}: " if node is not None else ""
        return PolicyError(f"{self._open[-1]}: {line}{text}", self.files)


def _oneOf(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]
