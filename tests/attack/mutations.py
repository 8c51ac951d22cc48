"""Spoiling data at random: bytes of any kind, and the values within JSON."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

ODD_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, -0.0, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        "\0",
        "..",
        "../x",
        "/etc/passwd",
        "a" * 300,
        "\ud800",
        "\x1b[31m",
        "NaN",
        [],
        [[]],
        {},
        {"": None},
    ),
    *({"": None}, [None], [0] * 50, [1e308, 1e308], {"size": -1}, [[[[[[[[[[]]]]]]]]]]),
)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Spoil bytes in one to four ways."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(WAYS)(data, rng)
    return data


def mutated_json(text: str, rng: random.Random) -> str:
    """Put an odd value into JSON, or drop, double or nest one; now and then spoil the text itself."""
    if rng.random() < 0.2:
        return mutated(text.encode("utf-8", "surrogatepass"), rng).decode("utf-8", "replace")
    data = copy.deepcopy(json.loads(text))
    for _ in range(rng.randint(1, 2)):
        data = _changed(data, rng)
    return json.dumps(data)


def _changed(data: Any, rng: random.Random) -> Any:
    places = list(_places(data))
    if not places:
        return rng.choice(ODD_VALUES)
    holder, key = rng.choice(places)
    way = rng.randrange(6)
    if way == 0 and isinstance(holder, dict):
        del holder[key]
    elif way == 1 and isinstance(holder, dict):
        holder[rng.choice(["", "..", "/x", "a" * 300, key * 2])] = holder.pop(key)
    elif way == 2:
        holder[key] = [holder[key]]
    else:
        holder[key] = rng.choice(ODD_VALUES)
    return data


def _places(data: Any) -> Any:
    """List every place in nested lists and objects, as the holder and the key in it."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield data, key
        yield from _places(value)


def _at(data: bytes, rng: random.Random) -> int:
    # Half of the time near the beginning, where headers are.
    return rng.randrange(min(len(data), 256) if rng.random() < 0.5 else len(data)) if data else 0


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = _at(data, rng)
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :] if data else data


def _number(data: bytes, rng: random.Random) -> bytes:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("big", "little"))
    value = rng.choice(ODD_NUMBERS) & ((1 << 8 * size) - 1)
    at = _at(data, rng)
    return data[:at] + value.to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _at(data, rng)]


def _without(data: bytes, rng: random.Random) -> bytes:
    at = _at(data, rng)
    return data[:at] + data[at + rng.randint(1, 64) :]


def _twice(data: bytes, rng: random.Random) -> bytes:
    at, size = _at(data, rng), rng.randint(1, 512)
    return data[: at + size] + data[at:]


def _noise(data: bytes, rng: random.Random) -> bytes:
    at, size = _at(data, rng), rng.randint(1, 32)
    return data[:at] + rng.randbytes(size) + data[at + size :]


WAYS = (_flip, _flip, _number, _number, _cut, _without, _twice, _noise)
