"""Conversations against a plain model: whatever two clients do, nothing is lost, leaked or counted twice."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from app.check.everything import everything
from app.embedding import Embedding
from app.main import create_app
from app.reindex import count_waiting, embed_waiting
from app.services import Services, build
from app.sessions.normal import normal
from app.settings import Settings
from models.scripted import ScriptedEngine
from tests.app.tree_model import STAGES, Memoized, Node, Said, Tree, Window, agrees, read_tree

LONG_RUN = int(os.environ.get("MOODLINE_TREE_EXAMPLES", "0"))
"""Histories to try on each database; unset, a few."""
USERS, SLUGS = ("ana", "bo"), ("mira", "tom")
WORDS = ("I love the harbour", "I hate this, go away", "My cat is called Pickle", "今晚有点难过", "What a lovely day")


class Conversations(RuleBasedStateMachine):
    """The server, its clients, and what is known of it."""

    open_database: Callable[[], str]
    encoder: Any
    windows = Bundle("windows")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="moodline-tree-"))
        self.url = type(self).open_database()
        self.engine = ScriptedEngine(context_length=200_000)
        self.count = 0
        self.tree = Tree()
        self.pinned: set[tuple[str | None, str | None]] = set()
        self.run(self._start())
        for slug in SLUGS:
            body = {"slug": slug, "name": slug.title(), "persona": f"{slug.title()} is here.", "stages": STAGES}
            assert self.run(self.http.post("/api/characters", json=body)).status_code == 201

    def run(self, what: Any) -> Any:
        return self.runner.run(what)

    async def _start(self) -> None:
        options = {"context_tokens": 200_000, "window": 1000, "recall_memories": 3}
        settings = Settings(home=self.folder, database_url=self.url, **options, _env_file=None)  # type: ignore[arg-type]
        embedding = Embedding(lambda: self.encoder)
        await embedding.start()
        self.services: Services = build(settings, engine=self.engine, embedding=embedding)
        self.app = create_app(self.services)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def _stop(self) -> None:
        await self.app.state.under_way.close()
        await self.http.aclose()
        await self.services.db.close()

    def teardown(self) -> None:
        try:
            self.look_back()
        finally:
            self.run(self._stop())
            self.runner.close()
            shutil.rmtree(self.folder)

    def look_back(self) -> None:
        """What must be so once the background has done its work."""
        self.run(embed_waiting(self.services))
        assert self.run(count_waiting(self.services)) == 0
        self.everything_agrees()
        answered = {n.parent for n in self.tree.nodes.values() if n.role == "assistant"}
        unfelt = [n for n in answered if n and self.tree.nodes[n].role == "user" and self.tree.emotions[n] is None]
        assert not unfelt, "how it felt is heard in the background, sooner or later"
        assert self.run(self._faults()) == {}

    async def _faults(self) -> Any:
        found = await everything(self.services.db)
        return {name: what.count for name, what in found.items() if what.count}

    # What is done.

    def fresh(self, window: Window, words: str) -> str:
        """A text that nobody has said before, and that tells whose it is."""
        self.count += 1
        return f"{words} {window.user}@{window.slug} {self.count}"

    @rule(target=windows, user=st.sampled_from(USERS), slug=st.sampled_from(SLUGS), words=st.sampled_from(WORDS))
    def open_a_window(self, user: str, slug: str, words: str) -> Window:
        window = Window(user, slug)
        self.send(window, [("user", self.fresh(window, words))])
        return window

    @rule(window=windows, words=st.sampled_from(WORDS))
    def say(self, window: Window, words: str) -> None:
        self.send(window, [*window.talk, ("user", self.fresh(window, words))])

    @rule(window=windows)
    def regenerate(self, window: Window) -> None:
        self.send(window, window.talk[:-1])

    @rule(window=windows, data=st.data(), words=st.sampled_from(WORDS))
    def edit_and_drop_what_follows(self, window: Window, data: st.DataObject, words: str) -> None:
        place = self.one_of_the_users(window, data)
        if place:
            self.send(window, [*window.talk[:place], ("user", self.fresh(window, words))])

    @rule(window=windows, data=st.data(), words=st.sampled_from(WORDS))
    def edit_and_send_what_follows_again(self, window: Window, data: st.DataObject, words: str) -> None:
        place = self.one_of_the_users(window, data)
        if place:
            talk = [*window.talk, ("user", self.fresh(window, words))]
            talk[place] = ("user", self.fresh(window, words))
            self.send(window, talk)

    @rule(window=windows)
    def wrap_lines_anew(self, window: Window) -> None:
        window.talk = [(role, f" {text.replace(' ', chr(10), 1)}\r\n") for role, text in window.talk]

    @rule(window=windows, data=st.data())
    def show_another_branch(self, window: Window, data: st.DataObject) -> None:
        ends = [
            n
            for n in self.tree.nodes.values()
            if self.tree.scopes[n.session] == (window.user, window.slug)
            and n.role == "assistant"
            and n.session not in self.tree.gone
            and n.id not in self.tree.deleted
        ]
        if ends:
            window.talk = [
                (n.role, n.text) for n in self.tree.path(data.draw(st.sampled_from(self.tree.ordered(ends))).id)
            ]

    @rule(target=windows, data=st.data())
    def open_a_window_on_what_is_stored(self, data: st.DataObject) -> Any:
        """As a client that was installed anew, or on another device."""
        session = self.one_session(data)
        if session is None:
            return multiple()
        shown = self.run(self.http.get(f"/api/sessions/{session}")).json()
        talk = [(message["role"], message["text"]) for message in shown["branch"]]
        return Window(*self.tree.scopes[session], talk) if talk and talk[-1][0] == "assistant" else multiple()

    @rule(data=st.data(), words=st.sampled_from(WORDS))
    def say_in_a_session(self, data: st.DataObject, words: str) -> None:
        session = self.one_session(data)
        if session is not None:
            window = Window(*self.tree.scopes[session])
            branch = [(n.role, n.text) for n in self.tree.path(self.tree.leaves[session])]
            said = ("user", self.fresh(window, words))
            self.send(window, [*branch, said], [said], session)

    @rule(data=st.data(), words=st.sampled_from(WORDS), anywhere=st.booleans(), stream=st.booleans())
    def say_by_a_turn(self, data: st.DataObject, words: str, anywhere: bool, stream: bool) -> None:
        """Below any message, or at the end of the current branch."""
        node = self.one_message(data) if anywhere else None
        session = node.session if node else self.one_session(data)
        if session is not None:
            above = self.tree.path(node.id if node else self.tree.leaves[session])
            said = self.fresh(Window(*self.tree.scopes[session]), words)
            self.take(session, "say", [(n.role, n.text) for n in above] + [("user", said)], node, stream, text=said)

    @rule(data=st.data(), mode=st.sampled_from(("regenerate", "continue")), stream=st.booleans())
    def answer_again_by_a_turn(self, data: st.DataObject, mode: str, stream: bool) -> None:
        """Another reply beside one of any branch, a longer version of it, or an answer to a message of the user's."""
        if node := self.one_message(data):
            path = [(n.role, n.text) for n in self.tree.path(node.id)]
            if node.role == "assistant" and node.parent is not None:
                self.take(node.session, mode, path[:-1], node, stream, begun=node.text if mode == "continue" else "")
            elif node.role == "user" and mode == "regenerate":
                self.take(node.session, mode, path, node, stream)
            else:
                self.refuse(node.session, {"mode": mode, "message_id": node.id})

    @rule(data=st.data())
    def have_something_written_for_the_user(self, data: st.DataObject) -> None:
        """It leaves nothing."""
        if node := self.one_message(data):
            before = self.tree
            self.engine.replies.append(self.fresh(Window(*before.scopes[node.session]), "I might say,"))
            body = {"mode": "impersonate", "message_id": node.id}
            answer = self.run(self.http.post(f"/api/sessions/{node.session}/turns", json=body))
            assert answer.status_code == 200, answer.text
            self.look()
            assert (self.tree.nodes.keys(), self.tree.leaves) == (before.nodes.keys(), before.leaves)

    @rule(data=st.data(), pinned=st.booleans())
    def pin(self, data: st.DataObject, pinned: bool) -> None:
        """A message of the current branch or of another one, itself or a copy."""
        if node := self.one_message(data):
            mine = {pair for pair in self.exchanges() if node.origin in pair}
            path = f"/api/sessions/{node.session}/messages/{node.id}/pin"
            answer = self.run(self.http.put(path, json={"pinned": pinned}))
            assert answer.status_code == (200 if mine else 409), answer.text
            self.pinned = self.pinned | mine if pinned else self.pinned - mine
            assert not mine or answer.json()["pinned"] == bool(self.pinned & mine)
            self.look()

    @rule(data=st.data())
    def delete_a_session(self, data: st.DataObject) -> None:
        session = self.one_session(data)
        if session is not None:
            self.change("DELETE", f"/api/sessions/{session}")

    @rule(data=st.data())
    def restore_a_session(self, data: st.DataObject) -> None:
        if gone := sorted(self.tree.gone, key=self.tree.begun.__getitem__):
            self.change("POST", f"/api/sessions/{data.draw(st.sampled_from(gone))}/restore")

    @rule(data=st.data())
    def swipe(self, data: st.DataObject) -> None:
        """Another message of the tree becomes current, with the newest end below it."""
        if node := self.one_message(data):
            self.change("PUT", f"/api/sessions/{node.session}/leaf", {"message_id": node.id})
            assert node in self.tree.path(self.tree.leaves[node.session])

    @rule(data=st.data(), words=st.sampled_from(WORDS), following=st.sampled_from(("keep", "drop")))
    def edit_by_hand(self, data: st.DataObject, words: str, following: str) -> None:
        if node := self.one_message(data):
            before = self.tree
            text = self.fresh(Window(*before.scopes[node.session]), words)
            body = {"text": text, "following": following}
            self.change("PATCH", f"/api/sessions/{node.session}/messages/{node.id}", body)
            path = self.tree.path(self.tree.leaves[node.session])
            assert (path[node.depth].text, path[node.depth].parent) == (text, node.parent)
            copies = [n.origin for n in path[node.depth + 1 :]]
            old = before.path(before.leaves[node.session])
            below = [n.origin for n in old[node.depth + 1 :]] if node in old else []
            assert copies == (below if following == "keep" else []) or node not in old

    @rule(data=st.data())
    def delete_by_hand(self, data: st.DataObject) -> None:
        if node := self.one_message(data):
            self.change("DELETE", f"/api/sessions/{node.session}/messages/{node.id}")
            assert node.id in self.tree.deleted

    @rule(data=st.data())
    def restore_by_hand(self, data: st.DataObject) -> None:
        """What is below a deleted message comes back with that one."""
        tree = self.tree
        tops = [
            n for n in tree.nodes.values()
            if n.id in tree.deleted and n.parent not in tree.deleted and n.session not in tree.gone
        ]  # fmt: skip
        if tops:
            node = data.draw(st.sampled_from(tree.ordered(tops)))
            self.change("POST", f"/api/sessions/{node.session}/messages/{node.id}/restore")
            assert node.id not in self.tree.deleted
            assert node in self.tree.path(self.tree.leaves[node.session])

    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """A session of copies: it holds the same talk, and nothing counts twice."""
        if node := self.one_message(data):
            shown = self.change("POST", f"/api/sessions/{node.session}/fork", {"message_id": node.id})
            told = [(n.role, n.text, n.origin) for n in self.tree.path(node.id)]
            assert [(n.role, n.text, n.origin) for n in self.tree.path(self.tree.leaves[shown["id"]])] == told

    @rule()
    def start_the_server_anew(self) -> None:
        self.run(self._stop())
        self.run(self._start())

    @rule()
    def let_the_background_work(self) -> None:
        self.run(embed_waiting(self.services))
        self.look()

    def one_of_the_users(self, window: Window, data: st.DataObject) -> int | None:
        places = [n for n, (role, _text) in enumerate(window.talk) if role == "user" and n > 0]
        return data.draw(st.sampled_from(places)) if places else None

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """Change a conversation by hand."""
        answer = self.run(self.http.request(method, path, json=body, headers={"If-Match": "*"}))
        assert answer.is_success, (method, path, answer.text)
        self.look()
        return answer.json() if answer.content else None

    def one_message(self, data: st.DataObject) -> Node | None:
        tree = self.tree
        live = [n for n in tree.nodes.values() if n.session not in tree.gone and n.id not in tree.deleted]
        return data.draw(st.sampled_from(tree.ordered(live))) if live else None

    def one_session(self, data: st.DataObject) -> str | None:
        live = sorted(set(self.tree.scopes) - self.tree.gone, key=self.tree.begun.__getitem__)
        return data.draw(st.sampled_from(live)) if live else None

    # What must come of it.

    def send(
        self, window: Window, talk: Sequence[Said], sent: Sequence[Said] | None = None, session: str | None = None
    ) -> None:
        """Have a turn, and hold what it did against the model. `talk` is what the character must know of."""
        before, reply = self.tree, self.fresh(window, "So be it,")
        self.engine.replies.append(reply)
        messages = [{"role": role, "content": text} for role, text in sent or talk]
        body = {"model": f"char/{window.slug}", "user": window.user, "messages": messages}
        headers = {"X-Session-Id": session} if session else {}
        answer = self.run(self.http.post("/v1/chat/completions", json=body, headers=headers))
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == reply
        window.talk = [*talk, ("assistant", reply)]
        self.look()
        chosen = answer.headers["x-session-id"]
        assert session in (None, chosen)
        self.check_place(window, before, chosen)
        self.check_prompt(window, before, chosen, answer.headers["x-moodline-turn"])

    def take(
        self,
        session: str,
        mode: str,
        talk: list[Said],
        node: Node | None,
        stream: bool,
        *,
        begun: str = "",
        text: str = "",
    ) -> None:
        """Have a turn of a session's own, and hold what it did against the model. `talk` is what is answered."""
        before, window = self.tree, Window(*self.tree.scopes[session])
        reply = self.fresh(window, "So be it,")
        self.engine.replies.append(reply)
        body = {"mode": mode, "text": text, "message_id": node.id if node else None, "stream": stream}
        answer = self.run(self.http.post(f"/api/sessions/{session}/turns", json=body))
        assert answer.status_code == 200, answer.text
        turn = json.loads(answer.text.strip().rpartition("\ndata: ")[2]) if stream else answer.json()
        assert (turn["state"], turn["mode"], turn["text"]) == ("finished", mode, reply)
        window.talk = [*talk, ("assistant", begun + reply)]
        self.look()
        path = self.tree.path(self.tree.leaves[session])
        assert [(n.role, n.text) for n in path] == window.talk
        assert [n.id for n in path[-2:]] == [turn["message_id"], turn["reply_id"]]
        new = self.tree.nodes.keys() - before.nodes.keys()
        assert new == {n.id for n in path[len(talk) - (mode == "say") :]}, "one chain, and nothing beside it"
        assert self.run(self.http.get(f"/api/turns/{turn['id']}")).json() == turn
        if not begun:
            self.check_prompt(window, before, session, turn["id"])

    def refuse(self, session: str, body: dict[str, Any]) -> None:
        """A turn that can't be taken changes nothing."""
        answer = self.run(self.http.post(f"/api/sessions/{session}/turns", json=body))
        assert (answer.status_code, answer.json()["title"]) == (422, "nothing_to_answer")

    def exchanges(self) -> set[tuple[str | None, str | None]]:
        """All that is remembered, by its message and its reply."""
        return {(memory.message_id, memory.reply_id) for memory in self.tree.memories.values()}

    def check_place(self, window: Window, before: Tree, chosen: str) -> None:
        """The right session, the right branch point, nothing stored twice, copies known as such."""
        talk = window.talk[:-1]
        scope = (window.user, window.slug)
        live = [name for name, whose in before.scopes.items() if whose == scope and name not in before.gone]
        depths = {name: len(before.prefix(name, talk)) for name in live}
        if sum(role == "user" for role, _text in talk) > 1 and max(depths.values(), default=0):
            assert depths.get(chosen) == max(depths.values()), "the deepest match"
        assert self.tree.scopes[chosen] == scope
        new = [n for n in self.tree.nodes.values() if n.id not in before.nodes]
        path = self.tree.path(self.tree.leaves[chosen])
        assert [(n.role, normal(n.text)) for n in path] == [(role, normal(text)) for role, text in window.talk]
        assert new == path[len(path) - len(new) :], "one chain, and nothing beside it"
        assert len(new) == len(window.talk) - depths.get(chosen, 0)
        for node in new[:-2]:
            twins = [
                n.origin
                for n in before.nodes.values()
                if n.session == chosen
                and n.id not in before.deleted
                and (n.depth, n.role, normal(n.text)) == (node.depth, node.role, normal(node.text))
            ]
            assert node.origin in (twins or [node.id])

    def check_prompt(self, window: Window, before: Tree, chosen: str, turn: str) -> None:
        """Exactly this branch's history; beside it nothing of anybody else, and nothing that does not count."""
        asked = self.engine.asked[-1].messages
        told = [(message.role, normal(message.content)) for message in asked if message.role != "system"]
        assert told == [(role, normal(text)) for role, text in window.talk[:-1]]
        tags = {tag for message in asked for tag in re.findall(r"\w+@\w+", message.content)}
        assert tags <= {f"{window.user}@{window.slug}"}, "somebody else's words"
        trace = self.run(self.http.get(f"/api/turns/{turn}/trace")).json()
        on_path = {n.origin for n in self.tree.path(self.tree.leaves[chosen])}
        elsewhere = {before.nodes[n].origin for n in before.active if before.nodes[n].session != chosen}
        for memory in (self.tree.memories[kept["id"]] for kept in trace["memories"] if kept["kept"]):
            both = {memory.message_id, memory.reply_id}
            assert both <= elsewhere or both <= on_path, "recalled from a branch that does not count"

    def look(self) -> None:
        """Read everything; whatever was there is still there, and the same."""
        before, self.tree = self.tree, self.run(read_tree(self.services))
        for node in before.nodes.values():
            assert self.tree.nodes.get(node.id) == node

    @invariant()
    def everything_agrees(self) -> None:
        self.look()
        agrees(self.tree)
        pinned = {(memory.message_id, memory.reply_id) for memory in self.tree.memories.values() if memory.pinned}
        assert pinned == self.pinned


