"""What the macros of a turn's texts depend on: who talks, when, and what was said."""

from __future__ import annotations

from app.characters.clock import local
from app.characters.macros import Moment, fill_names
from app.chat.ask import Ask, Known
from app.personas.store import user_name
from app.tables import new_id, now


def moment_of(ask: Ask, known: Known) -> Moment:
    """This turn's moment. A conversation is known by its beginning, which retries, swipes and forks share."""
    character, history = known.character, known.heard.history
    user = user_name(known.who, ask.user, character.language)
    moment = now()
    said = {role: [m.content for m in history if m.role == role] for role in ("user", "assistant")}
    return Moment(
        char=character.called,
        user=user,
        language=character.language,
        chat=f"{ask.slug}\0{user}\0{history[0].content}",
        turn=new_id(),
        now=local(moment),
        idle=moment - known.last_at if known.last_at else None,
        texts=company_of(ask, user)
        | {
            "description": fill_names(character.persona, character.called, user),
            "persona": known.who.text if known.who else "",
            "scenario": fill_names(character.scenario, character.called, user),
        },
        late_texts={
            "lastmessage": history[-1].content,
            "lastusermessage": (said["user"] or [""])[-1],
            "lastcharmessage": (said["assistant"] or [""])[-1],
        },
    )


def company_of(ask: Ask, user: str) -> dict[str, str]:
    """What SillyTavern's macros of groups stand for; elsewhere they are the character's name."""
    if ask.cast is None:
        return {}
    voices = ask.cast.voices
    everyone = ", ".join(voice.name for voice in voices)
    return {
        "group": everyone,
        "charifnotgroup": everyone,
        "groupnotmuted": ", ".join(voice.name for voice in voices if not voice.muted),
        "notchar": ", ".join([*ask.cast.others, user]),
    }
