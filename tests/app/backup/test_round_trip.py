from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command
from sqlalchemy import MetaData, create_engine, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from app.backup.archive import MANIFEST, writing
from app.backup.dump import dump
from app.backup.load import load
from app.db import Database
from app.errors import Conflict, Unprocessable
from app.migrate import configure
from app.tables import ApiKey, Base, Bond, Character, Group, GroupMember, Line, Memory, Message, Session


def quiet(*_told: Any) -> None:
    """No progress."""


@pytest.fixture
async def source(database_url: str) -> AsyncIterator[Database]:
    db = Database(database_url, 2)
    yield db
    await db.close()


async def fill(db: Database) -> None:
    """Rows with all that is hard to keep: Chinese, nesting, bytes, no value, a child that sorts before its parent."""
    scope = {"owner": "o", "user": "安娜", "character_id": "c1"}
    async with db.write() as session:
        session.add(Character(id="g1", owner="o", slug="group/船", kind="group", live_slug="o/group/船", document={}))
        session.add(ApiKey(owner="o", name="n", prefix="ml-abcde", digest="d" * 64))
        session.add(Character(id="c1", owner="o", slug="mira", live_slug="o/mira", document={"名": ["一", {"x": 1.5}]}))
        await session.flush()
        session.add(Group(id="g1", turn_order="list"))
        await session.flush()
        session.add(GroupMember(group_id="g1", character_id="c1", place=0, talkativeness=0.1 + 0.2, muted=True))
        session.add(Session(id="s1", title='早上好 \N{SNOWMAN}\n\t"quoted"', leaf_id="a", **scope))
        await session.flush()
        told = {"session_id": "s1", "role": "user", "path_hash": "h"}
        session.add(Message(id="z", depth=0, text="first", **told))
        await session.flush()
        session.add(Message(id="a", parent_id="z", depth=1, text="second", speaker_id="c1", audience=["c1"], **told))
        await session.flush()
        vector = np.linspace(-1, 1, 384, dtype=np.float32)
        felt = {"vector": vector, "emotion": vector[:8], "terms": np.arange(3, dtype=np.uint32), "encoder": "e"}
        for number in range(600):
            session.add(
                Memory(id=number + 7, text=f"memory {number}", message_id="z", session_id="s1", **felt, **scope)
            )
        session.add(Line(character_id="c1", dialogue=[["甄嬛", "臣妾"]], key="k", answer="a", digest="x"))
        session.add(Bond(memory_revision=4, affinity=0.1 + 0.2, **scope))


async def everything(db: Database) -> dict[str, list[str]]:
    async with db.read() as session:
        return {
            table.name: sorted(map(str, await session.execute(select(table)))) for table in Base.metadata.sorted_tables
        }


async def test_what_is_restored_into_either_database_equals_what_was_backed_up_from_either(
    source: Database, empty_url: str, tmp_path: Path
) -> None:
    await fill(source)
    before = await everything(source)
    manifest = await dump(source, tmp_path / "b.zip", quiet)
    assert manifest.rows == sum(map(len, before.values()))
    assert await load(empty_url, tmp_path / "b.zip", replace=False, progress=quiet) == manifest.rows
    target = Database(empty_url, 2)
    assert await everything(target) == before
    async with target.write() as session:
        scope = {"owner": "o", "user": "安娜", "character_id": "c1"}
        vector = np.zeros(2, np.float32)
        session.add(fresh := Memory(text="new", encoder="e", vector=vector, emotion=vector, **scope))
        await session.flush()
        assert fresh.id == 607, "numbering goes on behind the highest"
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            async with session.begin_nested():
                await session.execute(
                    insert(Message).values(id="x", session_id="none", role="", text="", path_hash="", depth=0)
                )
    await target.close()


async def test_only_an_empty_database_is_filled_unless_it_is_to_be_replaced(source: Database, tmp_path: Path) -> None:
    await fill(source)
    await dump(source, tmp_path / "b.zip", quiet)
    async with source.write() as session:
        await session.execute(update(Bond).values(memory_revision=9))
        await session.execute(delete(Message))
    with pytest.raises(Conflict, match="--replace"):
        await load(source.url, tmp_path / "b.zip", replace=False, progress=quiet)
    await load(source.url, tmp_path / "b.zip", replace=True, progress=quiet)
    async with source.read() as session:
        assert await session.scalar(select(func.count()).select_from(Message)) == 2
        bond = await session.scalar(select(Bond))
    assert bond is not None
    assert bond.memory_revision not in (4, 9), "no bank of a server that runs on is taken for what was restored"


async def test_a_backup_sees_one_moment_while_others_write(source: Database, tmp_path: Path) -> None:
    await fill(source)
    seen = []

    def told(table: str, _more: int, total: int) -> None:
        seen.append(total)
        if table == "characters":
            write_beside(source.url)

    manifest = await dump(source, tmp_path / "b.zip", told)
    assert manifest.tables["sessions"].rows == 1
    assert manifest.rows == seen[0]


