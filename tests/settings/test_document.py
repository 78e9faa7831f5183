from __future__ import annotations

import contextlib
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmp.errors import SettingsError
from mmp.settings.document import parse, parse_value, read, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1e-9", 1e-9), ("1E+2", 100.0), ("-.5", -0.5), ("3.", 3.0), ("0", 0), ("-7", -7),
        ("1_000", 1000), ("0x1F", 31), ("0o17", 15), ("true", True), ("FALSE", False), ("~", None), ("null", None),
        ("Yes", "Yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("012", "012"), ("1:30", "1:30"),
        ("2024-01-31", "2024-01-31"), ("1.2.3", "1.2.3"), ("+", "+"), ("-", "-"), (".", "."), ("1e", "1e"),
        ("<=50K", "<=50K"), ("00.5", "00.5"), ("9" * 400, "9" * 400),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_rules(text, value):
    found = scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_infinities():
    assert scalar(".inf") == math.inf
    assert scalar("-.Inf") == -math.inf
    assert math.isnan(scalar(".nan"))


@given(st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none() | st.text())
def test_what_yaml_writes_is_read_back(value):
    leaf = parse(yaml.safe_dump({"key": value}, allow_unicode=True)).find(("key",))
    assert leaf.value == value
    assert type(leaf.value) is type(value)


def test_quoted_scalars_are_text():
    document = parse("a: '1'\nb: \"true\"\nc: !!str 12\nd: |\n  3\n")
    assert [document.find((key,)).value for key in "abcd"] == ["1", "true", "12", "3\n"]


def test_lines_of_keys_items_and_of_the_block_above():
    document = parse("a:\n  - x\n  -\n    b: 1\nc: {d: 2,\n  e: 3}\n")
    assert document.line(("a", 1, "b")) == 4
    assert document.line(("c", "e")) == 6
    assert document.line(("c", "nothing", "there")) == 5


def test_merge_keys_give_way_to_written_ones():
    document = parse("base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nx:\n  <<: [*base, *more]\n  a: 0\n")
    assert {key: leaf.value for key, (_, leaf) in document.find(("x",)).children.items()} == {
        "a": 0,
        "b": 2,
        "c": 4,
    }


def test_few_aliases_are_fine():
    document = parse("a: &a [1, 2]\nb: *a\n")
    assert document.find(("b", 1)).value == 2


def test_a_million_brackets_do_no_harm():
    with pytest.raises(SettingsError, match="nested deeper"):
        parse("a: " + "[" * 900_000)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"name: a\nb: \xff\xfe\n")
    with pytest.raises(SettingsError, match=r"a\.yaml:2: the file is not UTF-8 text"):
        read(path, what="recipe")
    path.write_bytes(b"a: \x00\n")
    with pytest.raises(SettingsError, match="not YAML"):
        read(path, what="recipe")
    path.write_bytes(b"a" * 1_000_001)
    with pytest.raises(SettingsError, match="1,000,001 bytes"):
        read(path, what="recipe")
    with pytest.raises(SettingsError, match="is a directory"):
        read(tmp_path, what="recipe")


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: \xed\x95\x9c\n")
    assert read(path, what="recipe").find(("name",)).value == "한"


def test_a_mistyped_path_names_the_nearest_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for name in ("local", "base", "prod"):
        (tmp_path / "configs" / f"{name}.yaml").write_text("a: 1\n")
    with pytest.raises(SettingsError) as raised:
        read(tmp_path.joinpath("configs/locl.yaml").relative_to(tmp_path), what="config")
    assert raised.value.hint == "Did you mean 'configs/local.yaml'?"
    (tmp_path / "configs" / "prodEU.yaml").write_text("a: 1\n")
    with pytest.raises(SettingsError) as raised:
        read(tmp_path.joinpath("configs/prodeuu.yaml").relative_to(tmp_path), what="config")
    assert raised.value.hint == "Did you mean 'configs/prodEU.yaml'?"
    with pytest.raises(SettingsError) as raised:
        read(tmp_path / "nowhere" / "x.yaml", what="config")
    assert "is not there" in raised.value.hint


@given(st.text(max_size=200))
def test_any_text_is_a_document_or_a_settings_error(text):
    with contextlib.suppress(SettingsError):
        parse(text)


@given(st.text(alphabet="[]{}:,-&*a1 \n\t'\"#|>%!?", max_size=60))
def test_any_scribble_is_a_document_or_a_settings_error(text):
    with contextlib.suppress(SettingsError):
        parse(text)


def test_values_of_set():
    assert parse_value("0.1").value == 0.1
    assert parse_value("a: b").value == "a: b"
    assert parse_value("'12'").value == "12"
    assert [leaf.value for _, leaf in parse_value("[a, 2]").children.values()] == ["a", 2]
