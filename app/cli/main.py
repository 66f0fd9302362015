"""The command `moodline`. Every command imports what it needs when it runs, so that --help is instant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.bench import bench
from app.cli.data import data
from app.cli.train import train

# Threads that spin while they wait starve the others when cores are few; read once, when torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# numpy's pool of threads spins too: embedding after a search took 51 ms beside it, and 19 without.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

app = typer.Typer(
    name="moodline",
    help="A character chat server: any OpenAI client talks to characters who keep their voice, remember, and change.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
characters = typer.Typer(help="List, show, add, import, export and delete characters.", no_args_is_help=True)
lines = typer.Typer(help="Past lines, which give a character its voice.", no_args_is_help=True)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
adapters = typer.Typer(help="LoRA adapters that characters speak with, beside one base.", no_args_is_help=True)
users = typer.Typer(help="The people an app serves: list them, export or erase one.", no_args_is_help=True)
app.add_typer(characters, name="characters")
app.add_typer(lines, name="lines")
app.add_typer(keys, name="keys")
app.add_typer(adapters, name="adapters")
app.add_typer(users, name="users")
app.add_typer(bench, name="bench")
app.add_typer(train, name="train")
app.add_typer(data, name="data")

RequestsPerMinute = Annotated[int | None, typer.Option(min=-1, help="0: no limit; -1: the server's setting.")]
TokensPerMinute = Annotated[int | None, typer.Option(min=-1, help="Prompts and replies; 0 and -1 as above.")]
Streams = Annotated[int | None, typer.Option(min=-1, help="Replies at once; 0 and -1 as above.")]
EngineName = Literal["local", "vllm", "openai"]
Slug = Annotated[str, typer.Argument(help="The character's slug, as in `char/<slug>`.")]


@app.command()
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


@app.command()
def migrate() -> None:
    """Bring the database to the newest revision; `moodline serve` does it too."""
    from app.cli.console import settings
    from app.migrate import migrate as apply

    apply(settings().database)


@app.command()
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


@app.command()
def reindex() -> None:
    """Embed every line and memory that has no vector of the current encoder, e.g. after MOODLINE_ENCODER changed."""
    from app.cli.embed import reindex as run

    run()


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
) -> None:
    """Take away old traces and what was deleted long ago, by MOODLINE_TRACE_DAYS and MOODLINE_DELETED_DAYS."""
    from app.cli.prune import prune as run

    run(dry_run)


@app.command()
def check(
    repair: Annotated[bool, typer.Option("--repair", help="Put right what was found; nothing is deleted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Look whether everything in the database agrees, while the server goes on.

    Ends with 0 when nothing is wrong, 1 with findings, 2 when it could not run.
    """
    from app.cli.check import check as run

    run(repair, as_json)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; a zip that only you can read.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write everything into one file while the server goes on. Example: `moodline backup monday.zip`.

    `restore` reads it into SQLite or PostgreSQL, whichever it came from. Of API keys it has the hashes only.
    """
    from app.cli.backup import backup as run

    run(file, force)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` made.")],
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of all that is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Read a backup into the database that the settings name: all of it, or nothing; then check it.

    It is verified first, and an older one is migrated. Stop the servers before you replace what they serve.
    """
    from app.cli.backup import restore as run

    run(file, replace, yes)


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of a LoRA adapter as PEFT saves it.")],
    base: Annotated[
        str,
        typer.Option(help="Folder of the unquantised checkpoint it was trained on; `packaged` is the server's own."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
) -> None:
    """Make one servable checkpoint of a LoRA adapter and its base, or nothing. Needs no GPU.

    The result is loaded and held against base and adapter before it gets its name. Its `manifest.json` says what it was
    made of and how it must be served; the server looks at it when it starts.

    Example: `moodline merge adapters/mara --base Qwen3-4B-Instruct --out mara-4b`.
    """
    from app.cli.merge import run

    run(adapter, base, out)


@characters.command("list")
def list_characters() -> None:
    """The characters of this server."""
    from app.cli.characters import show_all

    show_all()


@characters.command("show")
def show_character(slug: Slug) -> None:
    """One character as JSON; `characters add` reads the same form."""
    from app.cli.characters import show

    show(slug)


@characters.command("add")
def add_character(
    file: Annotated[Path, typer.Argument(help="JSON with slug, name, persona, … as POST /api/characters takes it.")],
) -> None:
    """Add a character from a JSON file. Example: `moodline characters add cat.json`."""
    from app.cli.characters import add

    add(file)


@characters.command("import")
def import_character(
    file: Annotated[Path, typer.Argument(help="A card: PNG, JSON, CHARX, JPEG, WEBP or YAML.")],
    slug: Annotated[str, typer.Option(help="Unset: made of the name.")] = "",
    pick: Annotated[str, typer.Option(help="Which character, by name, of a file that has many.")] = "",
    shared: Annotated[bool, typer.Option("--shared", help="For everyone on this server.")] = False,
) -> None:
    """Add a character from a card of SillyTavern, RisuAI, … Example: `moodline characters import seraphina.png`."""
    from app.cli.cards import import_card

    import_card(file, slug, pick, shared)


@characters.command("export")
def export_character(
    slug: Slug,
    file: Annotated[Path, typer.Argument(help="Where to; .json, .png or .charx says in which format.")],
    original: Annotated[
        bool, typer.Option("--original", help="The file that it was imported from, as it was.")
    ] = False,
    v2: Annotated[bool, typer.Option("--v2", help="Character Card V2, for older programs; else V3.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a character as a card. Example: `moodline characters export seraphina seraphina.png`."""
    from app.cli.cards import export_card

    export_card(slug, file, original, "v2" if v2 else "v3", force)


@characters.command("delete")
def delete_character(slug: Slug) -> None:
    """Hide a character; `characters restore` brings it back."""
    from app.cli.characters import delete

    delete(slug)


@characters.command("restore")
def restore_character(slug: Slug) -> None:
    """Bring a deleted character back."""
    from app.cli.characters import restore

    restore(slug)


@lines.command("import")
def import_lines(
    slug: Slug,
    file: Annotated[Path, typer.Argument(help="JSONL, CSV, or a script with `NAME: line`.")],
    role: Annotated[str, typer.Option(help="Whose lines to take; else the character's name.")] = "",
    encoding: Annotated[str, typer.Option(help="Of the file, e.g. gb18030.")] = "utf-8",
) -> None:
    """Import past lines and embed them. Example: `moodline lines import mara script.txt --role MARA`."""
    from app.cli.embed import import_lines as run

    run(slug, file, role, encoding)


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


@adapters.command("add")
def add_adapter(
    folder: Annotated[Path, typer.Argument(help="Folder of a LoRA adapter as PEFT saves it.")],
    role: Annotated[str, typer.Option(help="The first part of its name; the second is made of its weights.")],
) -> None:
    """Keep an adapter and print its name, for a character's field `adapter`.

    Example: `moodline adapters add runs/mara --role mara`.
    """
    from app.cli.adapters import add

    add(folder, role)


@adapters.command("list")
def list_adapters() -> None:
    """The adapters that are kept."""
    from app.cli.adapters import show_all

    show_all()


@adapters.command("remove")
def remove_adapter(name: Annotated[str, typer.Argument(help="As `adapters list` shows it.")]) -> None:
    """Take an adapter away that no character speaks with."""
    from app.cli.adapters import remove

    remove(name)


Owner = Annotated[str, typer.Option(help="Whose app the user talks through; see `keys list`.")]
Person = Annotated[str, typer.Argument(help="As the app sends it in `user`.")]


@users.command("list")
def list_users(owner: Owner = "local") -> None:
    """Everyone who has talked with a character."""
    from app.cli.users import show_all

    show_all(owner)


@users.command("export")
def export_user(
    user: Person,
    file: Annotated[Path, typer.Argument(help="Where to; lines of JSON.")],
    owner: Owner = "local",
) -> None:
    """Write all that is kept of a user into a file. Example: `moodline users export ana ana.jsonl`."""
    from app.cli.users import write_all

    write_all(owner, user, file)


@users.command("erase")
def erase_user(
    user: Person,
    owner: Owner = "local",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Forget a user for good: conversations, memories, bonds, traces."""
    from app.cli.users import forget

    forget(owner, user, yes)
