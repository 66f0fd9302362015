from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import func, select, update

from app.reindex import count_waiting, embed_waiting
from app.services import Services
from app.tables import Line
from retrieval.emotion import EMOTIONS

Fixture = Any
LINES = "/api/characters/mira/lines"
SCRIPT = "\n\n".join(
    f"Sam: {asked}\nMira: {said}"
    for asked, said in (
        ("Is my net mended?", "Almost. Give me an hour and some light to see by."),
        ("Did you sleep at all?", "Sleep is for people whose boats are not sinking, my dear."),
        ("My brother drowned last winter.", "I know. I mended the net they found him in, and I wept."),
    )
)
JSONL = "\n".join(
    json.dumps({"role": role, "content": content, "act_id": act}, ensure_ascii=False)
    for act, role, content in (
        (1, "Sam", "What is the weather tomorrow?"),
        (1, "Mira", "Wind from the north, so stay at home and mend."),
        (2, "Sam", "你会说中文吗？"),
        (2, "Mira", "会一点，是船上的厨子教我的。"),
    )
)
CSV = 'speaker,text,scene\nSam,"Rope, or wire?",1\nMira,"Rope. Wire remembers every knot, and forgives none.",1\n'


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira)).status_code == 201


async def upload(http: httpx.AsyncClient, content: str | bytes, media: str = "text/plain", **query: str) -> Any:
    answer = await http.post(LINES, content=content, headers={"content-type": media}, params=query)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def listed(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await http.get(LINES, params={"limit": 500})).json()["items"]
    return items


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("content", "media", "query", "turns", "units"),
    [
        (SCRIPT, "text/plain", {}, 6, 3),
        (SCRIPT, "application/octet-stream", {}, 6, 3),
        (JSONL, "application/jsonl", {}, 4, 2),
        (JSONL, "application/x-ndjson; charset=utf-8", {}, 4, 2),
        (JSONL, "text/plain", {"format": "jsonl"}, 4, 2),
        (JSONL, "text/plain", {}, 4, 2),
        (CSV, "text/csv", {}, 2, 1),
        (CSV, "text/plain", {"format": "csv"}, 2, 1),
    ],
)
async def test_a_raw_body_of_every_format_is_read(
    client: httpx.AsyncClient, content: str, media: str, query: dict[str, str], turns: int, units: int
) -> None:
    done = await upload(client, content, media, **query)
    assert (done["turns"], done["units"], done["duplicates"], done["embedded"]) == (turns, units, 0, 0)
    assert len(await listed(client)) == units


@pytest.mark.parametrize(
    ("name", "content", "units"),
    [("山上.txt", SCRIPT, 3), ("lines.JSONL", JSONL, 2), ("a/b.csv", CSV, 1), ("", CSV, 1)],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_form_with_a_file_is_read_and_its_name_kept(
    client: httpx.AsyncClient, name: str, content: str, units: int
) -> None:
    answer = await client.post(LINES, files={"file": (name or "blob", content.encode())})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["units"], answer.json()["filename"]) == (units, name or "blob")


async def test_an_upload_is_watched_until_every_unit_is_embedded(client: httpx.AsyncClient, services: Services) -> None:
    answer = await client.post(LINES, content=SCRIPT)
    assert (answer.status_code, answer.json()["status"]) == (202, "embedding")
    assert services.wake.is_set(), "the background embedder was not told"
    place = answer.headers["location"]
    assert place == f"{LINES}/imports/{answer.json()['id']}"
    assert (await client.get(place)).json() == answer.json()
    assert [line["embedded"] for line in await listed(client)] == [False] * 3
    reported: list[int] = []
    assert await embed_waiting(services, reported.append) == sum(reported) == 3
    done = (await client.get(place)).json()
    assert (done["status"], done["embedded"], done["units"]) == ("done", 3, 3)
    assert [line["embedded"] for line in await listed(client)] == [True] * 3
    assert await embed_waiting(services) == 0


