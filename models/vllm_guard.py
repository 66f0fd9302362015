"""Runs a command that must not outlive whoever started it: `python vllm_guard.py LIFELINE FOLDER COMMAND…`.

A program of its own, of the standard library alone. It ends the command, and everything that came of it, when the pipe
`LIFELINE` (a file descriptor) closes: whoever holds its other end has closed it, or is gone, be it by kill -9. Then it
removes `FOLDER`. It ends with the command's own status, 128 + n for signal n.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

GRACE_SECONDS = 20.0
"""From asking the command to end until it is killed."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> int:
    """Run the command to its end, or ours."""
    lifeline, folder, *command = sys.argv[1:]
    libc = ctypes.CDLL(None)
    # A process whose parent died becomes a child of this one, and is found.
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def die_with_guard() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    try:
        # There are no threads here that `preexec_fn` could run into.
        child = subprocess.Popen(command, process_group=0, preexec_fn=die_with_guard)  # noqa: S603, PLW1509
    except OSError as error:
        print(f"guard: {error}")
        return 127
    ended = os.pidfd_open(child.pid)
    readable, _, _ = select.select([int(lifeline), ended], [], [])
    let_go = ended not in readable
    if let_go:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        select.select([ended], [], [], GRACE_SECONDS)
        child.kill()
    status = child.wait()
    _end_all(child.pid)
    if let_go:
        shutil.rmtree(folder, ignore_errors=True)
    return status if status >= 0 else 128 - status


def _end_all(group: int) -> None:
    """Kill the rest of the group, and whatever left it and became our child."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            for orphan in Path("/proc/self/task", str(os.getpid()), "children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(orphan), signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the lifeline ends it. Not SIG_IGN, which the command would inherit.
        signal.signal(number, lambda *_: None)
    sys.exit(main())
