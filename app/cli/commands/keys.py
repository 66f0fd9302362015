"""`moodline keys …`."""

from __future__ import annotations

from typing import Annotated

import typer

keys = typer.Typer(help="API keys.", no_args_is_help=True)

RequestsPerMinute = Annotated[int | None, typer.Option(min=-1, help="0: no limit; -1: the server's setting.")]
TokensPerMinute = Annotated[int | None, typer.Option(min=-1, help="Prompts and replies; 0 and -1 as above.")]
Streams = Annotated[int | None, typer.Option(min=-1, help="Replies at once; 0 and -1 as above.")]


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    owner: Annotated[str, typer.Option(help="Whose characters, sessions and memories it opens; else `name`.")] = "",
    admin: Annotated[bool, typer.Option(help="May change characters that everyone shares.")] = False,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    streams: Streams = None,
) -> None:
    """Make an API key; it is shown once. Example: `moodline keys create my-app --owner me --streams 8`."""
    from app.cli.keys import create

    limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute, "streams": streams}
    create(name, owner or name, admin, limits)


@keys.command("change")
def change_key(
    prefix: Annotated[str, typer.Argument(help="The beginning of the key, as `keys list` shows it.")],
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    streams: Streams = None,
) -> None:
    """Give a key other limits. Example: `moodline keys change ml-3f9a --requests-per-minute 60`."""
    from app.cli.keys import change

    limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute, "streams": streams}
    change(prefix, limits)


@keys.command("list")
def list_keys() -> None:
    """The keys there are, without their secrets."""
    from app.cli.keys import show_all

    show_all()


@keys.command("revoke")
def revoke_key(
    prefix: Annotated[str, typer.Argument(help="The beginning of the key, as `keys list` shows it.")],
) -> None:
    """Make a key useless from now on."""
    from app.cli.keys import revoke

    revoke(prefix)
