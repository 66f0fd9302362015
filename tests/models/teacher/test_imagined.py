"""What a teacher imagines, in Chinese and English: pairs, monologues, cards, styles, acts, and what is lost of it."""

from __future__ import annotations

import json

import pytest

from models.data.coser import scenes as rows_of_scenes
from models.data.pairs import Cut, pairs
from models.data.script import Line, Script, Staged
from models.data.stylechat import Profile
from models.example import Example
from models.scene import Language, Message, Scene
from models.teacher.acts import scenes_of
from models.teacher.human import human_pairs, questions_on
from models.teacher.invent import invented
from models.teacher.monologue import CLOSING, story_flow
from models.teacher.personas import with_cards
from models.teacher.styles import Style, describe, in_style, told
from models.thoughts import without_thoughts
from tests.models.teacher.desk import asked, assert_sound, why

BOTH: list[Language] = ["zh", "en"]
FRAMES: dict[Language, Scene] = {
    "zh": Scene("玛拉", "zh", "看守灯塔。"),
    "en": Scene("Mara", "en", "Keeps a lighthouse."),
}
STORIES: dict[Language, Script] = {
    "zh": Script(
        "灯塔", (Staged("一", (Line("阿远", "今晚还点灯吗？"), Line("玛拉", "灯塔一夜也不能黑。")), "礁石上"),)
    ),
    "en": Script(
        "light", (Staged("1", (Line("Yuan", "Will you light it?"), Line("Mara", "No night without it, ever."))),)
    ),
}


@pytest.mark.parametrize("language", BOTH)
async def test_a_friends_answer_is_preferred_to_a_formal_one(desk_of, language: Language):
    answers = [
        "Hm, mostly the gulls, I think? 海鸥吧。",
        "One may observe various seabirds. 海鸟数种。",
        "Same.",
        "same",
    ]
    desk = desk_of(*answers)

    made = await human_pairs(desk, FRAMES[language], ["What do you see? 看见什么？", "And? 还有？"], "q.txt")

    assert_sound(made)
    (row,) = made.rows
    assert (row.reply, row.rejected) == (answers[0], answers[1])
    assert why(made) == ["both answers alike"]
    friend, formal, *_ = asked(desk)
    assert FRAMES[language].persona in friend
    assert FRAMES[language].persona not in formal


async def test_questions_are_made_of_topics_once_each(desk_of):
    desk = desk_of({"questions": ["海上冷吗？", "灯有多亮？", "太多了"]}, ["海上，冷吗", " "])

    made = await questions_on(desk, ["海", "灯"], "zh", 2)

    assert (made.rows, why(made)) == (["海上冷吗？", "灯有多亮？"], ["repeats a question", "empty question"])


@pytest.mark.parametrize("language", BOTH)
async def test_prompt_and_talk_are_one_story_in_the_first_person(desk_of, language: Language):
    role = FRAMES[language].character
    rows = list(pairs(STORIES[language], role, Cut(8), "card"))
    flow = {"monologue": "I sit by the lamp. 我坐在灯旁。", "thoughts": ["He asks again. 他又问。"]}
    desk = desk_of(flow)

    made = await story_flow(desk, rows)

    assert_sound(made)
    (row,) = made.rows
    assert (row.scene.rules, row.scene.persona, row.scene.scenario) == (flow["monologue"], "", "")
    assert row.scene.closing == CLOSING[language]
    assert without_thoughts(row.reply).strip() == rows[0].reply
    assert "He asks again" in row.reply
    assert f"1. {role}: {rows[0].reply}" in asked(desk)[0]


@pytest.mark.parametrize(
    ("monologue", "thoughts", "reason"),
    [
        ("她坐在灯旁。", ["他又问。"], "not in the first person"),
        ("我会说：灯塔一夜也不能黑。", ["他又问。"], "monologue gives a line away"),
        ("我坐在灯旁。", [], "another number of thoughts"),
        ("我坐在灯旁。", ["灯塔一夜也不能黑。"], "thought is the line itself"),
    ],
)
async def test_a_story_that_is_none_is_lost(desk_of, monologue: str, thoughts: list[str], reason: str):
    rows = list(pairs(STORIES["zh"], "玛拉", Cut(8)))

    made = await story_flow(desk_of({"monologue": monologue, "thoughts": thoughts}), rows)

    assert (made.rows, why(made)) == ([], [reason])


def chat(language: Language, number: int) -> Example:
    asked, reply = {
        "zh": ("在吗？", "在看海呢，今天风很大。"),
        "en": ("Are you there?", "Watching the sea, it blows hard."),
    }[language]
    history = (Message("user", f"{number} {asked}"),)
    return Example(Scene("?", language, "", history=history), reply, id=f"chat-{number}")


