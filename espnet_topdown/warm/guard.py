"""Stands between a command and its owner, and ends the command when the owner is gone.

Run by its path, with the standard library alone, so that it starts within some milliseconds:
``python3 -I -S guard.py DESCRIPTOR GRACE_S COMMAND...``. The owner holds the other end of the pipe
DESCRIPTOR, which closes with it, however it ends.
"""

import os
import select
import signal
import sys
import time

# slurm.pl and queue.pl cancel their job at a SIGTERM, and pass over one that comes before the job
# has a number: a second follows.
SIGNALS = (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)


def main(owner: int, grace_s: float, command: list[str]) -> None:
    """Run the command in a process group of its own and end as it ends.

    Args:
        owner: the descriptor that is at its end once the owner is gone.
        grace_s: seconds that the group has after each signal.
        command: its words.
    """
    os.set_inheritable(owner, False)
    # Whoever ends the guard means the command; the owner's end is told by the pipe.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        leader = os.posix_spawnp(command[0], command, os.environ, setpgroup=0)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")
    ended = os.pidfd_open(leader)
    readable, _, _ = select.select([owner, ended], [], [])
    if ended in readable:
        _, status = os.waitpid(leader, 0)
    else:
        status = end_group(leader, grace_s)
    end_like(os.waitstatus_to_exitcode(status))


def end_group(leader: int, grace_s: float) -> int:
    """Signal the group, ever more firmly, until all of it is gone; the leader's wait status."""
    status = None
    for number in SIGNALS:
        send(leader, number)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            # Until the leader is waited for, its group counts as there.
            if status is None:
                done, ended = os.waitpid(leader, os.WNOHANG)
                status = ended if done else None
            is_gone = not send(leader, 0)
            if is_gone:
                break
            time.sleep(0.02)
    return os.waitpid(leader, 0)[1] if status is None else status


def send(leader: int, number: int) -> bool:
    """Signal the group (0 sends none); False where it is gone."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return False
    return True


def end_like(code: int) -> None:
    """End with the command's status, by the same signal where one ended it."""
    if code >= 0:
        sys.exit(code)
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
