"""`s3://` and `gs://`: the same tables in a bucket as on disk, read from servers; and buckets that refuse."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import gcs, s3
from tests.tables import recipe

from mmp.data import buckets, delimited, json_lines
from mmp.data.batches import BEGINNING, open_files
from mmp.data.files import read as read_file
from mmp.data.sources import read
from mmp.data.table import ColumnSpec
from mmp.errors import MissingColumnsError, SettingsError, SourceError
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

SECRET = "c4n4ry-of-the-shop"
A_CSV = b"zip,n\n00123,1\n10115,NA\n"
B_CSV = b"n,zip\n3,20095\n"


def options(url, **more):
    return {"key": "AKIAshop", "secret": SECRET, "region": "us-east-1", "endpoint_url": url, **more}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of an S3 that lives as long as this module's tests."""
    with s3.running(tmp_path_factory.mktemp("moto")) as host:
        yield f"http://{host}"


@pytest.fixture(scope="module")
def folder(server, tmp_path_factory):
    """A folder, the same as the bucket `shop`."""
    root = tmp_path_factory.mktemp("buckets") / "shop"
    parquet = {"n": pa.array([1, 2]), "zip": pa.array(["a", "b"])}
    files = {
        "csv/a.csv": A_CSV,
        "csv/b.csv.gz": gzip.compress(B_CSV),
        "csv/_SUCCESS": b"",
        "csv of rows/rows.csv": b"a,y\n" + b"".join(b"%d,%d\n" % (n * 7 % 50, n) for n in range(60)),
        "lines.jsonl": b"".join(b'{"y": %d, "word": "x"}\n' % n for n in range(60)),
        "odd/notes.txt": b"",
        "odd/cut.csv.gz": gzip.compress(A_CSV * 99)[:40],
        "odd/latin.csv": "city\nKöln\n".encode("latin-1"),
    }
    for day in ("day=1", "day=2"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_arrays(list(parquet.values()), list(parquet)), sink)
        files[f"parquet/{day}/t.parquet"] = sink.getvalue().to_pybytes()
    bucket = s3.bucket(server.removeprefix("http://"), "shop")
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_bytes(content)
        with bucket.open_output_stream(f"shop/{name}", compression=None) as stream:
            stream.write(content)
    return root


@pytest.fixture(scope="module")
def google(folder):
    """What reads from a `gs://` that has the same folder as its bucket `shop`."""
    process = subprocess.Popen(
        [sys.executable, gcs.__file__, str(folder.parent)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield {"anon": True, "endpoint_url": process.stdout.readline().strip()}
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.infra
@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize(
    "source",
    [
        "csv/a.csv",
        "csv/b.csv.gz",
        "csv",
        "csv/*.csv",
        "csv/*",
        "csv of rows/rows.csv",
        "parquet/day=2/t.parquet",
        "parquet/*/t.parquet",
    ],
)
def test_a_bucket_is_a_folder(server, google, folder, source, scheme):
    known = options(server) if scheme == "s3" else google
    here = read_file(source, base_path=str(folder))
    there = read(f"{scheme}://shop/{source}", storage_options=known)
    assert there.arrow.equals(here.arrow)
    assert there.specs == here.specs
    assert there.source == f"{scheme}://shop/{source}"
    last = here.arrow.column_names[-1]
    chosen = read(f"{scheme}://shop/{source}", columns=[last], storage_options=known)
    assert chosen.arrow.equals(here.arrow.select([last]))


@pytest.mark.infra
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("gs://shop/csv/c.csv", "There is no gs://shop/csv/c.csv"),
        ("gs://elsewhere/a.csv", "There is no bucket gs://elsewhere"),
        ("gs://elsewhere/*.csv", "There is no bucket gs://elsewhere"),
        ("gs://elsewhere", "There is no bucket gs://elsewhere"),
        ("gs://shop/odd/notes.txt", "has no file that ends in .csv, .csv.gz, .parquet"),
        ("gs://shop/cvs/*.csv", "gs://shop/cvs/[*].csv has no file"),
        ("gs://shop/odd/latin.csv", "gs://shop/odd/latin.csv is not UTF-8: byte 0xf6"),
    ],
)
def test_what_google_has_not_is_named(google, source, says):
    with pytest.raises(SourceError, match=says):
        read(source, storage_options=google)


