"""What is written as YAML reads as what it was, here and in PyYAML, whatever the names."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.settings.document import Branch, parse
from mmp.settings.emit import Off, Reference, inline, render, without_comments
from mmp.settings.environment import interpolate

ODD = [
    "1e-9", "1e-3", "Yes", "No", "no", "on", "true", "null", "~", "", " ", "012", "0x1f", "1:30", "12_000",
    "a: b", "a #b", "#a", "- a", "[a]", "{a}", "a,b", "*a", "&a", "!a", "|", ">", "%", "@", "`", "'", '"', "\\",
    "?", "=", "<<", "${HOME}", "$${x}", "$", "a\nb", "a\tb", "a\x85b", "a\u2028b", "\ufeffa", "\x7f", "🚀", "등급", "é",
    "2024-01-31", ".inf", "-.5", "...", "---", "numeric", "income [€]", "share <0.5", "x" * 300,
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
NUMBERS = st.one_of(st.booleans(), st.none(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
VALUES = st.recursive(
    st.one_of(TEXTS, NUMBERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


def ours(text):
    """Return what mmp's loader makes of a text, references resolved."""

    def values(tree):
        if not isinstance(tree, Branch):
            value = tree.value
            return interpolate(value, {}.get)[0] if isinstance(value, str) and "${" in value else value
        members = {key: values(child) for key, (_, child) in tree.children.items()}
        return list(members.values()) if tree.is_sequence else members

    return values(parse(text).root)


@pytest.mark.parametrize("text", ODD)
def test_odd_names_come_back(text):
    written = render({"a": text, "b": [text], "c": {"d": {"e": text}}}, {("a",): f"about {text}"})
    assert ours(written) == {"a": text, "b": [text], "c": {"d": {"e": text}}}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(["name", "data", "x"]), VALUES, min_size=1, max_size=3), TEXTS)
def test_any_value_comes_back(values, note):
    notes = {("data",): note, ("data", 0): note, ("data", "a"): note, ("name",): note * 20, ("x", "b"): note}
    written = render(values, notes)
    assert ours(written) == values
    doubled = yaml.safe_load(written)
    assert _undoubled(doubled) == values


def _undoubled(value):
    if isinstance(value, dict):
        return {key: _undoubled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_undoubled(inner) for inner in value]
    return value.replace("$${", "${") if isinstance(value, str) else value


@settings(max_examples=60, deadline=None, derandomize=True)
@given(VALUES, TEXTS)
def test_what_is_off_is_not_there_and_is_right_when_taken_in(value, note):
    written = render({"keep": 1, "key": Off(value)}, {("key",): note.replace("# key", "")})
    assert ours(written) == {"keep": 1} == without_comments({"keep": 1, "key": Off(value)})
    lines = written.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("# key:"))
    taken_in = "\n".join(lines[:start] + [line.removeprefix("# ") for line in lines[start:]])
    assert ours(taken_in) == {"keep": 1, "key": value}


def test_a_reference_is_no_text():
    assert inline([Reference("${PORT:1}"), "${PORT:1}"]) == '[${PORT:1}, "$${PORT:1}"]'


def test_numbers_without_end_and_none_at_all():
    assert ours(render({"a": math.inf, "b": -math.inf}, {})) == {"a": math.inf, "b": -math.inf}
    assert math.isnan(ours(render({"a": math.nan}, {}))["a"])
