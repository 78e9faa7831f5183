"""Templates to queries: values are bound, names are listed, and nothing but one reading statement passes."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmp.data.statement import tokens
from mmp.data.template import read_query, render
from mmp.errors import SettingsError


def rendered(text, dialect="postgresql", identifiers=None, **values):
    query = render(text, values, dialect, identifiers)
    return query.statement, query.values


def refused(text, dialect="postgresql", identifiers=None, **values):
    with pytest.raises(SettingsError) as error:
        render(text, values, dialect, identifiers, source="q.sql")
    return f"{error.value.message} {error.value.hint}"


# ── where a value may stand ─────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "values", "statement", "bound"),
    [
        ("SELECT * FROM t WHERE a = {{ x }}", {"x": 1}, "SELECT * FROM t WHERE a = $1", (1,)),
        ("SELECT * FROM t WHERE a = '{{ x }}'", {"x": "o'neil"}, "SELECT * FROM t WHERE a = $1", ("o'neil",)),
        ("SELECT * FROM t WHERE a IN ({{ x }})", {"x": [1, 2]}, "SELECT * FROM t WHERE a IN ($1, $2)", (1, 2)),
        ("SELECT * FROM t WHERE a IN {{ x }}", {"x": [1, 2]}, "SELECT * FROM t WHERE a IN ($1, $2)", (1, 2)),
        ("SELECT * FROM t WHERE a in {{ x }}", {"x": 1}, "SELECT * FROM t WHERE a in ($1)", (1,)),
        ("SELECT {{ x }}::date, {{ x }}", {"x": "a"}, "SELECT $1::date, $2", ("a", "a")),
        ("SELECT 1 {% if x > 2 %}WHERE a > {{ x }}{% endif %}", {"x": 3}, "SELECT 1 WHERE a > $1", (3,)),
        ("SELECT 1 {% if x > 2 %}WHERE a > {{ x }}{% endif %}", {"x": 1}, "SELECT 1 ", ()),
        ("SELECT 1{% for i in x %} + {{ i }}{% endfor %}", {"x": [5, 6]}, "SELECT 1 + $1 + $2", (5, 6)),
        ("SELECT {{ x | upper }}, {{ x + 'b' }}", {"x": "a"}, "SELECT $1, $2", ("A", "ab")),
        ("SELECT {{ 7 }}, {{ x }}", {"x": None}, "SELECT $1, $2", (7, None)),
        ("SELECT 1 -- since {{ x }}\n", {"x": "a\nDELETE"}, "SELECT 1 -- since ?\n", ()),
        ("{# a note #}SELECT {{ x }}", {"x": True}, "SELECT $1", (True,)),
        ("SELECT {{ x }}", {"x": dt.date(2024, 1, 2)}, "SELECT $1", ("2024-01-02",)),
        ("SELECT '50%' || 'it''s' || $$ a; b $$ || E'\\'' ; -- x", {}, "SELECT '50%' || 'it''s' || $$ a; b $$ || E'\\''  -- x", ()),
    ],
)  # fmt: skip
def test_a_value_is_bound_where_it_stands(text, values, statement, bound):
    assert rendered(text, **values) == (statement, bound)


def test_each_dialect_has_its_placeholders():
    assert rendered("SELECT {{ x }}, {{ x }}", "sqlite", x=1)[0] == "SELECT ?1, ?2"
    assert rendered("SELECT {{ x }}, {{ x }}", "duckdb", x=1)[0] == "SELECT $1, $2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELECT 1,\n'%{{ x }}%'", "line 2: a value cannot be a part of a longer literal"),
        ("SELECT * FROM\nt_{{ x }}", "line 2: a value cannot be a part of a name"),
        ("SELECT {{ x }}_a FROM t", "line 1: a value cannot be a part of a name"),
        ("SELECT {{ x }}{{ x }}", "cannot be a part of a name"),
        ('SELECT "{{ x }}" FROM t', "line 1: a value cannot be a name. List what it may be"),
        ('SELECT "a{{ x }}" FROM t', "cannot be a part of a longer name"),
        ("SELECT $q$ {{ x }} $q$", "cannot be a part of a longer literal"),
        ("SELECT E'\\'{{ x }}'", "cannot be a part of a longer literal"),
        ("SELECT '{{ x }}", "line 1: ' is not closed"),
        ("SELECT 1 /* {{ x }}", "/* is not closed"),
    ],
)
def test_a_value_elsewhere_is_refused_with_its_line(text, says):
    assert says in refused(text, x="a")


@pytest.mark.parametrize(
    "value", ["x' UNION SELECT 1 --", "1; DROP TABLE t", "*/ DELETE FROM t /*", "\x00", "{{ y }}"]
)
def test_what_a_value_says_never_reaches_the_text(value):
    for text in ("SELECT '{{ x }}'", "SELECT {{ x }}", "SELECT {{ x }} -- {{ x }}"):
        statement, bound = rendered(text, x=value)
        assert value not in statement
        assert bound == (value,)


@given(st.text(), st.sampled_from(["postgresql", "sqlite", "duckdb"]))
def test_the_statement_depends_on_no_text(value, dialect):
    text = "SELECT '{{ x }}', {{ x }} /* {{ x }} */ FROM t"
    assert render(text, {"x": value}, dialect).statement == render(text, {"x": ""}, dialect).statement


# ── variables ───────────────────────────────────────────────────────────────


def test_a_variable_without_a_value_is_named_with_its_line():
    said = refused("SELECT *\nFROM t WHERE a > {{ start }}\nAND b < {{ end }}", start=1)
    assert "q.sql: 'end' (line 3) has no value." in said
    assert """-p '{"end": "…"}'""" in said


def test_an_optional_variable_may_stay_away():
    text = "SELECT 1 {% if x is defined %}WHERE a = {{ x }}{% endif %}"
    assert rendered(text) == ("SELECT 1 ", ())
    assert rendered(text, x=1) == ("SELECT 1 WHERE a = $1", (1,))
    assert rendered("SELECT {{ x | default(3) }}") == ("SELECT $1", (3,))


def test_a_value_that_nothing_uses_is_refused():
    assert "does not use the parameter 'strat'. Did you mean 'start'?" in refused(
        "SELECT {{ start }}", strat=1
    )
    assert "It has no variables." in refused("SELECT 1", x=1)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "is an empty list"),
        ({"a": 1}, "is an object"),
        ([[1]], "is a list of lists"),
        (2**63, "no number of 64 bits"),
        (float("nan"), "no number of 64 bits"),
        (float("inf"), "no number of 64 bits"),
    ],
)
def test_values_that_sql_has_not(value, says):
    assert says in refused("SELECT {{ x }}", x=value)


def test_a_name_comes_from_the_list():
    allowed = {"t": ("public.orders", 'odd"name')}
    assert (
        rendered("SELECT * FROM {{ t }}", identifiers=allowed, t="public.orders")[0]
        == 'SELECT * FROM "public"."orders"'
    )
    assert (
        rendered('SELECT * FROM "{{ t }}"', identifiers=allowed, t='odd"name')[0]
        == 'SELECT * FROM "odd""name"'
    )
    assert "'users' is no value of the identifier t" in refused(
        "SELECT * FROM {{ t }}", identifiers=allowed, t="users"
    )
    assert "cannot be a text" in refused("SELECT '{{ t }}'", identifiers=allowed, t="public.orders")
    assert "cannot be a part of a name" in refused(
        "SELECT * FROM a_{{ t }}", identifiers=allowed, t="public.orders"
    )


# ── the sandbox ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "SELECT {{ ''.__class__.__mro__ }}",
        "SELECT {{ x.__class__ }}",
        "{% macro m() %}x{% endmacro %}SELECT {{ m() }}",
        "{% include 'other.sql' %}",
        "{% import 'other.sql' as o %}SELECT 1",
        "{% extends 'other.sql' %}",
        "{% set sql %}a = {{ x }}{% endset %}SELECT {{ sql }}",
        "SELECT {{ x | join(',') }}",
        "SELECT {{ cycler }}",
        "SELECT {{ range(1000000000) | list }}",
        "SELECT {{ x",
        "SELECT {% if %}",
        "SELECT {{ x + 1 }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(text):
    refused(text, x="a")


# ── one statement that reads ────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "SELECT last_update, deleted_at FROM updates WHERE a = 'DELETE FROM t; x'",
        "select update, t.delete, (update) from t",
        "SELECT count(update) FROM t FOR UPDATE".replace(" FOR UPDATE", ""),
        "WITH x AS (SELECT 1) SELECT * FROM x;",
        "VALUES (1), (2)",
        "TABLE t",
        "(SELECT 1) UNION (SELECT 2)",
        "-- first\n/* and /* nested */ */ SELECT 1 ;\n -- last; DELETE FROM t\n",
        'SELECT "insert into" FROM "delete from"',
        "SELECT a AS into FROM t",
        "SELECT data ? 'key' FROM t",
        "SELECT replace(a, 'x', 'y') FROM t",
    ],
)
def test_a_query_passes(text):
    rendered(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("DELETE\nFROM t", "line 1: 'DELETE' begins no query"),
        ("SELECT 1; DROP TABLE t", "line 1: another statement follows"),
        ("SELECT 1;\n-- x\nSELECT 2", "line 1: another statement follows"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "DELETE writes"),
        ("WITH x AS MATERIALIZED (INSERT INTO t VALUES (1) RETURNING a) SELECT 1", "INSERT writes"),
        ("WITH x AS (SELECT 1) UPDATE t SET a = 1", "UPDATE writes"),
        ("WITH x AS (MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE) SELECT 1", "MERGE writes"),
        ("SELECT * INTO t2 FROM t", "INTO writes"),
        ("COPY t TO PROGRAM 'sh'", "'COPY' begins no query"),
        ("CALL p()", "begins no query"),
        ("DO $$ BEGIN END $$", "begins no query"),
        ("SET a = 1", "begins no query"),
        ("EXPLAIN ANALYZE DELETE FROM t", "begins no query"),
        ("BEGIN", "begins no query"),
        ("", "holds no statement"),
        ("-- only this", "holds no statement"),
        ("SELECT $1", "nothing gives $1 a value"),
        ("SELECT 1 /* -- */; DELETE FROM t -- */", "another statement"),
    ],
)
def test_anything_else_is_refused_before_it_is_sent(text, says):
    assert says in refused(text)


@pytest.mark.parametrize("bound", ["?", "?1", ":a", "@a", "$a"])
def test_sqlite_has_more_placeholders(bound):
    assert "nothing gives" in refused(f"SELECT {bound}", "sqlite")


def test_names_in_ticks_and_brackets_are_sqlites():
    assert rendered("SELECT `a;b`, [c;d]", "sqlite")[0] == "SELECT `a;b`, [c;d]"


@given(
    st.text(st.sampled_from("abE'\"$-/*;\n \\`[]?:1x("), max_size=30),
    st.sampled_from(["postgresql", "sqlite", "duckdb"]),
)
def test_tokens_are_the_text(text, dialect):
    try:
        found = tokens(text, dialect)
    except SettingsError:
        return
    assert "".join(token.text for token in found) == text


# ── the file ────────────────────────────────────────────────────────────────


def test_a_file_is_looked_for_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.sql").write_text("\ufeffSELECT 1")
    assert read_query("orders.sql", {}, "sqlite").statement == "SELECT 1"
    with pytest.raises(SettingsError, match=r"There is no file order\.sql") as error:
        read_query("order.sql", {}, "sqlite")
    assert "orders.sql" in error.value.hint


def test_a_query_says_what_makes_it_again():
    query = render("SELECT {{ x }}", {"x": [1, 2]}, "duckdb", source="q.sql")
    kept = query.as_dict()
    again = render(kept["template"], kept["parameters"], kept["dialect"], source=kept["source"])
    assert again == query