async def test_a_unit_holds_what_was_said_before_and_the_answer_last(
    client: httpx.AsyncClient, services: Services
) -> None:
    await upload(client, JSONL, "application/jsonl")
    assert [line["dialogue"] for line in await listed(client)] == [
        [["Sam", "What is the weather tomorrow?"], ["Mira", "Wind from the north, so stay at home and mend."]],
        [["Sam", "你会说中文吗？"], ["Mira", "会一点，是船上的厨子教我的。"]],
    ]
    async with services.db.read() as db:
        rows = list(await db.scalars(select(Line).order_by(Line.id)))
    assert [row.key for row in rows] == ["user0: What is the weather tomorrow?", "user0: 你会说中文吗？"]
    assert rows[0].answer == "Wind from the north, so stay at home and mend."


async def test_a_repeated_upload_adds_nothing(client: httpx.AsyncClient, rows: Fixture) -> None:
    await upload(client, SCRIPT)
    before = await rows()
    again = await upload(client, SCRIPT)
    assert (again["units"], again["duplicates"], again["status"]) == (0, 3, "done")
    assert await rows() == before | {"line_imports": 2}
    more = await upload(client, f"{SCRIPT}\n\nSam: One more?\nMira: One more, then it is time to go home.")
    assert (more["units"], more["duplicates"]) == (1, 3)


async def test_the_same_file_uploaded_twice_at_once_is_stored_once(client: httpx.AsyncClient, rows: Fixture) -> None:
    done = await asyncio.gather(*(upload(client, SCRIPT) for _ in range(3)))
    assert sorted((one["units"], one["duplicates"]) for one in done) == [(0, 3), (0, 3), (3, 0)]
    assert (await rows())["lines"] == 3


async def test_the_role_decides_whose_lines_are_taken(client: httpx.AsyncClient) -> None:
    done = await upload(client, SCRIPT, role="Sam")
    assert done["units"] == 3
    assert {line["dialogue"][-1][0] for line in await listed(client)} == {"Sam"}


async def test_a_file_without_a_line_of_the_role_names_the_speakers_and_stores_nothing(
    client: httpx.AsyncClient, rows: Fixture
) -> None:
    before = await rows()
    for query in ({"role": "Mir"}, {"role": "三三"}, {"role": "\x00"}, {"role": "x" * 100}):
        answer = await client.post(LINES, content=SCRIPT, params=query)
        assert answer.status_code in (400, 422), query
        if query["role"] != "\x00":
            assert answer.json()["title"] == "role_not_found"
            assert answer.json()["param"] == "role"
            assert "Sam, Mira" in answer.json()["detail"]
    assert await rows() == before


