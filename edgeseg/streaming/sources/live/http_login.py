"""Logging in to a camera: what it may ask for (RFC 7235, 7616, 7617), and the answer to that."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN = r"[\w!#$%&'*+.^`|~-]+"
ITEM = re.compile(
    rf"[\s,]*(?:(?P<name>{TOKEN})\s*=\s*(?P<value>\"(?:\\.|[^\"\\])*\"?|[^\s,]*)|(?P<scheme>{TOKEN}))",
    re.ASCII,
)
# The best first.
HASHES = {"sha-512-256": "sha512_256", "sha-256": "sha256", "md5": "md5"}
WRITE_ESCAPED = (
    "special characters in a user name or password must be written as %XX: / as %2F, @ as %40, : as %3A, "
    "# as %23, ? as %3F, % as %25"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user name and its password.

    Attributes:
        name: As the camera knows it.
        password: Neither is ever shown.
    """

    name: str
    password: str

    def __repr__(self) -> str:
        return "Login(***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a camera asks for.

    Attributes:
        scheme: In lower case: `basic`, `digest` and others.
        parameters: Names in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]

    @property
    def stale(self) -> bool:
        """Only the number that it is to be answered with was too old."""
        return self.parameters.get("stale", "").lower() == "true"

    @property
    def rank(self) -> int | None:
        """The lower, the better is the password kept; None for what nobody here can answer."""
        if self.scheme == "basic":
            return len(HASHES)
        algorithm = self._algorithm.removesuffix("-sess")
        known = self.scheme == "digest" and algorithm in HASHES and "nonce" in self.parameters
        return list(HASHES).index(algorithm) if known and self._qop is not None else None

    @property
    def _algorithm(self) -> str:
        return self.parameters.get("algorithm", "MD5").lower()

    @property
    def _qop(self) -> str | None:
        offered = [each.strip().lower() for each in self.parameters.get("qop", "").split(",") if each.strip()]
        return next((each for each in ("auth", "auth-int") if each in offered), None if offered else "")

    def authorization_header(self, login: Login, method: str, uri: str) -> str:
        """Make the header `Authorization` of a request without a body."""
        if self.scheme == "basic":
            pair = f"{login.name}:{login.password}".encode()
            return "Basic " + base64.b64encode(pair).decode()
        parameters = self.parameters
        realm, nonce, qop, cnonce = (
            parameters.get("realm", ""),
            parameters["nonce"],
            self._qop,
            secrets.token_hex(16),
        )
        key = self._hash(login.name, realm, login.password)
        if self._algorithm.endswith("-sess"):
            key = self._hash(key, nonce, cnonce)
        request_hash = (
            self._hash(method, uri, self._hash("")) if qop == "auth-int" else self._hash(method, uri)
        )
        count = "00000001"
        response = (
            self._hash(key, nonce, count, cnonce, qop, request_hash)
            if qop
            else self._hash(key, nonce, request_hash)
        )
        hashed = parameters.get("userhash", "").lower() == "true"
        quoted = {
            "username": self._hash(login.name, realm) if hashed else login.name,
            "realm": realm,
            "nonce": nonce,
            "uri": uri,
            "response": response,
            **({"opaque": parameters["opaque"]} if "opaque" in parameters else {}),
            **({"cnonce": cnonce} if qop or self._algorithm.endswith("-sess") else {}),
        }
        bare = {
            **({"algorithm": parameters["algorithm"]} if "algorithm" in parameters else {}),
            **({"qop": qop, "nc": count} if qop else {}),
            **({"userhash": "true"} if hashed else {}),
        }
        fields = [f'{name}="{_escaped(value)}"' for name, value in quoted.items()]
        text = "Digest " + ", ".join((*fields, *(f"{name}={value}" for name, value in bare.items())))
        # Headers are sent as Latin-1, letter by letter.
        return text.encode().decode("latin-1")

    def _hash(self, *parts: str | None) -> str:
        name = HASHES[self._algorithm.removesuffix("-sess")]
        return hashlib.new(name, ":".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def challenges_from_headers(headers: Sequence[str]) -> list[Challenge]:
    """Read headers `WWW-Authenticate`, each of which may hold several challenges."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        for item in ITEM.finditer(header):
            if scheme := item["scheme"]:
                found.append((scheme.lower(), {}))
            elif found:
                found[-1][1].setdefault(item["name"].lower(), _unquoted(item["value"]))
    return [Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in found]


def best_challenge(challenges: Sequence[Challenge]) -> Challenge | None:
    """Choose the one that keeps the password best; None where none can be answered."""
    ranked = [(rank, index) for index, each in enumerate(challenges) if (rank := each.rank) is not None]
    return challenges[min(ranked)[1]] if ranked else None


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:].removesuffix('"')) if value.startswith('"') else value


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
