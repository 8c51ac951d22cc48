"""Figures, threshold and snapshots over HTTP."""

from __future__ import annotations

import json
import re
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.runtime.host.health import Health
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.results import LineCount, Scene, ZoneCount
from edgeseg.streaming.web import frame_store
from edgeseg.streaming.web import status as figures
from edgeseg.streaming.web.files import content
from edgeseg.streaming.web.frame_store import FrameStore
from edgeseg.streaming.web.status import StatusJson
from tests.vision.found import make_detections

from .viewing import ask, decoded, make_shown, make_status, status_of, until

if TYPE_CHECKING:
    from typing import Any

    from edgeseg.streaming.web.page import WebPage

    from .viewing import OpenPage


def test_before_the_first_frame(page: WebPage) -> None:
    told = status_of(page)

    assert told["state"] == "waiting"
    assert told["score_threshold"] == 0.5
    assert told["sources"] == [{"name": "camera", "state": "waiting"}]
    assert ask(page, "GET", "/snapshots/0.jpg")[0] == 404


def test_figures_of_a_run(page: WebPage) -> None:
    page.write(make_shown(7))
    told = status_of(page)

    assert told["state"] == "running"
    assert (told["frames"], told["fps"], told["age_ms"]) == (7, 25.0, 40.0)
    assert told["stages_ms"] == {"read": 1.0, "infer": 30.0}
    assert told["dropped"] == {"camera": 3}
    assert (told["skipped"], told["reconnects"]) == (0, 1)
    assert told["health"]["cpu_percent"] == 12.5
    assert told["health"]["power_w"] is None
    (source,) = told["sources"]
    assert (source["width"], source["height"], source["image_id"]) == (60, 40, 7)
    assert [each["class"] for each in source["objects"]] == ["bolt", "nut"]
    assert source["objects"][0]["area_px"] == 100
    assert source["scene"] is None


def test_counts_of_tracking(page: WebPage) -> None:
    scene = Scene(
        entered=5,
        left=2,
        entered_by_class={"bolt": 5},
        lines=(LineCount(name="gate", start_xy=(0, 0), end_xy=(1, 1), forward=3, backward=1),),
        zones=(ZoneCount(name="bin", corners_xy=((0, 0), (1, 0), (1, 1)), inside=1, entered=4),),
    )
    page.write(make_shown(scene=scene))

    assert status_of(page)["sources"][0]["scene"] == {
        "entered": 5,
        "left": 2,
        "entered_by_class": {"bolt": 5},
        "lines": [{"name": "gate", "forward": 3, "backward": 1}],
        "zones": [{"name": "bin", "inside": 1, "entered": 4}],
    }


def test_what_a_run_may_count_with(page: WebPage) -> None:
    """Numbers of NumPy, and mappings that cannot be copied."""
    facts: dict[str, Any] = {
        "frames": np.int64(9),
        "dropped": MappingProxyType({"camera": np.int64(4)}),
        "stages_ms": MappingProxyType({"infer": np.float32(1.5)}),
    }
    page.write(make_shown(status=make_status(**facts)))
    told = status_of(page)

    assert (told["frames"], told["dropped"], told["stages_ms"]) == (9, {"camera": 4}, {"infer": 1.5})


def test_what_is_no_number_is_null(page: WebPage) -> None:
    page.write(make_shown(status=make_status(fps=float("nan"), health=Health(power_w=float("inf")))))
    told = json.loads(ask(page, "GET", "/status.json")[2], parse_constant=pytest.fail)

    assert told["fps"] is None
    assert told["health"]["power_w"] is None


def test_a_stalled_stream_is_told(page: WebPage) -> None:
    page.write(make_shown(status=make_status(fps=100.0)))

    until(lambda: status_of(page)["state"] == "stalled", "the stall")
    assert status_of(page)["sources"][0]["since_s"] > 2


def test_a_slow_model_is_no_stall(page: WebPage) -> None:
    # Every 25 s a frame.
    page.write(make_shown(status=make_status(fps=0.04)))
    page._frame_store._states[0].received_s -= 60

    assert status_of(page)["state"] == "running"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the page, which the test sets."""
    now = [1000.0]
    for module in (figures, frame_store):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_second_outage_is_told_as_soon_as_the_first(clock: list[float]) -> None:
    """The rate after an outage counts the frames on both sides of it, and is none of the stream's."""
    pictures = FrameStore(1, lambda: None)
    told = StatusJson(pictures, Controls(0.5), source_names=("camera",), title="t")

    def frames(count: int, fps: float = 10.0) -> None:
        for _ in range(count):
            clock[0] += 0.1
            pictures.put(make_shown(status=make_status(fps=fps)))

    def seconds_until_stalled() -> float:
        start_s = clock[0]
        while json.loads(told.json())["state"] == "running" and clock[0] < start_s + 100:
            clock[0] += 0.1
        return clock[0] - start_s

    frames(30)
    first_s = seconds_until_stalled()
    assert 2.3 < first_s < 2.7
    clock[0] += 60
    # As the tally counts it just after an outage: 4 frames in 63 seconds.
    for _ in range(3):
        frames(2, fps=0.06)
        assert seconds_until_stalled() == pytest.approx(first_s, abs=0.11)
        clock[0] += 60
    pictures.close()


