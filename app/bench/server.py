"""This server as a process of its own, for benchmarks that ask it over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from app.cli.console import settings

START_SECONDS = 120


@contextmanager
def server(chosen: Mapping[str, str]) -> Iterator[tuple[int, psutil.Process]]:
    """A server with an empty database and `chosen` settings, named as in `MOODLINE_…`: its port and its process.

    It is ready, and its samples are embedded. Weights come from MOODLINE_HOME. Raises `OSError` when it does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        log = Path(folder) / "server.log"
        more = {
            "HOME": str(settings().home),
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/bench.db",
            "HOST": "127.0.0.1",
            "PORT": str(port),
        }
        environment = os.environ | {f"MOODLINE_{name}": value for name, value in (more | dict(chosen)).items()}
        command = [sys.executable, "-c", "from app.cli.main import app; app()", "serve"]
        with log.open("wb") as written, ended(command, environment, stdout=written, stderr=written) as process:
            _until_ready(f"http://127.0.0.1:{port}", process, log)
            yield port, psutil.Process(process.pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until_ready(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS * 5):
        if process.poll() is not None:
            raise OSError(f"The server ended: {log.read_text()[-2000:]}")
        try:
            ready = httpx.get(f"{base}/readyz").status_code == 200
            # The samples are embedded first; that is no cost of the door.
            if ready and "moodline_rows_waiting_for_vectors 0.0" in httpx.get(f"{base}/metrics").text:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise OSError(f"The server was not ready after {START_SECONDS} seconds.")


@contextmanager
def ended(command: list[str], environment: Mapping[str, str], **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the block."""
    process = subprocess.Popen(command, env=environment, **pipes)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
