"""The page of a served model, in a real browser; its pictures are kept in build/page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.http_server import serving
from tests.serving.browser import PROGRAM, Browser
from tests.serving.people import KEY, NASTY, train

pytestmark = [pytest.mark.infra, pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")]
PICTURES = Path(__file__).parents[2] / "build" / "page"
FIELD = """(() => {{
    const label = [...document.querySelectorAll('label')].find((each) => each.innerText === {label});
    const field = document.getElementById(label.htmlFor);
    const texts = field.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id).innerText);
    return {{
        tag: field.tagName, type: field.type, value: field.value, invalid: field.ariaInvalid === 'true',
        options: [...field.options ?? []].map((each) => each.text), error: texts[0], hint: texts[1],
        focused: document.activeElement === field,
    }};
}})()"""
# how far text stands out from what is behind it, the least on the page
CONTRAST = """(() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => {
        const color = parts(getComputedStyle(node).backgroundColor);
        return color.length === 4 && color[3] === 0 && node.parentElement ? behind(node.parentElement) : color;
    };
    const texts = [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() &&
        [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
    const least = texts.map((node) => {
        const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), node.innerText.slice(0, 40)];
    });
    return least.sort(([a], [b]) => a - b)[0];
})()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one run."""
    folder = tmp_path_factory.mktemp("people")
    train(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The server of that run."""
    with serving(folder, "--run-id", "latest", "-c", "open.yaml") as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, server):
    """The page, loaded on a large screen in the light."""
    browser.size(1280, 900)
    browser.look("light")
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.wait("!document.getElementById('columns').hidden")
    return browser


def field(page, label):
    """Return what a user learns of the field with this label."""
    return page.run(FIELD.format(label=json.dumps(label)))


def predict(page):
    """Predict what stands in the form, with the keyboard, and wait for why."""
    page.run("document.querySelector('#ask [type=submit]').focus()")
    page.press("Space")
    page.wait("document.querySelector('#drivers tr') && !document.querySelector('[aria-disabled]')")


def mistakes(page):
    """Return complaints but for refusals, which the browser lists too."""
    return [
        each
        for each in page.complaints()
        if each.get("entry", {}).get("level") != "verbose"
        and each.get("entry", {}).get("source") != "network"
    ]


def test_it_tells_of_the_model_and_fills_in_an_example(page, server):
    info, example = server.get("/model/info").json, server.example
    assert page.text("h1") == "people"
    assert "income" in page.text("#about")
    accuracy = info["metrics"]["test"]["accuracy"]
    assert f"{accuracy:.3g}" in page.text("#scores")
    assert field(page, "age")["value"] == str(example["age"])
    assert field(page, "gain [€]")["value"] == (
        "" if example["gain [€]"] is None else str(example["gain [€]"])
    )


def test_each_column_has_the_input_of_its_kind(page):
    assert (field(page, "work")["tag"], set(field(page, "work")["options"])) == (
        "SELECT",
        {"Private", "Self-emp", NASTY, "another …"},
    )
    assert field(page, "citizen?")["options"] == ["yes", "no"]
    assert field(page, "hired")["type"] == "date"
    assert field(page, "seen")["type"] == "datetime-local"
    assert "17 to 89 in training" in field(page, "age")["hint"]
    assert "may be empty" in field(page, "gain [€]")["hint"]
    assert "may be empty" not in field(page, "age")["hint"]


def test_it_predicts_and_says_why_as_the_routes_do(page, server):
    predict(page)
    picture = PICTURES / "desktop.png"
    page.shoot(picture)
    assert picture.stat().st_size > 20_000
    answer = page.text("#answer")
    assert ">50K" in answer or "<=50K" in answer
    assert {"<=50K", ">50K"} <= set(page.text("#chances").splitlines())
    assert "log-odds" in page.text("#drivers")
    assert page.run("document.querySelectorAll('#drivers tbody tr').length") == 6
    assert page.run("document.querySelectorAll('img').length") == 0
    assert not mistakes(page)
    hosts = {url.split("/")[2] for url in page.requests() if not url.startswith("data:")}
    assert hosts == {f"127.0.0.1:{server.port}"}


def test_a_long_key_comes_back_with_every_digit(page):
    page.focus("person id")
    page.type("9007199254740993")
    predict(page)
    assert "person id 9007199254740993" in page.text("#answer")