BAD: list[tuple[str, bytes, str, dict[str, str], int, str]] = [
    ("empty", b"", "text/plain", {}, 422, "Nothing is said"),
    ("blank", b" \n\n\t\n", "text/plain", {}, 422, "Nothing is said"),
    ("no speaker", b"once upon a time\nthere was a net", "text/plain", {}, 422, "Nothing is said"),
    ("not UTF-8", "甄嬛：臣妾做不到啊".encode("gb18030"), "text/plain", {}, 422, "encoding=gb18030"),
    ("half UTF-16", b"\xff\xfeM", "text/plain", {"encoding": "utf-16"}, 422, "is not utf-16"),
    ("unknown encoding", b"Sam: Hi", "text/plain", {"encoding": "rot13"}, 422, "Unknown encoding"),
    ("unknown format", b"Sam: Hi", "text/plain", {"format": "docx"}, 422, "format"),
    ("broken JSONL", b'{"role": "Mira", "content": "x"}\n{"role"', "application/jsonl", {}, 422, "Line 2"),
    ("JSONL of strings", b'{"role": 5, "content": "x"}', "application/jsonl", {}, 422, "Line 1"),
    ("a JSON array", b'[{"role": "Mira", "content": "x"}]', "application/jsonl", {}, 422, "one JSON object on each"),
    ("deep JSON", b'{"a":' + b"[" * 100_000, "application/jsonl", {}, 422, "Line 1"),
    ("a long number", b'{"a":' + b"9" * 10_000 + b"}", "application/jsonl", {}, 422, "Line 1"),
    ("ragged CSV", b"speaker,text\nSam,one,two", "text/csv", {}, 422, "3 cells, 2 columns"),
    ("unclosed quote", b'speaker,text\nSam,"one', "text/csv", {}, 422, "not CSV"),
    ("CSV without header", b"Sam,Hi\nMira,Hello", "text/csv", {}, 422, "expected a header"),
    ("unknown emotion", b'{"dialogue":[["Mira","Hm."]],"emotion":"fine"}', "application/jsonl", {}, 422, "acceptance"),
    (
        "long emotion",
        b'{"dialogue":[["Mira","Hm."]],"emotion":"' + b"j" * 99 + b'"}',
        "application/jsonl",
        {},
        422,
        "joy",
    ),
    ("one long line", b"Mira: " + b"x" * 100_001, "text/plain", {}, 422, "max_line_chars"),
    ("long role", b"Mira: Hi", "text/plain", {"role": "x" * 101}, 422, "role"),
    ("an image", b"\x89PNG\r\n\x1a\n\x00\x00", "image/png", {}, 422, "0x89"),
    ("form without boundary", b"x", "multipart/form-data", {}, 400, "oundary"),
    ("form without a file", b"--b\r\n\r\n", "multipart/form-data; boundary=b", {}, 400, ""),
    ("broken form", b"--b\r\nhello", "multipart/form-data; boundary=b", {}, 400, ""),
]


async def test_a_file_that_can_not_be_read_is_told_why_and_stores_nothing(
    client: httpx.AsyncClient, rows: Fixture, services: Services
) -> None:
    before = await rows()
    for name, content, media, query, status, why in BAD:
        answer = await client.post(LINES, content=content, headers={"content-type": media}, params=query)
        assert answer.status_code == status, (name, answer.text)
        assert answer.headers["content-type"] == "application/problem+json", name
        assert why in answer.json()["detail"], (name, answer.json())
    field = await client.post(LINES, data={"file": "Mira: a string instead of a file"})
    assert (field.status_code, field.json()["title"]) == (422, "unreadable_lines"), (
        "a form that is not multipart is raw"
    )
    text = await client.post(LINES, files={"other": ("x.txt", SCRIPT.encode())})
    assert (text.status_code, text.json()["param"]) == (400, "file")
    two = await client.post(LINES, files=[("file", ("a", b"Mira: a")), ("file", ("b", b"Mira: b"))])
    assert two.status_code == 400
    assert await rows() == before
    assert not services.wake.is_set()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_a_form_has_beside_its_file_is_left_alone(client: httpx.AsyncClient) -> None:
    beside = {f"field{number}": "x" for number in range(20)}
    answer = await client.post(LINES, files={"file": ("x.txt", SCRIPT.encode())}, data=beside)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_file_over_the_limit_is_refused_while_it_arrives(serve: Fixture, rows: Fixture) -> None:
    http = await serve(max_upload_bytes=2048)
    before = await rows()
    sizes: list[int] = []

    async def endless() -> Any:
        for _ in range(10_000):
            sizes.append(8192)
            yield b"Mira: again\n" * 682 + b"\n" * 8

    for content in (SCRIPT.encode() * 8, b"Mira: hello\n" * 20_000):
        raw = await http.post(LINES, content=content)
        form = await http.post(LINES, files={"file": ("x.txt", content)})
        for answer in (raw, form):
            assert (answer.status_code, answer.json()["title"]) == (413, "too_large"), answer.text
            assert "MOODLINE_MAX_UPLOAD_BYTES" in answer.json()["detail"]
    assert (await http.post(LINES, content=endless())).status_code == 413
    ballast = await http.post(LINES, files={"file": ("x.txt", SCRIPT.encode())}, data={"note": "x" * 100_000})
    assert ballast.status_code == 413
    assert sum(sizes) < 200_000, "the server went on reading"
    assert await rows() == before
    assert (await http.post(LINES, content=SCRIPT)).status_code == 202, "under the limit it is read"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_limit_of_uploads_holds_for_uploads_only(client: httpx.AsyncClient, serve: Fixture) -> None:
    """A character may be called `lines`; its body is JSON and keeps to the limit of JSON."""
    http = await serve(max_body_bytes=1024)
    for path in ("/api/characters/lines", "/api/characters/mira/lore"):
        answer = await http.put(path, content=b" " * 2048, headers={"content-type": "application/json"})
        assert answer.status_code == 413, path
        assert "MOODLINE_MAX_BODY_BYTES" in answer.json()["detail"], path


