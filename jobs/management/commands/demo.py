import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from eltsite.crypto import KeyFault
from eltsite.errors import DomainError
from jobs import demo, installation
from jobs.models import Job
from jobs.status import JobStatus
from jobs.supervisor import Supervisor


class Command(BaseCommand):
    help = "Set up a small shop, run its pipeline through a real worker, and serve the site (or, with --no-serve, end)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-serve", action="store_true", help="end after the run; the last line is JSON")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1")

    def handle(self, *args: Any, **options: Any) -> None:
        serve = not options["no_serve"]
        supervisor = Supervisor(bind=options["bind"], port=options["port"], with_web=serve)
        try:
            self.check()
            installation.prepare()
            demo.refuse_foreign_home()
            supervisor.start()
            result = self._run_demo(supervisor, serve=serve)
            if serve:
                supervisor.keep()
        except (DomainError, KeyFault) as error:
            raise CommandError(str(error)) from error
        finally:
            if serve:
                self.stdout.write("Stopping; running jobs are ended or handed back.")
            supervisor.stop()
        if not serve:
            self.stdout.write(json.dumps(result))
            if result["status"] != JobStatus.COMPLETE:
                raise CommandError(f"The demo's job ended {result['status']}.")

    def _run_demo(self, supervisor: Supervisor, *, serve: bool) -> dict[str, Any]:
        self.stdout.write("Setting up a small shop: customers, a year of orders, products")
        workspace, user, access = demo.set_up()
        demo.wait_for_workspace(workspace)
        pipeline = demo.save_pipelines(workspace, user)
        if serve:
            self.stdout.write(
                f"\n  {supervisor.address}\n  user      {access['user']}\n  password  {access['password']}\n"
            )
        self.stdout.write(f"Running {pipeline.label} …")
        job = demo.run(pipeline, user)
        self.stdout.write(f"Job {job.number}: {job.status}. {job.headline}")
        if serve:
            self.stdout.write(
                f"\nIt is at {supervisor.address}/w/{workspace.alias}/jobs/{job.number}/ . Ctrl-C stops eltsite."
            )
        return {
            "job": str(job.pk),
            "status": job.status,
            "headline": job.headline,
            "rows": rows_by_stream(job),
            "seconds": job.duration_seconds,
            "user": access["user"],
            "password": access["password"],
            "token": access["token"],
            "workspace": str(workspace.pk),
            "pipeline": str(pipeline.pk),
        }


def rows_by_stream(job: Job) -> dict[str, int]:
    """How many rows of each stream the job wrote."""
    return {stream["stream"]: stream.get("rows_written") or 0 for stream in job.streams}
