from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.wsgi import get_wsgi_application
from gunicorn.app.base import BaseApplication


class Server(BaseApplication):
    """Gunicorn with our application and our settings, and no configuration file."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return get_wsgi_application()


class Command(BaseCommand):
    help = "Serve pages and API until a signal comes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all")
        parser.add_argument("--processes", type=int, default=2)
        parser.add_argument(
            "--threads", type=int, default=16, help="per process; more than the eight logs it lets be followed at once"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        Server(
            {
                "bind": f"{options['bind']}:{options['port']}",
                "workers": options["processes"],
                "threads": options["threads"],
                "worker_class": "gthread",
                "timeout": 60,
                "graceful_timeout": 5,
                "loglevel": "warning",
                "proc_name": "eltsite-web",
                "control_socket_disable": True,
            }
        ).run()
