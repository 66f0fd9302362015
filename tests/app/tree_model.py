"""A plain model of conversations, in memory, for `test_tree_model`: what is stored, and what must follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from app.bond.affinity import Felt, Rules, replayed, strangers
from app.characters.schemas import Stage
from app.memory.formation import exchange
from app.services import Services
from app.sessions.normal import normal
from app.sessions.tree import ROOT, step
from app.tables import Bond, Character, Memory, Message, Session

STAGES = [{"name": "stranger", "affinity": 0}, {"name": "friend", "affinity": 1}, {"name": "close", "affinity": 4}]
Said = tuple[str, str]
"""A role and a text."""


class Memoized:
    """The encoder, asked once for each text."""

    def __init__(self, encoder: Any) -> None:
        self.id, self.dimension = encoder.id, encoder.dimension
        self._encoder = encoder
        self._known: dict[tuple[str, str], Any] = {}

    def _all(self, kind: str, texts: Sequence[str]) -> Any:
        for text in texts:
            if (kind, text) not in self._known:
                self._known[kind, text] = getattr(self._encoder, kind)([text])[0]
        return np.stack([self._known[kind, text] for text in texts])

    def encode_queries(self, texts: Sequence[str]) -> Any:
        return self._all("encode_queries", texts)

    def encode_passages(self, texts: Sequence[str]) -> Any:
        return self._all("encode_passages", texts)


@dataclass(frozen=True)
class Node:
    """A message, as it was first seen; nothing of this ever changes."""

    id: str
    session: str
    parent: str | None
    role: str
    text: str
    path_hash: str
    depth: int
    origin: str
    created_at: datetime


@dataclass
class Tree:
    """What the database holds, in plain values."""

    nodes: dict[str, Node] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    emotions: dict[str, Any] = field(default_factory=dict)
    scopes: dict[str, tuple[str, str]] = field(default_factory=dict)
    leaves: dict[str, str | None] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    begun: dict[str, datetime] = field(default_factory=dict)
    memories: dict[int, Memory] = field(default_factory=dict)
    bonds: dict[tuple[str, str], Bond] = field(default_factory=dict)

    def path(self, node_id: str | None) -> list[Node]:
        """From the root to a message."""
        found: list[Node] = []
        while node_id is not None:
            found.append(self.nodes[node_id])
            node_id = found[-1].parent
        return found[::-1]

    def ordered(self, nodes: Iterable[Node]) -> list[Node]:
        """Messages in an order that does not depend on ids, which are random: hypothesis repeats what it has tried."""

        def place(node: Node) -> Any:
            return self.begun[node.session], [(n.created_at, n.origin != n.id) for n in self.path(node.id)]

        return sorted(nodes, key=place)

    def below(self, session: str, parent: str | None) -> list[Node]:
        """The messages that hang below one, or begin a session."""
        return [n for n in self.nodes.values() if n.session == session and n.parent == parent]

    def prefix(self, session: str, talk: Sequence[Said]) -> list[Node]:
        """How much of a talk is stored in a session."""
        found: list[Node] = []
        for role, text in talk:
            parent = found[-1].id if found else None
            same = [
                n
                for n in self.below(session, parent)
                if n.role == role and normal(n.text) == normal(text) and n.id not in self.deleted
            ]
            if not same:
                break
            # Of equal siblings any will do that the rest of the talk hangs below.
            found.append(max(same, key=lambda n: len(self.prefix_from(session, n, talk[len(found) + 1 :]))))
        return found

    def prefix_from(self, session: str, node: Node, talk: Sequence[Said]) -> list[Node]:
        """The same below a message."""
        best: list[Node] = []
        for child in self.below(session, node.id) if talk else []:
            if child.id in self.deleted or (child.role, normal(child.text)) != (talk[0][0], normal(talk[0][1])):
                continue
            best = max(best, [child, *self.prefix_from(session, child, talk[1:])], key=len)
        return best


@dataclass
class Window:
    """What a front end without sessions shows: it knows a user, a character and the messages, and sends them all."""

    user: str
    slug: str
    talk: list[Said] = field(default_factory=list)


async def read_tree(services: Services) -> Tree:
    """What the database holds now."""
    tree = Tree()
    async with services.db.read() as db:
        slugs = {row.id: row.slug for row in await db.scalars(select(Character))}
        for row in await db.scalars(select(Session)):
            tree.scopes[row.id] = (row.user, slugs[row.character_id])
            tree.leaves[row.id], tree.begun[row.id] = row.leaf_id, row.created_at
            tree.gone |= {row.id} if row.deleted_at else set()
        for row in await db.scalars(select(Message).order_by(Message.depth, Message.id)):
            fixed = (row.session_id, row.parent_id, row.role, row.text, row.path_hash, row.depth)
            tree.nodes[row.id] = Node(row.id, *fixed, row.origin_id or row.id, row.created_at)
            tree.emotions[row.id] = row.emotion
            tree.active |= {row.id} if row.active else set()
            tree.deleted |= {row.id} if row.deleted_at else set()
        tree.memories = {row.id: row for row in await db.scalars(select(Memory))}
        tree.bonds = {(row.user, slugs[row.character_id]): row for row in await db.scalars(select(Bond))}
    return tree


def agrees(tree: Tree) -> None:
    """Hashes, depths, what is current, memories and bonds are what they must be, worked out anew."""
    for node in tree.nodes.values():
        parent = tree.nodes[node.parent] if node.parent else None
        assert node.path_hash == step(parent.path_hash if parent else ROOT, node.role, node.text)
        assert (node.depth, node.session) == ((parent.depth + 1, parent.session) if parent else (0, node.session))
    current = {n.id for name, leaf in tree.leaves.items() if name not in tree.gone for n in tree.path(leaf)}
    assert tree.active == current
    assert not current & tree.deleted
    _memories_agree(tree)
    for scope in {*tree.scopes.values()}:
        _bond_agrees(tree, scope)


def _memories_agree(tree: Tree) -> None:
    """Every exchange is remembered once, and counts while it is on a current branch, itself or copied."""
    known: dict[Any, Memory] = {}
    for memory in tree.memories.values():
        assert (memory.message_id, memory.reply_id) not in known, "remembered twice"
        known[memory.message_id, memory.reply_id] = memory
    current = [tree.nodes[n] for n in tree.active]
    counts = {(tree.nodes[n.parent].origin, n.origin) for n in current if n.parent}
    for reply in tree.nodes.values():
        said = tree.nodes.get(reply.parent or "")
        if reply.role != "assistant" or said is None or said.role != "user":
            continue
        memory = known[said.origin, reply.origin]
        user, slug = tree.scopes[reply.session]
        text = exchange(user, tree.nodes[said.origin].text, slug.title(), tree.nodes[reply.origin].text)
        # A client that has a turn made anew may send it with its own line breaks.
        assert normal(memory.text) == normal(text)
        assert memory.retired == ((said.origin, reply.origin) not in counts)


def _bond_agrees(tree: Tree, scope: tuple[str, str]) -> None:
    """It is the sum of what was said and answered on current branches, in its order, copies once."""
    answered = {n.parent for n in tree.nodes.values() if n.id in tree.active and n.role == "assistant"}
    mine = sorted((s for s, whose in tree.scopes.items() if whose == scope), key=lambda s: (tree.begun[s], s))
    felt: list[tuple[datetime, str, Any]] = []
    for session in mine:
        latest = None
        for node in tree.path(tree.leaves[session]) if session not in tree.gone else []:
            if node.role == "user" and node.id in answered and tree.emotions[node.id] is not None:
                # An edited message is younger than what was said below it.
                latest = max(node.created_at, latest or node.created_at)
                felt.append((latest, node.origin, tree.emotions[node.id]))
    once: dict[str, Any] = {}
    for _moment, origin, emotion in sorted(felt, key=lambda one: one[0]):
        once.setdefault(origin, emotion)
    stages = [Stage.model_validate(stage) for stage in STAGES]
    rules = Rules(stages=tuple(stages))
    *_earlier, expected = replayed(strangers(rules), map(Felt, once.values()), rules)
    bond = tree.bonds[scope]
    assert (bond.turns, bond.stage) == (expected.turns, expected.stage)
    assert bond.affinity == pytest.approx(expected.affinity, abs=1e-4)
    mood = np.zeros_like(expected.mood) if bond.mood is None else bond.mood
    np.testing.assert_allclose(mood, expected.mood, atol=1e-5)