def examine(open_database: Callable[[], str], encoder: Any, examples: int) -> None:
    """Try histories; hypothesis shrinks one that fails to its shortest form."""

    class Machine(Conversations):
        pass

    Machine.open_database, Machine.encoder = staticmethod(open_database), encoder
    Machine.__name__ = Conversations.__name__
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=LONG_RUN or examples,
            stateful_step_count=30 if LONG_RUN else 12,
            derandomize=not LONG_RUN,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(scope="module")
def encoder(loaded_encoder: Any) -> Any:
    return Memoized(loaded_encoder[0]), loaded_encoder[1]


def test_whatever_two_clients_do_sqlite_holds_what_a_plain_model_holds(
    sqlite_template: Path, tmp_path: Path, encoder: Any
) -> None:
    numbers = count()

    def open_database() -> str:
        file = tmp_path / f"{next(numbers)}.db"
        shutil.copy(sqlite_template, file)
        return f"sqlite+aiosqlite:///{file}"

    examine(open_database, encoder, 12)


def test_whatever_two_clients_do_postgresql_holds_what_a_plain_model_holds(
    postgres: str, postgres_template: str, encoder: Any
) -> None:
    made: list[str] = []

    def open_database() -> str:
        made.append(f"tree_{os.urandom(6).hex()}")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE {postgres_template}")
        return str(httpx.URL(postgres).copy_with(scheme="postgresql+psycopg", path=f"/{made[-1]}"))

    try:
        examine(open_database, encoder, 3)
    finally:
        with psycopg.connect(postgres, autocommit=True) as connection:
            for name in made:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
