"""A recipe whose table is a function in a file beside it, from settings to predictions."""

from __future__ import annotations

import pytest
from tests.commands import call
from tests.tables import recipe

MODULE = """
import pandas as pd

def orders():
    ages = [n * 7 % 50 for n in range(120)]
    cities = pd.Categorical(["Köln" if n % 4 else None for n in range(120)])
    return pd.DataFrame({"age": ages, "city": cities, "left": [age > 25 for age in ages]})

def closed():
    raise ConnectionError("password=c4n4ry was refused")
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.py").write_text(MODULE)
    for name in ("orders", "closed", "order"):
        text = recipe(
            name,
            "classification",
            "xgboost.XGBClassifier",
            f"'python:shop.{name}'",
            "left",
            values={"n_estimators": 4},
        )
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("words", [["-r", "orders.yaml"], ["-r", "closed.yaml", "-d", "python:shop.orders"]])
def test_a_function_is_a_table_for_every_command(shop, words):
    trained = call("train", *words, "--json", cwd=shop)
    assert trained.code == 0, trained.out + trained.err
    assert trained.json["source"] == "python:shop.orders"
    evaluated = call("evaluate", "--run-id", "latest", "-d", "python:shop.orders", "--json", cwd=shop)
    assert evaluated.code == 0, evaluated.out + evaluated.err
    predicted = call("predict", "--run-id", "latest", "--input", "python:shop.orders", "--json", cwd=shop)
    assert predicted.code == 0, predicted.out + predicted.err
    assert len(predicted.json["predictions"]) == 120


def test_a_function_that_fails_or_is_not_there_is_named(shop):
    failed = call("train", "-r", "closed.yaml", "--json", cwd=shop)
    assert (failed.code, failed.error["code"]) == (3, "source")
    assert failed.error["message"].startswith("python:shop.closed failed: ConnectionError: ")
    assert "c4n4ry" not in failed.out + failed.err
    absent = call("validate", "-r", "order.yaml", "--json", cwd=shop)
    assert absent.code == 2
    assert "did you mean 'orders'?" in absent.out


def test_a_recipe_is_written_from_a_function(shop):
    words = ("--data", "python:shop.orders", "--target", "left", "-o", "made.yaml", "--yes", "--json")
    made = call("get-recipe", *words, cwd=shop)
    assert made.code == 0, made.out + made.err
    assert call("train", "-r", "made.yaml", "--json", cwd=shop).json["source"] == "python:shop.orders"
