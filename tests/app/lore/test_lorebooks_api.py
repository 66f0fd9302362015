"""World info over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.app.lore.recorded import VECTORS, WHOLE, parted_from, read_vectors
from tests.app.lore.test_recorded import BEYOND_RE2

BOOK = {
    "entries": {
        "0": {"uid": 0, "key": ["moat"], "content": "{{char}} says: eels live in the moat.", "position": 4, "depth": 2},
        "1": {"uid": 1, "key": ["eels"], "content": "Eels are long.", "position": 1, "sticky": 3},
        "2": {"uid": 2, "key": ["nothing"], "content": "never", "disable": True},
    }
}
RUN: dict[str, Any] = {
    "book": BOOK,
    "settings": {"world_info_depth": 1, "world_info_recursive": True, "world_info_budget": 50},
    "char": "Mara",
    "user": "Ana",
    "messages": [
        {"name": "Ana", "is_user": True, "mes": "What lives in the moat?"},
        {"name": "Mara", "is_user": False, "mes": "Guess."},
    ],
}


async def run(client: httpx.AsyncClient, **changes: Any) -> list[dict[str, Any]]:
    answer = await client.post("/api/lorebooks/activate", json=RUN | changes)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def test_a_posted_book_is_run_call_by_call_with_a_verdict_on_every_entry(client: httpx.AsyncClient) -> None:
    first, second = await run(client, calls=[1, 2])
    assert first["activated"] == [0, 1]
    assert first["WIDepthEntries"] == [{"depth": 2, "role": 0, "entries": ["Mara says: eels live in the moat."]}]
    assert first["worldInfoAfter"] == "Eels are long."
    assert {verdict["uid"]: (verdict["fired"], verdict["reason"]) for verdict in first["verdicts"]} == {
        **{0: (True, "key"), 1: (True, "key")},
        2: (False, "disabled"),
    }
    assert first["timed"]["sticky"]["book.1"]["end"] == 4
    assert second["activated"] == [1]


async def test_whole_numbers_may_be_written_with_a_point(client: httpx.AsyncClient) -> None:
    assert await run(client, calls=[1.0, 2.0], seed=3.0, greeting=0.0, external=[1.0]) == await run(
        client, calls=[1, 2], seed=3, greeting=0, external=[1]
    )


async def test_timers_of_an_answer_can_be_posted_again(client: httpx.AsyncClient) -> None:
    timed = (await run(client, calls=[1]))[0]["timed"]
    assert (await run(client, calls=[2], timed=timed))[0]["activated"] == [1]
    assert (await run(client, calls=[2]))[0]["activated"] == []


async def test_draws_can_be_numbers_lists_or_those_of_an_answer(client: httpx.AsyncClient) -> None:
    book = {"entries": {str(n): {"uid": n, "constant": True, "content": "x", "group": "g"} for n in (0, 1)}}
    for draws in ([0.2, 0.9], [[0.2], [0.9]], [[{"value": 0.2, "kind": "group"}], [{"value": 0.9}]]):
        first, second = await run(client, book=book, calls=[1, 1], draws=draws)
        assert (first["activated"], second["activated"]) == ([0], [1])
    again = await run(client, book=book, calls=[1, 1], expected=[first, second])
    assert [call["activated"] for call in again] == [[0], [1]]


@pytest.mark.parametrize(
    "change",
    [
        *({"book": {}}, {"book": {"entries": 3}}, {"draws": [1.5]}, {"timed": {"sticky": {"a": 1}}}, {"calls": [-1]}),
        {"calls": [1] * 65},
    ],
)
async def test_what_can_not_be_read_is_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    answer = await client.post("/api/lorebooks/activate", json=RUN | change)
    assert answer.status_code == 422


async def test_whatever_stands_in_fields_of_a_book_is_answered(client: httpx.AsyncClient) -> None:
    strange = {"uid": "x\ud800", "key": [1, "moat"], "content": None, "order": "high", "position": -1, "depth": 1e99}
    answer = await client.post(
        "/api/lorebooks/activate",
        content=json.dumps(RUN | {"book": {"entries": {"0": strange}}}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 200


@pytest.mark.skipif(not VECTORS.is_file(), reason=f"needs the recorded runs at {VECTORS} (set MOODLINE_BENCH_DATA)")
async def test_recorded_runs_can_be_posted_as_they_are(client: httpx.AsyncClient) -> None:
    vectors = [v for v in read_vectors()[::9] if v["id"] not in BEYOND_RE2]
    assert any("draws" in call for vector in vectors for call in vector["expected"])
    for vector in vectors:
        answer = await client.post("/api/lorebooks/activate", json=vector)
        assert answer.status_code == 200, vector["id"]
        assert parted_from(vector, answer.json()["results"], WHOLE) == [], vector["id"]


# Stored lorebooks

HARBOUR: dict[str, Any] = {
    "name": "Harbour",
    "settings": {"recursive": True},
    "entries": [
        {"name": "moat", "keys": ["moat"], "content": "Eels live in the moat."},
        {"name": "eels", "keys": ["eels"], "content": "Eels are long."},
    ],
}
ANY = {"If-Match": "*"}


async def test_a_lorebook_is_made_read_changed_and_taken_away(client: httpx.AsyncClient) -> None:
    made = await client.post("/api/lorebooks", json=HARBOUR)
    assert made.status_code == 201, made.text
    book = made.json()
    url = f"/api/lorebooks/{book['id']}"
    assert (book["entries"], book["revision"], book["settings"]["recursive"], book["shared"]) == (2, 1, True, False)
    assert (await client.get("/api/lorebooks")).json()["items"] == [book] == [(await client.get(url)).json()]
    assert (await client.patch(url, json={"name": "Port"})).status_code == 428
    changed = await client.patch(
        url, json={"name": "Port", "enabled": False}, headers={"If-Match": made.headers["etag"]}
    )
    assert (changed.json()["name"], changed.json()["revision"]) == ("Port", 2)
    assert (await client.patch(url, json={}, headers={"If-Match": made.headers["etag"]})).status_code == 412
    replaced = await client.put(url, json={"name": "Quay", "entries": [{"content": "x"}]}, headers=ANY)
    assert (replaced.json()["entries"], replaced.json()["enabled"]) == (1, True)
    assert (await client.delete(url, headers=ANY)).status_code == 204
    assert (await client.get(url)).status_code == 404


async def test_entries_are_added_changed_ordered_and_taken_away(client: httpx.AsyncClient) -> None:
    url = f"/api/lorebooks/{(await client.post('/api/lorebooks', json=HARBOUR)).json()['id']}"
    added = await client.post(f"{url}/entries", json=[{"content": "a"}, {"content": "b"}], headers=ANY)
    assert added.status_code == 201, added.text
    ids = [entry["id"] for entry in (await client.get(f"{url}/entries")).json()]
    assert ids[2:] == [entry["id"] for entry in added.json()]
    ordered = await client.put(f"{url}/order", json={"ids": ids[::-1]}, headers=ANY)
    assert [entry["content"] for entry in ordered.json()] == ["b", "a", "Eels are long.", "Eels live in the moat."]
    first = await client.put(f"{url}/order", json={"ids": ids[1:2]}, headers=ANY)
    assert [entry["content"] for entry in first.json()][:2] == ["Eels are long.", "b"]
    assert (await client.put(f"{url}/order", json={"ids": ["0"]}, headers=ANY)).status_code == 404
    entry = f"{url}/entries/{ids[0]}"
    body = {"content": "c", "position": "depth", "depth": 1, "role": "user"}
    assert (await client.put(entry, json=body, headers=ANY)).json()["role"] == "user"
    assert (await client.get(entry)).json()["content"] == "c"
    assert (await client.delete(entry, headers=ANY)).status_code == 204
    assert (await client.get(entry)).status_code == 404
    assert (await client.get(url)).json()["entries"] == 3


async def test_native_files_come_in_and_go_out_with_what_only_other_programs_know(client: httpx.AsyncClient) -> None:
    native = {"entries": {"7": {"uid": 7, "key": ["a"], "content": "x", "automationId": "z", "scanDepth": 5000}}}
    made = await client.post("/api/lorebooks/import?name=Eldoria", json=native)
    assert made.status_code == 201, made.text
    out = (await client.get(f"/api/lorebooks/{made.json()['id']}/export")).json()
    (entry,) = out["entries"].values()
    assert (out["name"], entry["automationId"], entry["key"], entry["scanDepth"]) == ("Eldoria", "z", ["a"], 1000)
    assert (await client.post("/api/lorebooks/import", json={"entries": 3})).status_code == 422


async def test_a_book_as_cards_have_it_comes_in_alone_or_as_a_lorebook_v3(client: httpx.AsyncClient) -> None:
    entry = {"keys": ["moa+t"], "content": "@@depth 2\nEels.", "use_regex": True, "enabled": True, "insertion_order": 7}
    entry["extensions"] = {"sticky": 3, "moodline": {"stages": ["friend"]}}
    data = {"name": "护城河", "scan_depth": 9, "recursive_scanning": True, "extensions": {}, "entries": [entry]}
    for file in ({"spec": "lorebook_v3", "data": data}, data):
        made = await client.post("/api/lorebooks/import", json=file)
        assert made.status_code == 201, made.text
        book = made.json()
        assert (book["name"], book["settings"]["scan_depth"], book["settings"]["recursive"]) == ("护城河", 9, True)
        (read,) = (await client.get(f"/api/lorebooks/{book['id']}/entries")).json()
        assert (read["keys"], read["order"], read["sticky"], read["stages"]) == (["/moa+t/"], 7, 3, ["friend"])
    for broken in ({"spec": "lorebook_v3", "data": 3}, {"spec": "lorebook_v3"}, {"name": "x"}, {"entries": None}):
        refused = await client.post("/api/lorebooks/import", json=broken)
        assert refused.status_code == 422, broken
    sent = await client.post("/api/characters/import", json={"spec": "lorebook_v3", "data": data})
    assert sent.status_code == 422
    assert "POST /api/lorebooks/import" in sent.json()["detail"]


async def test_a_stored_book_can_be_tried_out(client: httpx.AsyncClient) -> None:
    url = f"/api/lorebooks/{(await client.post('/api/lorebooks', json=HARBOUR)).json()['id']}"
    chat = {"messages": RUN["messages"], "settings": {"world_info_recursive": True, "world_info_depth": 2}}
    (result,) = (await client.post(f"{url}/activate", json=chat)).json()["results"]
    assert [verdict["name"] for verdict in result["verdicts"] if verdict["fired"]] == ["moat", "eels"]


async def test_a_shared_book_needs_an_admin_and_is_seen_by_all(as_owner: Any) -> None:
    ana, bo = await as_owner("ana"), await as_owner("bo", admin=True)
    assert (await ana.post("/api/lorebooks", json=HARBOUR | {"shared": True})).status_code == 403
    assert (await bo.post("/api/lorebooks", json=HARBOUR | {"shared": True, "user": "x"})).status_code == 422
    made = (await bo.post("/api/lorebooks", json=HARBOUR | {"shared": True})).json()
    assert (await ana.get(f"/api/lorebooks/{made['id']}")).json()["shared"] is True
    assert (await ana.delete(f"/api/lorebooks/{made['id']}", headers=ANY)).status_code == 403
