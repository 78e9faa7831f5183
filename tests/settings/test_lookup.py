from __future__ import annotations

import pytest

from mmp.errors import MissingExtraError, UnknownNameError
from mmp.lookup import absent, did_you_mean, find_module, install_line, resolve


def test_resolve_finds_classes_modules_and_members(tmp_path, monkeypatch):
    package = tmp_path / "shop_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rules.py").write_text("class Clip:\n    class Deep: pass\n")
    (package / "broken.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve("shop_pkg.rules.Clip").__name__ == "Clip"
    assert resolve("shop_pkg.rules.Clip.Deep").__name__ == "Deep"
    with pytest.raises(UnknownNameError) as raised:
        resolve("shop_pkg.rules.Clap")
    assert raised.value.hint == "did you mean 'Clip'?"
    with pytest.raises(MissingExtraError, match="not_installed_at_all") as raised:
        resolve("shop_pkg.broken.X")
    assert raised.value.hint == "Install it with: pip install not_installed_at_all"
    assert absent("shop_pkg.rules.Clip") == ""
    assert "Clip" in absent("shop_pkg.rules.Clp")


@pytest.mark.parametrize("path", ["", "name", "a..b", "a.b c", ".a.b", "os.path; import sys"])
def test_what_is_no_path(path):
    with pytest.raises(UnknownNameError, match="not a dotted path"):
        resolve(path)


def test_a_missing_extra_names_the_line_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(MissingExtraError) as raised:
        resolve("catboost.CatBoostClassifier")
    assert raised.value.hint == "Install it with: pip install catboost"
    assert install_line("sklearn").endswith("pip install scikit-learn skops")


def test_modules_are_found_without_running_their_packages(tmp_path, monkeypatch):
    package = tmp_path / "loud_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('I was imported')\n")
    (package / "inner.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_module("loud_pkg.inner") is not None
    assert find_module("loud_pkg.nothing") is None
    assert absent("loud_pkg.inner.x") == ""


def test_did_you_mean_ignores_case_and_says_nothing_where_nothing_is_near():
    assert did_you_mean("F1", ["f1", "accuracy"]) == "did you mean 'f1'?"
    assert did_you_mean("qqq", ["f1", "accuracy"]) == ""
    assert did_you_mean("x", []) == ""
