"""Giving up root and dying with the supervisor; and, as a program, starting one that is not ours.

python -I -S launch.py --parent PID [--run-as UID:GID] -- PROGRAM ARGUMENT...

Order matters: changing the user clears the request to die with the parent, so that comes after it. Exit code 126:
the program may not be started; 127: it is not there; as a shell has them.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def become(user_id: int, group_id: int) -> None:
    """Give up root for good: groups first, then the group, then the user."""
    os.setgroups([])
    os.setresgid(group_id, group_id, group_id)
    os.setresuid(user_id, user_id, user_id)


def die_with_parent(parent: int) -> None:
    """Be killed when the starting thread of the parent ends; leave at once when it already has."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # A process that changed its user is not dumpable, and could not follow its own /proc/self/cwd.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main(argv: list[str]) -> int:
    """Become the program. Answers only where that fails, with the exit code."""
    split = argv.index("--")
    options = dict(zip(argv[:split:2], argv[1:split:2], strict=True))
    program = argv[split + 1 :]
    os.umask(0o007)
    if "--run-as" in options:
        user_id, group_id = (int(part) for part in options["--run-as"].split(":"))
        become(user_id, group_id)
    die_with_parent(int(options["--parent"]))
    # What this interpreter ignores would be ignored by the program too, and a broken pipe must end it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]} cannot be started: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
