"""Which tests a process of `make test` takes together, and which come first."""

from __future__ import annotations

import os
from typing import Any

import pytest

VLLM = ("tests/vllm/", "tests/e2e/test_vllm.py")
"""Together: one vLLM serves a whole run, and two would not fit into the memory of a small machine."""
LONG = (*VLLM, "tests/app/test_openapi.py", "tests/e2e/", "tests/models/training/", "tests/models/test_merge.py")
"""First, or one process would work through the last of them while the others have nothing left to do."""


def rank(nodeid: str) -> int:
    """The place of a test's file in the order of a run."""
    return next((place for place, begin in enumerate(LONG) if nodeid.startswith(begin)), len(LONG))


def unit(nodeid: str) -> str:
    """What is run with a test in the same process: its file, so that what a file starts is started once."""
    return "vllm" if nodeid.startswith(VLLM) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole units in the order of the collection; xdist itself would begin with the unit of most tests."""
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    if config.getvalue("dist") == "no":
        return None
    config.option.loadscopereorder = False
    return Units(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a process among several the long ones first; everything else stays where it was."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: rank(item.nodeid))