async def test_hostile_text_is_stored_and_embedded(client: httpx.AsyncClient, services: Services) -> None:
    lone = '{"dialogue": [["S\\u0000am", "a\\ud800b"], ["Mira", "\\udfffIt is {{user}} who said <|im_start|>system."]]}'
    await upload(client, lone, "application/jsonl")
    assert await embed_waiting(services) == 1
    assert (await listed(client))[0]["dialogue"] == [
        ["S\ufffdam", "a\ufffdb"],
        ["Mira", "\ufffdIt is {{user}} who said <|im_start|>system."],
    ]


async def test_a_label_outweighs_what_the_tagger_hears(client: httpx.AsyncClient, services: Services) -> None:
    rows = [
        {"dialogue": [["Sam", "Guess what?"], ["Mira", "I am so happy I could dance, my boat came home!"]]},
        {"dialogue": [["Sam", "Guess."], ["Mira", "So happy I could dance, my boat came home!"]], "emotion": "anger"},
    ]
    await upload(client, "\n".join(map(json.dumps, rows)), "application/jsonl")
    assert sorted(line["label"] or "" for line in await listed(client)) == ["", "anger"]
    await embed_waiting(services)
    async with services.db.read() as db:
        felt = {row.label: np.asarray(row.emotion) for row in await db.scalars(select(Line))}
    assert EMOTIONS[int(felt[None].argmax())] == "joy"
    assert EMOTIONS[int(felt["anger"].argmax())] == "anger"


async def test_lines_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    await upload(client, SCRIPT)
    first = (await client.get(LINES, params={"limit": 2})).json()
    rest = (await client.get(LINES, params={"limit": 2, "after": first["next"]})).json()
    assert [len(first["items"]), len(rest["items"])] == [2, 1]
    assert rest["next"] is None
    assert [*first["items"], *rest["items"]] == await listed(client)
    for wrong in ({"after": -1}, {"after": "x"}, {"after": 2**63}, {"after": 10**40}, {"limit": 0}, {"limit": 501}):
        answer = await client.get(LINES, params=wrong)
        assert (answer.status_code, answer.json()["param"]) == (422, next(iter(wrong))), wrong


async def test_lines_are_removed_one_by_one_by_upload_and_all(client: httpx.AsyncClient) -> None:
    first, second = await upload(client, SCRIPT), await upload(client, JSONL, "application/jsonl")
    one = (await listed(client))[0]["id"]
    assert (await client.delete(f"{LINES}/{one}")).status_code == 204
    assert (await client.delete(f"{LINES}/{one}")).status_code == 404
    assert len(await listed(client)) == 4
    assert (await client.delete(LINES, params={"import_id": second["id"]})).status_code == 204
    assert {line["dialogue"][0][0] for line in await listed(client)} == {"Sam"}
    assert len(await listed(client)) == 2
    assert (await client.delete(LINES, params={"import_id": "0" * 32})).status_code == 404
    assert len(await listed(client)) == 2, "an upload that is not there takes nothing with it"
    assert (await client.delete(LINES)).status_code == 204
    assert await listed(client) == []
    report = (await client.get(f"{LINES}/imports/{first['id']}")).json()
    assert (report["status"], report["embedded"]) == ("done", 0)
    again = await upload(client, SCRIPT)
    assert (again["units"], again["duplicates"]) == (3, 0), "what was removed can be uploaded again"


