"""The join of files, by properties: every row gets what the definition says, and nothing is lost on the way."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from tests.features.histories import file_store, oracle, to_files, worlds

from mmp.features.offline import join

EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def checked(world, store, **more):
    """Join, and hold the answer to the oracle."""
    rows = world.rows()
    joined = join(rows, world.features, store, **more)
    columns, found = oracle(world)
    assert joined.table.select(rows.column_names).equals(rows)
    assert joined.table.column_names == [*rows.column_names, *world.features.names]
    assert {name: joined.table[name].to_pylist() for name in columns} == columns
    assert {name: each.tolist() for name, each in joined.found.items()} == found
    return joined


@EXAMPLES
@given(world=worlds())
def test_joins_files_as_the_definition_says(world, tmp_path):
    joined = checked(to_files(world, tmp_path), file_store())
    kinds = [str(joined.table[name].type) for name in world.features.names]
    text = str(pa.dictionary(pa.int32(), pa.string()))
    assert kinds == ["int64", "double", "double", text, "bool", "timestamp[us, tz=UTC]", "int64", text]
