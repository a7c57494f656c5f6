"""What a worker's process runs."""

from jobs.runner import run_one


def run_next() -> None:
    """Claim the best job this host may run, and run it; return at once when there is none."""
    run_one()