async def test_lines_and_uploads_of_another_character_are_not_found(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    done = await upload(client, SCRIPT)
    line = (await listed(client))[0]["id"]
    await client.post("/api/characters", json=mira | {"slug": "other"})
    other = "/api/characters/other/lines"
    assert (await client.get(f"{other}/imports/{done['id']}")).status_code == 404
    assert (await client.delete(f"{other}/{line}")).status_code == 404
    assert (await client.delete(other, params={"import_id": done["id"]})).status_code == 404
    assert len(await listed(client)) == 3
    for wrong in (2**63, 10**40, -1):
        assert (await client.delete(f"{LINES}/{wrong}")).status_code in (404, 422), wrong
    assert (await client.delete(f"{LINES}/x")).status_code == 422


async def test_what_is_recalled_follows_every_upload_and_removal(
    client: httpx.AsyncClient, services: Services, talk: Fixture
) -> None:
    async def considered() -> set[str]:
        answer = await talk("mira", "My brother drowned, did you know?", store=True)
        trace = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
        return {line["answer"].split()[0] for line in trace["lines"]}

    await upload(client, SCRIPT)
    assert await considered() == set(), "what has no vector yet can't be recalled"
    await embed_waiting(services)
    assert await considered() == {"Almost.", "Sleep", "I"}
    found = {line["dialogue"][-1][1].split()[0]: line["id"] for line in await listed(client)}
    await client.delete(f"{LINES}/{found['I']}")
    assert await considered() == {"Almost.", "Sleep"}
    more = await upload(client, "Sam: My brother was lost.\nMira: Lost is a word I do not use about the sea.")
    assert await considered() == {"Almost.", "Sleep"}
    await embed_waiting(services)
    assert await considered() == {"Almost.", "Sleep", "Lost"}
    await client.delete(LINES, params={"import_id": more["id"]})
    assert await considered() == {"Almost.", "Sleep"}
    await client.delete(LINES)
    assert await considered() == set()


async def test_a_line_in_the_place_of_a_removed_one_is_not_taken_for_it(
    client: httpx.AsyncClient, services: Services, talk: Fixture
) -> None:
    """SQLite gives the id of the last row again once that row is gone."""
    await upload(client, SCRIPT)
    await embed_waiting(services)
    await talk("mira", "Is my net mended?")
    newest = (await listed(client))[-1]
    await client.delete(f"{LINES}/{newest['id']}")
    await upload(client, "Sam: Where is the moon tonight?\nMira: Behind the chapel, where she always hides from me.")
    await embed_waiting(services)
    answer = await talk("mira", "Where is the moon tonight?")
    trace = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    assert len(trace["lines"]) == 3
    assert trace["lines"][0]["answer"].startswith("Behind the chapel")


async def test_real_dialogues_of_a_table_are_stored(
    client: httpx.AsyncClient, services: Services, bench_data: Path
) -> None:
    content = (bench_data / "index_sansan" / "三三.csv").read_bytes()
    answer = await client.post(LINES, files={"file": ("三三.csv", content)}, params={"role": "三三"})
    assert answer.status_code == 202, answer.text
    done = answer.json()
    assert done["turns"] > 150
    assert 50 < done["units"] == len(await listed(client)) == await count_waiting(services)
    assert {line["dialogue"][-1][0] for line in await listed(client)} == {"三三"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_real_script_is_stored_and_a_few_of_its_lines_recalled(
    client: httpx.AsyncClient, services: Services, talk: Fixture, bench_data: Path
) -> None:
    content = (bench_data / "huanhuan" / "script_excerpt.txt").read_bytes()
    done = await upload(client, content, role="甄嬛")
    assert done["units"] > 300
    async with services.db.write() as db:
        chosen = await db.scalars(select(Line.id).order_by(Line.id).offset(6))
        await db.execute(
            update(Line).where(Line.id.in_(list(chosen))).values(encoder=services.recipe, tagger=services.tagger)
        )
    assert await embed_waiting(services) == 6
    async with services.db.read() as db:
        assert await db.scalar(select(func.count()).select_from(Line).where(Line.vector.is_not(None))) == 6
