"""The data plane's entry: `python -m jobs.engine.movers VERB --folder DIR [--run-as UID:GID]`, its spec on stdin
or on --spec-fd.

Order matters: 1. import what the verb needs, for the interpreter may lie where the other user may not read;
2. go to the workspace's folder; 3. become the other user; 4. ask to die with the parent (changing the user clears
that request); 5. only then read the specification, which comes from a person.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback

from jobs.engine.launch import become, die_with_parent
from jobs.engine.movers import paths
from jobs.engine.movers.protocol import MoverError, emit, fall_silent, hear, log, speak_on

VERBS = {
    "move": "jobs.engine.movers.move",
    "models": "jobs.engine.movers.models",
    "check": "jobs.engine.movers.checks",
    "test": "jobs.engine.movers.checks",
    "init": "jobs.engine.movers.store_init",
    "demo": "jobs.engine.movers.sample_shop",
    "singer_load": "jobs.engine.movers.singer_load",
    "singer_tap": "jobs.engine.movers.singer_tap",
    "relay": "jobs.engine.movers.relay",
    "count": "jobs.engine.movers.count",
    "discover": "jobs.engine.movers.discover",
    "sample": "jobs.engine.movers.discover",
}


def main() -> int:
    """Run one verb; the exit code is 0, 1 for a named failure, 2 for a defect of ours."""
    parser = argparse.ArgumentParser(prog="movers")
    parser.add_argument("verb", choices=sorted(VERBS))
    parser.add_argument("--folder", required=True)
    parser.add_argument("--run-as", default="")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="end with this process; by default with ours")
    parser.add_argument("--needs", default="", help="plugins whose libraries to import, separated by commas")
    parser.add_argument("--spec-fd", type=int, help="read the specification from this descriptor")
    parser.add_argument("--events-fd", type=int, help="write events to this descriptor")
    options = parser.parse_args()
    speak_on(options.events_fd, options.spec_fd)
    try:
        module = importlib.import_module(VERBS[options.verb])
        if hasattr(module, "prepare"):
            module.prepare([need for need in options.needs.split(",") if need])
        os.chdir(options.folder)
        os.umask(0o007)
        if options.run_as:
            user_id, group_id = (int(part) for part in options.run_as.split(":"))
            become(user_id, group_id)
        die_with_parent(options.parent)
        paths.enter(options.folder)
        spec = hear()
        if spec is None:  # the supervisor ended before it had said anything
            return 1
        # The proof that the verb came to its end: exit code 0 alone could be anybody's.
        emit("result", **(module.run(options.verb, spec) or {}))
        return 0
    except MoverError as error:
        emit("error", **error.event)
        return 1
    except BrokenPipeError:
        fall_silent()
        return 1
    except MemoryError:
        emit(
            "error",
            headline="Out of memory",
            code="out-of-memory",
            remedy="Give the host more memory, or lower the memory limit of the store.",
        )
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect must still say what it is
        log(traceback.format_exc(), level="error")
        emit(
            "error",
            headline=f"Unexpected {type(error).__name__}: {error}",
            code="unexpected",
            remedy="The log holds the details.",
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
