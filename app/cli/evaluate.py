"""`moodline eval …`: how well an engine plays characters. The last line of each is one JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

evaluate = typer.Typer(
    help="How well an engine plays characters. Each prints a table with 95 % intervals and, as its last line, JSON.",
    no_args_is_help=True,
)

Engine = Annotated[
    str, typer.Option(help="`packaged`, a checkpoint's folder, or a server: URL#MODEL, such as …/v1#char/mara.")
]
Data = Annotated[Path, typer.Option(help="The benchmark's file.")]
Profiles = Annotated[str, typer.Option(help="A JSON file of persona cards by role.")]
Limit = Annotated[int, typer.Option(min=0, help="At most so many questions, spread over the file; 0: all.")]
Cache = Annotated[Path | None, typer.Option(help="Where answers are kept; else `eval` in MOODLINE_HOME.")]
AtOnce = Annotated[int, typer.Option(min=1, help="Questions under way at once.")]
Judge = Annotated[str, typer.Option(help="Who judges: as --engine.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="A JSON file for the results with every answer.")]


@evaluate.command("rolebench")
def eval_rolebench(
    data: Data,
    engine: Engine = "",
    answers: Annotated[Path | None, typer.Option(help="A system's answers, such as rolegpt_baseline.jsonl.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Rows with plain answers: the RAW column.")] = None,
    profiles: Profiles = "",
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """ROUGE-L against RoleBench's references: RAW, CUS and SPE, of an engine, of a file of answers, or of both.

    Broken off, the same command goes on where it was. `MOODLINE_EVAL_API_KEY` is the server's key, if it wants one.

    Example: `moodline eval rolebench --data test.jsonl --answers rolegpt_baseline.jsonl --engine packaged`.
    """
    if not engine and not answers:
        raise typer.BadParameter("give --engine, --answers or both.")
    from app.cli.console import run
    from app.evaluation import rolebench
    from app.evaluation.engines import Choices

    run(rolebench.run(Choices(engine, limit, cache, at_once, out), data, answers, raw, profiles))


@evaluate.command("personality")
def eval_personality(
    data: Annotated[Path, typer.Option(help="The questionnaire: 16Personalities.json or BFI.json of InCharacter.")],
    labels: Annotated[Path, typer.Option(help="What people say the roles are: characters_labels.json.")],
    engine: Engine,
    judge: Judge = "",
    profiles: Profiles = "",
    role: Annotated[str, typer.Option(help="This role alone.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="So many statements, spread over the questionnaire; 0: all.")] = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Whether a role fills in 16Personalities or BFI as people would who know it: Acc(Dim), Acc(Full), MSE, MAE.

    The role chooses a number, by the expectation over its first-token probabilities where the engine tells them. With
    a judge it is interviewed instead, and the judge, who is not told whose they are, reads a number from each answer.

    Example: `moodline eval personality --data 16Personalities.json --labels characters_labels.json --engine packaged`.
    """
    from app.cli.console import run
    from app.evaluation import personality
    from app.evaluation.engines import Choices

    run(personality.run(Choices(engine, limit, cache, at_once, out), data, labels, profiles, judge, role))


@evaluate.command("emotional-rag")
def eval_emotional_rag(
    data: Annotated[list[Path], typer.Option(help="A questionnaire of InCharacter's; give several.")],
    labels: Annotated[Path, typer.Option(help="What people say the roles are: characters_labels.json.")],
    lines: Annotated[Path, typer.Option(help="What the roles said, in CharacterEval's form: {role, context}.")],
    engine: Engine,
    judge: Judge = "",
    profiles: Profiles = "",
    role: Annotated[str, typer.Option(help="This role alone.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="So many statements, spread over the questionnaire; 0: all.")] = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Emotional RAG's table: personality with ten memories in the prompt, recalled by six strategies.

    `moodline` is the server's own ranking; `ordinary`, `c-a`, `c-m`, `s-s` and `s-e` are the paper's, by its names. The
    distances and similarities of what is recalled need no language model to be right.

    Example: `moodline eval emotional-rag --data 16Personalities.json --labels labels.json --lines contexts.json
    --engine packaged`.
    """
    from app.cli.console import run
    from app.evaluation import emotional_rag
    from app.evaluation.engines import Choices

    run(emotional_rag.run(Choices(engine, limit, cache, at_once, out), data, labels, lines, profiles, judge, role))
