"""`moodline serve --engine vllm`: a real vLLM that is started, watched over and ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from models.vllm_process import GUARD, Launch
from tests.e2e.conftest import MOODLINE, Server

STREAMS = 6


class Served(Server):
    """A server with vLLM beside it, and every state of the language model that /readyz told."""

    states: list[str]

    def ready(self) -> bool:
        """Whether it can speak now."""
        answer = self.http.get("/readyz")
        self.states.append(answer.json()["parts"]["engine"])
        return answer.status_code == 200

    def below(self, name: str = "") -> list[psutil.Process]:
        """The processes that came of it: the guard, vLLM, what computes."""
        assert self.process
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in below if name in " ".join(process.cmdline())]

    def say(self, user: str, text: str) -> httpx.Response:
        """A turn with a character."""
        body = {"model": "char/ludo-pask", "user": user, "messages": [{"role": "user", "content": text}]}
        return self.http.post("/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def served(vllm_launch: Launch, weights_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests here, ready to speak."""
    server = Served(
        tmp_path_factory.mktemp("vllm") / "home",
        weights_home,
        vllm_python=vllm_launch.python,
        vllm_options=" ".join(vllm_launch.options),
        context_tokens=str(vllm_launch.context_length),
    )
    server.command = [str(MOODLINE), "serve", "--engine", "vllm", "--model", vllm_launch.model]
    server.states = []
    server.launch()
    server.wait_until(server.ready)
    yield server
    server.close()
    assert not server.network_log.exists(), server.network_log.read_text()


def test_its_start_is_told_in_stages_and_then_it_speaks(served: Served) -> None:
    assert served.states[-1] == "ready"
    assert set(served.states[:-1]) & {f"not ready: vLLM is starting{more}" for more in (".", ": reading the weights.")}
    output = (served.home / "output.log").read_text()
    assert "vLLM is starting: the checkpoint is a LlamaForCausalLM." in output
    assert "vLLM serves smollm2-135m-instruct, after" in output
    assert "Available routes" not in output, "its own log goes to a file"
    assert "Available routes" in (served.home / "logs" / "vllm.log").read_text()
    answer = served.say("ana", "Hello!")
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens"] > 100
    assert answer.json()["choices"][0]["message"]["content"]
    assert "smollm2-135m-instruct" in {model["id"] for model in served.http.get("/v1/models").json()["data"]}


def test_its_key_and_socket_are_for_us_alone(served: Served) -> None:
    (vllm,) = [process for process in served.below("--uds") if str(GUARD) not in process.cmdline()]
    words = vllm.cmdline()
    folder = Path(words[words.index("--uds") + 1]).parent
    assert folder.stat().st_mode & 0o077 == 0
    key = vllm.environ()["VLLM_API_KEY"]
    assert len(key) >= 32
    assert not [process for process in served.below() if key in " ".join(process.cmdline())]
    listening = [
        connection
        for process in served.below()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in ("127.0.0.1", "::1")
    ]
    assert not listening


def stream(server: Served, number: int, spoke: threading.Event) -> list[str]:
    """The events of a long turn."""
    body = {
        "model": "char/ludo-pask",
        "user": f"user {number}",
        "stream": True,
        "max_tokens": 900,
        "min_tokens": 900,
        "messages": [{"role": "user", "content": f"Count from {number} to a thousand."}],
    }
    events = []
    with server.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line:
                events.append(line.removeprefix("data: "))
                if '"content": "' in line or '"content":"' in line:
                    spoke.set()
    return events


def test_kill_9_under_load_ends_streams_with_an_error_and_it_comes_back(served: Served) -> None:
    finished = served.say("ana", "What do you sell?")
    spoke = [threading.Event() for _ in range(STREAMS)]
    with ThreadPoolExecutor(STREAMS) as pool:
        jobs = [pool.submit(stream, served, number, spoke[number]) for number in range(STREAMS)]
        for one, job in zip(spoke, jobs, strict=True):
            while not one.wait(0.2):
                assert not job.done(), job.result()
        (engine,) = served.below("VLLM::EngineCore")
        engine.kill()
        for job in jobs:
            *_, error, done = job.result()
            assert done == "[DONE]"
            assert json.loads(error)["error"]["code"] == "engine_error", error
    # What computes is dead, so whatever /readyz says now must not be "ready" until there is another.
    served.states.clear()
    while not served.ready():
        pass
    assert served.below("VLLM::EngineCore")[0].pid != engine.pid
    assert "It is started again in 1 s." in (served.home / "output.log").read_text()
    assert served.say("ana", "Still there?").status_code == 200
    session = served.http.get(f"/api/sessions/{finished.headers['x-session-id']}").json()
    texts = [message["text"] for message in session["branch"]]
    assert finished.json()["choices"][0]["message"]["content"] in texts


def test_kill_9_of_the_server_leaves_no_vllm_behind(served: Served) -> None:
    if not served.process or served.process.poll() is not None:
        served.start()
    below = served.below()
    assert len(below) >= 3
    assert served.process
    served.process.kill()
    served.process.wait()
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not alive