def test_a_slow_stream_is_no_stall_and_one_that_gets_faster_is_followed(clock: list[float]) -> None:
    pictures = FrameStore(1, lambda: None)
    told = StatusJson(pictures, Controls(0.5), source_names=("camera",), title="t")
    for _ in range(5):
        clock[0] += 20
        pictures.put(make_shown(status=make_status(fps=5.0)))

    clock[0] += 75
    assert json.loads(told.json())["state"] == "running"
    clock[0] += 10
    assert json.loads(told.json())["state"] == "stalled"
    for _ in range(9):
        clock[0] += 0.1
        pictures.put(make_shown(status=make_status(fps=0.05)))
    clock[0] += 3
    assert json.loads(told.json())["state"] == "stalled"
    pictures.close()


@pytest.mark.parametrize("value", [0, 1, 0.25, 1e-3])
def test_the_threshold_moves(page: WebPage, controls: Controls, value: float) -> None:
    status, _, body = ask(page, "POST", "/threshold", json.dumps({"score_threshold": value}))

    assert (status, json.loads(body)) == (200, {"score_threshold": value})
    assert controls.score_threshold == value
    assert status_of(page)["score_threshold"] == value


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "0.3",
        "[0.3]",
        "null",
        '{"threshold": 0.3}',
        '{"score_threshold": NaN}',
        '{"score_threshold": Infinity}',
        '{"score_threshold": "0.3"}',
        '{"score_threshold": true}',
        '{"score_threshold": null}',
        '{"score_threshold": -0.1}',
        '{"score_threshold": 1.5}',
        '{"score_threshold": 1e999}',
        pytest.param('{"score_threshold": ' + "9" * 400 + "}", id="a number of 400 digits"),
        pytest.param("[" * 1000, id="1000 brackets"),
        b"\xff\xfe{",
    ],
)
def test_no_threshold(page: WebPage, controls: Controls, body: str | bytes) -> None:
    status, _, answer = ask(page, "POST", "/threshold", body)

    assert status == 400
    assert "score_threshold" in json.loads(answer)["error"]
    assert controls.score_threshold == 0.5


def test_a_huge_body_is_refused(page: WebPage, controls: Controls) -> None:
    status, _, body = ask(page, "POST", "/threshold", b" " * 100_000 + b'{"score_threshold": 0.1}')

    assert status == 413
    assert b"1024" in body
    assert controls.score_threshold == 0.5


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "image/jpeg"), ("png", "image/png")])
def test_a_snapshot_has_every_pixel(page: WebPage, suffix: str, kind: str) -> None:
    page.write(make_shown(77, size_hw=(1500, 2000)))
    status, headers, body = ask(page, "GET", f"/snapshots/0.{suffix}")

    assert (status, headers["Content-Type"]) == (200, kind)
    name = headers["Content-Disposition"]
    assert re.fullmatch(rf'attachment; filename="edgeseg-camera-\d{{8}}-\d{{6}}\.{suffix}"', name)
    picture = decoded(body)
    assert picture.shape == (1500, 2000, 3)
    assert abs(int(picture[700, 900, 1]) - 77) <= 1


def test_a_snapshot_is_of_the_newest_frame_of_its_source(open_page: OpenPage) -> None:
    page = open_page(source_names=("left", "rtsp://user:secret@yard/gate"))
    page.write(make_shown(10))
    page.write(make_shown(200, source=1))
    page.write(make_shown(90))

    for source, level in ((0, 90), (1, 200)):
        _, headers, body = ask(page, "GET", f"/snapshots/{source}.png")
        assert decoded(body)[0, 0].tolist() == [level] * 3
    assert "yard-gate" in headers["Content-Disposition"]
    assert "secret" not in headers["Content-Disposition"]


@pytest.mark.parametrize(
    "path", ["/snapshots/1.jpg", "/snapshots/0.gif", "/pictures/7.mjpg", "/nothing", "/../x"]
)
def test_what_is_not_there(page: WebPage, path: str) -> None:
    page.write(make_shown())

    assert ask(page, "GET", path)[0] == 404


def test_figures_of_no_detections(page: WebPage) -> None:
    page.write(make_shown(detections=make_detections(0)))

    assert status_of(page)["sources"][0]["objects"] == []


def test_names_that_are_no_text(open_page: OpenPage) -> None:
    page = open_page(source_names=("a\udcff",))
    page.write(make_shown())

    assert status_of(page)["sources"][0]["name"] == "a?"


@pytest.mark.parametrize("path", ["/", "/live", "/pictures/0.mjpg", "/status.json"])
def test_heads_are_answered(page: WebPage, path: str) -> None:
    page.write(make_shown())
    status, _, body = ask(page, "HEAD", path)

    assert (status, body) == (200, b"")


def test_the_page_asks_nobody_else() -> None:
    for name in ("page.html", "page.css", "page.js", "login.html"):
        text = content(name)
        assert "//" not in re.sub(r"^\s*//.*$|; //", "", text, flags=re.MULTILINE), name
    for name in ("page.html", "login.html"):
        assert not re.search(r"<style|style=|<script(?! src)|\bon\w+=", content(name)), name
