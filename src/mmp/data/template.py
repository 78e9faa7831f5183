"""SQL templates: Jinja decides what is written, and values become bound parameters, never text."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.data.statement import MARK, Token, require_query, tokens, without_end
from mmp.errors import SettingsError
from mmp.lookup import capitalized, did_you_mean, install_line, is_installed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmp.data.statement import Dialect

Scalar = bool | int | float | str | None

# What a template may be made of: output, conditions and loops over values. Macros, includes and blocks
# would write SQL that no value is bound in.
_STATEMENTS = ("Template", "Output", "TemplateData", "If", "For", "Assign", "With")
_FILTERS = (
    "abs", "default", "d", "first", "float", "int", "last", "length", "list", "lower", "max", "min",
    "reverse", "round", "sort", "string", "trim", "unique", "upper",
)  # fmt: skip
_PLACEHOLDERS = {"postgresql": "${}", "duckdb": "${}", "sqlite": "?{}"}


@dataclass(frozen=True)
class Query:
    """One query, ready to be sent.

    Parameters
    ----------
    source : str
        The file, for messages.
    dialect : {"postgresql", "sqlite", "duckdb"}
        Whose SQL it is.
    template : str
        The text of the file.
    parameters : Mapping
        What was given for its variables.
    statement : str
        The SQL to send: a placeholder stands for each value.
    values : tuple
        The values, in the order of the placeholders.
    """

    source: str
    dialect: Dialect
    template: str
    parameters: Mapping[str, Any]
    statement: str
    values: tuple[Scalar, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what makes the same query again, and what was sent, as JSON has it."""
        return {
            "source": self.source,
            "dialect": self.dialect,
            "template": self.template,
            "parameters": dict(self.parameters),
            "statement": self.statement,
            "values": list(self.values),
        }


class Identifier(str):
    """A value that may become a name in SQL: one of those that the recipe lists."""

    __slots__ = ()


@dataclass
class _Marks:
    """The values that a template wrote, in the order in which it wrote them."""

    values: list[tuple[Any, int]] = field(default_factory=list)

    def take(self, value: Any) -> str:
        """Keep a value, and return what stands for it."""
        from jinja2.runtime import Undefined

        if isinstance(value, Undefined):
            str(value)  # says which variable it is
        line = _template_line()
        self.values.append((value, line))
        return f"\x00{len(self.values) - 1}\x00"


