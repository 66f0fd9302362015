"""A recipe: how a language model is trained, as TOML that a person reads."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.prompt import Layout

Method = Literal["sft", "dpo"]


class RecipeWrong(ValueError):
    """A recipe can't be used; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """How rows become tokens: `context` is the most tokens of prompt and reply, `window` of messages of history.

    `test` is the share that is kept aside and judged by, with groups and repeats whole, where no file of its own is
    named for that.
    """

    layout: Layout = "late"
    context: Annotated[int, Field(ge=64)] = 2048
    window: Annotated[int, Field(ge=1)] = 40
    test: Annotated[float, Field(ge=0, lt=1)] = 0.05


class Lora(_Part):
    """The adapter (Hu et al. 2021, arXiv 2106.09685). `targets` are names of modules, or all linear ones."""

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | list[str] = "all-linear"


class Steps(_Part):
    """How long and how fast. `steps` replaces `epochs` where it is not 0; a step learns from `batch * accumulate` rows.

    `precision` auto is bfloat16 on a GPU and where the processor multiplies it, else float32. `four_bit` keeps the
    base in 4 bits while training (QLoRA, arXiv 2305.14314; CUDA only); the merge is onto the unquantised base still.
    `packing` puts several rows into one sequence, which needs a GPU with flash attention.
    """

    epochs: Annotated[float, Field(gt=0)] = 3
    steps: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] = 4
    accumulate: Annotated[int, Field(ge=1)] = 4
    rate: Annotated[float, Field(gt=0)] = 1e-4
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    grad_norm: Annotated[float, Field(gt=0)] = 1.0
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    four_bit: bool = False
    packing: bool = False
    checkpointing: bool = False
    eval_every: Annotated[int, Field(ge=1)] = 50
    save_every: Annotated[int, Field(ge=1)] = 50


class Preference(_Part):
    """DPO (Rafailov et al. 2023, arXiv 2305.18290), against the base or the adapter that training begins with.

    `sft` adds that share of the chosen reply's own loss, which keeps it from becoming less likely.
    """

    beta: Annotated[float, Field(gt=0)] = 0.1
    loss: Literal["sigmoid", "ipo", "hinge", "robust"] = "sigmoid"
    sft: Annotated[float, Field(ge=0)] = 0.0


class Recipe(_Part):
    """A whole recipe. `source` says where its numbers are from."""

    method: Method
    about: str = ""
    source: str = ""
    base: str = ""
    data: Data = Data()
    lora: Lora = Lora()
    train: Steps = Steps()
    dpo: Preference = Preference()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.method == "sft" and "dpo" in self.model_fields_set:
            raise ValueError("dpo: a recipe of the method sft has no table dpo")
        return self


def shipped() -> Iterator[str]:
    """The names of the recipes that come with the package."""
    folder = files("models.training") / "recipes"
    yield from sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_recipe(name: str) -> Recipe:
    """The recipe in the file `name`, or the shipped one of that name. Raises RecipeWrong."""
    file = Path(name)
    if file.is_file():
        return parse_recipe(file.read_bytes(), name)
    return parse_recipe(recipe_text(name).encode(), name)


def recipe_text(name: str) -> str:
    """The shipped recipe of that name as it is written. Raises RecipeWrong."""
    known = list(shipped())
    if name not in known:
        raise RecipeWrong(f"There is no file {name}, and no recipe of that name. Shipped are: {', '.join(known)}.")
    return (files("models.training") / "recipes" / f"{name}.toml").read_text("utf-8")


def parse_recipe(content: bytes, name: str) -> Recipe:
    """The recipe that a TOML file holds; `name` is what messages call it. Raises RecipeWrong."""
    try:
        return Recipe.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        raise RecipeWrong(f"{name}: {'; '.join(_fault(fault) for fault in error.errors())}.") from error
    except ValueError as error:  # TOML's own, and what is no UTF-8
        raise RecipeWrong(f"{name} is no TOML: {error}.") from error


def _fault(fault: Any) -> str:
    """One fault as a sentence; an unknown key with the known one that is nearest to it."""
    path = [str(part) for part in fault["loc"]]
    if fault["type"] != "extra_forbidden":
        return f"{'.'.join(path) or 'recipe'}: {fault['msg']}"
    part: Any = Recipe
    for name in path[:-1]:
        part = part.model_fields[name].annotation
    near = get_close_matches(path[-1], list(part.model_fields), n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(part.model_fields)}"
    return f"{'.'.join(path)} is no key of a recipe ({hint})"
