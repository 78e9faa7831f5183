"""Any JSON at any route: an answer that the OpenAPI document names, and no mistake of ours."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # fmt: skip
TEXTS = st.text(max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module", params=["server", "threaded"])
def either(request):
    running = request.getfixturevalue(request.param)
    return running, running.get("/openapi.json").json, running.example


def conforms(document, path, reply):
    """Check an answer against what the document says of its status."""
    responses = document["paths"][path]["post"]["responses"]
    assert reply.status < 500
    assert str(reply.status) in responses
    schema = responses[str(reply.status)]["content"]["application/json"]["schema"]
    jsonschema.validate(reply.json, {**schema, "components": document["components"]})


@SETTINGS
@given(data=st.data())
def test_rows_of_anything(either, data):
    running, document, example = either
    row = dict(example)
    for name in data.draw(st.lists(st.sampled_from(sorted(example)), max_size=4)):
        row[name] = data.draw(VALUES)
    row |= data.draw(st.dictionaries(TEXTS, VALUES, max_size=1))
    for name in data.draw(st.lists(st.sampled_from(sorted(example)), max_size=1)):
        row.pop(name, None)
    path = data.draw(st.sampled_from(["/predict", "/predict/batch", "/explain"]))
    if path == "/explain" and not running.get("/model/info").json["class_path"].startswith("xgboost"):
        path = "/predict"
    body = {"samples": [row] * data.draw(st.integers(0, 12))} if path == "/predict/batch" else row
    conforms(document, path, running.post(path, json.dumps(body).encode("utf-8", "surrogatepass")))


@SETTINGS
@given(
    body=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/explain"])
def test_bodies_of_anything(either, path, body):
    running, document, _ = either
    conforms(document, path, running.post(path, body))


@SETTINGS
@given(data=st.data())
def test_rows_that_the_schema_allows_are_answered(either, data):
    running, document, example = either
    row = {
        name: data.draw(_allowed(column, example.get(name)))
        for name, column in document["components"]["schemas"]["Row"]["properties"].items()
    }
    jsonschema.validate(row, document["components"]["schemas"]["Row"])
    reply = running.post("/predict", row)
    assert reply.status == 200, reply.body


def _allowed(schema, example):
    kinds = {
        "integer": st.integers(schema.get("minimum"), schema.get("maximum")),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    names = schema["type"]
    if "x-key" in schema:
        return st.integers(-(2**53), 2**53) | st.booleans() | st.none()
    if "string" in names:
        kinds["string"] = st.just(example if example is not None else "x")
        if "format" not in schema and not _is_time(example):
            kinds["string"] = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
        if "pattern" in schema:
            kinds["string"] = st.from_regex(schema["pattern"], fullmatch=True)
    return st.one_of([kinds[name] for name in names])


def _is_time(example):
    return isinstance(example, str) and example[:4].isdigit() and "-" in example
