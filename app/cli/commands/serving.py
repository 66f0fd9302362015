"""`moodline serve`, `chat`, and what keeps their database going."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from app.cli.commands.characters import Slug

serving = typer.Typer()

EngineName = Literal["local", "vllm", "openai"]


@serving.command()
def serve(
    engine: Annotated[
        EngineName | None, typer.Option(help="Who speaks: `local`, in process; `vllm`, started beside it; `openai`.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The language model: a folder; for `vllm` also a hub's name; for `openai` a name."),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(help="With `openai`: the server's address, ending in /v1, or several with commas between."),
    ] = None,
) -> None:
    """Start the server: migrate, add the sample characters once, answer HTTP.

    - `moodline serve` speaks with the small model that comes along, on any machine
    - `moodline serve --engine vllm --model Qwen/Qwen2.5-7B-Instruct` starts vLLM on this machine's GPU
    - `moodline serve --engine vllm --model ./out/mara` does so with a merged character model
    - `moodline serve --engine openai --upstream http://gpu-box:8000/v1` talks to a server that is there
    - `MOODLINE_PORT=8080 moodline serve` listens elsewhere

    Everything else is set by `MOODLINE_…` variables or a `.env` file; README.md has them all.
    """
    from app.cli.serve import run

    run(engine, model, upstream)


@serving.command()
def migrate() -> None:
    """Bring the database to the newest revision; `moodline serve` does it too."""
    from app.cli.console import settings
    from app.migrate import migrate as apply

    apply(settings().database)


@serving.command()
def chat(
    slug: Slug,
    user: Annotated[str, typer.Option(help="Who you are; memories and the bond are yours alone.")] = "",
    session: Annotated[str, typer.Option(help="Continue this session instead of beginning one.")] = "",
) -> None:
    """Talk with a character in the terminal, without a server.

    Example: `moodline chat ludo-pask --user ana`. An empty line or Ctrl-D ends the talk.
    """
    from app.cli.chat import run

    run(slug, user, session)


@serving.command()
def reindex() -> None:
    """Embed every line and memory that has no vector of the current encoder, e.g. after MOODLINE_ENCODER changed."""
    from app.cli.embed import reindex as run

    run()


@serving.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
) -> None:
    """Take away old traces and what was deleted long ago, by MOODLINE_TRACE_DAYS and MOODLINE_DELETED_DAYS."""
    from app.cli.prune import prune as run

    run(dry_run)
