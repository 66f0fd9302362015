"""The tree of a conversation: who answers whom, how deep, and the hashes of everything said up to a message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.check.run import AnyRow, Check
from app.sessions.tree import ROOT, said_hash, step
from app.tables import Message, Session

Parent = aliased(Message, name="parent")
Leaf = aliased(Message, name="leaf")
Child = aliased(Message, name="child")


@dataclass(frozen=True, slots=True)
class Node:
    """A message as far as its place in the tree goes."""

    id: str
    parent_id: str | None
    depth: int
    role: str
    text: str
    path_hash: str
    said_hash: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message belongs."""

    parent_id: str | None
    depth: int
    path_hash: str


def tree() -> Iterator[Check]:
    """The rules of a tree."""
    said = (Message.session_id, Message.parent_id, Message.depth, Message.role, Message.text)
    hashes = (Message.path_hash, Message.said_hash)
    above = (
        Parent.session_id.label("its_session"),
        Parent.depth.label("above"),
        Parent.path_hash.label("above_hash"),
    )
    query = select(Message.id.label("key"), *said, *hashes, *above).outerjoin(Parent, Parent.id == Message.parent_id)
    yield Check("messages in a wrong place", query, Message.id, _misplaced, _mend_tree)
    below = exists().where(Child.parent_id == Leaf.id, Child.deleted_at.is_(None))
    living = exists().where(Message.session_id == Session.id, Message.deleted_at.is_(None))
    leaves = select(
        Session.id.label("key"),
        Session.leaf_id,
        Leaf.session_id.label("leaf_session"),
        Leaf.deleted_at.label("leaf_deleted"),
        below.label("below"),
        living.label("living"),
    ).outerjoin(Leaf, Leaf.id == Session.leaf_id)
    yield Check("conversations with a wrong leaf", leaves, Session.id, _wrong_leaf, _mend_leaf)


def _misplaced(row: AnyRow) -> str:
    if row.parent_id is not None and row.its_session not in (None, row.session_id):
        return f"its parent {row.parent_id} is of another session"
    depth = 0 if row.above is None else row.above + 1
    if row.depth != depth:
        return f"depth is {row.depth}, not {depth}"
    if row.path_hash != step(row.above_hash or ROOT, row.role, row.text):
        return "the hash is not that of what was said up to it"
    return "" if row.said_hash == said_hash(row.role, row.text) else "the hash is not that of what it says"


def places(nodes: Sequence[Node]) -> dict[str, Place]:
    """Where each message of a session belongs. Pure.

    One whose parent is not of this session begins the conversation; of a circle the oldest does.
    """
    by_id = {node.id: node for node in nodes}
    below: dict[str | None, list[Node]] = defaultdict(list)
    for node in nodes:
        below[node.parent_id if node.parent_id in by_id else None].append(node)
    found: dict[str, Place] = {}
    waiting = [(node, Place(None, 0, step(ROOT, node.role, node.text))) for node in below[None]]
    while len(found) < len(nodes):
        if not waiting:
            first = _oldest_of_circle(by_id, next(node for node in nodes if node.id not in found))
            waiting = [(first, Place(None, 0, step(ROOT, first.role, first.text)))]
        node, place = waiting.pop()
        if node.id in found:
            continue
        found[node.id] = place
        waiting += [
            (child, Place(node.id, place.depth + 1, step(place.path_hash, child.role, child.text)))
            for child in below[node.id]
        ]
    return found


def _oldest_of_circle(by_id: Mapping[str, Node], node: Node) -> Node:
    """Of the circle that a message which no beginning leads to hangs on, or is in."""
    path: list[str] = []
    while node.id not in path:
        path.append(node.id)
        node = by_id[node.parent_id or ""]
    circle = [by_id[name] for name in path[path.index(node.id) :]]
    return min(circle, key=lambda node: (node.created_at, node.id))


async def _mend_tree(db: AsyncSession, row: AnyRow) -> None:
    """Put the whole session in order; one message in a wrong place moves everything below it."""
    columns = [getattr(Message, name) for name in Node.__slots__]
    nodes = [Node(*found) for found in await db.execute(select(*columns).where(Message.session_id == row.session_id))]
    right = places(nodes)
    for node in nodes:
        place, said = right[node.id], said_hash(node.role, node.text)
        if (place, said) != (Place(node.parent_id, node.depth, node.path_hash), node.said_hash):
            values = {**asdict(place), "said_hash": said}
            await db.execute(update(Message).where(Message.id == node.id).values(values))


def _wrong_leaf(row: AnyRow) -> str:
    if row.leaf_id is None:
        return "it has messages but no leaf" if row.living else ""
    if row.leaf_session != row.key:
        return f"its leaf {row.leaf_id} is none of its messages"
    if row.leaf_deleted is not None:
        return f"its leaf {row.leaf_id} is deleted"
    return f"its leaf {row.leaf_id} has been answered" if row.below else ""


async def _mend_leaf(db: AsyncSession, row: AnyRow) -> None:
    """The newest message that nothing follows, below the leaf that was if there is one."""
    below = exists().where(Child.parent_id == Message.id, Child.deleted_at.is_(None))
    newest = select(Message.id).where(Message.session_id == row.key, Message.deleted_at.is_(None), ~below)
    newest = newest.order_by(Message.created_at.desc(), Message.depth.desc(), Message.id).limit(1)
    down = select(Message.id).where(Message.id == row.leaf_id, Message.session_id == row.key).cte(recursive=True)
    down = down.union(select(Child.id).join(down, Child.parent_id == down.c.id))
    leaf = await db.scalar(newest.where(Message.id.in_(select(down.c.id)))) or await db.scalar(newest)
    await db.execute(update(Session).where(Session.id == row.key).values(leaf_id=leaf))
