"""What builders make of a teacher's answers, in Chinese and English: rows that render, and losses that are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.data.pairs import Cut, pairs
from models.data.script import Line, Script, Staged, read_script
from models.example import Example
from models.scene import Language, Scene
from models.teacher.excerpts import chunks, excerpt, gives_away, paragraphs
from models.teacher.experience import Life, experiences, read_lines
from models.teacher.extract import dialogues
from models.teacher.instruct import Piece, Profile, context_instruct, persona_of, profile_of, role_gpt
from models.teacher.profiles import under_profiles
from models.teacher.tag import EMOTIONS, bank
from models.token_count import estimate_tokens
from tests.models.teacher.desk import asked, assert_sound, why

BOTH: list[Language] = ["zh", "en"]
SCRIPTS: dict[Language, Script] = {
    "zh": Script(
        "灯塔",
        (
            Staged(
                "一", (Line("阿远", "今晚还点灯吗？"), Line("玛拉", "灯塔一夜也不能黑，这是规矩。", "擦灯")), "灯塔上"
            ),
            Staged("二", (Line("阿远", "你在这里多少年了？"), Line("玛拉", "数不清了，潮水替我记着。"))),
        ),
    ),
    "en": Script(
        "lighthouse",
        (
            Staged("1", (Line("Yuan", "Will you light it tonight?"), Line("Mara", "No night without the lamp, ever."))),
            Staged("2", (Line("Yuan", "How long have you been here?"), Line("Mara", "Ask the tide, it keeps count."))),
        ),
    ),
}
ROLES: dict[Language, str] = {"zh": "玛拉", "en": "Mara"}


def rows_of(language: Language) -> list[Example]:
    return list(pairs(SCRIPTS[language], ROLES[language], Cut(4)))


@pytest.mark.parametrize("language", BOTH)
async def test_rows_stand_under_the_wordings_of_a_card_that_give_no_line_away(desk_of, language: Language):
    rows = rows_of(language)
    leaking = f"{ROLES[language]}: {rows[0].reply}"
    wordings = [
        "She keeps the light, 她看守灯塔。",
        leaking,
        "She keeps the light 她看守灯塔",
        "Up on the rock 礁石上。",
    ]
    desk = desk_of({"identity": "看守灯塔 keeper", "interests": "潮水"}, *wordings)

    made = await under_profiles(desk, rows, "scenes", 4)

    assert_sound(made)
    assert [row.scene.persona for row in made.rows] == [wordings[0], wordings[3]]
    assert why(made) == ["profile holds a line"]
    questions = asked(desk)
    assert "scenes" in questions[0]
    assert "identity: 看守灯塔 keeper\ninterests: 潮水" in questions[1]
    assert len(set(questions)) == 5


async def test_without_a_card_every_row_is_lost_and_says_why(desk_of):
    made = await under_profiles(desk_of("no", "no"), rows_of("en"), "scenes", 2)

    assert (made.rows, why(made)) == ([], ["broken JSON", "no profile", "no profile"])


@pytest.mark.parametrize("language", BOTH)
async def test_questions_of_low_confidence_and_repeats_are_lost(desk_of, language: Language):
    def one(question: str, answer: str = "As the tide wills. 看潮水。", confidence: str = "high") -> dict[str, str]:
        return {"question": question, "confidence": confidence, "reason": "told", "answer": answer}

    first = [one("Who lights the lamp at night? 夜里谁点灯？"), one("Why? 为什么？", confidence="low"), one("And?", "")]
    second = [one("WHO lights the lamp at night 夜里谁点灯"), one("What does the tide keep? 潮水记着什么？")]
    desk = desk_of({"questions": first}, second)
    pieces = [Piece("profile 0", "profile", "Keeps the light."), Piece("script 0", "script", "MARA: Ever.")]
    frame = Scene(ROLES[language], language, "Keeps the light. 看守灯塔。")

    made = await context_instruct(desk, frame, pieces, 3, "lighthouse")

    assert_sound(made)
    assert [row.scene.history[0].content for row in made.rows] == [first[0]["question"], second[1]["question"]]
    assert [row.group for row in made.rows] == ["profile 0", "script 0"]
    assert why(made) == ["low confidence", "empty answer", "repeats a question"]
    assert all(frame.persona in question for question in asked(desk))


async def test_general_questions_are_answered_after_real_turns_of_the_role(desk_of):
    rows = rows_of("en")
    desk = desk_of("Round, like any lamp's light.", rows[0].reply)
    frame = Scene("Mara", "en", "Keeps the light.")

    made = await role_gpt(desk, frame, ["Is the earth round?", "How many?"], lambda _, n: rows[:n], "lighthouse")

    assert_sound(made)
    assert [row.reply for row in made.rows] == ["Round, like any lamp's light."]
    assert why(made) == ["repeats an example"]
    engine = desk.teacher.engine
    assert [said.role for said in engine.asked[0].messages] == ["system", *("user", "assistant") * 2, "user"]
    assert engine.asked[0].messages[3].content == rows[0].scene.history[-1].content, "the nearest stands last"


async def test_a_profile_is_made_of_what_the_role_says(desk_of):
    desk = desk_of({"description": "你看守灯塔。", "catchphrases": ["规矩", "潮水"]})

    made = await profile_of(desk, "玛拉", "zh", excerpt(SCRIPTS["zh"], "玛拉", "zh", 500))

    assert made.rows == [Profile(description="你看守灯塔。", catchphrases=("规矩", "潮水"))]
    assert persona_of(made.rows[0], "zh") == "你看守灯塔。\n口头禅：规矩、潮水"
    assert "（灯塔上）\n阿远：今晚还点灯吗？\n玛拉：（擦灯）灯塔一夜也不能黑，这是规矩。" in asked(desk)[0]


PLAYS: dict[Language, str] = {
    "zh": """（黄昏）
