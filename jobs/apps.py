import os

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from jobs import checks, receivers  # noqa: F401 - connecting them is the point
        from jobs.engine.launch import die_with_parent

        # A service started by one of ours ends with it, and so does everything it forks: a killed parent leaves
        # nothing behind that goes on claiming or writing.
        parent = os.environ.pop("ELTSITE_PARENT", "")
        if parent:
            die_with_parent(int(parent))
            os.register_at_fork(before=_remember_self, after_in_child=lambda: die_with_parent(_forking[-1]))


_forking: list[int] = []


def _remember_self() -> None:
    _forking[:] = [os.getpid()]
