"""The product, everything real: packaged language model, encoder, FAISS, both databases, the official client."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from httpx2 import TransportError
from openai import OpenAIError
from openai.types.chat import ChatCompletionMessageParam

from tests.e2e.conftest import MOODLINE, Server

Serve = Callable[..., Server]
ROOT = Path(__file__).resolve().parents[2]

EN = [
    "My sister is called Marguerite and she breeds snails for races.",
    "What is the weather doing?",
    "How deep is the water?",
    "Do you ever get bored?",
    "Tell me about the heron.",
    "I could eat something.",
    "What is in that book of yours?",
    "Who lives at the next lock?",
    "Is there a By-Law about singing?",
    "It is getting dark.",
    "Do boats have names here?",
    "Do you remember what my sister breeds?",
]
ZH = [
    "我小时候养过一只叫年糕的乌龟，后来它走丢了。",
    "今天生意怎么样？",
    "写一封信要多少钱？",
    "外面下雨了。",
    "你吃饭了没有？",
    "隔壁的面好吃吗？",
    "你会想起以前的事吗？",
    "这座塔有多高？",
    "我想给朋友写信。",
    "晚上这里安静吗？",
    "你喜欢什么颜色？",
    "还记得我小时候养的是什么吗？",
]


@pytest.mark.parametrize(
    ("slug", "talk", "word", "kind"),
    [("ludo-pask", EN, "snails", "sqlite"), ("chai-mi", ZH, "年糕", "postgresql")],
)
def test_a_character_remembers_over_twelve_turns_and_a_restart(
    serve: Serve, request: pytest.FixtureRequest, slug: str, talk: list[str], word: str, kind: str
) -> None:
    database = {} if kind == "sqlite" else {"database_url": _postgres(request)}
    server = serve(window="4", reply_tokens="8", **database)
    messages: list[ChatCompletionMessageParam] = []
    answer: Any = None
    for number, said in enumerate(talk, 1):
        if number == 7:
            assert server.stop() == 0
            server.start()
        messages.append({"role": "user", "content": said})
        for _ in range(5):
            # Eight tokens of so small a model may be nothing but another's name or half a character: then nothing is
            # stored, and whoever asks again is answered.
            answer = server.openai.chat.completions.with_raw_response.create(
                model=f"char/{slug}", user="ana", messages=messages
            )
            if reply := answer.parse().choices[0].message.content.strip():
                break
        assert reply
        reply = answer.parse().choices[0].message.content
        messages.append({"role": "assistant", "content": reply})
    trace = server.http.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace").json()
    assert any(word in memory["text"] for memory in trace["memories"] if memory["kept"])
    system = "\n".join(message["content"] for message in trace["prompt"] if message["role"] == "system")
    shown = "\n".join(message["content"] for message in trace["prompt"] if message["role"] != "system")
    assert word in system
    assert word not in shown
    assert trace["lines"], "no past line was considered"
    session = server.http.get(f"/api/sessions/{answer.headers['x-session-id']}").json()
    assert [message["text"] for message in session["branch"]] == [message["content"] for message in messages]
    other = server.openai.chat.completions.with_raw_response.create(
        model=f"char/{slug}", user="bo", messages=[{"role": "user", "content": talk[-1]}]
    )
    foreign = server.http.get(f"/api/turns/{other.headers['x-moodline-turn']}/trace").json()
    assert foreign["memories"] == []
    assert word not in str(foreign["prompt"])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped_while_it_loads_waits_for_no_thread_that_does(
    tmp_path: Path, weights_home: Path, stop: signal.Signals
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    os.mkfifo(folder / "modules.json")  # whoever reads it waits for ever
    server = Server(tmp_path / "home", weights_home, encoder=str(folder))
    try:
        server.launch()
        server.wait_until(lambda: "No device provided" in (server.home / "output.log").read_text())
        assert server.process
        server.process.send_signal(stop)
        assert server.process.wait(timeout=60) == (0 if stop == signal.SIGINT else -signal.SIGTERM)
    finally:
        server.close()


def test_a_killed_server_has_every_finished_turn_and_no_half_one(serve: Serve) -> None:
    server = serve(reply_tokens="200")
    done = server.openai.chat.completions.create(
        model="char/ludo-pask", user="ana", max_tokens=12, messages=[{"role": "user", "content": "Good morning!"}]
    )
    speaking = threading.Event()

    def listen() -> None:
        stream = server.openai.chat.completions.create(
            model="char/ludo-pask",
            user="bo",
            messages=[{"role": "user", "content": "Tell me a very long story."}],
            stream=True,
        )
        for chunk in stream:
            if chunk.choices[0].delta.content:
                speaking.set()

    def listen_until_cut() -> None:
        with suppress(OpenAIError, TransportError):  # the kill cuts the line
            listen()

    listener = threading.Thread(target=listen_until_cut)
    listener.start()
    assert speaking.wait(60)
    server.kill()
    listener.join(30)
    server.start()
    sessions = server.http.get("/api/sessions").json()["items"]
    assert [(session["user"], session["messages"]) for session in sessions] == [("ana", 2)]
    branch = server.http.get(f"/api/sessions/{sessions[0]['id']}").json()["branch"]
    assert branch[1]["text"] == done.choices[0].message.content


def test_a_script_is_imported_through_the_api_and_its_character_speaks(serve: Serve, bench_data: Path) -> None:
    script = bench_data / "huanhuan" / "script_excerpt.txt"
    if not script.exists():
        pytest.skip(f"{script} is missing")
    server = serve(reply_tokens="16")
    made = server.http.post(
        "/api/characters",
        json={"slug": "zhenhuan", "name": "甄嬛", "language": "zh", "persona": "宫中的一位女子，聪慧谨慎。"},
    )
    assert made.status_code == 201, made.text
    with script.open("rb") as file:
        upload = server.http.post("/api/characters/zhenhuan/lines", files={"file": ("script.txt", file)})
    assert upload.status_code == 202, upload.text
    assert upload.json()["units"] > 100
    where = upload.headers["location"]
    server.wait_until(lambda: server.http.get(where).json()["status"] == "done")
    answer = server.openai.chat.completions.with_raw_response.create(
        model="char/zhenhuan", messages=[{"role": "user", "content": "你的病好些了吗？要不要请太医来看看？"}]
    )
    trace = server.http.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace").json()
    kept = [line["key"] + line["answer"] for line in trace["lines"] if line["kept"]]
    assert any("太医" in text or "病" in text or "身子" in text for text in kept), kept


def test_the_images_entry_point_migrates_and_serves_on_postgresql_and_asks_for_a_key(
    serve: Serve, fresh_postgres_url: str
) -> None:
    entry = ["sh", str(ROOT / "docker" / "entrypoint.sh")]
    path = f"{MOODLINE.parent}{os.pathsep}{os.environ['PATH']}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        server = serve([*entry, "serve"], host="0.0.0.0", database_url=fresh_postgres_url, reply_tokens="8")
    assert subprocess.run([*entry, "migrate"], env=server.environment, check=False).returncode == 0
    assert server.http.get("/healthz").status_code == 200
    refused = server.http.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    made = subprocess.run(
        [str(MOODLINE), "keys", "create", "me"], env=server.environment, check=True, capture_output=True, text=True
    )
    client = server.openai.with_options(api_key=made.stdout.strip())
    assert [model.id for model in client.models.list()][:2] == ["char/chai-mi", "char/ludo-pask"]
    reply = client.chat.completions.create(model="char/chai-mi", messages=[{"role": "user", "content": "你好"}])
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= 8


def _postgres(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("fresh_postgres_url"))
