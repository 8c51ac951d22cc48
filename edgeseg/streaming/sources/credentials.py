"""Hiding user names, passwords and tokens in addresses and pipelines.

If in doubt, too much is hidden: an address whose password is not escaped with `%XX` is ambiguous, and then
everything that could be part of the password is hidden.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
PIPE = " ! "
# What an address begins with, also where somebody mistyped it.
BEGIN = re.compile(
    r"\s*(?:[A-Za-z][\w+.-]*://+|[A-Za-z]*//|(?:rtsps?|https?|rtmps?|srt|udp|tcp|rtp):/?(?!\d+(?:/|$)))",
    re.IGNORECASE,
)
# Without `scheme://` at all.
NAME_PASSWORD = re.compile(r"[^\s=/]*:.*@", re.DOTALL)
WITHIN = re.compile(r"[A-Za-z][\w+.-]*://|\b(?:location|uri)\s*=\s*[\"']?", re.IGNORECASE)
IPV6_HOST = re.compile(r"\[[0-9A-Fa-f:.]*(?:%\w+)?\]")
SECRET_NAME = re.compile(
    r"user|usr|uid|login|account|pw|pass|auth|token|secret|key(?!-int|-?frame)|cred|cookie|header|sig(?:n|$)|"
    r"session|jwt|bearer|hash|nonce|psk|otp",
    re.IGNORECASE,
)
# In a query every camera has names of its own for a password, so those are listed that are none.
PLAIN_OPTION = re.compile(
    "action|audio|bitrate|cam|camera|camno|ch|channel|clock|codec|color|compression|date|flip|format|fps|"
    "framerate|h|height|index|latency|mode|profile|proto|protocol|quality|rate|res|resolution|rotate|rotation|"
    "size|stream|streamtype|subtype|timeout|transport|type|unicast|video|videocodec|w|width",
    re.IGNORECASE,
)
PLAIN_VALUE = re.compile(r"[\w.:-]{0,16}")
PLAIN_NAME = re.compile(r"[A-Za-z][\w.-]{0,31}")
# What machines make: hexadecimal digits, or letters of both cases among digits.
OPAQUE = re.compile(
    r"[0-9A-Fa-f-]{16,}|(?=[^\W_]*\d)(?=[^\W_]*[a-z])(?=[^\W_]*[A-Z])[^\W_]{12,}|[\w-]{32,}|[\w.-]{64,}"
)
JSON_WEB_TOKEN = re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)*")
LOGIN_HEADER = re.compile(r"\b(bearer|basic|digest|token)(\s+|\\ |%20)([^\s\"'!]+)", re.IGNORECASE)
QUOTED = r"\"(?:\\.|[^\"\\])*(?:\"|$)|'(?:\\.|[^'\\])*(?:'|$)"
SEGMENT = re.compile(rf"(?:{QUOTED}|(?!\s!\s).)+", re.DOTALL)
PROPERTY = re.compile(rf"([\w.:-]+)(\s*=\s*)((?:\(\w+\))?(?:{QUOTED}|(?:\\.|[^\s\\])*))", re.DOTALL)
# Shorter ones are parts of words that have nothing to do with them.
MIN_SECRET_CHARS = 4


def redacted(text: str) -> str:
    """Hide user names, passwords and tokens in an address or pipeline, for messages and results."""
    return _Redactor().source(text)


def secrets_in(text: str) -> frozenset[str]:
    """List what `redacted` hides, in each way in which messages of other programs may repeat it."""
    redactor = _Redactor()
    redactor.source(text)
    spelled = {
        each for secret in redactor.secrets for each in (secret, unquote(secret), quote(secret, safe=""))
    }
    return frozenset(each for each in spelled if len(each) >= MIN_SECRET_CHARS)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Hide known secrets wherever they are in a text."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


class _Redactor:
    """Hides, and remembers what.

    Attributes:
        secrets: All that was hidden.
    """

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    def source(self, text: str) -> str:
        """Hide what a source has of its own."""
        if begin := BEGIN.match(text):
            text = begin[0] + self._address(text[begin.end() :])
        elif NAME_PASSWORD.match(text):
            text = self._address(text)
        elif "=" in text or PIPE in text:
            text = SEGMENT.sub(lambda match: self._segment(match[0]), text)
        elif "@" in text:
            text = self._address(text)
        text = LOGIN_HEADER.sub(lambda match: match[1] + match[2] + self._hide(match[3]), text)
        return JSON_WEB_TOKEN.sub(lambda match: self._hide(match[0]), text)

    def _hide(self, secret: str) -> str:
        if secret in ("", HIDDEN):
            return secret
        self.secrets.add(secret)
        return HIDDEN

    def _address(self, text: str) -> str:
        """Hide in what comes after `scheme://`; behind a blank properties may follow."""
        text = self._without_login(text)
        where, blank, more = re.match(r"(\S*)(\s*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        path, mark, query = where.partition("?")
        path, fragment_mark, fragment = path.partition("#")
        if fragment_mark:
            query, fragment = "", fragment + mark + query
            mark = ""
        query, other_mark, rest = query.partition("#")
        fragment_mark, fragment = fragment_mark or other_mark, fragment or rest
        shown = self._path(path) + mark + self._query(query) + fragment_mark + self._hide(fragment)
        return shown + blank + (self.source(more) if more else "")

    def _without_login(self, text: str) -> str:
        """Hide all before the last @, where that can be a login."""
        login, at, rest = text.rpartition("@")
        authority = re.split(r"[/?#\\]", text, maxsplit=1)[0]
        colon = ":" in IPV6_HOST.sub("", login, count=1)
        if not login or not (colon or "@" in authority):
            return text
        name, _, password = login.partition(":")
        # A name such as `admin` is in many messages that have nothing to do with it.
        self._hide(password)
        self._hide("" if name.isalnum() else name)
        return self._hide(login) + at + rest

    def _path(self, path: str) -> str:
        host, *segments = path.split("/")
        shown, before = [host], ""
        for segment in segments:
            is_secret = SECRET_NAME.search(before) and "=" not in before
            shown.append(self._hide(segment) if is_secret and segment else self._path_segment(segment))
            before = segment
        return "/".join(shown)

    def _path_segment(self, segment: str) -> str:
        pieces = re.split(r"([&;,])", segment)
        return "".join(self._pair(piece) for piece in pieces)

    def _pair(self, piece: str) -> str:
        name, mark, value = piece.partition("=")
        if mark and SECRET_NAME.search(name):
            return name + mark + self._hide(value)
        return self._hide(piece) if OPAQUE.search(piece) else piece

    def _query(self, query: str) -> str:
        return "".join(self._option(piece) for piece in re.split(r"([&;])", query))

    def _option(self, piece: str) -> str:
        name, mark, value = piece.partition("=")
        if piece in ("", "&", ";") or (PLAIN_OPTION.fullmatch(name) and PLAIN_VALUE.fullmatch(value)):
            return piece
        if not mark or not PLAIN_NAME.fullmatch(name):
            return self._hide(piece)
        return name + mark + self._hide(value)

    def _segment(self, segment: str) -> str:
        """Hide in one element of a pipeline and its properties."""
        if begin := WITHIN.search(segment):
            head, rest = segment[: begin.end()], segment[begin.end() :]
            if inner := BEGIN.match(rest):
                head, rest = head + inner[0], rest[inner.end() :]
            segment = head + self._without_login(rest)
        return PROPERTY.sub(lambda match: match[1] + match[2] + self._value(match[1], match[3]), segment)

    def _value(self, name: str, value: str) -> str:
        quotes = value[:1] if value[:1] in ("'", '"') else ""
        inner = value.strip(quotes) if quotes else value
        if SECRET_NAME.search(name):
            return quotes + self._hide(inner) + quotes
        shown = self.source(inner) if inner != value or WITHIN.search(inner) or "=" in inner else inner
        return quotes + (self._hide(shown) if OPAQUE.fullmatch(shown) else shown) + quotes
