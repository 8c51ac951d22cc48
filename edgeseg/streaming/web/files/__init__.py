"""What the browser gets: plain files, read once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

TYPE_BY_NAME = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
WRONG = '<p class="wrong" role="alert">This is not the token.</p>'


@cache
def content(name: str) -> str:
    """Read a file of this folder."""
    return (files(__name__) / name).read_text("utf-8")


def login_page(*, wrong: bool = False) -> str:
    """The page that asks for the token.

    Args:
        wrong: One was given, and it is not the token.
    """
    return content("login.html").replace("<!--wrong-->", WRONG if wrong else "")
