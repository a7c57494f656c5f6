"""The parent that keeps a qcluster honest.

django-q2 hangs without a word when an idle worker is killed, and waits for ever when it is asked to stop while a
job runs (see docs/decisions.md). So a small process of ours starts the cluster, sees whether work is picked up, and
replaces the cluster when it is not. It alone receives signals.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from datetime import timedelta
from types import FrameType

from django.conf import settings
from django.db import Error as DatabaseFault
from django.db import close_old_connections
from django.utils import timezone

from jobs import folders, queue
from jobs.engine.process import Service, become_subreaper
from jobs.finishing import fail_lost_jobs
from jobs.models import Job, Worker
from jobs.services import JobNotActive, request_stop
from jobs.status import GRACE_SECONDS, HEARTBEAT_SECONDS, JobStatus, StopReason

logger = logging.getLogger("eltsite.worker")

TICK_SECONDS = 0.5
UNCLAIMED_SECONDS = 4.0  # work that lies this long while slots are free means a hung cluster
START_SECONDS = 15.0  # a new cluster is given this long
STOP_SECONDS = 5.0
AWAY_SECONDS = 2.0  # between tries at a database that does not answer


class WorkerParent:
    """One `manage.py worker`."""

    def __init__(self, *, slots: int, drain_seconds: float) -> None:
        self._slots = slots
        self._drain_seconds = drain_seconds
        self._row_id = uuid.uuid4()
        self._cluster: Service | None = None
        self._retired: list[Service] = []  # hung ones that still run a job
        self._restarts = 0
        self._beat = 0.0
        self._unclaimed_since: float | None = None
        self._is_stopping = False

    def run(self) -> None:
        """Until a signal comes: keep the cluster, the heartbeat and the books."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        become_subreaper()
        folders.ensure_run_as_user()
        self._register()
        self._start_cluster()
        while not self._is_stopping:
            try:
                self._tick()
            except DatabaseFault as error:
                logger.warning("database away: %s", error, extra={"action": "tick"})
                close_old_connections()
                time.sleep(AWAY_SECONDS)
            time.sleep(TICK_SECONDS)
        self._shut_down()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def _register(self) -> None:
        now = timezone.now()
        Worker.objects.create(
            id=self._row_id,
            host=settings.ELTSITE_HOST,
            pid=os.getpid(),
            slots=self._slots,
            version=settings.VERSION,
            started_at=now,
            heartbeat_at=now,
        )

    def _start_cluster(self) -> None:
        self._cluster = Service(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"],
            name="cluster",
            environment={"ELTSITE_WORKER_ID": str(self._row_id), "ELTSITE_SLOTS": str(self._slots)},
        )
        self._unclaimed_since = None

    def _tick(self) -> None:
        assert self._cluster is not None
        if self._cluster.poll() is not None:
            logger.warning("the cluster ended and is started anew", extra={"action": "restart"})
            fail_lost_jobs()
            if time.monotonic() - self._cluster.started < START_SECONDS:
                time.sleep(AWAY_SECONDS)  # it ended at once: trying in a tight loop would only burn the host
            self._restart()
        elif self._is_hung(self._cluster):
            logger.warning("the cluster picks up no work and is replaced", extra={"action": "replace"})
            self._retired.append(self._cluster)
            self._restart()
        self._end_retired()
        if time.monotonic() - self._beat >= HEARTBEAT_SECONDS:
            fail_lost_jobs()
            Worker.objects.filter(pk=self._row_id).update(heartbeat_at=timezone.now(), restarts=self._restarts)
            self._beat = time.monotonic()

    def _restart(self) -> None:
        self._restarts += 1
        self._start_cluster()
        queue.wake()

    def _is_hung(self, cluster: Service) -> bool:
        """Whether jobs have been lying unclaimed while slots were free, for longer than a healthy cluster leaves them."""
        if time.monotonic() - cluster.started < START_SECONDS or not self._has_unclaimed():
            self._unclaimed_since = None
            return False
        if self._unclaimed_since is None:
            self._unclaimed_since = time.monotonic()
            queue.wake()  # a lost wake-up is no hung cluster
        return time.monotonic() - self._unclaimed_since >= UNCLAIMED_SECONDS

    def _has_unclaimed(self) -> bool:
        now = timezone.now()
        mine = Job.objects.filter(status=JobStatus.RUNNING, worker_id=self._row_id)
        if mine.count() >= self._slots:
            return False
        held = Job.objects.filter(status=JobStatus.RUNNING).exclude(exclusive_key="").values("exclusive_key")
        waiting = Job.objects.all().claimable(settings.ELTSITE_HOST, now).exclude(exclusive_key__in=held)
        return waiting.filter(created_at__lt=now - timedelta(seconds=2)).exists()

    def _end_retired(self) -> None:
        """Kill a replaced cluster once none of its processes runs a job any more."""
        for cluster in list(self._retired):
            busy = Job.objects.filter(
                status=JobStatus.RUNNING, host=settings.ELTSITE_HOST, supervisor_pid__in=cluster.pids()
            )
            if not busy.exists():
                cluster.kill_tree()
                self._retired.remove(cluster)

    def _shut_down(self) -> None:
        """1. claim nothing more; 2. let jobs end by themselves for a while; 3. hand the others back; 4. end the cluster.

        A job that is handed back ends STOPPED (SHUTDOWN) with its processes gone, and a new one takes its place in
        the queue: nothing is lost.
        """
        mine = Job.objects.filter(status=JobStatus.RUNNING, worker_id=self._row_id)
        Worker.objects.filter(pk=self._row_id).update(is_draining=True)
        self._wait_until_idle(self._drain_seconds)
        for job in mine:
            try:
                request_stop(job, reason=StopReason.SHUTDOWN)
            except JobNotActive:
                continue
        self._wait_until_idle(GRACE_SECONDS + 5)
        for cluster in [*self._retired, *([self._cluster] if self._cluster else [])]:
            cluster.terminate()
            if not cluster.wait(STOP_SECONDS):
                cluster.kill_tree()
        fail_lost_jobs()
        Worker.objects.filter(pk=self._row_id).delete()

    def _wait_until_idle(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        mine = Job.objects.filter(status=JobStatus.RUNNING, worker_id=self._row_id)
        while time.monotonic() < until and mine.exists():
            time.sleep(0.2)
