"""The page of a benchmark: whole by itself, readable whatever was measured, and nothing in it runs."""

from __future__ import annotations

import base64
import re
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgeseg.benchmark.page import read_images, write_page
from edgeseg.benchmark.page.images import MAX_IMAGES
from edgeseg.benchmark.report import BenchmarkReport, Noise
from edgeseg.benchmark.row import Ratio, Row, RowKind, RowState
from edgeseg.errors import ArtifactError, DependencyError, EdgeSegError, InputError

from .page_samples import (
    ABSENT,
    MEASURED,
    make_absent,
    make_image,
    make_latency,
    make_long_report,
    make_measured,
    make_pictures,
    make_results,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

VOID = {"br", "hr", "img", "input", "link", "meta"}
# What makes a browser fetch something.
FETCHING = {"script", "link", "iframe", "object", "embed", "video", "audio", "source", "form", "base"}
ODD = """<script>alert("1")</script> & 'two' "three" {{ 7*7 }}"""
SECTIONS = [
    *("table", "speed", "latency", "stages", "accuracy"),
    *("agreement", "images", "memory", "limits", "repeat"),
]


class Page(HTMLParser):
    """Elements of a page, checked to be closed in the order they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, tag: str, name: str) -> list[str]:
        return [value for each, key, value in self.attributes if (each, key) == (tag, name)]


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Page]:
    def write(report: BenchmarkReport, images: dict[int, NDArray[np.uint8]] | None = None) -> Page:
        path = tmp_path / "report.html"
        write_page(report, path, images=make_pictures(report) if images is None else images)
        return Page(path.read_text("utf-8"))

    return write


def only(*rows: Row, **changes: Any) -> BenchmarkReport:
    return make_long_report(rows=rows, **changes)


def measured(index: int, **changes: Any) -> Row:
    return make_measured(*MEASURED[index], **changes)


def test_every_section_is_there(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    assert [value for value in page.values("h2", "id") if value in SECTIONS] == SECTIONS
    assert page.values("html", "lang") == ["en"]


def test_nothing_is_fetched_and_nothing_runs(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    assert not FETCHING & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page.values("img", "src"))
    assert all(target.startswith("#") for target in page.values("a", "href"))
    (policy,) = (value for value in page.values("meta", "content") if "default-src" in value)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_style_sheet_fetches_nothing(tmp_path: Path) -> None:
    write_page(make_long_report(), tmp_path / "page.html")
    found = re.search(r"<style>(.*)</style>", (tmp_path / "page.html").read_text("utf-8"), re.DOTALL)
    assert found is not None
    style = found[1]

    assert "url(" not in style
    assert "@import" not in style
    assert style.count("{") == style.count("}")


def test_links_lead_to_sections(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    ids = page.values("h2", "id")
    assert {target[1:] for target in page.values("a", "href")} <= set(ids)
    every_id = [value for _, name, value in page.attributes if name == "id"]
    assert len(every_id) == len(set(every_id))


def test_figures_are_rounded_to_what_counts(written: Callable[..., Page]) -> None:
    row = measured(8, latency=make_latency(193.0))
    text = written(only(measured(0), row)).text

    assert row.latency is not None
    assert f"{row.latency.p50_ms:.0f} ms" in text
    assert "13.7\N{MULTIPLICATION SIGN}" in text
    assert "28.67" in text
    assert "45.9 MB" in text


def test_what_came_out_is_said_first(written: Callable[..., Page]) -> None:
    text = written(make_long_report()).text

    fastest = make_latency(193.0, seed=len("openvino-int8")).p50_ms
    times = "13.7\N{MULTIPLICATION SIGN} as fast as PyTorch eager (95 % interval 12.8 to 14.3)"
    assert f"OpenVINO INT8 is the fastest: {fastest:.0f} ms a call (median), {times}; mask AP" in text
    assert "; mask AP 28.67 against 28.88." in text


def test_rows_that_did_not_run_say_why(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    for _, label, _, state, reason in ABSENT:
        assert f"{label} {state.value} {reason}" in page.text
    assert "2 of 11 rows were not measured" in page.text
    assert "In no chart, as they were not measured: TensorRT FP16, TensorRT for RTX INT8" in page.text


def test_rows_keep_their_order_in_every_chart(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    labels = [row[1] for row in MEASURED]
    charts = [value.split(": ")[0] for value in page.values("svg", "aria-label")]
    for start in [index for index, label in enumerate(charts) if label == labels[0]]:
        assert charts[start : start + len(labels)] == labels


def test_pictures_have_words(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    alts = page.values("img", "alt")
    assert len(alts) == 2 * len(MEASURED)
    assert alts[0] == "belt/1.jpg with what PyTorch eager found: 2 bolt, 1 nut"


def test_tables_have_heads(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    assert page.tags["th"] == len(page.values("th", "scope"))
    assert page.values("th", "scope").count("row") >= len(MEASURED) + len(ABSENT)


def test_masks_are_drawn_where_they_are(written: Callable[..., Page]) -> None:
    report = only(measured(0), images=(make_image(1, "a.jpg"),))
    plain = make_pictures(report)[1]
    (uri,) = written(report, {1: plain}).values("img", "src")
    drawn = decoded(uri)

    # The first of three squares of 10 pixels is at the left edge, three pixels down.
    difference = np.abs(drawn.astype(int) - plain).max(-1)
    assert difference[5:11, 2:8].min() > 20
    assert difference[60:, :].max() < 12


def test_large_pictures_are_made_small(written: Callable[..., Page]) -> None:
    size_hw = (1400, 1900)
    row = measured(0, detections=make_results(1, 3, size_hw))
    report = only(row, images=(make_image(1, "a.jpg", size_hw),))
    (uri,) = written(report).values("img", "src")

    assert decoded(uri).shape == (472, 640, 3)


def decoded(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.partition(",")[2])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_a_page_of_noise_stays_small(tmp_path: Path) -> None:
    # Nothing compresses worse than noise.
    size_hw = (600, 800)
    shown = tuple(make_image(number, f"{number}.png", size_hw) for number in range(6))
    found = sum((make_results(image.image_id, 40, size_hw) for image in shown), ())
    rows = tuple(
        measured(index, latency=make_latency(200.0, 5000), detections=found) for index in range(len(MEASURED))
    )
    report = make_long_report(rows=rows, images=shown)
    noise = np.random.default_rng(0).integers(0, 255, (*size_hw, 3), np.uint8)
    path = tmp_path / "page.html"
    write_page(report, path, images={image.image_id: noise for image in shown})

    assert path.stat().st_size < 2_000_000
    assert path.read_text("utf-8").count("<img ") == MAX_IMAGES * len(MEASURED)


def test_text_of_any_kind_is_text(written: Callable[..., Page]) -> None:
    row = replace(measured(8), label=ODD, description=ODD, notes=(ODD,))
    skipped = make_absent("x", ODD, "tensorrt", RowState.SKIPPED, ODD)
    report = only(
        measured(0),
        row,
        skipped,
        class_names=("__background__", ODD, "nut"),
        architecture=ODD,
        command=ODD,
        remark=ODD,
        images=(make_image(1, ODD),),
        noise=Noise(warnings=(ODD,)),
    )
    page = written(report)

    assert page.tags["script"] == 0
    assert page.text.count(ODD) >= 9
    assert f"{ODD} with what PyTorch eager found: 2 {ODD}, 1 nut" in page.values("img", "alt")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = "caf\udce9.jpg"
    write_page(only(measured(0), images=(make_image(1, name),)), tmp_path / "page.html")

    assert r"caf\udce9.jpg" in (tmp_path / "page.html").read_text("utf-8")


def test_interrupted(written: Callable[..., Page]) -> None:
    row = measured(0, state=RowState.PARTIAL, reason="interrupted after 3 of 20 turns")
    text = written(only(row, interrupted=True)).text

    assert "Partial. The benchmark was stopped before its end" in text
    assert "PyTorch eager is partial: interrupted after 3 of 20 turns" in text
    assert "Partial." not in written(only(measured(0))).text


def test_a_noisy_machine(written: Callable[..., Page]) -> None:
    text = written(only(measured(0), noise=Noise(warnings=("other programs took 21 %",)))).text

    assert "Before you quote a figure: other programs took 21 %" in text


def test_one_row(written: Callable[..., Page]) -> None:
    page = written(only(measured(0)))

    assert "PyTorch eager took" in page.text
    assert "speed" not in page.values("h2", "id")


def test_the_baseline_is_one(written: Callable[..., Page]) -> None:
    page = written(only(measured(0), measured(8)))

    assert re.search(r"PyTorch eager \d+ \d+ \d+ 1\N{MULTIPLICATION SIGN} ", page.text)
    assert not [text for text in page.values("svg", "aria-label") if text.startswith("PyTorch eager: 1.00")]


def test_a_single_turn_has_no_interval(written: Callable[..., Page]) -> None:
    row = measured(8, ratio=Ratio(value=13.7, low=13.7, high=13.7, turns=1))
    text = written(only(measured(0), row)).text

    assert "13.7\N{MULTIPLICATION SIGN} one turn" in text
    assert "13.7 to 13.7" not in text
    assert "as fast as PyTorch eager; mask AP" in text


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 2), (2, 2), (3, 3), (4, 2), (5, 3), (8, 4), (9, 3), (11, 3)]
)
def test_pictures_fill_their_rows(written: Callable[..., Page], rows: int, columns: int) -> None:
    page = written(only(*(replace(measured(0), name=f"row-{number}") for number in range(rows))))

    assert set(page.values("div", "style")) == {f"--columns: {columns}"}


def test_two_images_of_one_name(written: Callable[..., Page]) -> None:
    shown = (make_image(1, "a.jpg"), make_image(2, "a.jpg"))
    alts = written(only(measured(0), images=shown)).values("img", "alt")

    assert [alt.rpartition(": ")[2] for alt in alts] == ["2 bolt, 1 nut", "1 bolt, 1 nut"]


def test_no_row_came_through(written: Callable[..., Page]) -> None:
    page = written(make_long_report(rows=tuple(make_absent(*row) for row in ABSENT), baseline=None))

    assert "No row could be measured; the table says why." in page.text
    ids = page.values("h2", "id")
    assert ids == ["table", "images", "repeat"]
    assert "Not shown: no row has come to it." in page.text


def test_no_row_at_all(written: Callable[..., Page]) -> None:
    assert "No row could be measured" in written(make_long_report(rows=(), images=())).text


def test_no_accuracy(written: Callable[..., Page]) -> None:
    page = written(only(*(measured(index, accuracy=None) for index in (0, 8))))

    assert "accuracy" not in page.values("h2", "id")
    assert "AP against" not in page.text


def test_only_what_was_measured_has_a_column(written: Callable[..., Page]) -> None:
    page = written(only(measured(0), measured(8)))
    assert "Energy" not in page.text

    page = written(only(measured(0), measured(8, energy_j=1.25)))
    assert "Energy J an image" in page.text
    assert "1.25" in page.text


def test_no_image(written: Callable[..., Page]) -> None:
    assert "images" not in written(make_long_report(images=())).values("h2", "id")


def test_an_image_that_is_gone(written: Callable[..., Page]) -> None:
    page = written(make_long_report(), {})

    assert page.tags["img"] == 0
    assert page.text.count("Not shown: the image is no longer where it was measured.") == 2


def test_nothing_found(written: Callable[..., Page]) -> None:
    page = written(only(measured(0, detections=())))

    assert "0 found" in page.text
    assert page.values("img", "alt")[0].endswith("found: nothing found")


def test_a_row_that_broke_before_the_images_is_not_among_them(written: Callable[..., Page]) -> None:
    broken = measured(8, state=RowState.PARTIAL, reason="out of memory", detections=())
    page = written(only(measured(0), broken))

    assert {alt.split(" found:")[0] for alt in page.values("img", "alt")} == {
        "belt/1.jpg with what PyTorch eager",
        "belt/2.jpg with what PyTorch eager",
    }


def test_all_calls_alike(written: Callable[..., Page]) -> None:
    latency = replace(make_latency(100.0), samples_ms=(100.0,), min_ms=100.0, max_ms=100.0, std_ms=0.0)
    page = written(only(measured(0, latency=latency)))

    assert "\N{EN DASH} 1 call" in page.text


def test_calls_too_short_to_tell(written: Callable[..., Page]) -> None:
    zero = dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "mean_ms", "min_ms", "max_ms", "std_ms"), 0.0)
    page = written(only(measured(0, latency=replace(make_latency(1.0), samples_ms=(0.0, 0.0), **zero))))

    assert "0 ms" in page.text


def test_another_image_than_was_measured(tmp_path: Path) -> None:
    report = make_long_report()
    images = {**make_pictures(report), 2: np.zeros((9, 8, 3), np.uint8)}

    with pytest.raises(InputError, match=r"belt/2.jpg must be 120x160 .* got 9x8"):
        write_page(report, tmp_path / "page.html", images=images)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"category_id": 9}, "labels must be 1 to 2, got 9"),
        ({"segmentation": {"size": [120, 160], "counts": "04L0"}}, "must add up to 19200 pixels"),
        ({"bbox": None}, "openvino-int8 in belt/1.jpg cannot be drawn"),
    ],
)
def test_detections_that_cannot_be_drawn(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    broken = ({**make_results(1)[0], **change},)
    report = only(measured(8, detections=broken))

    with pytest.raises(ArtifactError, match=words):
        write_page(report, tmp_path / "page.html", images=make_pictures(report))


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    write_page(make_long_report(), path)
    write_page(make_long_report(), path)

    assert list(path.parent.iterdir()) == [path]


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(EdgeSegError, match=r"cannot write .*page\.html: .*; name another folder"):
        write_page(make_long_report(), tmp_path / "file" / "page.html")


def test_without_jinja2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)

    with pytest.raises(DependencyError, match=r"jinja2 is needed to write the page .*edgeseg\[report\]"):
        write_page(make_long_report(), tmp_path / "page.html")


def test_images_are_read_where_they_were(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((120, 160, 3), 80, np.uint8))
    there = replace(make_image(1, "1.png"), path=str(tmp_path / "1.png"))
    gone = replace(make_image(2, "2.png"), path=str(tmp_path / "2.png"))
    report = make_long_report(images=(there, gone))
    images = read_images(report)

    write_page(report, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text("utf-8"))

    assert list(images) == [1]
    assert page.tags["img"] == len(MEASURED)
    assert images[1].shape == (120, 160, 3)


def test_kinds_have_colours(written: Callable[..., Page]) -> None:
    page = written(make_long_report())

    classes = {name for value in page.values("div", "class") for name in value.split()}
    assert {kind.value for kind in RowKind} <= classes
