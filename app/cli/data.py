"""`moodline data …`: data sets from what there is, as scenes with their replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.commands.teaching import teaching

data = typer.Typer(
    help="Data sets for training and evaluation: rows of a scene and what the character says in it.",
    no_args_is_help=True,
)
data.add_typer(teaching)

Out = Annotated[Path, typer.Option("--out", "-o", help="Where to; JSONL, one row a line.")]
Persona = Annotated[str, typer.Option(help="Who that is: words, a text file, or a JSON file of cards by name.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


@data.command("import")
def import_rows(
    file: Annotated[Path, typer.Argument(help="JSON or JSONL of another program, or a dataset_info.json.")],
    target: Out,
    form: Annotated[
        Literal["alpaca", "sharegpt", "openai", "dataset_info"] | None,
        typer.Option("--format", help="Else it is detected, and told."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="Which data set of a dataset_info.json; else all.")] = "",
    role: Annotated[str, typer.Option(help="Who replies; else an assistant does.")] = "",
    persona: Persona = "",
    force: Force = False,
) -> None:
    """Make rows of Alpaca, ShareGPT, OpenAI's messages, or what LLaMA-Factory reads.

    A row's own system prompt is kept and takes the place of ours. Pairs (chosen and rejected) and KTO's tags are read,
    too.

    - `moodline data import huanhuan.json --role 甄嬛 --persona "皇帝身边的女人" -o rows.jsonl`
    - `moodline data import LLaMA-Factory/data/dataset_info.json --dataset identity -o rows.jsonl`
    """
    from app.data.convert import bring

    bring(file, target, form, dataset, role, persona, force)


@data.command("export")
def export_rows(
    file: Annotated[Path, typer.Argument(help="Rows that a `moodline data` command wrote.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Where to; a .json is one array, else a row a line.")],
    form: Annotated[Literal["alpaca", "sharegpt", "openai"], typer.Option("--format", help="For which program.")],
    rows: Annotated[
        Literal["sft", "preference", "kto"] | None,
        typer.Option("--as", help="Plain rows, pairs, or KTO's; else what they are."),
    ] = None,
    force: Force = False,
) -> None:
    """Write rows for other trainers, with the system prompt that Moodline would serve them under.

    Example: `moodline data export rows.jsonl --format sharegpt -o sharegpt.json`.
    """
    from app.data.convert import send

    send(file, target, form, rows, force)


@data.command("pairs")
def cut_pairs(
    script: Annotated[Path, typer.Argument(help="A script: text, csv, JSON or JSONL.")],
    target: Out,
    role: Annotated[str, typer.Option(help="Whose lines; as the script has it, the whole name.")],
    turns: Annotated[int, typer.Option(min=1, help="How many turns before the reply are shown.")] = 1,
    actions: Annotated[bool, typer.Option("--actions", help="Keep what is in brackets; else it is left out.")] = False,
    persona: Persona = "",
    force: Force = False,
) -> None:
    """Cut a role's lines out of a script, each with what was said before it (Chat-嬛嬛), never across a scene.

    Scripts are texts with headings and `角色（动作）：台词`, screenplays, rows of act_id, role and content, Index's
    dialogues, CoSER's books, CPED's csv.

    Example: `moodline data pairs 甄嬛传.txt --role 甄嬛 --turns 8 -o rows.jsonl`.
    """
    from app.data.scripts import cut
    from models.data.pairs import Cut

    cut(script, target, role, Cut(turns, actions), persona, force)


@data.command("cast")
def write_cast(
    target: Out,
    file: Annotated[
        Path | None, typer.Option("--file", help="A cast of your own; else the one that comes along.")
    ] = None,
    language: Annotated[Literal["zh", "en"], typer.Option(help="What they speak.")] = "en",
    seed: Annotated[int, typer.Option(help="Which scenes are shown as past lines; the same every time.")] = 0,
    force: Force = False,
) -> None:
    """Make rows of scenes that were written for training: thirteen original characters come along, in English, and the
    past lines of the sample characters, in English and Chinese.

    A cast is JSON: `[{"character": …, "persona": …, "style": …, "scenes": [["what the user says", "the reply"], …]}]`.

    Example: `moodline data cast -o rows.jsonl`, then `moodline train sft cpu --data rows.jsonl --out out/cast`.
    """
    from app.data.cast import make

    make(file, target, language, seed, force)


@data.command("report")
def report_rows(
    files: Annotated[list[Path], typer.Argument(help="Rows; several, such as train and test, are compared.")],
    tokenizer: Annotated[
        str, typer.Option(help="A checkpoint's folder, `packaged` (SmolLM2), or `estimate`, a rule.")
    ] = "estimate",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell what a data set is before hours of a GPU are spent on it.

    Rows, roles, languages, token lengths, repeats, replies that stand in their own prompt, and rows of one file that
    are known from another.

    Example: `moodline data report rows.train.jsonl rows.test.jsonl --tokenizer Qwen3-4B-Instruct`.
    """
    from app.data.report import tell

    tell(files, tokenizer, as_json)


@data.command("split")
def split_rows(
    file: Annotated[Path, typer.Argument(help="Rows.")],
    test: Annotated[float, typer.Option(min=0.001, max=0.9, help="The share that is kept aside, about.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Which rows those are; the same every time.")] = 0,
    force: Force = False,
) -> None:
    """Divide rows into `….train.jsonl` and `….test.jsonl`. No scene, and no row that repeats another, is on both sides.

    Example: `moodline data split rows.jsonl --test 0.1`.
    """
    from app.data.report import split

    split(file, test, seed, force)


@data.command("dedup")
def dedup_rows(
    file: Annotated[Path, typer.Argument(help="Rows.")],
    target: Out,
    near: Annotated[
        float, typer.Option(min=0.7, max=1, help="How much two rows share to be one; 1 is all but punctuation.")
    ] = 0.8,
    against: Annotated[
        list[Path] | None, typer.Option(help="Rows that must not come again, such as a test set.")
    ] = None,
    force: Force = False,
) -> None:
    """Leave out rows that repeat an earlier one, exactly or nearly. Time grows with the rows, not with their pairs.

    Example: `moodline data dedup rows.jsonl --against test.jsonl -o clean.jsonl`.
    """
    from app.data.report import dedup

    dedup(file, target, near, against or [], force)
