"""A page that shows a run in a browser, for a device without a screen."""

from __future__ import annotations

from .address import WebAddress, parse_address
from .page import WebPage

__all__ = ["WebAddress", "WebPage", "parse_address"]
