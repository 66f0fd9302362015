"""The packaged language model: unpacked once, loaded once for every test that listens to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.local import LocalEngine
from models.weights import checkpoint


@pytest.fixture(scope="session")
def unpacked(weights_home: Path) -> Path:
    """The folder of SmolLM2's dequantised checkpoint."""
    return checkpoint(None, weights_home)


@pytest.fixture(scope="session")
async def smollm(unpacked: Path, weights_home: Path) -> AsyncIterator[LocalEngine]:
    """SmolLM2 in process, with room for a few replies at once."""
    engine = LocalEngine(None, weights_home, context_length=2048, max_streams=8)
    await engine.start()
    yield engine
    await engine.close()
