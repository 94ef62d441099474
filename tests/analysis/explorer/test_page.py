"""The page: what it counts and links to, and how it looks and works in a real browser."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from fedrec.analysis.claims import Claims
from fedrec.analysis.evidence import Evidence
from fedrec.analysis.explorer.page import Study, page
from fedrec.analysis.explorer.runs import Places
from fedrec.analysis.measure import Measure
from fedrec.errors import RecordError
from fedrec.plan.blocks import Scorecard
from fedrec.records import Picture, Pictures, Record
from tests.builders import make_record

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARMS = [("NoAttack", "FedAvg", 0.40), ("Fang", "FedAvg", 0.20), ("LIE", "FedAvg", 0.30),
        ("Fang", "NormBound+UNION", 0.38)]  # fmt: skip
CLAIMS = """
regions: { substantial: [10, .inf] }
shares: { all: 1 }
claims:
  - id: ruins
    place: Table 1
    says: Fang <ruins> it.
    test:
      kind: loss
      of: { attack: Fang }
      against: {}
      within: substantial
"""

PICTURES = Pictures(
    dataset="synthetic", ratio=0.05, community=[0, 1, 1],
    pictures=[
        Picture(attack=attack, defense="FedAvg", round=number, component_1=[-r, r, 0.0],
                component_2=[0.0, r, r / 2])
        for attack, r in (("NoAttack", 2.0), ("Fang", 0.5)) for number in (10, 20)
    ],
)  # fmt: skip


def records() -> list[Record]:
    """Four arms of three seeds, of which the first of LIE diverged."""
    found = [
        make_record(attack, seed, [0.1, last + 0.01 * seed], defense=defense)
        for attack, defense, last in ARMS
        for seed in range(3)
    ]
    return [
        record.model_copy(update={"diverged_at": 300})
        if (record.cell.attack, record.cell.seed) == ("LIE", 0)
        else record
        for record in found
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of these records, with a claim, and an arm of which there is no record."""
    folder = tmp_path_factory.mktemp("explorer")
    (folder / "claims.yaml").write_text(CLAIMS)
    made = records()
    missing = [make_record("LIE", s, defense="NormBound+UNION").cell for s in range(2)]
    study = Study(
        records=made,
        wanted=[*(record.cell for record in made), *missing],
        claims=Claims.load(folder / "claims.yaml"),
        evidence=Evidence(made, {}, Scorecard(), Measure()),
        pictures=PICTURES,
        note="A note & more.",
    )
    path = folder / "explorer.html"
    path.write_text(page(study, Places(record="runs")))
    return path


def test_runs_are_counted_and_each_has_its_command(written: Path) -> None:
    text = written.read_text()
    counts = dict(re.findall(r"<dt>(\w+)</dt><dd>(\d+)</dd>", text))
    assert counts == {
        "finished": "11",
        "diverged": "1",
        "stopped": "0",
        "failed": "0",
        "missing": "2",
    }
    assert text.count("<code>snakemake --cores 1 results/runs/ml-1m/MF/") == 14
    assert 'href="runs/ml-1m/MF/Fang/FedAvg/m0.01/seed2.json"' in text


def test_every_link_within_the_page_leads_somewhere(written: Path) -> None:
    text = written.read_text()
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"$]+)"', text)) <= ids
    assert set(re.findall(r",#(arm-\d+)", text)) <= ids


def test_claims_are_judged_and_texts_escaped(written: Path) -> None:
    text = written.read_text()
    assert re.search(r'class="verdict [a-z-]+">[a-z ]+</span>\s*Fang &lt;ruins&gt; it\.', text)
    assert "A note &amp; more." in text


def test_the_page_asks_for_nothing_outside(written: Path) -> None:
    text = written.read_text()
    own = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"<(link|img|iframe)\b|@import|url\(|https?:", own)
    assert not re.search(r"<script[^>]* src=", text)
    assert len(text.encode()) < 1_000_000


def test_no_record_no_page() -> None:
    with pytest.raises(RecordError, match="no record"):
        page(Study(records=[]), Places())


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A browser without a screen that reaches no network."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # As root, in containers, there is no sandbox.
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield driver
    driver.quit()


