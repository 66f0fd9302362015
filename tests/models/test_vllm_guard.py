"""Nothing outlives whoever started it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil

from models.vllm_process import GUARD

# Ends with 7 when it is asked to, and has a child that left its group.
LEAVING = """
import os, signal, subprocess, sys, time
stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(os.getpid(), stray.pid, flush=True)
while True:
    time.sleep(60)
"""


def guarded(lifeline: int, folder: Path, *command: str) -> list[str]:
    return [sys.executable, "-I", str(GUARD), str(lifeline), str(folder), *command]


def gone(*pids: int) -> bool:
    """Wait for their end."""
    return not psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=60)[1]


def test_the_commands_own_end_is_the_guards_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ours, held = os.pipe()
    script = "(setsid sleep 600 & echo $!); exit 3"
    done = subprocess.run(
        guarded(ours, tmp_path, "sh", "-c", script), pass_fds=(ours,), stdout=subprocess.PIPE, text=True, check=False
    )
    os.close(held)
    os.close(ours)
    assert done.returncode == 3
    assert gone(int(done.stdout))
    assert tmp_path.exists(), "another life may need the folder"


def test_closing_the_lifeline_ends_the_command_in_order_and_takes_the_folder_away(tmp_path: Path) -> None:
    ours, held = os.pipe()
    folder = tmp_path / "sockets"
    folder.mkdir()
    command = guarded(ours, folder, sys.executable, "-c", LEAVING)
    with subprocess.Popen(command, pass_fds=(ours,), stdout=subprocess.PIPE, text=True) as guard:
        os.close(ours)
        assert guard.stdout
        pids = [int(pid) for pid in guard.stdout.readline().split()]
        guard.send_signal(signal.SIGTERM)
        guard.send_signal(signal.SIGINT)
        assert psutil.pid_exists(pids[0]), "only the lifeline counts"
        os.close(held)
        assert guard.wait(timeout=60) == 7
    assert gone(*pids)
    assert not folder.exists()


OWNER = """
import os, subprocess, sys
ours, held = os.pipe()
subprocess.Popen([sys.executable, "-I", {guard!r}, str(ours), {folder!r}, sys.executable, "-c", {command!r}],
                 pass_fds=(ours,), start_new_session=True)
os.close(ours)
sys.stdin.read()
"""


def test_kill_9_of_the_owner_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()
    script = textwrap.dedent(OWNER).format(guard=str(GUARD), folder=str(folder), command=LEAVING)
    owner = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert owner.stdout
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    guard = psutil.Process(pids[0]).parent()
    assert guard
    owner.kill()
    owner.communicate()
    assert gone(guard.pid, *pids)
    assert not folder.exists()


def test_kill_9_of_the_guard_ends_the_command_too(tmp_path: Path) -> None:
    ours, held = os.pipe()
    command = guarded(ours, tmp_path, sys.executable, "-c", LEAVING)
    with subprocess.Popen(command, pass_fds=(ours,), stdout=subprocess.PIPE, text=True) as guard:
        os.close(ours)
        assert guard.stdout
        pid, stray = (int(pid) for pid in guard.stdout.readline().split())
        guard.kill()
        assert gone(pid)
    os.kill(stray, signal.SIGKILL)
    os.close(held)


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    ours, held = os.pipe()
    done = subprocess.run(
        guarded(ours, tmp_path, "/no/such/python"), pass_fds=(ours,), capture_output=True, text=True, check=False
    )
    os.close(held)
    os.close(ours)
    assert done.returncode == 127
    assert done.stdout.startswith("guard: ")
    assert "/no/such/python" in done.stdout
