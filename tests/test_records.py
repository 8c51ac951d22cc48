from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from edgeseg.errors import ArtifactError
from edgeseg.records import json_from_record, record_from_json


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    spokes: int
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    name: str
    load_kg: float = 1.0
    size_hw: tuple[int, int] = (1, 2)
    tags: tuple[str, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    parts: dict[str, Wheel] = field(default_factory=dict)
    sold: bool = False
    extra: Any = None


FULL = Cart(
    name="ü",
    load_kg=2.5,
    size_hw=(3, 4),
    tags=("a", "b"),
    wheels=(Wheel(spokes=8), Wheel(spokes=0, colour=Colour.BLUE)),
    spare=Wheel(spokes=1),
    parts={"left": Wheel(spokes=2)},
    sold=True,
    extra={"free": [1, None]},
)


@pytest.mark.parametrize("cart", [FULL, Cart(name="")])
def test_round_trip_through_json(cart: Cart) -> None:
    text = json.dumps(json_from_record(cart))

    assert record_from_json(Cart, json.loads(text), source="cart.json") == cart


def test_whole_number_for_a_float() -> None:
    cart = record_from_json(Cart, {"name": "x", "load_kg": 2}, source="cart.json")

    assert isinstance(cart.load_kg, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": 1}, r"cart\.json: unknown key 'nmae' in Cart"),
        ({"name": 5}, r"cart\.json: name: str expected, got int 5"),
        ({"name": None}, r"name: str expected, got NoneType"),
        ({"load_kg": "2"}, r"load_kg: float expected, got str '2'"),
        ({"load_kg": True}, r"load_kg: float expected, got bool True"),
        ({"size_hw": [1]}, r"size_hw: 2 values expected, got 1"),
        ({"size_hw": [1, 2.5]}, r"size_hw: int expected, got float 2\.5"),
        ({"size_hw": 7}, r"size_hw: tuple expected, got int 7"),
        ({"tags": "ab"}, r"tags: tuple expected, got str 'ab'"),
        ({"wheels": [{"spokes": 1, "colour": "green"}]}, r"colour: one of red, blue expected, got 'green'"),
        ({"wheels": [{"spoke": 1}]}, r"unknown key 'spoke' in Wheel"),
        ({"wheels": [3]}, r"Wheel must be a JSON object, got int"),
        ({"spare": {}}, r"spare: Wheel is incomplete: .*spokes"),
        ({"parts": {"left": 4}}, r"parts\.left: Wheel must be a JSON object, got int"),
        ({"parts": []}, r"parts: dict expected, got list"),
        ({"sold": 1}, r"sold: bool expected, got int 1"),
    ],
)
def test_refusal_names_file_key_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        record_from_json(Cart, {"name": "x", **change}, source="cart.json")


@pytest.mark.parametrize("data", [[], None, "text", 3])
def test_only_an_object_is_a_record(data: Any) -> None:
    with pytest.raises(ArtifactError, match=r"cart\.json: Cart must be a JSON object"):
        record_from_json(Cart, data, source="cart.json")


def test_missing_key() -> None:
    with pytest.raises(ArtifactError, match=r"cart\.json: Cart is incomplete: .*'name'"):
        record_from_json(Cart, {}, source="cart.json")
