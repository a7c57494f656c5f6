"""Starts a program that is not ours: gives up root for good, asks to die with the supervisor, then becomes the program.

python -I -S launch.py --parent PID [--run-as UID:GID] -- PROGRAM ARGUMENT...

Order matters: changing the user clears the request to die with the parent, so that comes after it. Exit code 126:
the program may not be started; 127: it is not there; as a shell has them.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Become the program. Answers only where that fails, with the exit code."""
    split = argv.index("--")
    options = dict(zip(argv[:split:2], argv[1:split:2], strict=True))
    program = argv[split + 1 :]
    os.umask(0o007)
    if "--run-as" in options:
        user_id, group_id = (int(part) for part in options["--run-as"].split(":"))
        os.setgroups([])
        os.setresgid(group_id, group_id, group_id)
        os.setresuid(user_id, user_id, user_id)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(options["--parent"]):
            return 1
    # What this interpreter ignores would be ignored by the program too: a broken pipe must end it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]} cannot be started: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
