"""A row is answered the same alone as among all, whatever a file of one row makes its columns look like."""

from __future__ import annotations

import csv

import pytest
from tests.tables import recipe

from mmp.errors import DataError, MissingColumnsError
from mmp.pipelines.evaluate import evaluate
from mmp.pipelines.predict import predict
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

HEADER = [
    "either date", "american date", "mostly numbers", "mostly true", "version", "padded", "any width", "id", "answer",
]  # fmt: skip
N_ROWS = 120


def row(n):
    day, month = 1 + n % 28, 1 + n % 12
    return [
        f"{day:02d}/{month:02d}/2024" if n % 2 else f"2024-{month:02d}-{day:02d}",
        f"{month:02d}/{day:02d}/2024",
        "unknown" if n % 40 == 39 else f"{n % 6 / 4:.2f}",
        ("True", "False", "perhaps")[n % 3],
        ("1.10", "1.1", "2", "rc")[n % 4],
        f"{n % 9:04d}",
        "0" * (n % 3) + str(n % 7),
        f"1e{n}" if n else "first",
        ("1", "2", "neither")[n % 3],
    ]


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return str(path)


@pytest.fixture
def run_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "all.csv", [row(n) for n in range(N_ROWS)])
    text = recipe(
        "slices", "classification", "xgboost.XGBClassifier", "all.csv", "answer", entities=["id"],
        values={"n_estimators": 6, "min_child_weight": 0},
    )  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(text)
    return train(load_recipe("recipe.yaml"), load_config()).run_id


def test_a_file_of_one_row_is_read_as_the_whole(run_id, tmp_path):
    config = load_config().value
    whole = predict(run_id, config, "all.csv").records
    assert len({str(record["prediction"]) for record in whole}) > 1
    for n in range(13):
        one = write(tmp_path / "one.csv", [row(n)])
        assert predict(run_id, config, one).records == [whole[n]], row(n)


def test_a_directory_is_read_and_what_is_no_rows_is_named(run_id, tmp_path):
    config = load_config().value
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts" / "a.csv", [row(n) for n in range(3)])
    write(tmp_path / "parts" / "b.csv", [row(n) for n in range(3, 5)])
    assert predict(run_id, config, "parts").records == predict(run_id, config, "all.csv").records[:5]
    for text, says in {
        "new.xlsx": "--input is no JSON: 'new.xlsx'",
        "": "--input is not JSON: Expecting",
        '[{"a": 1, "b": {"c": 1, "c": 2}}]': "--input is not clear: the key 'c' stands twice in one object",
    }.items():
        with pytest.raises(DataError, match=says):
            predict(run_id, config, text)


def test_a_table_without_the_target_is_sent_to_predict(run_id, tmp_path):
    lines = (tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "new.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines), encoding="utf-8")
    with pytest.raises(MissingColumnsError, match=r"Column 'answer' is not in new\.csv") as raised:
        evaluate(run_id, load_config().value, data="new.csv")
    assert raised.value.hint.endswith(" 'answer' is the target; `mmp predict` needs none.")
    assert len(predict(run_id, load_config().value, "new.csv").records) == N_ROWS


def test_labels_are_read_as_the_model_knows_them(run_id, tmp_path):
    numbers = write(tmp_path / "numbers.csv", [row(n) for n in range(30) if n % 3 < 2])
    assert evaluate(run_id, load_config().value, data=numbers).n_rows == 20