def opened(browser: webdriver.Chrome, path: Path, width: int, scheme: str = "light") -> None:
    """Open a page on a screen of some width and colours, and wait until all is drawn."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    colours = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": colours})
    browser.get(path.as_uri().partition("#")[0])
    wait = "const end = arguments[0]; drawn.then(() => end(''), error => end(String(error)))"
    assert browser.execute_async_script(wait) == ""


def marks(browser: webdriver.Chrome, chart: str) -> list[str]:
    """What a chart draws: paths and texts with their places."""
    script = """return [...document.querySelectorAll(arguments[0])].map(
        mark => (mark.getAttribute('d') || '') + mark.textContent)"""
    return browser.execute_script(script, f"#chart-{chart} svg path, #chart-{chart} svg text")


def shown_arms(browser: webdriver.Chrome) -> list[str]:
    """The arms whose runs are listed in sight."""
    arms = browser.find_elements(By.CSS_SELECTOR, ".arm")
    return [arm.find_element(By.TAG_NAME, "h3").text for arm in arms if arm.is_displayed()]


def choose(browser: webdriver.Chrome, name: str, value: str) -> None:
    Select(browser.find_element(By.ID, name)).select_by_value(value)
    browser.execute_async_script("setTimeout(arguments[0], 300)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_a_network_error_or_sideways_scrolling(
    browser: webdriver.Chrome, written: Path, width: int, scheme: str
) -> None:
    opened(browser, written, width, scheme)
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    widths: Any = browser.execute_script(
        "const charts = [...document.querySelectorAll('.chart svg')];"
        "return [document.documentElement.scrollWidth, window.innerWidth,"
        " ...charts.map(chart => chart.getBoundingClientRect().right)]"
    )
    assert max(widths) <= width and len(widths) >= 7
    assert "No attack, no defence" in marks(browser, "chosen")
    assert "Fang" in marks(browser, "by-attack") and "FedAvg" in marks(browser, "by-defense")
    assert len(marks(browser, "curves")) > 10
    shot = written.with_name(f"{width}-{scheme}.png")
    assert browser.save_screenshot(str(shot)) and shot.stat().st_size > 10_000


def test_ink_and_paper_follow_the_readers_colours(browser: webdriver.Chrome, written: Path) -> None:
    found = {}
    for scheme in ("light", "dark"):
        opened(browser, written, 1280, scheme)
        found[scheme] = browser.execute_script(
            "const text = document.querySelector('#chart-curves svg text');"
            "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(text).fill]"
        )
    assert found == {
        "light": ["rgb(255, 255, 255)", "rgb(29, 35, 41)"],
        "dark": ["rgb(20, 24, 28)", "rgb(228, 232, 236)"],
    }


def test_each_picture_shows_every_item(browser: webdriver.Chrome, written: Path) -> None:
    opened(browser, written, 390)
    script = "return document.querySelectorAll(arguments[0] + ' .mark-symbol path').length"
    for panel in range(4):
        assert browser.execute_script(script, f"#chart-picture-{panel}") == 3


def test_another_attack_changes_charts_and_runs(browser: webdriver.Chrome, written: Path) -> None:
    opened(browser, written, 1280)
    choose(browser, "defense", "FedAvg")
    before = {chart: marks(browser, chart) for chart in ("chosen", "curves", "by-defense")}
    assert "Fang (1 %), no defence" in before["chosen"]
    choose(browser, "attack", "LIE")
    after = {chart: marks(browser, chart) for chart in before}
    assert all(after[chart] != before[chart] for chart in before)
    assert "LIE (1 %), no defence" in after["chosen"]
    (lie,) = [text for text in after["chosen"] if "1 diverged" in text]
    assert re.fullmatch(r"HR@5 0\.31000 ± 0\.\d{5} · 3 runs, 1 diverged", lie)
    assert [arm.partition(",")[0] for arm in shown_arms(browser)] == ["NoAttack", "LIE"]


def test_what_is_missing_is_said(browser: webdriver.Chrome, written: Path) -> None:
    opened(browser, written, 390)
    choose(browser, "defense", "NormBound+UNION")
    choose(browser, "attack", "LIE")
    chosen = marks(browser, "chosen")
    assert "no record: 0 of 2 runs" in chosen
    assert "in no table or figure" in chosen  # the defence without attack
    assert "no record" in marks(browser, "by-attack")


def test_a_link_leads_to_runs_that_the_choice_hides(
    browser: webdriver.Chrome, written: Path
) -> None:
    opened(browser, written, 1280)
    choose(browser, "attack", "LIE")
    assert not any(arm.startswith("Fang, Norm") for arm in shown_arms(browser))
    browser.execute_script("location.hash = '#arm-3'")
    assert any(arm.startswith("Fang, Norm") for arm in shown_arms(browser))
    browser.find_element(By.ID, "all").click()
    assert len(shown_arms(browser)) == 5


def test_a_dot_leads_to_its_runs(browser: webdriver.Chrome, written: Path) -> None:
    opened(browser, written, 1280)
    choose(browser, "defense", "FedAvg")
    dots = browser.find_elements(By.CSS_SELECTOR, "#chart-by-attack .mark-symbol path")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", dots[0])
    webdriver.ActionChains(browser).move_to_element(dots[0]).click().perform()
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert re.fullmatch(r"#arm-\d", browser.execute_script("return location.hash"))


def test_keys_alone_choose_an_attack(browser: webdriver.Chrome, written: Path) -> None:
    opened(browser, written, 1280)
    choose(browser, "defense", "FedAvg")
    before, select = marks(browser, "curves"), browser.find_element(By.ID, "attack")
    browser.execute_script("arguments[0].focus()", select)
    select.send_keys(Keys.ARROW_DOWN)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert select.get_property("value") == "LIE" and marks(browser, "curves") != before