@pytest.mark.parametrize("language", BOTH)
async def test_a_card_agrees_with_the_talk_or_is_lost(desk_of, language: Language):
    card = {"name": "Mara", "persona": "Lives on an island. 住在岛上。", "style": "short"}
    leaking = card | {"persona": chat(language, 0).reply}
    fine, wrong = {"contradiction": ""}, {"contradiction": "B can't see the sea."}
    desk = desk_of(card, fine, leaking, card, wrong, card | {"persona": ""})
    rows = [chat(language, number) for number in range(4)]

    made = await with_cards(desk, rows)

    assert_sound(made)
    (row,) = made.rows
    assert (row.scene.character, row.scene.persona, row.scene.style) == ("Mara", card["persona"], "short")
    assert why(made) == ["card holds a line", "card contradicts the talk", "empty card"]


@pytest.mark.parametrize("language", BOTH)
async def test_an_answer_is_given_recited_and_moved_in_a_style(desk_of, language: Language):
    desk = desk_of("It is windy. 有风。", "Lo, the winds! 大风起兮！", "Calm. 平静。", "calm 平静")
    style = told(Profile("Ode", "lofty", ("O sea!", "O night!"), {"Diction": "old"}), language)

    made = await in_style(desk, FRAMES[language], [style], ["How is it? 如何？", "Now? 现在？"], "said.txt")

    assert_sound(made)
    answer, recite, transfer = made.rows
    assert why(made) == ["style unchanged"]
    assert {row.group for row in made.rows} == {"0"}
    assert (answer.scene.style, answer.reply) == (style.told, "Lo, the winds! 大风起兮！")
    assert style.told not in recite.scene.style
    assert style.told in recite.reply
    assert without_thoughts(recite.reply).strip() == answer.reply
    assert "It is windy. 有风。" in transfer.scene.history[-1].content
    assert "lofty" in style.told
    assert style.told in asked(desk)[1]


async def test_a_style_is_described_before_it_is_used(desk_of):
    desk = desk_of(
        {"description": "庄重。", "examples": ["大风起兮。"], "diction": "古语"}, {"description": "", "examples": []}
    )

    made = await describe(desk, ["文言", "无"], "zh")

    assert made.rows == [Style("文言", "“文言”风格：庄重。\n例句：\n- 大风起兮。\n特点：\n- 用词: 古语")]
    assert why(made) == ["empty profile"]


@pytest.mark.parametrize("language", BOTH)
async def test_a_chapter_becomes_scenes_of_which_every_speech_stands_in_it(desk_of, language: Language):
    chapter = "“灯还亮着！”玛拉对阿远喊道。“我看见了。” Mara cried to Yuan."
    lines = [
        ("阿远", "(抬头) 我看见了。"),
        ("玛拉", "[他不信我] (喊) 灯还亮着！"),
        ("阿远", "我怕黑。"),
        ("船长", "灯还亮着！"),
    ]
    scene = {
        "scenario": "夜里，灯塔下。",
        "characters": [{"name": "玛拉", "motivation": "想让他相信"}],
        "dialogues": [{"character": who, "message": text} for who, text in lines],
    }
    desk = desk_of({"scenes": [scene]}, {"scenes": []})

    made = await scenes_of(desk, "海", language, [chapter, "Nobody speaks."])

    assert why(made) == ["not in the text", "role absent from the text"]
    (row,) = rows_of_scenes(Script("海", tuple(made.rows)), "玛拉")
    assert row.reply == "[他不信我] （喊）灯还亮着！"
    assert row.scene.scenario == "夜里，灯塔下。"
    assert "想让他相信" in row.scene.passing


def card(name: str, background: str) -> dict[str, object]:
    other = {"identity": "邻居", "relationship": "朋友", "description": "爱打听"}
    return {"角色名称": name, "身份背景": background, "性格特征": "沉静", "语言风格": "话少", "对话者身份": other}


async def test_cards_are_invented_after_others_and_talk(desk_of):
    seeds = [card("玛拉", "看守灯塔的人"), card("阿远", "跑船的水手")]
    talk = {"talk": [{"other": "早。", "reply": "早，面刚出炉。"}, {"other": "来一个。", "reply": "给你留着呢。"}]}
    desk = desk_of(card("石头", "镇上的面包师"), card("玛拉", "弹琴的人"), card("老周", "看守灯塔的人！"), talk)

    made = await invented(desk, seeds, 3, 6, "zh", "cards")

    assert_sound(made)
    (row,) = made.rows
    assert (row.scene.character, row.reply, len(row.scene.history)) == ("石头", "给你留着呢。", 3)
    assert (row.scene.user, row.scene.user_persona) == ("邻居", "朋友\n爱打听")
    assert "身份背景：镇上的面包师" in row.scene.persona
    assert row.scene.style == "语言风格：话少"
    assert why(made) == ["repeats a card"] * 2
    assert all(json.dumps(seed, ensure_ascii=False) in question for seed in seeds for question in asked(desk)[:3])
