"""The guide followed word for word, and the README in both languages."""

from __future__ import annotations

import re

import pytest
from tests.docs.blocks import ROOT, blocks, shell
from tests.docs.test_extending import customers

PAGES = ["README.md", "README.ko.md", "docs/guide.md", "docs/extending.md"]


def test_the_guide_can_be_followed(tmp_path):
    commands = "\n".join(block.text for block in blocks("docs/guide.md") if not block.language)
    assert commands.startswith("mmp init")
    done = shell(commands, tmp_path, tmp_path / "bin")
    assert "LogisticRegression" in done.stdout.splitlines()[-1] + done.stdout.splitlines()[-2]
    assert (tmp_path / "shop/recipes/mine.yaml").exists()


def test_the_commands_of_the_readme_do_what_it_says(tmp_path):
    customers(tmp_path / "data/churn.csv")
    head, *rows = (tmp_path / "data/churn.csv").read_text().splitlines()
    head = head.replace("customer_id", "customerID").replace("churned", "Churn")
    (tmp_path / "data/churn.csv").write_text("\n".join([head, *rows]) + "\n")
    recipe = next(block for block in blocks("README.md") if block.file == "recipes/churn.yaml")
    (tmp_path / "recipes").mkdir()
    (tmp_path / recipe.file).write_text(recipe.text)
    commands = [
        line
        for block in blocks("README.md")
        if not block.language and block.text.startswith("mmp ")
        for line in block.text.splitlines()
        if not line.startswith("mmp ui")  # it waits for a browser
    ]
    written = re.findall(r"`(mmp get-recipe [^`]*)`", (ROOT / "README.md").read_text())
    shell(
        "\n".join([*commands, *(line.replace("churn.yaml", "found.yaml") for line in written)]),
        tmp_path,
        tmp_path / "bin",
    )
    assert (tmp_path / "recipes/found.yaml").exists()


def _commands(page):
    """Return what a page says to type, without the words beside it."""
    typed = [block for block in blocks(page) if block.language != "mermaid"]
    return [(block.language, re.sub(r"\s*#.*", "", block.text)) for block in typed]


def test_the_korean_readme_has_the_same_commands_links_and_parts():
    english, korean = ((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "README.ko.md"))
    assert _commands("README.ko.md") == _commands("README.md")
    links = re.compile(r"\]\(([^)#]+)\)")
    theirs = [link for link in links.findall(korean) if not link.startswith("README")]
    assert theirs == [link for link in links.findall(english) if not link.startswith("README")]
    assert len(re.findall(r"^#+ ", korean, re.MULTILINE)) == len(re.findall(r"^#+ ", english, re.MULTILINE))
    inline = re.compile(r"`[^`\n]+`")
    assert sorted(set(inline.findall(korean))) == sorted(set(inline.findall(english)))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert ((ROOT / page).parent / link).exists(), link