def write_beside(url: str) -> None:
    """Another process adds a session and its message."""
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.begin() as connection:
        connection.execute(insert(Session).values(id="s2", owner="o", user="u", character_id="c1"))
    engine.dispose()


async def test_a_damaged_or_foreign_file_is_refused_before_anything_is_touched(
    source: Database, tmp_path: Path
) -> None:
    await fill(source)
    await dump(source, whole := tmp_path / "b.zip", quiet)
    before = await everything(source)
    content = whole.read_bytes()
    middle = bytearray(content)
    middle[len(content) // 2] ^= 0xFF
    for name, broken in {
        "cut": content[: len(content) // 2],
        "bit": bytes(middle),
        "text": b"hello",
        "none": b"",
    }.items():
        file = tmp_path / f"{name}.zip"
        file.write_bytes(broken)
        with pytest.raises(Unprocessable):
            await load(source.url, file, replace=True, progress=quiet)
    with pytest.raises(Unprocessable, match=r"made by Moodline .* newer"):
        await load(source.url, changed(whole, revision="9999"), replace=True, progress=quiet)
    with pytest.raises(Unprocessable, match="not what the manifest says"):
        await load(source.url, changed(whole, rows=-1), replace=True, progress=quiet)
    assert await everything(source) == before


async def test_a_row_that_the_database_refuses_leaves_everything_as_it_was(source: Database, tmp_path: Path) -> None:
    """The last step of a restore fails; the schema, the rows and the numbers are those of before."""
    await fill(source)
    await dump(source, tmp_path / "b.zip", quiet)
    before = await everything(source)
    broken = rewritten(tmp_path / "b.zip", "bonds", lambda line: line.replace(b'"owner":"o"', b'"owner":null'))
    with pytest.raises(IntegrityError):
        await load(source.url, broken, replace=True, progress=quiet)
    assert await everything(source) == before


def test_a_backup_that_breaks_off_leaves_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(b"earlier")

    def break_off() -> None:
        with writing(tmp_path / "b.zip") as archive, archive.table("t", {}) as rows:
            rows.add(b"{}")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("b.zip", b"earlier")]


async def test_a_backup_of_the_first_schema_is_migrated(source: Database, empty_url: str, tmp_path: Path) -> None:
    await fill(source)
    async with source.write() as session:
        await session.execute(text("DELETE FROM memories WHERE id > 7"))
    await dump(source, tmp_path / "b.zip", quiet)
    old = as_first_revision(tmp_path / "b.zip")
    await load(empty_url, old, replace=False, progress=quiet)
    target = Database(empty_url, 2)
    async with target.read() as session:
        assert await session.scalar(text("SELECT version_num FROM alembic_version")) != "0001"
        assert await session.scalar(select(Memory.text)) == "memory 0"
    await target.close()


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def store(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, body in content.items():
            file.writestr(name, body)
    return path


def changed(path: Path, *, revision: str | None = None, rows: int = 0) -> Path:
    """A copy whose manifest tells something else."""
    content = members(path)
    manifest = json.loads(content[MANIFEST])
    manifest["revision"] = revision or manifest["revision"]
    manifest["tables"]["messages"]["rows"] += rows
    return store(path.with_name("changed.zip"), content | {MANIFEST: json.dumps(manifest).encode()})


def rewritten(path: Path, table: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy with other rows in a table, and the right sum of them."""
    content = members(path)
    body = b"".join(change(line) for line in content[f"tables/{table}.jsonl"].splitlines(keepends=True))
    manifest = json.loads(content[MANIFEST])
    manifest["tables"][table]["sha256"] = sha256(body).hexdigest()
    more = {f"tables/{table}.jsonl": body, MANIFEST: json.dumps(manifest).encode()}
    return store(path.with_name("rewritten.zip"), content | more)


def as_first_revision(path: Path) -> Path:
    """The same as a server of the first revision would have written it."""
    config = configure("")
    engine = create_engine("sqlite://")
    tables = MetaData()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        tables.reflect(connection)
    engine.dispose()
    content = members(path)
    manifest = json.loads(content[MANIFEST]) | {"revision": "0001"}
    kept = {MANIFEST: b""}
    for name in [name for name in manifest["tables"] if name not in tables.tables]:
        del manifest["tables"][name]
    for name, member in manifest["tables"].items():
        columns = tables.tables[name].columns.keys()
        rows = [json.loads(line) for line in content[f"tables/{name}.jsonl"].splitlines()]
        body = b"".join(json.dumps({key: row[key] for key in columns}).encode() + b"\n" for row in rows)
        member["columns"] = {key: member["columns"][key] for key in columns}
        member["sha256"] = sha256(body).hexdigest()
        kept[f"tables/{name}.jsonl"] = body
    return store(path.with_name("first.zip"), kept | {MANIFEST: json.dumps(manifest).encode()})
