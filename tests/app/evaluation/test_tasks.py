"""Each benchmark runs on its real data: with the packaged model where that is quick, else with made-up replies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.evaluation import character100, charactereval, coser, style
from app.evaluation.characterglm import read_cards
from app.evaluation.drift import measured, said
from app.evaluation.grading import Sheet, agreed, graded, lost, read_ratings, results
from app.evaluation.human_like import measured as counted
from app.evaluation.talks import SAID, SILENCE, Talk, converse, repeats, repetition, transcript
from models.judging.asking import Answer, Answers, Asked
from models.judging.ratings import Rating
from models.judging.rubrics import CHARACTEREVAL, CHARACTERGLM
from models.judging.style import Discriminator
from models.scene import Message, Scene
from models.scripted import ScriptedEngine
from tests.peer import Peer

MARA = Scene("Mara", "en", "Keeps a lighthouse.")
WORDS = (
    "The lamp wants oil before the dark comes down.",
    "My father rowed out every Tuesday for the post.",
    "Trust is for gulls; I count the boats myself.",
)


def scripted(folder: Path, *replies: str) -> Asked:
    return Asked(ScriptedEngine(replies, context_length=16_384), "scripted", Answers(folder), 1)


async def test_charactereval_compares_the_next_line_with_what_was_said(bench_data: Path, evaluated, spoken) -> None:
    code, text, last = await asyncio.to_thread(
        evaluated,
        *("charactereval", "--data", bench_data / "charactereval" / "contexts_a.json"),
        *("--engine", spoken, "--limit", 20),
    )
    assert code == 0, text
    assert last["results"][spoken]["ROUGE-L"]["n"] == 20
    assert last["families"] == 20


def test_families_of_charactereval_are_whole_and_golds_are_the_roles_own(bench_data: Path) -> None:
    items = charactereval.read(bench_data / "charactereval" / "contexts_a.json")
    known = [item for item in items if item.gold]
    assert len(known) > 1000
    firsts = {(item.role, item.context): item.family for item in items}
    cut = [item for item in items if (item.role, item.context[:-2]) in firsts]
    assert len(cut) > 500
    assert all(firsts[item.role, item.context[:-2]] == item.family for item in cut), "a prefix is of the same family"
    scene = charactereval.scene(known[0], "")
    assert scene.history[-1].role == "user"
    assert known[0].gold not in scene.history[-1].content


async def test_character100_never_learns_a_paragraph_that_it_asks_about(bench_data: Path, evaluated, spoken) -> None:
    rows = character100.read(bench_data / "character100")
    learnt, test = character100.divided(rows)
    assert not {row.paragraph for row in learnt} & {row.paragraph for row in test}
    code, text, last = await asyncio.to_thread(
        evaluated, "character100", "--data", bench_data / "character100", "--engine", spoken, "--limit", 2
    )
    assert code == 0, text
    assert last["figures"] == 15
    assert last["results"][spoken]["ROUGE-L"]["n"] == 2
    assert set(last["results"]["reference"]) == {"hit@1", "hit@3", "hit@5", "distinct-2"}


def test_style_takes_the_likeliest_letter_and_counts_what_has_none(bench_data: Path, evaluated) -> None:
    data = bench_data / "styleeval" / "test_multiple_choice.json"
    items = style.read(data)
    assert len(items) == 400
    assert {item.right for item in items} == set("ABCD")
    assert "step by step" not in items[0].text
    assert style.letter(Answer("C", first=(("B", -0.5), (" C", -1.0), ("(C", -1.0)))) == "C"
    assert style.letter(Answer("The answer is (D).")) == "D"
    assert style.letter(Answer("B or D")) is None
    code, text, last = evaluated("style", "--data", data, "--engine", "packaged", "--limit", 1)
    assert code == 0, text
    assert last["results"]["packaged"]["accuracy"]["n"] == 1


async def test_coser_plays_every_character_and_hides_their_thoughts_from_the_others(
    bench_data: Path, tmp_path: Path
) -> None:
    play = coser.read(bench_data / "coser" / "Othello.json")[0]
    assert not any("[" in text for _, text in play.said)
    replies = [f"[I must not show it.] (bows) Line number {n} of mine." for n in range(len(play.said))]
    engine = scripted(tmp_path, *replies)
    (played,) = await coser.simulate(engine, [play], 3)
    assert played[:3] == list(play.said[:3])
    assert [name for name, _ in played] == [name for name, _ in play.said[: len(played)]]
    assert played[3][1] == "(bows) Line number 0 of mine."
    assert "must not show" not in "".join(m.content for asked in engine.engine.asked for m in asked.messages)  # type: ignore[attr-defined]


async def test_coser_runs_on_the_play(bench_data: Path, evaluated, spoken, tmp_path: Path) -> None:
    data = bench_data / "coser" / "Othello.json"
    code, text, last = await asyncio.to_thread(
        evaluated, "coser", "--data", data, "--engine", spoken, "--limit", 1, "--first", 8
    )
    assert code == 0, text
    assert 0 <= last["results"][spoken]["ROUGE-L"]["mean"] <= 1
    wrong = tmp_path / "book.json"
    wrong.write_text('{"plots": [{"conversation": [{}]}], "character_datasets": {}}', "utf-8")
    code, text, _ = await asyncio.to_thread(evaluated, "coser", "--data", wrong, "--engine", spoken)
    assert code == 2
    assert "no book of CoSER" in text


async def test_coser_takes_off_for_the_flaws_that_a_judge_lists(bench_data: Path, evaluated, peer: Peer) -> None:
    lines = iter(
        [f"{word} comes to the gate, my lord." for word in ("Cassio", "A herald", "The moor", "A boy", "Night")]
    )

    def answer(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        if "List the flaws" not in text:
            return next(lines)
        if "story" in text.split("[Criterion]")[1].split("?")[0]:
            return '```json\n{"flaws": [{"what": "He leaves too soon.", "severity": 3}, {"severity": 1}]}\n```'
        return '{"flaws": []}' if "[Criterion] Do the characters have aims" in text else "It was a fine talk."

    peer.models = {"data": [{"id": "any", "max_model_len": 32_768}]}
    peer.answering = answer
    spec = f"{peer.address}/v1#any"
    code, text, last = await asyncio.to_thread(
        evaluated,
        *("coser", "--data", bench_data / "coser" / "Othello.json", "--engine", spec, "--judge", spec),
        *("--limit", 1, "--first", 7, "--at-once", 1),
    )
    assert code == 0, text
    found = last["results"][spec]
    turns = 5 - len(list(lines))
    assert turns == 3
    assert found[f"Storyline Consistency, {spec}"]["mean"] == 100 - 5 * (3 + 1) + 1.5 * turns
    assert found[f"Anthropomorphism, {spec}"]["mean"] == 100.0
    assert f"Character Fidelity, {spec}" not in found
    assert found[f"unreadable, {spec}"] == 2


async def test_character_llm_interviews_a_person_and_a_judge_that_can_not_be_read_is_counted(
    bench_data: Path, evaluated, spoken
) -> None:
    folder = bench_data / "character_llm"
    code, text, last = await asyncio.to_thread(
        evaluated,
        *("character-llm", "--data", folder / "questions" / "generated_agent_interview_Caesar.json"),
        *("--profile", folder / "profiles" / "wiki_Caesar.txt", "--name", "Caesar"),
        *("--engine", spoken, "--limit", 2, "--turns", 2, "--judge", spoken),
    )
    assert code == 0, text
    assert last["results"][spoken][f"unreadable, {spoken}"] == 5
    assert last["talks"] == 1
    assert last["results"][spoken]["repetition"]["n"] == 2


async def test_judges_grade_and_nonsense_is_counted(tmp_path: Path) -> None:
    rubric = CHARACTERGLM[0]
    sheets = [
        Sheet(str(n), rubric, "en", "Mara", "Keeps a lighthouse.", f"User: {n}?", WORDS[n], "ours") for n in range(3)
    ]
    judges = {
        "one": scripted(tmp_path / "1", "Score: 4", "Lovely!", "Score: 2"),
        "two": scripted(tmp_path / "2", "Score: 5", "Score: 3", "Score: 1"),
    }
    found = await graded(judges, sheets)
    told = results(found)
    assert lost(found) == {"unreadable, one": 1, "unreadable, two": 0}
    assert told["ours"]["consistency"].n == 5  # type: ignore[union-attr]
    assert agreed(found.ratings)["consistency"]["units"] == 2


def test_ratings_of_people_are_read_and_wrong_ones_named_by_line(tmp_path: Path, evaluated, bench_data: Path) -> None:
    file = tmp_path / "ratings.jsonl"
    good = '{"id": "Mara", "rater": "ann", "dimension": "overall", "score": 4}\n'
    file.write_text(good, "utf-8")
    assert read_ratings(file, CHARACTERGLM) == [Rating("Mara", "ann", "overall", 4.0)]
    cards = bench_data / "characterglm" / "character.json"
    for bad, why in (('"score": 6', "from 1 to 5"), ('"dimension": "charm", "score": 1', "no dimension charm")):
        file.write_text(good + '{"id": "x", "rater": "bob", "dimension": "overall", ' + bad + "}\n", "utf-8")
        code, text, _ = evaluated("characterglm", "--data", cards, "--engine", "packaged", "--ratings", file)
        assert code == 2
        assert "line 2" in text
        assert why in text


def test_a_file_without_cards_is_told(tmp_path: Path, evaluated) -> None:
    (tmp_path / "cards.json").write_text("{}", "utf-8")
    code, text, _ = evaluated("characterglm", "--data", tmp_path / "cards.json", "--engine", "packaged")
    assert code == 2
    assert "has no card" in text


def test_characterglm_talks_with_the_cards_of_its_own_demo(bench_data: Path, evaluated) -> None:
    cards = bench_data / "characterglm" / "character.json"
    assert all(scene.language == "zh" for scene in read_cards(cards))
    code, text, last = evaluated("characterglm", "--data", cards, "--engine", "packaged", "--limit", 1, "--turns", 1)
    assert code == 0, text
    assert last["results"]["packaged"]["repetition"]["n"] == 1


async def test_characterglm_sums_errors_up_per_turn_and_pairs_are_judged_in_both_orders(
    bench_data: Path, evaluated, peer: Peer
) -> None:
    said = {
        "ours": iter(["今晚的月亮真圆。", "我去看过海，浪很大。"]),
        "theirs": iter(["书在桌上，没人动。", "茶凉了，再添一些。"]),
    }

    def answer(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        if body["model"] != "judge":
            return next(said[body["model"]])
        if "【标准】" in text:
            return "分数：4"
        if "【回复A】" in text:
            return "胜者：A" if text.index("月亮") < text.index("茶凉了") else "胜者：B"
        return (
            "判断：是"
            if "不符合人设" in text or ("主动推进" in text and "月亮真圆" in text.split("【回复】")[1])
            else "判断：否"
        )

    peer.models = {"data": [{"id": name, "max_model_len": 32_768} for name in ("ours", "theirs", "judge")]}
    peer.answering = answer
    ours, theirs, judge = (f"{peer.address}/v1#{name}" for name in ("ours", "theirs", "judge"))
    code, text, last = await asyncio.to_thread(
        evaluated,
        *("characterglm", "--data", bench_data / "characterglm" / "character.json", "--engine", ours),
        *("--against", theirs, "--judge", judge, "--limit", 1, "--turns", 2, "--at-once", 1),
    )
    assert code == 0, text
    found = last["results"][ours]
    assert found["overall"]["mean"] == 4.0
    assert found[f"out-of-character, {judge}"]["mean"] == 1.0
    assert found[f"contradiction, {judge}"]["mean"] == 0.0
    assert found[f"proactivity, {judge}"]["mean"] == 0.5
    assert found[f"errors, overall, {judge}"]["mean"] == 0.5, "two replies out of character, one that leads on"
    assert last["results"][theirs][f"errors, overall, {judge}"]["mean"] == 1.0
    assert [found[f"{word}, {judge}"] for word in ("win", "tie", "lose", "unreadable pairs")] == [1, 0, 0, 0]


async def test_a_talk_holds_what_was_said_and_knows_a_repetition(tmp_path: Path) -> None:
    engine = scripted(tmp_path, WORDS[0], WORDS[1], WORDS[0], "")
    (talk,) = await converse(engine, [MARA], [SAID["en"][:4]])
    assert talk.said == (WORDS[0], WORDS[1], WORDS[0], SILENCE)
    assert talk.lost == 1
    assert transcript(talk.scene, 2) == f"User: {SAID['en'][0]}\nMara: {WORDS[0]}"
    assert repetition([talk])["repetition"].mean == pytest.approx(1 / 4)  # type: ignore[union-attr]
    assert not repeats(WORDS[2], WORDS[:2])


def test_drift_tells_a_character_that_loses_its_manner_from_one_that_keeps_it() -> None:
    pirate = ["Arr, the sea be callin', matey!", "Ye scurvy dogs, arr!", "Arr, walk the plank, matey."]
    lord = [
        "One would hardly call that proper.",
        "I should be delighted, my dear fellow.",
        "Hardly proper, my good man.",
    ]
    judge = Discriminator([*pirate, *lord], ["pirate"] * 3 + ["lord"] * 3)

    def talk(*replies: str) -> Talk:
        history = [m for reply in replies for m in (Message("user", "And?"), Message("assistant", reply))]
        return Talk(Scene("pirate", "en", "", history=tuple(history)))

    new = (f"The {word} is here." for word in ("oil", "rope", "lamp", "boat", "fog", "gull", "net", "pier", "mast"))
    fresh = measured([talk(*new)], judge)
    assert fresh["self-similarity, change"].mean == 0, "new all along"  # type: ignore[union-attr]
    stale = measured([talk("Oil.", "The rope?", "A boat!", "Fog, and gulls.", "Aye, aye, aye.", "Aye, aye.")], judge)
    assert stale["self-similarity, change"].mean > 0.5  # type: ignore[union-attr]
    lost = measured([talk("Arr, ye scurvy matey!", "Arr, proper sea.", "My dear fellow, hardly proper.")], judge)
    kept = measured([talk("Arr, ye scurvy matey!", "Arr, dogs!", "Walk the plank, arr, ye matey.")], judge)
    assert lost["in style, change"].mean < kept["in style, change"].mean  # type: ignore[union-attr]
    assert lost["in style, change"].mean < 0  # type: ignore[union-attr]


def test_a_long_talk_never_says_the_same_to_a_character_twice() -> None:
    lines = said(MARA, 40)
    assert len(set(lines)) == 40


def test_drift_needs_roles_to_tell_apart(tmp_path: Path, evaluated) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"role": "Mara", "question": "Why?", "generated": ["The lamp is lit."]}', "utf-8")
    code, text, _ = evaluated("drift", "--data", file, "--engine", "packaged")
    assert code == 2
    assert "two speakers at least" in text


async def test_drift_runs_on_real_roles(bench_data: Path, evaluated, spoken) -> None:
    data = bench_data / "rolebench" / "zh_role_specific_train.jsonl"
    code, text, last = await asyncio.to_thread(
        evaluated, "drift", "--data", data, "--engine", spoken, "--role", "李白", "--turns", 3
    )
    assert code == 0, text
    assert last["results"][spoken]["in style, change"]["n"] == 1


def test_human_likeness_is_counted_of_rows_without_asking_anybody(bench_data: Path, evaluated) -> None:
    data = bench_data / "huanhuan" / "huanhuan.json"
    code, text, last = evaluated("human-like", "--data", data, "--limit", 300)
    assert code == 0, text
    assert last["results"]["output"]["words"]["n"] > 250
    found = counted(["Oh, maybe? I'm tired 😴"])
    assert found["emoji"].mean > 0  # type: ignore[union-attr]


def test_every_dimension_of_charactereval_is_in_one_column_of_its_leaderboard() -> None:
    names = [name for group in charactereval.GROUPS.values() for name in group]
    assert names == [rubric.name for rubric in CHARACTEREVAL]
