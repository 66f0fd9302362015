"""`moodline data …`: builders of the systems that role-play research has published, without a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.data import Force, Out, Persona

builders = typer.Typer()

Script = Annotated[Path, typer.Argument(help="A script: text, csv, JSON or JSONL, as `moodline data pairs` reads it.")]
Role = Annotated[str, typer.Option(help="Whose lines; as the script has it, the whole name.")]
AnyRole = Annotated[str, typer.Option(help="Only this one; else everyone.")]
Turns = Annotated[int, typer.Option(min=1, help="How many turns before the reply are shown.")]


@builders.command("sessions")
def build_sessions(
    export: Annotated[Path, typer.Argument(help="What `moodline users export` wrote.")],
    target: Out,
    pairs: Annotated[bool, typer.Option("--pairs", help="What was preferred, instead of every reply.")] = False,
    role: Annotated[str, typer.Option(help="Only talks with this character, by slug.")] = "",
    persona: Persona = "",
    force: Force = False,
) -> None:
    """Make rows of our own conversations, each under the prompt it was served with.

    With `--pairs`, a reply that was regenerated or edited by hand is rejected where another is current.

    Example: `moodline users export ana ana.jsonl`, then `moodline data sessions ana.jsonl --pairs -o pairs.jsonl`.
    """
    from app.data.build import sessions

    sessions(export, target, pairs, role, persona, force)


@builders.command("turns")
def build_turn_pairs(
    file: Annotated[Path, typer.Argument(help="Rows of chosen and rejected conversations, as messages.")],
    target: Out,
    role: Annotated[str, typer.Option(help="Who replies; else an assistant does.")] = "",
    persona: Persona = "",
    force: Force = False,
) -> None:
    """Divide pairs of conversations into one pair a turn, each with the chosen history (multi-turn DPO).

    Example: `moodline data turns conversations.jsonl -o pairs.jsonl`.
    """
    from app.data.build import turn_pairs

    turn_pairs(file, target, role, persona, force)


@builders.command("index")
def build_index(
    script: Script,
    target: Out,
    role: Role,
    turns: Turns = 6,
    lines: Annotated[int, typer.Option(min=0, help="Past lines in a prompt, at most; else the server's setting.")] = 0,
    persona: Persona = "",
    force: Force = False,
) -> None:
    """Index-1.9B's rows: pairs with the past lines in the prompt that the server would recall.

    No line gives the reply away, and none is of its scene.

    Example: `moodline data index 三三.csv --role 三三 --persona card.txt -o rows.jsonl`.
    """
    from app.data.build import index

    index(script, target, role, turns, lines, persona, force)


@builders.command("emotional-rag")
def build_memories(script: Script, target: Out, role: Role, force: Force = False) -> None:
    """Emotional RAG's memory bank: what the role was told and said, with eight emotions by the server's own head.

    Example: `moodline data emotional-rag dialogues.csv --role 胡一菲 -o bank.jsonl`.
    """
    from app.data.build import memory_bank

    memory_bank(script, target, role, force)


@builders.command("coser")
def build_coser(script: Script, target: Out, role: AnyRole = "", force: Force = False) -> None:
    """CoSER's scenes: thought, action and speech in a place, among others. Thoughts of others are never told.

    Example: `moodline data coser Othello.json --role Iago -o rows.jsonl`.
    """
    from app.data.build import coser

    coser(script, target, role, force)


@builders.command("mirau")
def build_mirau(script: Script, target: Out, role: Role, persona: Persona = "", force: Force = False) -> None:
    """mirau's story flow: a monologue in the first person, then the talk, with a hidden thought before each reply.

    Example: `moodline data mirau Othello.json --role Iago -o rows.jsonl`.
    """
    from app.data.build import mirau

    mirau(script, target, role, persona, force)


@builders.command("stylechat")
def build_stylechat(
    files: Annotated[list[Path], typer.Argument(help="Rows of context, response and style.")],
    target: Out,
    profiles: Annotated[Path | None, typer.Option(help="A folder of style profiles, or one of them.")] = None,
    task: Annotated[
        Literal["answer", "recite", "transfer"] | None, typer.Option(help="Only one of the three tasks.")
    ] = None,
    force: Force = False,
) -> None:
    """StyleChat's rows: answer in a style, recite its profile first, move from another style.

    Example: `moodline data stylechat Formal.jsonl --profiles style_profile -o rows.jsonl`.
    """
    from app.data.build import stylechat

    stylechat(files, target, profiles, [task] if task else ["answer", "recite", "transfer"], force)


@builders.command("character100")
def build_character100(
    files: Annotated[list[Path], typer.Argument(help="Files of context, question and answer, called as the role is.")],
    target: Out,
    force: Force = False,
) -> None:
    """Character100's questions to a person, with the paragraph that holds the answer as lore.

    Example: `moodline data character100 Adele.txt Bruce_Lee.txt -o rows.jsonl`.
    """
    from app.data.build import character100

    character100(files, target, force)


@builders.command("rolebench")
def build_rolebench(
    file: Annotated[Path, typer.Argument(help="RoleBench's JSONL of role, question and generated.")],
    target: Out,
    role: AnyRole = "",
    persona: Persona = "",
    force: Force = False,
) -> None:
    """RoCIT rows of RoleBench: who the role is stands in the prompt, and nothing is retrieved.

    Example: `moodline data rolebench train.jsonl --persona desc.json -o rows.jsonl`.
    """
    from app.data.build import rolebench

    rolebench(file, target, role, persona, force)


@builders.command("lccc")
def build_lccc(
    file: Annotated[Path, typer.Argument(help="LCCC's JSON of dialogues, or tab-separated pairs.")],
    target: Out,
    force: Force = False,
) -> None:
    """LCCC's chats with persona cards made of how somebody writes, which give no answer away.

    Example: `moodline data lccc toy_data.json -o rows.jsonl`.
    """
    from app.data.build import lccc

    lccc(file, target, force)


@builders.command("characterglm")
def build_characterglm(
    file: Annotated[Path, typer.Argument(help="CharacterGLM's JSON of cards by name.")],
    target: Out,
    force: Force = False,
) -> None:
    """CharacterGLM's cards, each told in four ways, with the greeting as the reply.

    Example: `moodline data characterglm character.json -o rows.jsonl`.
    """
    from app.data.build import characterglm

    characterglm(file, target, force)
