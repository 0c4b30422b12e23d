"""Recipe: a value that checks itself and survives JSON."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.sample.recipe import MAX_PIXELS, Recipe

sides = st.integers(1, 32767)
recipes = st.builds(
    Recipe,
    height=sides,
    width=sides,
    color_mode=st.sampled_from(["rgb", "bgr", "grayscale", "rgba"]),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
    interpolation=st.sampled_from(["bilinear", "nearest", "area", "bicubic", "lanczos"]),
    decode=st.sampled_from(["fast", "exact"]),
    max_pixels=st.integers(1, 2**40),
)


@given(recipes)
def test_a_recipe_survives_json(recipe):
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    assert hash(again) == hash(recipe)


def test_the_json_form_is_frozen():
    assert Recipe(224, 160).to_json() == {
        "version": 1,
        "height": 224,
        "width": 160,
        "color_mode": "rgb",
        "fit": "stretch",
        "interpolation": "bilinear",
        "decode": "fast",
        "max_pixels": 89478485,
    }


@pytest.mark.parametrize(
    ("color_mode", "channels"), [("rgb", 3), ("bgr", 3), ("grayscale", 1), ("rgba", 4)]
)
def test_shape_follows_the_colour_mode(color_mode, channels):
    recipe = Recipe(2, 5, color_mode=color_mode)
    assert recipe.channels == channels
    assert recipe.shape == (2, 5, channels)


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(2, 2).height = 3


def test_numpy_numbers_become_python_s():
    recipe = Recipe(np.int64(8), np.uint8(9))
    assert type(recipe.height) is int
    assert json.dumps(recipe.to_json())
    assert recipe == Recipe(8, 9)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"height": 0},
            "Recipe.height must be a whole number, at least 1 and at most 32767, got 0",
        ),
        ({"width": -3}, "Recipe.width must be .* got -3"),
        ({"width": 40000}, "Recipe.width must be .* at most 32767, got 40000"),
        ({"height": 2.5}, "Recipe.height must be a whole number, .* got 2.5"),
        ({"height": True}, "Recipe.height must be a whole number, .* got True"),
        ({"height": "224"}, "Recipe.height must be a whole number, .* got '224'"),
        ({"max_pixels": 0}, "Recipe.max_pixels must be a whole number, at least 1, got 0"),
        ({"color_mode": "RGB"}, "must be one of 'rgb', 'bgr', 'grayscale', 'rgba', got 'RGB'"),
        ({"fit": None}, "Recipe.fit must be one of 'stretch', 'crop', 'pad', got None"),
        ({"interpolation": "lanczos3"}, "Recipe.interpolation must be one of 'bilinear'"),
        ({"decode": ["fast"]}, r"Recipe.decode must be one of 'fast', 'exact', got \['fast'\]"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_value(arguments, text):
    with pytest.raises(ValueError, match=text):
        Recipe(**{"height": 8, "width": 8, **arguments})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": 2}, "recipe of version 2; this infeed reads version 1"),
        ({"version": True}, "recipe of version True"),
        ({"version": None}, "recipe of version None"),
        ({"flip": True}, "a recipe has the fields"),
        ({"fit": "squeeze"}, "Recipe.fit must be one of"),
    ],
)
def test_json_of_another_kind_is_refused(change, text):
    with pytest.raises(ValueError, match=text):
        Recipe.from_json({**Recipe(8, 8).to_json(), **change})


def test_json_with_a_missing_field_is_refused():
    value = Recipe(8, 8).to_json()
    del value["fit"]
    with pytest.raises(ValueError, match="a recipe has the fields"):
        Recipe.from_json(value)
    with pytest.raises(TypeError, match="a recipe is a JSON object"):
        Recipe.from_json([])


def test_the_default_budget_is_pillow_s():
    assert MAX_PIXELS == 1024**3 // 4 // 3