def read_query(
    path: str,
    parameters: Mapping[str, Any],
    dialect: Dialect,
    identifiers: Mapping[str, Sequence[str]] | None = None,
) -> Query:
    """Read a ``.sql`` or ``.sql.j2`` file and render it.

    Raises
    ------
    SettingsError
        The file cannot be read, or `render` refuses it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        folder = Path(path).parent
        near = did_you_mean(Path(path).name, [e.name for e in folder.iterdir()]) if folder.is_dir() else ""
        hint = capitalized(near) or f"It was looked for from {Path.cwd()}."
        raise SettingsError(f"There is no file {path}.", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text.", hint="Save it as UTF-8.") from error
    return render(text, parameters, dialect, identifiers, source=path)


def render(
    text: str,
    parameters: Mapping[str, Any],
    dialect: Dialect,
    identifiers: Mapping[str, Sequence[str]] | None = None,
    *,
    source: str = "the query",
) -> Query:
    """Render a template of one query.

    ``{{ name }}`` becomes a placeholder, and so does ``'{{ name }}'`` where that is the whole literal;
    a list becomes as many as it has values. ``{% if %}`` and ``{% for %}`` see the values themselves.

    Parameters
    ----------
    text : str
        SQL, with or without Jinja in it.
    parameters : Mapping
        Values by name, as JSON has them.
    dialect : {"postgresql", "sqlite", "duckdb"}
        Whose SQL it is.
    identifiers : Mapping of str to sequence of str, optional
        Parameters that become names, each with the values it may take.
    source : str
        What messages call it.

    Raises
    ------
    SettingsError
        A variable without a value, a value that nothing uses, a value in a place where only text can
        be, several statements, or one that does not read.

    Examples
    --------
    >>> query = render("SELECT * FROM t WHERE d >= '{{ start }}' AND id IN ({{ ids }})",
    ...                {"start": "2024-01-01", "ids": [1, 2]}, "postgresql")
    >>> query.statement, query.values
    ('SELECT * FROM t WHERE d >= $1 AND id IN ($2, $3)', ('2024-01-01', 1, 2))
    """
    if not is_installed("jinja2"):
        raise SettingsError("A SQL source needs the package 'jinja2'.", hint=install_line("jinja2"))
    if "\x00" in text:
        raise SettingsError(f"{source} holds a NUL character.", hint="Save it as text.")
    known = _checked(parameters, identifiers or {}, source)
    written, marks = _written(text, known, source)
    try:
        found = tokens(written, dialect)
        require_query(found, dialect)
    except SettingsError as error:
        raise SettingsError(f"{source}: {error.message}", hint=error.hint) from None
    statement, values = _bound(without_end(found), marks, dialect, source)
    return Query(source, dialect, text, dict(parameters), statement, values)


def _checked(
    parameters: Mapping[str, Any], identifiers: Mapping[str, Sequence[str]], source: str
) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in identifiers:
            if value not in identifiers[name]:
                allowed = ", ".join(map(repr, identifiers[name]))
                raise SettingsError(
                    f"{source}: {value!r} is no value of the identifier {name}.",
                    hint=f"data.loader.identifiers allows {allowed}.",
                )
            known[name] = Identifier(value)
        else:
            known[name] = _value(name, value, source)
    return known


def _value(name: str, value: Any, source: str) -> Any:
    if isinstance(value, list | tuple):
        if not value:
            raise SettingsError(
                f"{source}: the parameter {name} is an empty list, and SQL has none.",
                hint=f"Leave it out, with {{% if {name} is defined %}} around its place.",
            )
        if any(isinstance(item, list | tuple) for item in value):
            raise SettingsError(
                f"{source}: the parameter {name} is a list of lists.", hint="Pass a flat one."
            )
        return [_value(name, item, source) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, Scalar):
        kind = {"dict": "an object"}.get(type(value).__name__, type(value).__name__)
        raise SettingsError(
            f"{source}: the parameter {name} is {kind}.", hint="Pass a number, a text, true, false or a list."
        )
    too_large = isinstance(value, int) and not -(2**63) <= value < 2**63
    if too_large or (isinstance(value, float) and not math.isfinite(value)):
        raise SettingsError(
            f"{source}: the parameter {name} is no number of 64 bits.", hint="Pass it as text, and cast it."
        )
    return value


def _written(text: str, known: Mapping[str, Any], source: str) -> tuple[str, _Marks]:
    import jinja2
    from jinja2 import meta, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    marks = _Marks()

    @jinja2.pass_context  # without it a constant would be taken when the template is compiled
    def take(_: Any, value: Any) -> str:
        return marks.take(value)

    sandbox = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        finalize=take,
        keep_trailing_newline=True,
    )
    sandbox.filters = {name: sandbox.filters[name] for name in _FILTERS}
    sandbox.globals = {"range": sandbox.globals["range"]}
    try:
        tree = sandbox.parse(text)
        for node in tree.find_all(nodes.Stmt):
            if type(node).__name__ not in _STATEMENTS:
                raise SettingsError(
                    f"{source}: line {node.lineno}: {type(node).__name__} has no place in a query.",
                    hint="A template has {{ value }}, {% if %}, {% for %} and {% set %}.",
                )
        names = meta.find_undeclared_variables(tree) - {"range"}
        _refuse_unused(known, names, source)
        written = sandbox.from_string(tree).render(**known)
    except jinja2.UndefinedError as error:
        raise _without_value(tree, known, names, source, str(error)) from error
    except jinja2.TemplateSyntaxError as error:
        raise SettingsError(f"{source}: line {error.lineno}: {error.message}.", hint="Mend it.") from error
    except (jinja2.exceptions.SecurityError, TypeError, ValueError, ArithmeticError) as error:
        raise SettingsError(f"{source} cannot be rendered: {error}.", hint="Mend the template.") from error
    return written, marks


def _template_line() -> int:
    """Return the line of the template that is being rendered, from the frame of its compiled code."""
    frame = inspect.currentframe()
    while frame is not None:
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            return int(template.get_corresponding_lineno(frame.f_lineno))
        frame = frame.f_back
    return 0


def _refuse_unused(known: Mapping[str, Any], names: set[str], source: str) -> None:
    unused = [name for name in known if name not in names]
    if unused:
        question = "; ".join(filter(None, (did_you_mean(name, names - known.keys()) for name in unused)))
        has = f"It has {', '.join(sorted(names))}." if names else "It has no variables."
        raise SettingsError(
            f"{source} does not use the parameter {', '.join(map(repr, unused))}.",
            hint=capitalized(question) or has,
        )


def _without_value(
    tree: Any, known: Mapping[str, Any], names: set[str], source: str, reason: str
) -> SettingsError:
    from jinja2 import nodes

    optional = {
        node.node.name
        for node in tree.find_all(nodes.Test)
        if node.name in ("defined", "undefined") and isinstance(node.node, nodes.Name)
    }
    missing = sorted(names - known.keys() - optional)
    if not missing:
        return SettingsError(f"{source} cannot be rendered: {reason}.", hint="Mend the template.")
    places = [
        f"{name!r} (line {next(n.lineno for n in tree.find_all(nodes.Name) if n.name == name)})"
        for name in missing
    ]
    example = json.dumps(dict.fromkeys(missing, "…"), ensure_ascii=False)
    plural = "have" if len(missing) > 1 else "has"
    return SettingsError(f"{source}: {', '.join(places)} {plural} no value.", hint=f"Pass -p '{example}'.")


def _bound(
    found: Sequence[Token], marks: _Marks, dialect: Dialect, source: str
) -> tuple[str, tuple[Scalar, ...]]:
    """Put placeholders where the values stand, or refuse the place."""
    values: list[Scalar] = []
    pieces: list[str] = []
    for n, token in enumerate(found):
        if token.kind == "comment":
            pieces.append(MARK.sub("?", token.text))
            continue
        mark = MARK.search(token.text)
        if mark is None:
            pieces.append(token.text)
            continue
        value, line = marks.values[int(mark[1])]
        where = f"{source}: line {line or token.line}"
        _refuse_place(token, found[max(n - 1, 0) : n + 2], mark[0], where)
        if isinstance(value, Identifier):
            _refuse_literal(token, where)
            pieces.append(".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in value.split(".")))
            continue
        if token.kind == "quoted":
            raise SettingsError(f"{where}: a value cannot be a name.", hint=_IDENTIFIERS)
        given = value if isinstance(value, list | tuple) else [value]
        placeholders = []
        for item in given:
            values.append(_value("written here", item, where))
            placeholders.append(_PLACEHOLDERS[dialect].format(len(values)))
        listed = ", ".join(placeholders)
        pieces.append(f"({listed})" if _follows_in(pieces) else listed)
    return "".join(pieces), tuple(values)


_IDENTIFIERS = "List what it may be under data.loader.identifiers, and write {{ name }}."


def _refuse_place(token: Token, around: Sequence[Token], mark: str, where: str) -> None:
    """Refuse a value inside a longer literal or name."""
    if token.kind == "mark":
        if any(other is not token and other.kind in ("word", "number", "mark", "string") for other in around):
            raise SettingsError(
                f"{where}: a value cannot be a part of a name or of a word.", hint=_IDENTIFIERS
            )
    elif token.text[1:-1] != mark:
        what = "literal" if token.kind == "string" else "name"
        raise SettingsError(
            f"{where}: a value cannot be a part of a longer {what}.",
            hint="Write {{ name }} by itself, joined by SQL's own || where it is a part.",
        )


def _refuse_literal(token: Token, where: str) -> None:
    if token.kind == "string":
        raise SettingsError(f"{where}: an identifier cannot be a text.", hint="Write it without quotes.")


def _follows_in(pieces: Sequence[str]) -> bool:
    words = "".join(pieces[-4:]).upper().split()
    return bool(words) and words[-1] == "IN"
