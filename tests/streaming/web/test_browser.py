"""The page in a real browser: what it shows moves, and what is clicked is done."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import cv2
import pytest

from edgeseg.runtime.host.health import Health
from edgeseg.streaming.results import LineCount, Scene, ZoneCount
from edgeseg.streaming.web import WebPage
from tests.vision.found import make_detections

from .viewing import make_shown, make_status, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

    from edgeseg.streaming.controls import Controls
    from edgeseg.streaming.results import RenderedFrame

    from .viewing import OpenPage

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,800",
)
LEVEL = "return document.querySelectorAll('canvas')[{}].getContext('2d').getImageData(9, 9, 1, 1).data[0]"
NAME = '<img src=x onerror="document.title=1">'

pytestmark = pytest.mark.skipif(
    not (shutil.which(CHROMIUM) and shutil.which(DRIVER)), reason=f"needs {CHROMIUM} and {DRIVER}"
)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Belt:
    """Frames that come 20 times a second; the grey of each picture is its number."""

    def __init__(self, page: WebPage, controls: Controls, *sources: int) -> None:
        self.number, self.page, self.controls = 0, page, controls
        self.sources = sources or (0,)
        self.still = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            if self.still.is_set():
                continue
            self.number += 1
            for source in self.sources:
                self.page.write(self._shown(source))

    def _shown(self, source: int) -> RenderedFrame:
        # As in a run, the threshold changes what is found: scores are 0.9 and 0.6.
        found = make_detections(2)
        found = found[found.scores > self.controls.score_threshold]
        scene = Scene(
            entered=self.number,
            lines=(LineCount(name="gate", start_xy=(0, 0), end_xy=(1, 1), forward=3, backward=1),),
            zones=(ZoneCount(name="bin", corners_xy=((0, 0), (1, 0), (1, 1)), inside=1, entered=4),),
        )
        status = make_status(
            self.number,
            health=Health(cpu_percent=43, temperature_c=61.2, power_w=14.24),
            stages_ms={"read": 4.0, "infer": 31.7},
        )
        # Greys that are far apart, and never the 0 of an empty canvas.
        level = 40 + 30 * (self.number % 6) + source
        return make_shown(level, detections=found, source=source, status=status, scene=scene)


@pytest.fixture
def belt(page: WebPage, controls: Controls) -> Iterator[Belt]:
    made = Belt(page, controls)
    yield made
    made.close()


def find_box(browser: Chrome, selector: str) -> WebElement:
    found: WebElement = browser.find_element("css selector", selector)
    return found


def href(browser: Chrome) -> str:
    """Where the button for a snapshot leads."""
    return find_box(browser, ".button").get_attribute("href") or ""


def texts(browser: Chrome, selector: str) -> list[str]:
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector
    )
    return found


def open_live(browser: Chrome, page: WebPage) -> None:
    browser.get(page.url)
    until(lambda: find_box(browser, "#state").text.endswith("Running"), "the run on the page")


def test_the_picture_changes(browser: Chrome, page: WebPage, belt: Belt) -> None:
    open_live(browser, page)
    seen: set[int] = set()

    def several() -> bool:
        seen.add(browser.execute_script(LEVEL.format(0)))
        return len(seen - {0}) >= 4

    until(several, "four different pictures")
    assert {min(abs(level - (40 + 30 * k)) for k in range(6)) <= 2 for level in seen - {0}} == {True}
    assert browser.execute_script(
        "const c = document.querySelector('canvas'); return [c.width, c.height]"
    ) == [60, 40]

    belt.still.set()
    until(lambda: find_box(browser, ".cover").is_displayed(), "the word about the stall")
    assert "No new picture for" in find_box(browser, ".cover").text
    assert "No new frame" in find_box(browser, "#state").text


def test_the_figures_move(browser: Chrome, page: WebPage, belt: Belt) -> None:
    open_live(browser, page)
    tiles = dict(zip(texts(browser, "#tiles dt"), texts(browser, "#tiles dd"), strict=True))

    assert tiles["frames/s"] == "25.0"
    assert tiles["frame age"].split() == ["40", "ms"]
    assert (tiles["dropped"], tiles["reconnects"], tiles["unreadable"]) == ("3", "1", "0")
    until(lambda: texts(browser, "#tiles dd")[2] != tiles["frames"], "more frames")
    assert texts(browser, "#stages li") == ["read\n4.0 ms", "infer\n31.7 ms"]
    assert texts(browser, "#classes li") == ["bolt\n1", "nut\n1"]
    assert "3 forward, 1 back" in texts(browser, "#counts dd")
    assert "1 inside, 4 so far" in texts(browser, "#counts dd")
    entered = texts(browser, "#counts dd")[0]
    until(lambda: texts(browser, "#counts dd")[0] != entered, "more objects")
    assert texts(browser, "#health dd") == ["43 %", "61 °C", "14.2 W"]
    first = texts(browser, "#rows tr:first-child td")
    assert first == ["bolt", "0.90", "100", "0, 3, 10, 13"]
    assert browser.title == "edgeseg"


def test_the_slider_moves_the_threshold(
    browser: Chrome, page: WebPage, controls: Controls, belt: Belt
) -> None:
    open_live(browser, page)
    until(lambda: len(texts(browser, "#rows tr")) == 2)
    slider = find_box(browser, "#threshold")
    slider.send_keys(webdriver.Keys.ARROW_RIGHT)

    until(lambda: controls.score_threshold == 0.51, "a step by the keyboard")
    # Near the right end, as a finger would.
    right = slider.size["width"] // 2 - 60
    webdriver.ActionChains(browser).move_to_element(slider).click_and_hold().move_by_offset(
        right, 0
    ).release().perform()
    until(lambda: 0.65 < controls.score_threshold < 0.9, "a drag")
    until(lambda: len(texts(browser, "#rows tr")) == 1, "fewer objects")
    until(lambda: texts(browser, "#classes li") == ["bolt\n1", "nut\n0"])
    assert find_box(browser, "#threshold-value").text == f"{controls.score_threshold:.2f}"


def test_the_slider_follows_others(browser: Chrome, page: WebPage, controls: Controls, belt: Belt) -> None:
    open_live(browser, page)
    controls.score_threshold = 0.31

    until(lambda: find_box(browser, "#threshold").get_property("value") == "0.31")
    assert find_box(browser, "#threshold-value").text == "0.31"


def test_a_snapshot_is_saved(browser: Chrome, page: WebPage, belt: Belt, downloads: Path) -> None:
    open_live(browser, page)
    until(lambda: find_box(browser, ".button").get_attribute("aria-disabled") == "false")
    find_box(browser, ".button").click()

    until(lambda: list(downloads.glob("edgeseg-camera-*.jpg")), "the file")
    (saved,) = downloads.glob("edgeseg-camera-*.jpg")
    until(lambda: cv2.imread(str(saved)) is not None)
    picture = cv2.imread(str(saved))
    assert picture is not None
    assert picture.shape == (40, 60, 3)
    assert int(picture[9, 9, 0]) >= 35


def test_names_are_no_markup(browser: Chrome, open_page: OpenPage, controls: Controls) -> None:
    page = open_page(source_names=(NAME, "second"), title=NAME)
    belt = Belt(page, controls, 0, 1)
    try:
        open_live(browser, page)
        until(lambda: all(browser.execute_script(LEVEL.format(index)) for index in (0, 1)), "two pictures")
        levels = [browser.execute_script(LEVEL.format(index)) for index in (0, 1)]
        assert all(level > 35 for level in levels)
        assert find_box(browser, "#title").text == NAME
        assert find_box(browser, ".name").text == NAME
        assert texts(browser, "#rows td:first-child")[:1] == [NAME]
        assert browser.title == NAME
    finally:
        belt.close()


def test_the_token_is_asked_for_and_taken(browser: Chrome, open_page: OpenPage, controls: Controls) -> None:
    page = open_page(token="open, sesame")
    page.write(make_shown())
    browser.get(page.url)
    find_box(browser, "#token").send_keys("open, barley", webdriver.Keys.ENTER)
    until(lambda: "not the token" in find_box(browser, "body").text)
    find_box(browser, "#token").send_keys("open, sesame", webdriver.Keys.ENTER)

    until(lambda: browser.find_elements("css selector", "#state"), "the page")
    until(lambda: texts(browser, "#rows tr"), "figures")
    assert browser.current_url == page.url


def test_the_end_is_told_and_a_new_run_is_found(
    browser: Chrome, page: WebPage, controls: Controls, belt: Belt, open_page: OpenPage
) -> None:
    open_live(browser, page)
    belt.close()
    page.close()
    until(lambda: "The run has ended" in find_box(browser, "#state").text, "the word about the end")
    assert find_box(browser, ".cover").text == "The run has ended"
    until(lambda: href(browser).startswith("blob:"), "the last picture")

    again = WebPage(page.address, controls)
    other = Belt(again, controls)
    try:
        until(lambda: find_box(browser, "#state").text.endswith("Running"), "the next run")
        until(lambda: href(browser).endswith("/snapshots/0.jpg"))
    finally:
        other.close()
        again.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser: Chrome, page: WebPage, belt: Belt, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        open_live(browser, page)
        until(lambda: texts(browser, "#rows td"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name(browser: Chrome, page: WebPage, belt: Belt) -> None:
    open_live(browser, page)
    until(lambda: find_box(browser, ".button").get_attribute("href"))
    names = {
        each.tag_name: each.accessible_name
        for each in browser.find_elements("css selector", "input, a, canvas")
    }

    assert names["input"] == "Score threshold"
    assert names["a"] == "Snapshot of camera"
    assert names["canvas"].startswith("camera: ")


def test_nothing_was_complained_about(browser: Chrome) -> None:
    """The content security policy and scripts complain on the console; a server that is gone may be said."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    complaints = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    assert [each for each in complaints if "ERR_" not in each and "401" not in each] == []