水手（说）：船在哪里？
玛拉（想）：他迷路了。
玛拉（说）：看着光走。
水手（说）：多远？
**玛拉（说）**：一盏灯的路。""",
    "en": """Sailor (speaking): Where is my ship?
Mara (thinking): He is lost.
Mara (speaking): Follow the light.

- Sailor (speaking): How far?
**Mara (speaking):** As far as a lamp.""",
}


@pytest.mark.parametrize("language", BOTH)
async def test_paragraphs_become_scenes_and_scenes_talks_with_thoughts(desk_of, language: Language):
    setting = {"type": "chat", "location": "礁石 rock", "background": "storm 风暴"}
    desk = desk_of(
        [setting, setting | {"type": "debate"}], [setting], PLAYS[language], "Nobody is here.", PLAYS[language]
    )
    role = ROLES[language]
    life = Life(role, language, "Keeps the light.", scenes=2, protective=1, turns=2)

    made = await experiences(desk, life, ["Mara keeps the light. 玛拉看守灯塔。"], "life")

    assert_sound(made)
    assert why(made) == ["role absent from the script"]
    first, second, *protective = made.rows
    thought = {"zh": "[他迷路了。] 看着光走。", "en": "[He is lost.] Follow the light."}[language]
    assert (first.reply, first.scene.scenario) == (thought, "礁石 rock\nstorm 风暴")
    assert [said.role for said in second.scene.history] == ["user", "assistant", "user"]
    assert "[" not in second.scene.history[1].content, "nobody hears a thought"
    assert {row.source for row in protective} == {"life, protective"}
    assert len({row.group for row in made.rows}) == 2


@pytest.mark.parametrize(
    "row", ["Mara (aloud): Yes: now.", "Mara（speaking）：Yes: now.", "* **Mara (speaking)**: Yes: now."]
)
def test_a_line_is_read_however_it_is_set(row: str):
    assert [*read_lines(row)] == [Line("Mara", "Yes: now.")]


async def test_only_what_stands_in_the_novel_is_extracted(desk_of, tmp_path: Path):
    piece = "“灯还亮着！”玛拉喊道。阿远问：“能看见船吗？”"
    found = [
        {"role": "玛拉", "dialogue": "“灯还亮着！”"},
        {"role": "阿远", "dialogue": "能看见船吗？"},
        {"role": "阿远", "dialogue": "我怕黑。"},
        {"role": "", "dialogue": "能看见船吗"},
    ]
    desk = desk_of({"dialogues": found}, "nothing", "nothing")

    made = await dialogues(desk, "zh", [piece, "没有人说话。"])

    assert [(row["role"], row["content"]) for row in made.rows] == [("玛拉", "灯还亮着！"), ("阿远", "能看见船吗？")]
    assert why(made) == ["not in the text", "nobody says it", "broken JSON"]
    path = tmp_path / "script.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in made.rows), "utf-8")
    assert read_script(path).speakers() == {"玛拉": 1, "阿远": 1}


async def test_memories_have_eight_scores_and_what_cannot_be_read_is_lost(desk_of):
    told = [{"analysis": "平静", "dim": "Joy", "score": 4}, {"analysis": "", "dim": "悲伤", "score": 10}]
    desk = desk_of(told, {"emotions": [{"dim": "love", "score": 3}]}, {"emotions": [{"dim": "joy", "score": 11}]})

    made = await bank(desk, "玛拉", "zh", [("阿远：点灯吗？\n玛拉：点。", 0), ("阿远：多久？\n玛拉：数不清。", 1)])

    (row,) = made.rows
    assert row["emotion"] == dict.fromkeys(EMOTIONS, 0) | {"joy": 0.3333, "sadness": 1}
    assert (row["text"], row["scene"], row["tagger"]) == ("阿远：点灯吗？\n玛拉：点。", 0, "scripted")
    assert why(made) == ["broken JSON"]
    assert "“玛拉”" in asked(desk)[0]


@pytest.mark.parametrize("text", ["一句话。" * 400, "A sentence here. " * 300, "x" * 5000, "短\n\n" * 900])
def test_chunks_are_small_enough_and_lose_nothing(text: str):
    found = chunks(text, 100)

    assert max(map(estimate_tokens, found)) <= 100
    assert "".join("".join(found).split()) == "".join(text.split())


def test_headings_are_no_paragraphs():
    text = "# Mara\n\nMara keeps the light on a rock\nfar out at sea, they say.\n\n## Life\nShort."
    assert paragraphs(text, 20) == ["Mara keeps the light on a rock far out at sea, they say."]


def test_short_replies_give_nothing_away():
    assert gives_away("He says: no night, without THE lamp!", "No night without the lamp.")
    assert not gives_away("Yes, she said.", "Yes.")
