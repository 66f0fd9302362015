"""A crowd that hangs up leaves nothing behind that costs anything."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy.pool import QueuePool

from app.admission import Admission
from app.services import Services
from app.settings import Settings
from models.scripted import ScriptedEngine

CROWD = 200
SECONDS = 0.5
GROWTH = 48 * 2**20
"""Bytes that the process may have grown by: rows, caches and what the allocator keeps; a leaked request is 100 KB."""
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, database_pool=2, _env_file=None)


@pytest.fixture
def services(services: Services) -> Services:
    """With as many places as the local engine has."""
    return replace(services, admission=Admission(24, CROWD))


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(["It goes on and on. " * 50] * (CROWD + 50), pace=0.02)


async def hang_up(address: str, number: int, seconds: float) -> None:
    """Ask, read for a while and go; every other one without a goodbye."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    if number % 2:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    model = "char/mira" if number % 4 == 0 else "scripted"
    said = [{"role": "user", "content": f"Hello, I am number {number}."}]
    body = json.dumps({"model": model, "user": f"user {number}", "messages": said, "stream": number % 3 > 0}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(65_536):
                pass
    except TimeoutError:
        pass
    writer.close()


async def until_quiet(services: Services, tasks: int) -> None:
    """Until places, connections of the pool and tasks are what they were; fails after a minute."""
    pool = services.db.engine.pool
    assert isinstance(pool, QueuePool)
    for _ in range(600):
        left = (services.admission.speaking, services.admission.waiting, pool.checkedout())
        if left == (0, 0, 0) and len(asyncio.all_tasks()) <= tasks:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"(speaking, waiting, connections) {left}, tasks {asyncio.all_tasks()}")


async def test_two_hundred_clients_that_hang_up_after_half_a_second_do_not_wedge_the_server(
    address: str, services: Services, engine: ScriptedEngine, mira: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        (await http.post("/api/characters", json=mira)).raise_for_status()
    await asyncio.sleep(0.1)
    tasks, process = len(asyncio.all_tasks()), psutil.Process()
    await asyncio.gather(*(hang_up(address, number, SECONDS) for number in range(24)))
    await until_quiet(services, tasks)
    gc.collect()
    before, files = process.memory_info().rss, process.num_fds()

    await asyncio.gather(*(hang_up(address, number, SECONDS) for number in range(24, 24 + CROWD)))
    await until_quiet(services, tasks)
    gc.collect()
    assert process.memory_info().rss - before < GROWTH
    assert process.num_fds() <= files + 2

    engine.pace = 0
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        for model in ("scripted", "char/mira"):
            body = {"model": model, "messages": [{"role": "user", "content": "Still there?"}]}
            assert (await http.post("/v1/chat/completions", json=body, timeout=30)).status_code == 200
