"""The product as people run it: `moodline serve` in a process of its own, with everything real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PIECES, PACE = 6, 0.01
MOODLINE = Path(sys.executable).parent / "moodline"
OFFLINE = """
import os, socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        open(os.environ["NETWORK_LOG"], "a").write(f"connect {address}\\n")
        raise OSError("the network is off")
    return _connect(self, address)
socket.socket.connect = connect
_getaddrinfo = socket.getaddrinfo
def getaddrinfo(host, *more, **named):
    if host not in (None, "", "127.0.0.1", "::1", "localhost", "0.0.0.0"):
        open(os.environ["NETWORK_LOG"], "a").write(f"look up {host}\\n")
        raise socket.gaierror("the network is off")
    return _getaddrinfo(host, *more, **named)
socket.getaddrinfo = getaddrinfo
"""


class Server:
    """A `moodline serve` process, its home, and clients for it. Its sockets reach only this machine."""

    def __init__(self, home: Path, weights: Path, **settings: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "weights").exists():
            (home / "weights").symlink_to(weights / "weights", target_is_directory=True)
        (home / "sitecustomize.py").write_text(OFFLINE)
        # Kept, so that nobody else gets this port while the server is not there; whoever listens may share it.
        self.place = socket.socket()
        self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.place.bind(("127.0.0.1", 0))
        self.port = self.place.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.network_log = home / "network.log"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MOODLINE_")} | {
            "MOODLINE_HOME": str(home),
            "MOODLINE_PORT": str(self.port),
            # The code beside these tests, whichever checkout the environment was installed from.
            "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)]),
            "NETWORK_LOG": str(self.network_log),
            **{f"MOODLINE_{name.upper()}": value for name, value in settings.items()},
        }
        self.command = [str(MOODLINE), "serve"]
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.address, timeout=120)
        self.openai = openai.OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0, timeout=120)

    def start(self) -> None:
        """Start and wait until the language model can speak."""
        self.launch()
        self.wait_until(lambda: self.http.get("/readyz").status_code == 200)

    def launch(self) -> None:
        """Start, without waiting."""
        log = (self.home / "output.log").open("ab")
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log, cwd=self.home)
        log.close()

    def wait_until(self, happened: Callable[[], bool], seconds: float = 180) -> None:
        """Poll; a server that died or is too slow fails with its output."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            try:
                if happened():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"waited in vain; the server said:\n{(self.home / 'output.log').read_text()[-3000:]}")

    def kill(self) -> None:
        """As the power cut does it."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As a person does it; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        """End whatever is left."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.place.close()
        self.http.close()
        self.openai.close()


class Peer(BaseHTTPRequestHandler):
    """An OpenAI-compatible upstream that repeats what it was told, slowly."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # its pieces are sent when they are due

    def log_message(self, *_told: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._send(b'{"object": "list", "data": [{"id": "peer", "max_model_len": 8192}]}', "application/json")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = str(body["messages"][-1]["content"]).split()[-1]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for number in range(PIECES):
                time.sleep(PACE)
                self._event({"content": f"{said}-{number} "}, None)
            self._event({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # The server was killed.

    def _event(self, delta: dict[str, str], finish: str | None) -> None:
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _send(self, content: bytes, media: str) -> None:
        self.send_response(200)
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def peer() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Peer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def serve(tmp_path: Path, weights_home: Path) -> Iterator[Callable[..., Server]]:
    """Start servers; they are gone after the test, and none of them has tried to reach the network."""
    started: list[Server] = []

    def start(command: list[str] | None = None, **settings: str) -> Server:
        server = Server(tmp_path / "home", weights_home, **settings)
        server.command = command or server.command
        started.append(server)
        server.start()
        return server

    (weights_home / "weights").mkdir(parents=True, exist_ok=True)
    yield start
    for server in started:
        server.close()
        assert not server.network_log.exists(), server.network_log.read_text()
