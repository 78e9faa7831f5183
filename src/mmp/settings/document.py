"""YAML read into a tree that knows where everything stands.

The tree is built from the parser's events, not by PyYAML's composer: that one recurses in C as
deep as the file says, forgets duplicate keys, and lets aliases multiply. Scalars follow the core
rules of YAML 1.2, so that ``1e-3`` is a number while ``Yes``, ``012``, ``1:30`` and
``2024-01-31`` stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from mmp.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from pathlib import Path

Value: TypeAlias = str | int | float | bool | None
Path_: TypeAlias = tuple["Hashable", ...]

MAX_DEPTH = 64
MAX_BYTES = 1_000_000
ALIAS_FACTOR = 10

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_OCTAL = re.compile(r"0o[0-7]+")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MOST_DIGITS = 300
_TAG = "tag:yaml.org,2002:"
_TAGS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}


def scalar(text: str) -> Value:
    """Return the value of a plain scalar.

    Examples
    --------
    >>> [scalar(text) for text in ("1e-3", "12", "true", "", "Yes", "012", "1:30", "2024-01-31")]
    [0.001, 12, True, None, 'Yes', '012', '1:30', '2024-01-31']
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    return _number(text)


def _number(text: str) -> Value:
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", "")) if len(text) <= _MOST_DIGITS else text
    if _HEXADECIMAL.fullmatch(text) or _OCTAL.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar: its value, its text, the line it stands on and the characters it takes there."""

    value: Value
    text: str
    line: int
    span: tuple[int, int]
    size: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A mapping or a sequence: its children by key or index, each with the line its entry begins on."""

    children: dict[Hashable, tuple[int, Tree]]
    is_sequence: bool
    line: int
    size: int


Tree: TypeAlias = Leaf | Branch


@dataclass(frozen=True)
class Document:
    """A settings file.

    Parameters
    ----------
    path : str
        The file, as in messages.
    text : str
        What is in it.
    root : Branch
        Its mapping.
    """

    path: str
    text: str = field(repr=False)
    root: Branch = field(repr=False)

    def find(self, key: Path_) -> Tree | None:
        """Return what stands under a key, or nothing."""
        tree: Tree = self.root
        for part in key:
            if not isinstance(tree, Branch) or part not in tree.children:
                return None
            tree = tree.children[part][1]
        return tree

    def line(self, key: Path_) -> int:
        """Return the line of a key, or of the nearest block above it that is there."""
        tree: Tree = self.root
        line = tree.line
        for part in key:
            if not isinstance(tree, Branch) or part not in tree.children:
                break
            line, tree = tree.children[part]
        return line

    def leaves(self) -> Iterator[tuple[Path_, Leaf]]:
        """Yield every scalar with its key."""
        yield from _leaves(self.root, ())


def _leaves(tree: Tree, key: Path_) -> Iterator[tuple[Path_, Leaf]]:
    if isinstance(tree, Leaf):
        yield key, tree
    else:
        for part, (_, child) in tree.children.items():
            yield from _leaves(child, (*key, part))


def dotted(key: Path_) -> str:
    """Write a key as a recipe's reader would.

    Examples
    --------
    >>> dotted(("preprocessor", "steps", 1, "sigma"))
    'preprocessor.steps[1].sigma'
    """
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return parts.removeprefix(".")


