"""Recipes: what is shipped can be read, and what is wrong is named with what was probably meant."""

from __future__ import annotations

import pytest

from models.training.recipe import RecipeWrong, parse_recipe, read_recipe, shipped


@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_recipe_can_be_read_and_says_where_it_is_from(name):
    recipe = read_recipe(name)

    assert recipe.about
    assert recipe.source


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('method = "sft"\n[train]\nepoch = 3', r"train\.epoch is no key of a recipe \(did you mean epochs\?\)"),
        ('method = "sft"\nlearning = 3', r"learning is no key of a recipe \(known are method, "),
        ('method = "sft"\n[lora]\nrank = 0', r"lora\.rank: Input should be greater than or equal to 1"),
        ('method = "sft"\n[dpo]\nbeta = 0.1', r"a recipe of the method sft has no table dpo"),
        ('method = "ppo"', r"method: Input should be 'sft' or 'dpo'"),
        ("", r"method: Field required"),
        ("method = ", r"mine is no TOML"),
        ("\ufeff[[", r"mine is no TOML"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(text, why):
    with pytest.raises(RecipeWrong, match=why):
        parse_recipe(text.encode(), "mine")


def test_bytes_that_are_no_text_are_no_recipe():
    with pytest.raises(RecipeWrong, match="mine is no TOML"):
        parse_recipe(b"\xff\xfe", "mine")


def test_a_name_that_nobody_knows_is_answered_with_those_that_are_shipped():
    with pytest.raises(
        RecipeWrong, match=r"There is no file nowhere, and no recipe of that name\. Shipped are: .*huanhuan"
    ):
        read_recipe("nowhere")
