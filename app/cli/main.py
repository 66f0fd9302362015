"""The command `moodline`. Every command imports what it needs when it runs, so that --help is instant."""

from __future__ import annotations

import os

import typer

from app.cli.bench import bench
from app.cli.builders import builders
from app.cli.commands.adapters import adapters
from app.cli.commands.characters import characters, lines
from app.cli.commands.keeping import keeping
from app.cli.commands.keys import keys
from app.cli.commands.merging import merging
from app.cli.commands.serving import serving
from app.cli.commands.users import users
from app.cli.data import data
from app.cli.evaluate import evaluate
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
# Without a name of their own: their commands stand beside the groups below.
app.add_typer(serving)
app.add_typer(keeping)
app.add_typer(merging)
app.add_typer(characters, name="characters")
app.add_typer(lines, name="lines")
app.add_typer(keys, name="keys")
app.add_typer(adapters, name="adapters")
app.add_typer(users, name="users")
app.add_typer(bench, name="bench")
app.add_typer(train, name="train")
data.add_typer(builders)
app.add_typer(data, name="data")
app.add_typer(evaluate, name="eval")