def read(path: Path, *, what: str) -> Document:
    """Read a settings file.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it should be, in messages: a recipe, a config.

    Raises
    ------
    SettingsError
        It is not there, not text, not YAML, empty, or not a mapping.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(
            f"There is no {what} at {path}.", hint=_nearest_file(path), where=str(path)
        ) from None
    except IsADirectoryError:
        raise SettingsError(f"{path} is a directory, not a {what}.", where=str(path)) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", where=str(path)) from error
    if len(raw) > MAX_BYTES:
        message = f"{path} has {len(raw):,} bytes: that is no {what}."
        raise SettingsError(message, hint=f"A {what} has at most {MAX_BYTES:,} bytes.", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{path}:{line}: the file is not UTF-8 text."
        raise SettingsError(message, hint="Save it as UTF-8.", where=f"{path}:{line}") from None
    return parse(text, str(path), what=what)


def _nearest_file(path: Path) -> str:
    from mmp.lookup import capitalized, did_you_mean

    folder = path.parent
    near = sorted(folder.glob("*.y*ml")) if folder.is_dir() else []
    question = did_you_mean(path.name, [file.name for file in near])
    if question:
        return capitalized(question.replace("'", f"'{folder}/" if str(folder) != "." else "'", 1))
    if near:
        return f"In {folder} there are: {', '.join(file.name for file in near[:8])}."
    return (
        f"The folder {folder} is not there."
        if not folder.is_dir()
        else f"The folder {folder} holds no YAML file."
    )


def parse(text: str, path: str = "<text>", *, what: str = "settings file") -> Document:
    r"""Build the tree of a YAML text.

    Raises
    ------
    SettingsError
        It is not YAML, empty, or not a mapping; a key stands twice; aliases expand too far.

    Examples
    --------
    >>> document = parse("model:\n  class_path: xgboost.XGBClassifier\n")
    >>> document.line(("model", "class_path"))
    2
    """
    builder = _Builder(text, path)
    try:
        root = builder.document()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, path) from None
    if builder.duplicates:
        raise SettingsError("\n".join(builder.duplicates), hint="Keep one of them.", where=path)
    if root is None or (isinstance(root, Leaf) and root.value is None):
        raise SettingsError(f"{path} is empty.", hint=f"A {what} is a mapping: key: value.", where=path)
    if not isinstance(root, Branch) or root.is_sequence:
        found = "a list" if isinstance(root, Branch) else "one value"
        message = f"{path}:{root.line}: a {what} is a mapping (key: value), this is {found}."
        raise SettingsError(message, where=f"{path}:{root.line}")
    if root.size > ALIAS_FACTOR * max(len(text), 1):
        message = f"{path}: its aliases expand to more than {ALIAS_FACTOR} times the file."
        raise SettingsError(message, hint="Write the values out, or fewer aliases.", where=path)
    return Document(path, text, root)


def parse_value(text: str) -> Tree:
    """Build the tree of one value, as on the right of ``--set key=``; what is no YAML is text.

    Examples
    --------
    >>> parse_value("0.1").value
    0.1
    """
    plain = scalar(text.strip())
    leaf = Leaf(plain, text.strip(), 1, (0, len(text)), 0)
    if not text.strip().startswith(("[", "{", '"', "'")):
        return leaf
    try:
        return _Builder(text, "--set").document() or leaf
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, "--set") from None


def _syntax_error(error: yaml.YAMLError, text: str, path: str) -> SettingsError:
    is_open_quote = getattr(error, "context", None) == "while scanning a quoted scalar"
    marks = ("context_mark", "problem_mark") if is_open_quote else ("problem_mark", "context_mark")
    mark = next(filter(None, (getattr(error, name, None) for name in marks)), None)
    line = mark.line + 1 if mark else 1
    lines = text.splitlines()
    content = lines[line - 1] if line <= len(lines) else ""
    if "\t" in content[: len(content) - len(content.lstrip())]:
        sentence, hint = "the line is indented with a tab", "Indent with spaces."
    elif is_open_quote:
        sentence, hint = "the quote that begins here does not end", "Close it on the same line."
    else:
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        sentence, hint = f"this is not YAML: {problem}", "Check the indentation, quotes and colons there."
    return SettingsError(f"{path}:{line}: {sentence}.", hint=hint, where=f"{path}:{line}")


class _Builder:
    def __init__(self, text: str, path: str) -> None:
        # Any: the stubs know of no marks and anchors
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._path = path
        self._anchors: dict[str, Tree] = {}
        self.duplicates: list[str] = []

    def document(self) -> Tree | None:
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._refusal(event, "a second document begins here", "Keep one document a file.")
                root = self._tree(next(self._events), 0)
        return root

    def _refusal(self, event: Any, sentence: str, hint: str) -> SettingsError:
        where = f"{self._path}:{event.start_mark.line + 1}"
        return SettingsError(f"{where}: {sentence}.", hint=hint, where=where)

    def _tree(self, event: Any, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise self._refusal(event, f"blocks are nested deeper than {MAX_DEPTH}", "Nest less deeply.")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                hint = "An alias stands after its anchor, and not inside it."
                raise self._refusal(event, f"the alias *{event.anchor} refers to nothing", hint)
            return self._anchors[event.anchor]
        if event.tag is not None and event.tag not in _TAGS | {"!"}:
            tag = event.tag.removeprefix(_TAG)
            raise self._refusal(
                event, f"the tag {tag!r} is not allowed", "Settings are plain values: remove it."
            )
        if isinstance(event, yaml.ScalarEvent):
            tree: Tree = self._leaf(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            tree = self._sequence(event, depth)
        else:
            tree = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = tree
        return tree

    def _leaf(self, event: Any) -> Leaf:
        is_plain = event.implicit[0] or (event.tag not in {None, "!", f"{_TAG}str"})
        value = scalar(event.value) if is_plain else event.value
        span = (event.start_mark.index, event.end_mark.index)
        return Leaf(value, event.value, event.start_mark.line + 1, span, len(event.value) + 1)

    def _sequence(self, start: Any, depth: int) -> Branch:
        children: dict[Hashable, tuple[int, Tree]] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            tree = self._tree(event, depth + 1)
            children[len(children)] = (event.start_mark.line + 1, tree)
            size += tree.size
        return Branch(children, is_sequence=True, line=start.start_mark.line + 1, size=size)

    def _mapping(self, start: Any, depth: int) -> Branch:
        children: dict[Hashable, tuple[int, Tree]] = {}
        merged: dict[Hashable, tuple[int, Tree]] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            key = self._key(event, depth)
            tree = self._tree(next(self._events), depth + 1)
            size += tree.size + 1
            if key == "<<" and isinstance(tree, Branch):
                merged = {**_merged(tree), **merged}
            elif key in children:
                first = children[key][0]
                sentence = f"the key stands here a second time, first on line {first}"
                self.duplicates.append(f"{self._path}:{line}: {key}: {sentence}.")
            else:
                children[key] = (line, tree)
        return Branch({**merged, **children}, is_sequence=False, line=start.start_mark.line + 1, size=size)

    def _key(self, event: Any, depth: int) -> Hashable:
        tree = self._tree(event, depth + 1)
        if isinstance(tree, Branch) or tree.value is None:
            raise self._refusal(event, "a key must be text or a number", "Quote it, or write it on one line.")
        return tree.value


def _merged(tree: Branch) -> dict[Hashable, tuple[int, Tree]]:
    if not tree.is_sequence:
        return tree.children
    merged: dict[Hashable, tuple[int, Tree]] = {}
    for _, child in tree.children.values():
        if isinstance(child, Branch) and not child.is_sequence:
            merged = {**child.children, **merged}
    return merged
