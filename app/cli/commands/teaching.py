"""`moodline data …`: the builders that ask a teacher, another language model."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.data.teaching import Teaching
    from models.teacher.spending import Prices

teaching = typer.Typer()

Script = Annotated[Path, typer.Argument(help="A script: text, csv, JSON or JSONL; see `data pairs`.")]
Role = Annotated[str, typer.Option(help="Whose lines; as the script has it, the whole name.")]
Persona = Annotated[str, typer.Option(help="Who that is: words, a text file, or a JSON file of cards by name.")]
Turns = Annotated[int, typer.Option(min=1, help="How many turns before the reply are shown.")]

OPTIONS = {
    "target": Annotated[Path, typer.Option("--out", "-o", help="Where to; answers and manifest lie beside it.")],
    "teacher": Annotated[
        str, typer.Option(help="Who is asked: `URL#MODEL` of an OpenAI-compatible server, a checkpoint, or `packaged`.")
    ],
    "at_once": Annotated[int, typer.Option(min=1, help="Questions under way at a time.")],
    "requests": Annotated[int | None, typer.Option(min=1, help="Most requests of this run.")],
    "tokens": Annotated[int | None, typer.Option(min=1, help="Most tokens of this run, read and written.")],
    "money": Annotated[float | None, typer.Option(min=0, help="Most money of this run; needs --price.")],
    "price": Annotated[str, typer.Option(help="Of a million tokens read, and written: `0.15,0.60`.")],
    "temperature": Annotated[float | None, typer.Option(min=0, help="Else the teacher's own.")],
    "seed": Annotated[int, typer.Option(help="Another makes other rows.")],
    "force": Annotated[bool, typer.Option("--force", help="Replace a file that is there.")],
}
DEFAULTS: dict[str, Any] = {
    "at_once": 8,
    "requests": None,
    "tokens": None,
    "money": None,
    "price": "",
    "temperature": None,
    "seed": 0,
    "force": False,
}


def taught(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes, beside its own options, those of every teacher, and gets them as `how`."""

    @functools.wraps(command)
    def called(**given: Any) -> None:
        command(how=_teaching({name: given.pop(name) for name in OPTIONS}), **given)

    signature = inspect.signature(command, eval_str=True, globals=globals() | {"Teaching": Any})
    own = [parameter for name, parameter in signature.parameters.items() if name != "how"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(name, keyword, default=DEFAULTS.get(name, inspect.Parameter.empty), annotation=kind)
        for name, kind in OPTIONS.items()
    ]
    parameters = [parameter.replace(kind=keyword) for parameter in own] + shared
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _teaching(given: dict[str, Any]) -> Teaching:
    from app.data.teaching import Teaching
    from models.teacher.spending import Limits

    prices = _prices(given.pop("price"))
    limits = Limits(given.pop("requests"), given.pop("tokens"), given.pop("money"))
    return Teaching(limits=limits, prices=prices, **given)


def _prices(given: str) -> Prices:
    from models.teacher.spending import Prices

    try:
        prompt, completion = map(float, given.split(",")) if given else (0.0, 0.0)
    except ValueError:
        raise typer.BadParameter("expected two numbers, as in 0.15,0.60.", param_hint="--price") from None
    return Prices(prompt, completion)


@teaching.command("profiles")
@taught
def make_profiles(
    script: Script,
    role: Role,
    how: Teaching,
    count: Annotated[int, typer.Option(min=1, help="How many wordings of the card.")] = 3,
    turns: Turns = 8,
) -> None:
    """Make a role's card of its scenes, tell it in several ways, and cut its lines under each (CharacterGLM).

    Example: `moodline data profiles 甄嬛传.txt --role 甄嬛 --teacher http://gpu:8000/v1 -o rows.jsonl`.
    """
    from app.data.taught import profiles

    profiles(how, script, role, count, turns)


@teaching.command("instruct")
@taught
def make_instructions(
    script: Script,
    role: Role,
    how: Teaching,
    persona: Persona = "",
    count: Annotated[int, typer.Option(min=1, help="Questions for each piece of profile and script.")] = 5,
    questions: Annotated[
        Path | None, typer.Option(help="General questions, one a line, to be answered in the role's voice.")
    ] = None,
) -> None:
    """Make questions to a role with answers, from its profile and its scenes (RoleLLM's Context-Instruct and RoleGPT).

    Without --persona the profile is made of the script. Questions that the text hardly answers, and repeats, are left
    out. General questions are answered after the role's own lines that are nearest to them, as real turns.

    Example: `moodline data instruct othello.json --role Iago --questions general.txt --teacher URL -o rows.jsonl`.
    """
    from app.data.taught import instruct

    instruct(how, script, role, persona, count, questions)


