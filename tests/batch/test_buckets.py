"""Predictions into a bucket: the same files as on disk, once."""

from __future__ import annotations

import pytest
from pyarrow.fs import FileSelector
from tests import s3
from tests.batch.project import make, score

from mmp.errors import SettingsError, SourceError

OPTIONS = "{{key: a, secret: c4n4ry, region: us-east-1, endpoint_url: '{url}'}}"
OUTPUT = "output: {{inference: {{on_bad_row: reject, config: {{storage_options: {options}}}}}}}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The host of an S3 that lives as long as this module's tests."""
    with s3.running(tmp_path_factory.mktemp("moto")) as host:
        yield host


@pytest.fixture(scope="module")
def bucket(server):
    return s3.bucket(server, "scores")


@pytest.fixture
def project(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, more=OUTPUT.format(options=OPTIONS.format(url=f"http://{server}")))
    return tmp_path


def content(bucket, path):
    with bucket.open_input_stream(path) as stream:
        return stream.read()


def test_a_file_and_a_directory_in_a_bucket_are_those_of_a_disk(project, bucket):
    for name in ("o.parquet", "o.csv", "parts"):
        score(data="table.csv", output=name, part_rows=200)
        result = score(data="table.csv", output=f"s3://scores/a/{name}", part_rows=200)
        assert result.output == f"s3://scores/a/{name}"
    for name in ("o.parquet", "o.csv"):
        assert content(bucket, f"scores/a/{name}") == (project / name).read_bytes()
    assert (
        content(bucket, "scores/a/parts/part-00002.parquet")
        == (project / "parts/part-00002.parquet").read_bytes()
    )
    assert not list((project / ".mmp/batch").iterdir())


def test_the_same_again_writes_nothing_and_another_table_replaces_all_of_it(project, bucket):
    score(data="table.csv", output="s3://scores/b", part_rows=100)
    assert not score(data="table.csv", output="s3://scores/b", part_rows=100).is_new
    with pytest.raises(SettingsError, match="is there already"):
        score(data="train.csv", output="s3://scores/b", part_rows=100)
    score(data="train.csv", output="s3://scores/b", part_rows=200, restart=True)
    names = sorted(info.base_name for info in bucket.get_file_info(FileSelector("scores/b")))
    assert names == ["_manifest.json", "part-00000.parquet", "part-00001.parquet"]


def test_rejected_rows_go_beside(project, bucket):
    lines = (project / "table.csv").read_text(encoding="utf-8").splitlines()
    cells = lines[5].split(",")
    cells[1] = "old"
    lines[5] = ",".join(cells)
    (project / "bad.csv").write_text("\n".join(lines), encoding="utf-8")
    result = score(data="bad.csv", output="s3://scores/c.csv")
    assert (result.rejected, result.rejected_output) == (1, "s3://scores/c.csv.rejected.jsonl")
    assert b'"row": 4' in content(bucket, "scores/c.csv.rejected.jsonl")


def test_a_bucket_that_is_not_there_is_a_sentence_without_secrets(project):
    with pytest.raises(SourceError, match="cannot be read or written") as caught:
        score(data="table.csv", output="s3://nowhere/o.parquet")
    assert "c4n4ry" not in str(caught.value)