@pytest.mark.infra
def test_options_go_by_the_names_of_other_libraries_too(server, folder, monkeypatch):
    fsspec = {
        "key": "a",
        "secret": "b",
        "client_kwargs": {"endpoint_url": server, "region_name": "us-east-1"},
    }
    arrow = {"access_key": "a", "secret_key": "b", "endpoint_override": server[7:], "scheme": "http"}
    sdk = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": server}
    for given in (fsspec, arrow, sdk, {"anon": True, "endpoint_url": server}):
        assert read("s3://shop/csv/a.csv", storage_options=given).n_rows == 2
    for name, value in sdk.items():
        monkeypatch.setenv(name, value)
    assert read("s3://shop/csv/a.csv", storage_options={"endpoint_url": server}).n_rows == 2


@pytest.mark.infra
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("s3://shop/csv/c.csv", "There is no s3://shop/csv/c.csv"),
        ("s3://elsewhere/a.csv", "There is no bucket s3://elsewhere"),
        ("s3://elsewhere/*.csv", "There is no bucket s3://elsewhere"),
        ("s3://shop/odd/notes.txt", "has no file that ends in .csv, .csv.gz, .parquet"),
        ("s3://shop/cvs/*.csv", "s3://shop/cvs/[*].csv has no file"),
        ("s3://shop/odd/cut.csv.gz", "s3://shop/odd/cut.csv.gz cannot be read"),
        ("s3://shop/odd/latin.csv", "s3://shop/odd/latin.csv is not UTF-8: byte 0xf6"),
    ],
)
def test_what_cannot_be_read_is_named(server, folder, source, says):
    with pytest.raises(SourceError, match=says):
        read(source, storage_options=options(server))


@pytest.mark.infra
@pytest.mark.parametrize("name", ["csv of rows/rows.csv", "lines.jsonl"])
def test_a_file_in_a_bucket_is_gone_on_with_anywhere(server, folder, monkeypatch, name):
    for reader in (delimited, json_lines):
        monkeypatch.setattr(reader, "PIECE_BYTES", 40)
    specs = [ColumnSpec("y", "integer")]
    batches = open_files(f"s3://shop/{name}", specs, storage_options=options(server))
    whole = [(mark, table.column("y").to_pylist()) for mark, table in batches.tables(["y"], 0, BEGINNING)]
    assert [y for _, ys in whole for y in ys] == list(range(60))
    for mark, _ in whole[1::4]:
        assert mark.offset > 0
        rest = [
            y for _, table in batches.tables(["y"], mark.row, mark) for y in table.column("y").to_pylist()
        ]
        assert rest == list(range(mark.row, 60))


def test_columns_that_are_not_there(server, folder):
    with pytest.raises(MissingColumnsError, match="'zap'"):
        read("s3://shop/csv/a.csv", columns=["zap"], storage_options=options(server))


@pytest.mark.infra
def test_a_recipe_starts_from_a_bucket_and_its_run_keeps_no_secret(server, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(
        recipe("far", "regression", "xgboost.XGBRegressor", "rows.csv", "y", values={"n_estimators": 3})
    )
    (tmp_path / "c.yaml").write_text(
        "mlflow: {tracking_uri: ./mlruns}\n"
        "data_source:\n"
        "  adapter_type: s3\n"
        "  config:\n"
        "    base_path: s3://shop/csv of rows\n"
        f"    storage_options: {{key: AKIAshop, secret: {SECRET}, endpoint_url: '{server}'}}\n"
    )
    result = train(load_recipe("r.yaml"), load_config("c.yaml"))
    assert result.source == "s3://shop/csv of rows/rows.csv"
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "c.yaml":
            assert SECRET.encode() not in path.read_bytes(), path
            assert b"AKIAshop" not in path.read_bytes(), path


def test_no_server_is_said_without_the_credentials():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SourceError, match=r"s3://shop/a\.csv cannot be read: ") as raised:
            read("s3://shop/a.csv", storage_options=options(url))
    assert "storage_options" in raised.value.hint
    told = raised.value.message + raised.value.hint + str(raised.value.__cause__)
    assert SECRET not in told
    assert "AKIAshop" not in told


def test_a_server_that_is_silent_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(buckets, "TIMEOUT_S", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(SourceError, match="cannot be read"):
            read("s3://shop/a.csv", storage_options=options(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - start < 10


def test_an_option_without_meaning_is_refused():
    with pytest.raises(SettingsError, match="'secert', which s3:// does not know") as raised:
        read("s3://shop/a.csv", storage_options={"secert": SECRET})
    assert raised.value.hint == "did you mean 'secret'?"
    with pytest.raises(SettingsError, match="'token', which gs:// does not know"):
        read("gs://shop/a.csv", storage_options={"token": SECRET})


def test_gs_says_when_nobody_answers(monkeypatch):
    monkeypatch.setattr(buckets, "TIMEOUT_S", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SourceError, match=r"gs://shop/a\.csv cannot be read: "):
            read("gs://shop/a.csv", storage_options={"anon": True, "endpoint_url": url})
