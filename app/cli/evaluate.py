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
Judges = Annotated[list[str] | None, typer.Option("--judge", help="Who judges, as --engine; give several.")]
Ratings = Annotated[Path | None, typer.Option(help="Ratings of people or of a reward model, JSONL.")]
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


@evaluate.command("charactereval")
def eval_charactereval(
    data: Data,
    engine: Engine,
    judge: Judges = None,
    profiles: Profiles = "",
    metrics: Annotated[Path | None, typer.Option(help="id2metric.jsonl: which dimensions an id is judged in.")] = None,
    ratings: Ratings = None,
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """The next line of CharacterEval's contexts: against what was really said, and in 12 dimensions by judges.

    A reward model's or people's scores come in with --ratings: JSONL of id, rater, dimension, score (1 to 5).

    Example: `moodline eval charactereval --data test_data.jsonl --profiles character_profiles.json --engine packaged`.
    """
    from app.cli.console import run
    from app.evaluation import charactereval
    from app.evaluation.engines import Choices

    chosen = Choices(engine, limit, cache, at_once, out)
    run(charactereval.run(chosen, data, profiles, judge or [], metrics, ratings))


@evaluate.command("characterglm")
def eval_characterglm(
    data: Annotated[Path, typer.Option(help="CharacterGLM's cards: character.json.")],
    engine: Engine,
    judge: Judges = None,
    ratings: Ratings = None,
    against: Annotated[str, typer.Option(help="Another engine, to be compared by the judges; as --engine.")] = "",
    turns: Annotated[int, typer.Option(min=1, max=12, help="What is said to each character.")] = 8,
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Talk with CharacterGLM's cards: repetition by the server's own guard, and by judges 7 dimensions, errors, pairs.

    People's ratings of the same talks (--out writes them) come in with --ratings: JSONL of id, rater, dimension, score,
    system; the agreement between all raters is told.

    Example: `moodline eval characterglm --data character.json --engine packaged --turns 4`.
    """
    from app.cli.console import run
    from app.evaluation import characterglm
    from app.evaluation.engines import Choices

    chosen = Choices(engine, limit, cache, at_once, out)
    run(characterglm.run(chosen, data, judge or [], ratings, against, turns))


@evaluate.command("character100")
def eval_character100(
    data: Annotated[Path, typer.Option(help="Folder of NAME.txt: paragraph, question, answer, with tabs between.")],
    engine: Engine,
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Answers about a public figure's life: BLEU, ROUGE-L, similarity, and whether a discriminator knows the speaker.

    Example: `moodline eval character100 --data character100 --limit 200 --engine packaged`.
    """
    from app.cli.console import run
    from app.evaluation import character100
    from app.evaluation.engines import Choices

    run(character100.run(Choices(engine, limit, cache, at_once, out), data))


@evaluate.command("character-llm")
def eval_character_llm(
    data: Annotated[Path, typer.Option(help="Interview questions: generated_agent_interview_NAME.json.")],
    profile: Annotated[Path, typer.Option(help="Who is interviewed: wiki_NAME.txt.")],
    name: Annotated[str, typer.Option(help="The name.")],
    engine: Engine,
    judge: Judges = None,
    turns: Annotated[int, typer.Option(min=1, help="Questions of one talk; 1: each stands alone.")] = 1,
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Interviews with a person of history, scored from 1 to 7 by judges: memory, values, personality, and two more.

    Example: `moodline eval character-llm --data interview.json --profile wiki_Caesar.txt --name Caesar
    --engine packaged`.
    """
    from app.cli.console import run
    from app.evaluation import character_llm
    from app.evaluation.engines import Choices

    chosen = Choices(engine, limit, cache, at_once, out)
    run(character_llm.run(chosen, data, profile, name, judge or [], turns))


@evaluate.command("coser")
def eval_coser(
    data: Annotated[Path, typer.Option(help="A book of CoSER's, such as Othello.json.")],
    engine: Engine,
    judge: Judges = None,
    first: Annotated[int, typer.Option(min=1, help="Messages that are given as they were.")] = 3,
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Play a book's conversations again: BLEU and ROUGE-L against the original, and a score from the flaws judges find.

    Example: `moodline eval coser --data Othello.json --engine packaged`.
    """
    from app.cli.console import run
    from app.evaluation import coser
    from app.evaluation.engines import Choices

    run(coser.run(Choices(engine, limit, cache, at_once, out), data, judge or [], first))


@evaluate.command("style")
def eval_style(
    data: Annotated[Path, typer.Option(help="StyleEval's test_multiple_choice.json.")],
    engine: Engine,
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Which of four replies is in a style: StyleEval's multiple choice, with chance at 0.25.

    Example: `moodline eval style --data test_multiple_choice.json --engine packaged`.
    """
    from app.cli.console import run
    from app.evaluation import style
    from app.evaluation.engines import Choices

    run(style.run(Choices(engine, limit, cache, at_once, out), data))


@evaluate.command("human-like")
def eval_human_like(
    data: Annotated[Path, typer.Option(help="Rows with a prompt, and with chosen, rejected or output if known.")],
    engine: Engine = "",
    profiles: Profiles = "",
    role: Annotated[str, typer.Option(help="Who answers, where rows don't say.")] = "Assistant",
    limit: Limit = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """What makes replies sound like a person's, counted: length, emoji, questions, contractions, hedges, fillers.

    Example: `moodline eval human-like --data human_like_dpo.jsonl --engine packaged --limit 100`.
    """
    from app.cli.console import run
    from app.evaluation import human_like
    from app.evaluation.engines import Choices

    run(human_like.run(Choices(engine, limit, cache, at_once, out), data, profiles, role))


@evaluate.command("drift")
def eval_drift(
    data: Annotated[Path, typer.Option(help="What the roles really say: rows in RoleBench's form.")],
    engine: Engine,
    profiles: Profiles = "",
    role: Annotated[str, typer.Option(help="This role alone.")] = "",
    turns: Annotated[int, typer.Option(min=3, help="Turns of each talk.")] = 24,
    limit: Annotated[int, typer.Option(min=0, help="At most so many roles; 0: all.")] = 0,
    cache: Cache = None,
    at_once: AtOnce = 8,
    out: Out = None,
) -> None:
    """Whether a character keeps its manner through a long talk, and whether it begins to repeat itself.

    Example: `moodline eval drift --data train.jsonl --engine packaged --turns 24`.
    """
    from app.cli.console import run
    from app.evaluation import drift
    from app.evaluation.engines import Choices

    run(drift.run(Choices(engine, limit, cache, at_once, out), data, profiles, role, turns))
