"""Where requests go on that front ends have changed on the way: the whole server, both databases."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.services import Services
from app.tables import Message, Session
from models.scripted import ScriptedEngine
from tests.app.conftest import Character

U, A = "user", "assistant"
Talk = list[tuple[str, str]]
SAID = ("My cat is called Pickle.", "Do gulls sleep?", "What do you mend?", "Is the quay far?", "Who built it?")


@pytest.fixture
async def made(client: httpx.AsyncClient, mira: Character) -> None:
    answer = await client.post("/api/characters", json=mira)
    assert answer.status_code == 201, answer.text


async def say(client: httpx.AsyncClient, talk: Talk, session: str | None = None, **more: Any) -> httpx.Response:
    messages = [{"role": role, "content": content} for role, content in talk]
    headers = {"x-session-id": session} if session else {}
    body = {"model": "char/mira", "user": "ana", "messages": messages} | more
    answer = await client.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def converse(client: httpx.AsyncClient, engine: ScriptedEngine, first: Talk | None = None) -> tuple[Talk, str]:
    """A conversation of five turns, and its session."""
    talk: Talk = list(first or [])
    for number, said in enumerate(SAID):
        engine.replies.append(f"Reply {number}.")
        answer = await say(client, [*talk, (U, said)])
        talk += [(U, said), (A, f"Reply {number}.")]
    return talk, answer.headers["x-session-id"]


async def branch(client: httpx.AsyncClient, answer: httpx.Response) -> list[str]:
    session = (await client.get(f"/api/sessions/{answer.headers['x-session-id']}")).json()
    return [message["text"] for message in session["branch"]]


async def sessions(services: Services) -> int:
    async with services.db.read() as db:
        return await db.scalar(select(func.count()).select_from(Session)) or 0


@pytest.mark.usefixtures("made")
async def test_a_client_that_drops_the_oldest_messages_goes_on_in_its_conversation(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    talk, session = await converse(client, engine)
    for kept in (6, 4, 3):
        engine.replies.append("So it is.")
        answer = await say(client, [*talk[-kept:], (U, "Tell me more.")])
        talk += [(U, "Tell me more."), (A, "So it is.")]
        assert answer.headers["x-session-id"] == session
        assert await branch(client, answer) == [text for _, text in talk]
    shown = [message.content for message in engine.asked[-1].messages if message.role != "system"]
    assert "My cat is called Pickle." in shown, "what the client left out is in the prompt while there is room"
    assert await sessions(services) == 1


@pytest.mark.usefixtures("made")
async def test_what_is_left_out_may_be_in_the_middle_and_the_rest_regenerated_or_edited(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    talk, session = await converse(client, engine)
    engine.replies += ["Again.", "Edited.", "After."]
    again = await say(client, talk[4:-1])
    assert again.headers["x-session-id"] == session
    assert await branch(client, again) == [*(text for _, text in talk[:-1]), "Again."]
    edited = await say(client, [*talk[2:7], (A, "I never said that."), (U, "Who was it?")])
    assert await branch(client, edited) == [*(t for _, t in talk[:7]), "I never said that.", "Who was it?", "Edited."]
    first_kept = await say(client, [*talk[:2], *talk[6:], (U, "And then?")])
    assert await branch(client, first_kept) == [*(text for _, text in talk), "And then?", "After."]
    assert await sessions(services) == 1


@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.usefixtures("made")
async def test_a_first_message_that_is_edited_where_it_stands_is_a_sibling_in_its_own_conversation(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services, greeted: bool
) -> None:
    greeting = [(A, "Mind the ropes, ana.")] if greeted else []
    talk, session = await converse(client, engine, greeting)
    engine.replies += ["Yes?", "Well.", "A dog.", "Rex."]
    await say(client, [*greeting, (U, "Something else.")])
    other = await say(client, [*greeting, (U, "Something else."), (A, "Yes?"), (U, "And?")])
    first = len(greeting)
    edited = [*talk[:first], (U, "My dog is called Rex."), *talk[first + 1 :], (U, "What have I?")]
    answer = await say(client, edited)
    assert answer.headers["x-session-id"] == session != other.headers["x-session-id"]
    assert await branch(client, answer) == [*(text for _, text in edited), "A dog."]
    tree = (await client.get(f"/api/sessions/{session}/tree")).json()["tree"]
    above = tree[first - 1]["id"] if first else None
    beside = ["My cat is called Pickle.", "My dog is called Rex."]
    assert [message["text"] for message in tree if message["parent_id"] == above] == beside
    more = await say(client, [*edited, (A, "A dog."), (U, "Its name?")])
    assert (await branch(client, more))[-2:] == ["Its name?", "Rex."]
    engine.replies.append("A hen.")
    again = [*talk[:first], (U, "My hen is called Agnes."), *talk[first + 1 :], (U, "What have I?")]
    named = await say(client, again, session)
    assert await branch(client, named) == [*(text for _, text in again), "A hen."]
    assert await sessions(services) == 2


@pytest.mark.usefixtures("made")
async def test_a_first_message_that_is_edited_and_answered_anew_begins_another_conversation(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    talk, session = await converse(client, engine)
    engine.replies += ["Rex.", "Far."]
    answer = await say(client, [(U, "My dog is called Rex.")])
    assert answer.headers["x-session-id"] != session, "it can't be told from any other first message"
    summed_up = await say(client, [(U, "We talked about cats and gulls."), *talk[-5:], (U, "How far?")])
    assert summed_up.headers["x-session-id"] != session, "what stood before is not said to be otherwise"


@pytest.mark.usefixtures("made")
async def test_of_two_conversations_that_have_the_same_middle_the_newest_goes_on(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    talk, old = await converse(client, engine, [(U, "Hi."), (A, "Ho.")])
    _, new = await converse(client, engine, [(U, "Hey."), (A, "Hm.")])
    assert old != new
    engine.replies.append("Aye.")
    answer = await say(client, [*talk[4:], (U, "More?")])
    assert answer.headers["x-session-id"] == new


@pytest.mark.usefixtures("made")
async def test_a_few_common_words_do_not_end_in_an_old_conversation(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += ["Ho.", "Aye.", "Fine.", "New."]
    await say(client, [(U, "Hi.")])
    await say(client, [(U, "Hi."), (A, "Ho."), (U, "ok")])
    await say(client, [(U, "Hi."), (A, "Ho."), (U, "ok"), (A, "Aye."), (U, "How are you?")])
    answer = await say(client, [(U, "ok"), (A, "Aye."), (U, "A story, please.")])
    assert await branch(client, answer) == ["ok", "Aye.", "A story, please.", "New."]
    assert await sessions(services) == 2


@pytest.mark.usefixtures("made")
async def test_nobody_goes_on_in_the_conversation_of_another_user(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    talk, session = await converse(client, engine)
    engine.replies.append("Who are you?")
    answer = await say(client, [*talk[4:], (U, "More?")], user="bo")
    assert answer.headers["x-session-id"] != session
    assert "My cat is called Pickle." not in str(engine.asked[-1].messages)


@pytest.mark.usefixtures("made")
async def test_a_greeting_may_be_sent_or_left_out_and_name_the_user_otherwise(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += ["Aye.", "Again.", "More.", "Still."]
    first = await say(client, [(A, "Mind the ropes, Ana Berg."), (U, "Hello.")])
    assert await branch(client, first) == ["Mind the ropes, Ana Berg.", "Hello.", "Aye."]
    await say(client, [(U, "Hello."), (A, "Aye."), (U, "And?")])
    assert await sessions(services) == 2, "who never showed the greeting has another conversation"
    with_greeting = [(A, "Mind the ropes, ana."), (U, "Hello."), (A, "Aye."), (U, "And?"), (A, "Again."), (U, "So?")]
    other = await say(client, with_greeting)
    assert await branch(client, other) == ["Hello.", "Aye.", "And?", "Again.", "So?", "More."]
    engine.replies.append("x")
    same = await say(client, [(A, "Mind the ropes, Ana Berg."), (U, "Hello."), (A, "Aye."), (U, "Next?")])
    assert same.headers["x-session-id"] == first.headers["x-session-id"]


@pytest.mark.usefixtures("made")
async def test_a_session_that_began_with_the_greeting_is_found_by_a_client_that_leaves_it_out(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    made = (await client.post("/api/sessions", json={"character": "mira", "user": "ana", "greeting": 1})).json()
    engine.replies += ["Aye.", "Twice.", "So."]
    await say(client, [(U, "Hello.")], session=made["id"])
    again = await say(client, [(U, "Hello.")])
    assert await branch(client, again) == ["You again, ana?", "Hello.", "Twice."]
    after = await say(client, [(U, "Hello."), (A, "Twice."), (U, "Well?")])
    assert after.headers["x-session-id"] == made["id"]
    assert await branch(client, after) == ["You again, ana?", "Hello.", "Twice.", "Well?", "So."]


@pytest.mark.usefixtures("made")
async def test_names_in_the_content_are_neither_stored_nor_matched(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += ["Aye.", "So."]
    await say(client, [(A, "Mira: Mind the ropes, Ana."), (U, "Ana: Hello.")])
    named: Talk = [(A, "Mira: Mind the ropes, Ana."), (U, "Ana: Hello."), (A, "Mira: Aye."), (U, "Ana: And?")]
    answer = await say(client, named)
    assert await branch(client, answer) == ["Mind the ropes, Ana.", "Hello.", "Aye.", "And?", "So."]
    assert await sessions(services) == 1


@pytest.mark.usefixtures("made")
async def test_an_explicit_session_takes_what_is_new_or_all_there_is(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    made = (await client.post("/api/sessions", json={"character": "mira", "user": "ana"})).json()["id"]
    engine.replies += [f"Reply {n}." for n in range(6)]
    hello = "Mind the ropes, ana."
    await say(client, [(U, "Yes.")], session=made)
    new = await say(client, [(U, "Yes.")], session=made)
    assert await branch(client, new) == [hello, "Yes.", "Reply 0.", "Yes.", "Reply 1."], "the same words said again"
    full = await say(client, [(A, hello), (U, "Yes."), (A, "Reply 0."), (U, "No.")], session=made)
    assert await branch(client, full) == [hello, "Yes.", "Reply 0.", "No.", "Reply 2."]
    last = await say(client, [(A, "Reply 2."), (U, "So?")], session=made)
    assert await branch(client, last) == [hello, "Yes.", "Reply 0.", "No.", "Reply 2.", "So?", "Reply 3."]
    two = await say(client, [(U, "One."), (U, "Two.")], session=made)
    assert (await branch(client, two))[-3:] == ["One.", "Two.", "Reply 4."]


@pytest.mark.usefixtures("made")
async def test_two_clients_share_a_conversation(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += ["One.", "From a.", "From b.", "Both."]
    await say(client, [(U, "Hello.")])
    begun: Talk = [(U, "Hello."), (A, "One.")]
    await say(client, [*begun, (U, "I am at home.")])
    await say(client, [*begun, (U, "I am on the train.")])
    answer = await say(client, [*begun, (U, "I am at home."), (A, "From a."), (U, "Still there?")])
    assert await branch(client, answer) == ["Hello.", "One.", "I am at home.", "From a.", "Still there?", "Both."]
    async with services.db.read() as db:
        assert await db.scalar(select(func.count()).select_from(Message)) == 8
    assert await sessions(services) == 1


@pytest.mark.usefixtures("made")
async def test_store_false_leaves_nothing_and_reads_what_is_there(
    client: httpx.AsyncClient, engine: ScriptedEngine, rows: Any
) -> None:
    talk, _ = await converse(client, engine)
    before = await rows()
    engine.replies += ["Pickle."] * 4
    for stream in (False, True):
        for sent in ([*talk, (U, "My cat?")], [*talk[-4:], (U, "My cat?")]):
            answer = await say(client, sent, store=False, stream=stream)
            assert "x-session-id" not in answer.headers
    assert await rows() == before