def test_a_value_that_training_did_not_see_can_be_typed(page):
    page.focus("work")
    page.run(
        "(() => { const s = document.activeElement; s.value = 'other'; s.dispatchEvent(new Event('change')); })()"
    )
    page.type("Astronaut")
    predict(page)
    assert "Astronaut" in page.text("#drivers")


def test_a_value_outside_the_range_is_pointed_out_and_answered(page):
    page.focus("age")
    page.type("150")
    assert field(page, "age")["hint"].startswith("Outside of what training saw")
    predict(page)


def test_errors_stand_beside_their_fields(page):
    page.focus("gain [€]")
    page.type("much")
    page.focus("age")
    page.type("old")
    page.press("Enter")
    page.wait("document.getElementById('refused').innerText")
    page.shoot(PICTURES / "error.png")
    age = field(page, "age")
    assert (age["invalid"], age["focused"], age["error"]) == (
        True,
        True,
        "'old' is not an integer. Send an integer.",
    )
    assert field(page, "gain [€]")["invalid"]
    assert page.text("#refused") == "2 values need another look."
    page.type("30")
    assert not field(page, "age")["invalid"]


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(page):
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(
            page.run(
                "document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText.trim()"
            )
        )
    stops = [
        "To the form",
        "age",
        "work",
        "gain [€]",
        "citizen?",
        "hired",
        "seen",
        "person id",
        "Predict",
        "Reset",
    ]
    first = [stop for stop in dict.fromkeys(reached) if stop in stops]
    assert first == stops


def test_reset_fills_in_the_example_again(page):
    before = field(page, "age")["value"]
    page.focus("age")
    page.type("77")
    page.run("document.querySelector('#ask [type=reset]').click()")
    assert field(page, "age")["value"] == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(page, scheme):
    page.look(scheme)
    predict(page)
    page.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    if scheme == "dark":
        page.shoot(PICTURES / "dark.png")
    contrast, text = page.run(CONTRAST)
    assert contrast >= 4.5, text


def test_it_fits_a_phone(page):
    page.size(360, 740, phone=True)
    predict(page)
    assert page.run("document.documentElement.scrollWidth") == 360
    small = "[...document.querySelectorAll('#ask input, #ask select, #ask button')]"
    assert page.run(f"Math.min(...{small}.filter((e) => !e.hidden).map((e) => e.offsetHeight))") >= 44
    page.shoot(PICTURES / "phone.png")


def test_every_control_has_a_name(page):
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    page.call("Accessibility.disable")
    controls = {"textbox", "combobox", "button", "link", "Date", "DateTime", "DisclosureTriangle"}
    found = [node for node in nodes if node.get("role", {}).get("value") in controls]
    assert len(found) >= 10
    assert [node for node in found if not node["name"]["value"]] == []


def test_the_curl_line_is_what_the_form_sends(page):
    page.run("document.getElementById('as-curl').open = true")
    line = page.wait("document.querySelector('#as-curl code').innerText")
    row = json.loads(line.partition("-d '")[2].removesuffix("'"))
    assert row["work"] in {"Private", "Self-emp", NASTY}
    assert "/predict -H 'Content-Type: application/json'" in line


def test_the_files_are_open_and_forbid_outside_requests(server):
    for path in ("/", "/page.css", "/page.js"):
        reply = server.get(path)
        assert (reply.status, reply.headers["x-content-type-options"]) == (200, "nosniff")
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        assert b"http://" not in reply.body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in reply.body


def test_a_server_that_asks_for_credentials_is_asked_with_the_key_typed(browser, folder):
    with serving(folder, "--run-id", "latest", "-c", "keys.yaml") as server:
        browser.size(1280, 900)
        browser.look("light")
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("!document.getElementById('access').hidden")
        assert server.get("/model/info").status == 401
        browser.type("a wrong one")
        browser.press("Enter")
        assert "Try another" in browser.wait("document.getElementById('key-error').innerText")
        browser.shoot(PICTURES / "key.png")
        browser.type(KEY)
        browser.press("Enter")
        browser.wait("!document.getElementById('columns').hidden")
        assert browser.run("document.getElementById('access').hidden")
        predict(browser)
        kept = "document.body.innerText + JSON.stringify({...localStorage, ...sessionStorage})"
        assert KEY not in browser.run(kept)
