from __future__ import annotations

import pytest

from edgeseg.streaming.controls import Controls

from .viewing import make_page


@pytest.fixture
def controls():
    return Controls(0.5)


@pytest.fixture
def page(controls):
    """A page of one camera, without a token."""
    made = make_page(controls)
    yield made
    made.close()


@pytest.fixture
def open_page(controls):
    """Make pages with settings of their own; they are closed at the end."""
    made = []

    def make(**settings):
        made.append(make_page(controls, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
