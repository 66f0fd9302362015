"""`moodline serve`."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
import uvicorn
from rich.markup import escape

from app.characters.samples import add_samples, read_samples
from app.cli.console import err, out, services
from app.front import Front
from app.main import create_app
from app.services import Services
from app.settings import Settings

SECONDS_TO_FINISH = 30
TO_TELL = 5
"""Seconds before the end in which streams that did not finish are told so, and what they said is stored."""


MODEL_SETTING = {"local": "local_weights", "vllm": "vllm_model", "openai": "upstream_model"}


def run(engine: str | None, model: str | None, upstream: str | None) -> None:
    """Migrate, add the samples, say how to talk, serve until stopped. Ends the process."""
    parts = services(**_chosen(engine, model, upstream))
    _need_port(parts.settings.host, parts.settings.port)
    _log_to_file(parts.settings)
    asyncio.run(_prepare(parts))
    _greet(parts.settings)
    config = uvicorn.Config(
        create_app(parts),
        host=parts.settings.host,
        port=parts.settings.port,
        log_level=parts.settings.log_level,
        log_config=None,
        access_log=False,
        http=Front,
        ws="none",
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(Server(config)))


def _chosen(engine: str | None, model: str | None, upstream: str | None) -> dict[str, str]:
    """The settings that the command line names."""
    engine = engine or ("openai" if upstream else None)
    if upstream and engine != "openai":
        raise typer.BadParameter("--upstream goes with --engine openai.")
    if model and not engine:
        raise typer.BadParameter("--model goes with --engine.")
    named = {"engine": engine, "upstream_url": upstream, **({MODEL_SETTING[engine]: model} if engine else {})}
    return {name: value for name, value in named.items() if value is not None}


def _need_port(host: str, port: int) -> None:
    """End with a sentence where nobody could be answered, before anything is loaded for it."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        err.print(
            f"[red]{escape(host)}, port {port}, can't be listened on[/]: {error.strerror or error}. Is Moodline "
            "running already? MOODLINE_PORT and MOODLINE_HOST name another place.",
            highlight=False,
        )
        raise SystemExit(1) from None


class Server(uvicorn.Server):
    """A server that lets replies end when it is stopped; with a client and without, they have the same time."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, but that replies which take too long are told so before their connections are cut."""
        seconds = self.config.timeout_graceful_shutdown or 0
        self._app.state.under_way.close_within(seconds)
        last = asyncio.create_task(self._break_off(seconds - TO_TELL))
        await super().shutdown(sockets)
        last.cancel()

    @property
    def _app(self) -> Any:
        return self.config.app

    async def _break_off(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._app.state.under_way.stop()
        await self._app.state.services.engine.close()


async def _serve(server: Server) -> None:
    """Serve until stopped, then leave at once: Python would wait for the threads that still load weights."""
    with suppress(KeyboardInterrupt, SystemExit):
        await server.serve()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0 if server.started else 1)


async def _prepare(parts: Services) -> None:
    await add_samples(parts.db)
    # The pool belongs to this short-lived loop; the server opens its own.
    await parts.db.close()


def _log_to_file(settings: Settings) -> None:
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    for place in (_rotating(folder / "moodline.log"), logging.StreamHandler()):
        place.setFormatter(form)
        logging.getLogger().addHandler(place)
    logging.getLogger().setLevel(settings.log_level.upper())
    # vLLM says much; what matters of it is told in sentences, here as there.
    output = logging.getLogger("moodline.vllm.output")
    output.propagate = False
    output.setLevel(logging.DEBUG)
    output.addHandler(_rotating(folder / "vllm.log"))
    # It tells of every request to the upstream, with an address that never changes.
    logging.getLogger("httpx").setLevel(logging.DEBUG if settings.log_level == "debug" else logging.WARNING)


def _rotating(file: Path) -> logging.Handler:
    # Made at the first line.
    return logging.handlers.RotatingFileHandler(file, maxBytes=10 * 2**20, backupCount=3, encoding="utf-8", delay=True)


def _greet(settings: Settings) -> None:
    """A ready-to-paste way in."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    address = f"http://{host}:{settings.port}"
    samples = read_samples()
    zh = next((sample for sample in samples if sample["language"] == "zh"), samples[0])
    en = next((sample for sample in samples if sample["language"] == "en"), samples[0])
    key = ' -H "Authorization: Bearer $MOODLINE_KEY"' if settings.key_required else ""
    curl = (
        f"curl -N {address}/v1/chat/completions{key} -H 'Content-Type: application/json' -d "
        f'\'{{"model": "char/{en["slug"]}", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}\''
    )
    api_key = 'os.environ["MOODLINE_KEY"]' if settings.key_required else '"none"'
    python = "\n".join(
        [
            *(["import os"] if settings.key_required else []),
            "from openai import OpenAI",
            f'client = OpenAI(base_url="{address}/v1", api_key={api_key})',
            f'reply = client.chat.completions.create(model="char/{zh["slug"]}", user="me",',
            '    messages=[{"role": "user", "content": "你好！"}])',
            "print(reply.choices[0].message.content)",
        ]
    )
    out.print(f"[bold]Moodline[/] on {address} · docs {address}/docs · state in {escape(str(settings.home))}")
    if settings.key_required:
        out.print("A key is required: [bold]moodline keys create me[/], then export MOODLINE_KEY=ml-…")
    # Plain lines, not a box: they are there to be pasted.
    for title, snippet in (("curl", curl), ("openai-python (pip install openai)", python)):
        out.rule(title, align="left", style="dim")
        print(snippet)
    out.rule(style="dim")
    out.print(f"The language model loads in the background; {address}/readyz says when it can speak.")
    if settings.engine == "vllm":
        out.print(f"All that vLLM writes is in {escape(str(settings.home / 'logs' / 'vllm.log'))}.")
