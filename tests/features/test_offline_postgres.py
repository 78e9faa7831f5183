"""The join in PostgreSQL: the same answers as of files, whichever indexes there are, by a role that may only read."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.histories import file_store, postgres_store, to_files, to_postgres, unique, worlds
from tests.features.test_offline import checked

from mmp.features import offline
from mmp.features.offline import join

pytestmark = pytest.mark.infra
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@EXAMPLES
@given(world=worlds(), index=st.sampled_from([None, "keys"]))
def test_joins_tables_as_the_definition_says(world, index, postgres, tmp_path):
    here = to_postgres(world, postgres, "any", index=index)
    joined = checked(here, postgres_store(postgres))
    files = join(world.rows(), to_files(world, tmp_path).features, file_store())
    assert joined.table.equals(files.table)


@EXAMPLES
@given(world=worlds())
def test_looks_up_by_an_index_of_keys_whatever_ties_there_are(world, postgres):
    here = to_postgres(world, postgres, "keys", index="keys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline, "_ROWS_PER_LOOKUP", 0)
        checked(here, postgres_store(postgres))


@EXAMPLES
@given(world=worlds())
def test_looks_up_by_a_unique_index(world, postgres):
    checked(to_postgres(unique(world), postgres, "unique", index="unique"), postgres_store(postgres))
