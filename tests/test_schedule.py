"""How tests are divided among processes: with the real xdist, or nobody would notice that it does otherwise."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("tests/app/test_a.py", "tests/app/test_openapi.py", "tests/e2e/test_vllm.py", "tests/vllm/test_contract.py")
CONTENT = """
import os
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(number: int, pytestconfig: pytest.Config) -> None:
    with (pytestconfig.rootpath / os.environ["PYTEST_XDIST_WORKER"]).open("a") as told:
        print(__name__, file=told)
"""


def test_a_file_and_all_that_needs_vllm_run_in_one_process_each_and_the_long_ones_first(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CONTENT)
    words = (
        "-n",
        "2",
        "-q",
        "-p",
        "tests.schedule",
        "-p",
        "xdist",
        "--import-mode=importlib",
        "--rootdir",
        ".",
        "tests",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = {place.name: list(dict.fromkeys(place.read_text().split())) for place in tmp_path.glob("gw*")}
    first = {modules[0] for modules in ran.values()}
    assert first == {"tests.vllm.test_contract", "tests.app.test_openapi"}, "the long ones come first"
    processes = defaultdict(set)
    for process, modules in ran.items():
        for module in modules:
            processes["vllm" if "vllm" in module else module].add(process)
    assert sorted(processes) == ["tests.app.test_a", "tests.app.test_openapi", "vllm"]
    assert all(len(where) == 1 for where in processes.values()), "what is started for a file is started once"
