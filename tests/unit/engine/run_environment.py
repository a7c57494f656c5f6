"""A run of its own process that needs one environment: `python -m tests.unit.engine.run_environment SPEC`.

SPEC is JSON: {"folder", "mark", "environments", "environment": {...}, "installer": {...}}. Prints the events and log lines as JSON.
"""

import json
import sys
import tempfile

from jobs.engine.executor import execute_run
from jobs.engine.interface import Environment, EnvironmentStep, RunSpec

given = json.loads(sys.argv[1])
events, lines = [], []


class Ports:
    """Log, state and control in one, in memory."""

    def write(self, *, source, level, text):
        lines.append((source, level, text))

    def flush(self):
        pass

    def save(self, **_):
        pass

    def poll(self):
        return None

    def progress(self, event):
        events.append(dict(event))


with tempfile.TemporaryDirectory() as scratch:
    spec = RunSpec(
        job="job",
        mark=given["mark"],
        steps=[EnvironmentStep("Environment", [Environment(**given["environment"])])],
        folder=given["folder"],
        run_folder=f"{scratch}/run",
        timeout_seconds=60,
        environments_folder=given["environments"],
        installer=given["installer"],
    )
    result, _ = execute_run(spec, log=Ports(), state=Ports(), control=Ports())
print(json.dumps({"outcome": result.outcome, "events": events, "lines": lines}))
