"""Reading JSON: the quick reader and the strict one agree, and what is no JSON never gets through."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmp.serving.answers import Refusal
from mmp.serving.parse import DEEPEST, _strictly, read_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_what_is_json_is_read_as_python_reads_it(value, escaped):
    body = json.dumps(value, ensure_ascii=escaped).encode()
    read = read_json(body)
    assert read == value
    assert json.dumps(read) == json.dumps(value)  # 1 and 1.0 and true are not the same
    assert json.dumps(_strictly(body)) == json.dumps(value)


@given(st.binary(max_size=40))
@example(b'{"a":1,"a":1}')
@example(b'{"a":"x:y","a":1}')
@example(b'{"a":1,"a":"\\u003a"}')
@example(b'{"a":"\\u003a","b":{"c":1,"c":2}}')
@example(b'[{"a":1},{"a":2}]')
@example(b'{"s":[{"a":1},{"a":1,"a":2}]}')
@example(b'{"s":[{"a":1},{"a":{}}],"s":[]}')
@example(b'{"s":[{"a":"{:"},{"a":2}]}')
def test_bytes_are_read_strictly_or_refused(body):
    try:
        expected = _strictly(body)
    except Refusal as refused:
        assert refused.status == 400  # noqa: PT017 - the other reader refuses too
        with pytest.raises(Refusal):
            read_json(body)
        return
    assert json.dumps(read_json(body)) == json.dumps(expected)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
@example("1e400")
@example("18446744073709551616")
@example("0.1e-400")
@example("-0")
def test_numbers_are_read_as_python_reads_them(text):
    read, expected = read_json(text.encode()), json.loads(text)
    assert type(read) is type(expected)
    assert math.copysign(1, read) == math.copysign(1, expected) and read == expected  # noqa: PT018


def test_nesting_is_bounded():
    assert read_json(b"[" * DEEPEST + b"]" * DEEPEST)
    for deep in (DEEPEST + 1, 500, 100_000):
        with pytest.raises(Refusal, match="nested") as refused:
            read_json(b"[" * deep + b"]" * deep)
        assert refused.value.status == 400
