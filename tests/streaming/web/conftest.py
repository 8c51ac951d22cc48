from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.streaming.controls import Controls

from .viewing import make_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from edgeseg.streaming.web.page import WebPage

    from .viewing import OpenPage


@pytest.fixture
def controls() -> Controls:
    return Controls(0.5)


@pytest.fixture
def page(controls: Controls) -> Iterator[WebPage]:
    """A page of one camera, without a token."""
    made = make_page(controls)
    yield made
    made.close()


@pytest.fixture
def open_page(controls: Controls) -> Iterator[OpenPage]:
    """Make pages with settings of their own; they are closed at the end."""
    made: list[WebPage] = []

    def make(**settings: Any) -> WebPage:
        made.append(make_page(controls, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
