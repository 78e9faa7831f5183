"""Several bundles as one: every member says to the bit what it says by itself, on every path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundles import train, write_csv

from mmp.errors import ArtifactError
from mmp.evaluation.explain import explain
from mmp.modeling import columns, engines
from mmp.modeling.blending import Blend
from mmp.modeling.bundle import Bundle
from mmp.modeling.engines import ensemble
from mmp.modeling.pipeline import Matrix
from mmp.modeling.single import Single
from mmp.modeling.union import unite

ENGINES = ("xgboost", "lightgbm", "catboost", "linear", "sklearn")
TASKS = {"text": "classification", "three": "classification", "value": "regression"}
BLENDS = {
    "mean": Blend((0.3, 0.1, 0.2, 0.25, 0.15)),
    "product": Blend((0.3, 0.1, 0.2, 0.25, 0.15), (0.1, -0.2), in_logs=True),
    "sum": Blend((0.3, 0.1, 0.2, 0.25, 0.15), (4.0,)),
}


def joined(bundles, blend):
    """Return the bundles as members of one."""
    union = unite([bundle.pipeline for bundle in bundles])
    members = [
        ensemble.Member(bundle.model, taken) for bundle, taken in zip(bundles, union.taken, strict=True)
    ]
    model = ensemble.of(members, blend, len(union.pipeline.features))
    return replace(bundles[0], pipeline=union.pipeline, model=model)


def blend_of(name, labels):
    if name == "product":
        intercepts = (0.1, -0.2, 0.3)[: 3 if labels == "three" else 2]
        return replace(BLENDS[name], intercepts=intercepts)
    return BLENDS[name]


WAYS = [("text", "mean"), ("text", "product"), ("three", "mean"), ("three", "product"), ("value", "sum")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a bundle of each engine, for each kind of label."""
    folder = tmp_path_factory.mktemp("members")
    tables = {labels: write_csv(folder / f"{labels}.csv", labels=labels) for labels in TASKS}
    return {
        labels: [train(table, engine=engine, task=TASKS[labels]) for engine in ENGINES]
        for labels, table in tables.items()
    }


@pytest.fixture(params=sorted(TASKS))
def members(request, trained):
    return request.param, trained[request.param]


@pytest.fixture(scope="module", params=WAYS, ids=map("-".join, WAYS))
def both(request, trained, tmp_path_factory):
    """Return members and the bundle that is made of them, saved and loaded."""
    labels, way = request.param
    made = trained[labels]
    folder = tmp_path_factory.mktemp("ensemble")
    whole = joined(made, blend_of(way, labels))
    whole.save(folder)
    return made, replace(Bundle.load(folder), examples=made[0].examples)


def cells_of(bundle):
    kinds = {
        "integer": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "text": st.text(max_size=8),
        "timestamp": st.nothing(),
    }
    known = {spec.name: [row[spec.name] for row in bundle.examples] for spec in bundle.inputs}
    return st.fixed_dictionaries(
        {spec.name: kinds[spec.kind] | st.sampled_from(known[spec.name]) for spec in bundle.inputs}
    )


def test_every_member_says_what_it_says_by_itself(both):
    made, whole = both

    @settings(max_examples=20, deadline=None)
    @given(st.data())
    def hold(data):
        rows = data.draw(st.lists(cells_of(whole), min_size=1, max_size=5))
        shared = whole.pipeline.matrix(columns.coerce(whole.inputs, rows)).values
        for bundle, member in zip(made, whole.model.members, strict=True):
            own = bundle.pipeline.matrix(columns.coerce(bundle.inputs, rows)).values
            taken = member.taken.of(shared)
            assert taken.dtype == own.dtype
            assert np.array_equal(taken, own, equal_nan=True)
            assert np.array_equal(member.model.predict(taken), bundle.model.predict(own))

    hold()


def test_the_output_is_the_blend_of_the_members(both):
    made, whole = both
    rows = list(whole.examples)
    expected = whole.model.blend([bundle.output(rows) for bundle in made])
    assert np.array_equal(whole.output(rows), expected)


def test_a_row_alone_is_the_row_among_others(both):
    _, whole = both
    single = Single(whole)
    among = whole.predict(list(whole.examples)).values
    for number, row in enumerate(whole.examples):
        assert single.predict(row) == {name: column[number] for name, column in among.items()}


def test_what_members_share_is_computed_once(members):
    _, made = members
    union = unite([bundle.pipeline for bundle in made])
    variables = [target for op in union.pipeline.ops for target in op.targets]
    assert len(variables) == len(set(variables))
    assert len(union.pipeline.ops) < sum(len(bundle.pipeline.ops) for bundle in made)
    alone = unite([made[0].pipeline] * 3)
    assert len(alone.pipeline.ops) == len(made[0].pipeline.ops)
    assert alone.pipeline.names == made[0].pipeline.names
    assert alone.pipeline.dtype == made[0].pipeline.dtype
    assert [taken.columns for taken in alone.taken] == [None] * 3


def test_training_rows_are_joined_feature_by_feature(members):
    _, made = members
    union = unite([bundle.pipeline for bundle in made])
    rows = columns.coerce(made[0].inputs, list(made[0].examples))
    own = [Matrix(bundle.pipeline.matrix(rows).values, bundle.pipeline.names) for bundle in made]
    whole = union.joined(own)
    for matrix, taken in zip(own, union.taken, strict=True):
        assert np.array_equal(taken.of(whole.values), matrix.values, equal_nan=True)
    assert np.array_equal(whole.values, union.pipeline.matrix(rows).values, equal_nan=True)


def test_libraries_threads_and_errors_are_those_of_the_members(both):
    made, whole = both
    assert whole.model.libraries == ENGINES
    assert {member.model.threads for member in whole.model.with_threads(1).members} == {1}
    assert set(engines.errors(whole.model)) >= {error for b in made for error in engines.errors(b.model)}


def test_a_member_that_cannot_be_read_is_an_error_in_a_sentence(members, tmp_path):
    labels, made = members
    joined(made, blend_of("sum" if labels == "value" else "mean", labels)).save(tmp_path)
    file = next((tmp_path / "estimator" / "0").glob("*.npz"))
    file.write_bytes(b"not a zip")
    with pytest.raises(ArtifactError):
        Bundle.load(tmp_path)


def test_contributions_of_a_sum_of_numbers_are_exact(members):
    labels, made = members
    exact = [bundle for bundle in made if bundle.model.engine != "sklearn"]
    whole = joined(exact, Blend((0.4, 0.3, 0.2, 0.1), (4.0,)))
    matrix = whole.pipeline.matrix(columns.coerce(whole.inputs, list(whole.examples))).values
    parts = whole.model.contributions(matrix)
    if labels == "value":
        assert np.allclose(parts[:, 0].sum(axis=1), whole.model.predict(matrix), rtol=1e-4)
        whole_bundle = joined(made, BLENDS["sum"])
        assert whole_bundle.model.contributions(np.zeros((1, whole_bundle.model.n_features))) is None
    else:
        assert parts is None


def test_it_is_explained_by_parts_that_add_up(both):
    _, whole = both
    rows = columns.coerce(whole.inputs, list(whole.examples)[:4])
    explanation, _ = explain(whole, rows, np.arange(4))
    said = whole.output(list(whole.examples)[:4])
    said = (
        said[:, None] if not whole.classes else said if len(whole.classes) > 2 else said[:, [whole.positive]]
    )
    assert np.allclose(explanation.scores, said, atol=1e-6)