@teaching.command("experiences")
@taught
def make_experiences(
    profile: Annotated[Path, typer.Argument(help="A text about a person, in paragraphs.")],
    role: Annotated[str, typer.Option(help="Who that is.")],
    how: Teaching,
    persona: Annotated[str, typer.Option(help="What rows say of them; else the text's first paragraph.")] = "",
    scenes: Annotated[int, typer.Option(min=1, help="For each paragraph.")] = 20,
    protective: Annotated[
        int, typer.Option(min=0, help="Scenes in which somebody asks what the character can't know.")
    ] = 20,
    turns: Annotated[int, typer.Option(min=1, help="Exchanges of a scene, at least.")] = 6,
) -> None:
    """Make scenes of somebody's life, in which they think and speak, of a profile's paragraphs (Character-LLM).

    Example: `moodline data experiences wiki_Beethoven.txt --role Beethoven --teacher URL -o rows.jsonl`.
    """
    from app.data.taught import experience
    from models.teacher.experience import Life

    experience(how, profile, Life(role, "en", persona, scenes, protective, turns))


@teaching.command("extract")
@taught
def extract_dialogues(novel: Annotated[Path, typer.Argument(help="A text.")], how: Teaching) -> None:
    """List who says what in a novel, as a script that `data pairs` cuts. What the text doesn't have is left out.

    Example: `moodline data extract 西游记.txt --teacher URL -o 西游记.script.jsonl`.
    """
    from app.data.taught import extract

    extract(how, novel)


@teaching.command("feelings")
@taught
def make_bank(script: Script, role: Role, how: Teaching) -> None:
    """Score in eight emotions what a role says, with what was said before it (Emotional RAG's memory bank).

    Example: `moodline data feelings 甄嬛传-华妃.jsonl --role 华妃 --teacher URL -o bank.jsonl`.
    """
    from app.data.taught import feelings

    feelings(how, script, role)


@teaching.command("acts")
@taught
def make_acts(
    chapter: Annotated[Path, typer.Argument(help="A text.")],
    how: Teaching,
    role: Annotated[str, typer.Option(help="Rows of this one; else of everyone who speaks twice.")] = "",
) -> None:
    """Make scenes of thought, action and speech of a chapter, with what moves each who is there (CoSER).

    What is said must stand in the chapter, word for word.

    Example: `moodline data acts chapter1.txt --role Anna --teacher URL -o rows.jsonl`.
    """
    from app.data.imagined import acts

    acts(how, chapter, role)


@teaching.command("human-pairs")
@taught
def make_human_pairs(
    questions: Annotated[Path, typer.Argument(help="Questions, one a line; with --topics they are topics.")],
    how: Teaching,
    topics: Annotated[int, typer.Option(min=0, help="Make so many questions on each line.")] = 0,
    role: Annotated[str, typer.Option(help="Who answers; else an assistant does.")] = "",
    persona: Persona = "",
) -> None:
    """Answer each question as a friend would, and as a formal assistant: pairs to prefer the former (human-like DPO).

    Example: `moodline data human-pairs topics.txt --topics 20 --teacher URL -o pairs.jsonl`.
    """
    from app.data.imagined import pair_up

    pair_up(how, questions, topics, role, persona)


@teaching.command("monologues")
@taught
def make_monologues(script: Script, role: Role, how: Teaching, persona: Persona = "", turns: Turns = 8) -> None:
    """Tell scenes as a story of one's own: who I am and where, and a hidden thought before each reply (mirau).

    Example: `moodline data monologues 甄嬛传.txt --role 甄嬛 --teacher URL -o rows.jsonl`.
    """
    from app.data.imagined import monologues

    monologues(how, script, role, persona, turns)


@teaching.command("personas")
@taught
def make_personas(
    chats: Annotated[Path, typer.Argument(help="Dialogues as `data lccc` reads them: JSON lists, or lines with tabs.")],
    how: Teaching,
) -> None:
    """Make a card of who speaks in a chat, in agreement with it; cards that contradict it or hold a line are left out.

    Example: `moodline data personas LCCC-base_train.json --teacher URL --money 5 --price 0.15,0.60 -o rows.jsonl`.
    """
    from app.data.imagined import personas

    personas(how, chats)


@teaching.command("styles")
@taught
def make_styles(
    said: Annotated[Path, typer.Argument(help="What is said to the character, one a line.")],
    how: Teaching,
    style: Annotated[
        list[str] | None, typer.Option(help="A style's name; give several. Else all of --profiles.")
    ] = None,
    profiles: Annotated[Path | None, typer.Option(help="A folder of StyleEval's profiles; else they are made.")] = None,
    role: Annotated[str, typer.Option(help="Who answers; else an assistant does.")] = "",
    persona: Persona = "",
) -> None:
    """Answer in styles, recite a style before the answer, and move answers into a style (StyleChat).

    Example: `moodline data styles said.txt --style Humor --style 文言 --teacher URL -o rows.jsonl`.
    """
    from app.data.imagined import styles

    styles(how, said, style or [], profiles, role, persona)


@teaching.command("invent")
@taught
def invent_cards(
    seeds: Annotated[Path, typer.Argument(help="Cards to go by, JSON or JSONL: 角色名称, 身份背景, 性格特征, …")],
    how: Teaching,
    count: Annotated[int, typer.Option(min=1, help="How many new cards.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Of the talk with each.")] = 6,
) -> None:
    """Invent persona cards after those there are, and a talk with each (character_AI_open's self-instruct).

    A teacher knows some kinds of people better than others; look at what it made before you train on it.

    Example: `moodline data invent cards.jsonl --count 100 --teacher URL -o rows.jsonl`.
    """
    from app.data.imagined import invent

    invent(how, seeds, count, rounds)
