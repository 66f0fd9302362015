"""`moodline train …`: fit what the server uses from data of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

train = typer.Typer(
    help="Fit what the server uses from data of your own.", no_args_is_help=True, rich_markup_mode="markdown"
)

RecipeName = Annotated[str, typer.Argument(help="A TOML file, or a recipe that comes along; see `train recipes`.")]
Rows = Annotated[list[Path], typer.Option("--data", help="JSONL of scenes with replies; give several.")]
HeldOut = Annotated[
    list[Path] | None, typer.Option("--test", help="Rows to judge by; else a share of the groups is kept aside.")
]
Base = Annotated[
    str, typer.Option(help="Folder of the unquantised checkpoint; `packaged` is the server's own. Else the recipe's.")
]
Out = Annotated[Path, typer.Option(help="The adapter's folder; it appears when the training is done.")]
Begin = Annotated[Path | None, typer.Option("--adapter", help="An adapter to begin with.")]
Steps = Annotated[int, typer.Option(min=0, help="Instead of the recipe's length.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Judge everything, count the tokens, train nothing.")]


@train.command("sft")
def train_sft(
    recipe: RecipeName,
    data: Rows,
    out: Out,
    test: HeldOut = None,
    base: Base = "",
    adapter: Begin = None,
    steps: Steps = 0,
    dry_run: Dry = False,
) -> None:
    """Train a LoRA adapter to speak as the rows do. Broken off, the same command goes on from its last checkpoint.

    - `moodline train sft cpu --data rows.jsonl --out out/mara` trains the packaged language model on a CPU
    - `moodline train sft default --base ./Qwen3-8B --data rows.jsonl --out out/mara` trains another on a GPU
    - `accelerate launch "$(command -v moodline)" train sft …` trains on several
    - `moodline merge out/mara --base ./Qwen3-8B --out merged/mara` makes it servable
    """
    from app.cli.training import run

    run("sft", recipe, data, test or [], base, adapter, steps, out, dry=dry_run)


@train.command("dpo")
def train_dpo(
    recipe: RecipeName,
    data: Rows,
    out: Out,
    test: HeldOut = None,
    base: Base = "",
    adapter: Begin = None,
    steps: Steps = 0,
    dry_run: Dry = False,
) -> None:
    """Train a LoRA adapter to prefer a row's `reply` over its `rejected` one (DPO).

    - `moodline train dpo cpu-dpo --data pairs.jsonl --adapter out/mara --out out/mara-dpo` goes on from an SFT
    """
    from app.cli.training import run

    run("dpo", recipe, data, test or [], base, adapter, steps, out, dry=dry_run)


@train.command("recipes")
def train_recipes(name: Annotated[str, typer.Argument(help="Show this one as it is.")] = "") -> None:
    """List the recipes that come along, or print one to begin your own with.

    - `moodline train recipes huanhuan > mine.toml`
    """
    from app.cli.training import recipes

    recipes(name)


@train.command("emotion")
def train_emotion(
    data: Annotated[list[Path], typer.Option(help="Labelled texts, GoEmotions TSV or CPED CSV; give several.")],
    encoder: Annotated[str, typer.Option(help="As MOODLINE_ENCODER; else the setting.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write; else where the server looks first.")] = None,
    also_for: Annotated[
        list[str] | None, typer.Option(help="Ids of other encoders with the same vectors, e.g. the C engine's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which documents are kept aside.")] = 0,
) -> None:
    """Fit the emotion head on an encoder's vectors. The server uses it from its next start.

    Example: `moodline train emotion --data train.tsv --data dialogues.csv`.
    """
    from app.emotions.command import run

    run(data, encoder, out, also_for or [], seed)
