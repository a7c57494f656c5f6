"""The admin of jobs: read-only, quick, with stop and retry as actions."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import DayCount, Job, JobCount, LogChunk, SkippedSlot, Worker
from tests.factories import make_job, make_pipeline, make_user, make_workspace

LIST = "/admin/jobs/job/"


@pytest.fixture
def admin(client, db):
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    return client


def texts_of(answer) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def act(admin, action, *jobs):
    data = {"action": action, "_selected_action": [str(job.pk) for job in jobs]}
    return admin.post(LIST, data, follow=True)


def queries_of(admin, url) -> int:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert admin.get(url).status_code == 200
    return len(seen)


def test_jobs_are_listed_found_and_filtered(admin, pipeline):
    wanted = make_job(pipeline, status="ERROR", headline="The file is missing")
    make_job(pipeline, status="COMPLETE")
    assert "The file is missing" in admin.get(LIST).content.decode()
    for query in (f"?q={wanted.number}", "?q=missing", "?status=ERROR", "?type=PIPELINE_RUN&status=ERROR"):
        assert list(admin.get(LIST + query).context["cl"].result_list) == [wanted]
    assert admin.get(LIST + "?q=nothing+like+it").context["cl"].result_count == 0


def test_jobs_cannot_be_added_changed_or_deleted_by_forms(admin, pipeline):
    job = make_job(pipeline)
    assert admin.get(LIST + "add/").status_code == 403
    page = admin.get(f"{LIST}{job.pk}/change/")
    assert page.status_code == 200
    assert 'name="status"' not in page.content.decode()
    assert admin.post(f"{LIST}{job.pk}/change/", {"status": "COMPLETE"}).status_code == 403
    assert admin.post(f"{LIST}{job.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in admin.get(LIST).content.decode()
    job.refresh_from_db()
    assert job.status == "QUEUED"


def test_stop_ends_queued_jobs_and_explains_the_others(admin, pipeline, workspace):
    queued, ended = make_job(pipeline), make_job(make_pipeline(workspace), status="COMPLETE")
    said = texts_of(act(admin, "stop", queued, ended))
    assert any("1 asked to stop" in text for text in said)
    assert any(f"Job {ended.number} has already ended complete" in text for text in said)
    queued.refresh_from_db()
    assert queued.status == "STOPPED"


def test_retry_makes_a_new_job(admin, pipeline):
    failed = make_job(pipeline, status="ERROR")
    assert texts_of(act(admin, "retry", failed)) == ["1 queued again."]
    assert Job.objects.get(retry_of=failed).status == "QUEUED"
    assert "busy" in " ".join(texts_of(act(admin, "retry", failed)))


def test_delete_removes_ended_jobs(admin, pipeline):
    ended = make_job(pipeline, status="COMPLETE")
    act(admin, "delete", ended)
    assert not Job.objects.filter(pk=ended.pk).exists()


def test_staff_that_may_only_look_gets_no_actions(client, pipeline, django_user_model):
    from django.contrib.auth.models import Permission

    person = make_user("looker", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(person)
    job = make_job(pipeline)
    assert 'value="stop"' not in client.get(LIST).content.decode()
    act(client, "stop", job)
    job.refresh_from_db()
    assert job.status == "QUEUED"


@pytest.mark.parametrize("model", ["job", "logchunk", "skippedslot", "worker", "jobcount", "daycount"])
def test_lists_cost_the_same_however_long(admin, model):
    def more(count: int) -> None:
        for number in range(count):
            workspace = make_workspace(f"Room {number}")
            pipeline = make_pipeline(workspace)
            job = make_job(pipeline, status="COMPLETE")
            LogChunk.objects.create(job=job, first_line=0, line_count=1, text="0\tx\tinfo\thello")
            SkippedSlot.objects.create(pipeline=pipeline, slot_at=timezone.now(), reason="busy", job=job)
            JobCount.objects.create(workspace=workspace, pipeline=pipeline, type="PIPELINE_RUN", status="COMPLETE")
            DayCount.objects.create(workspace=workspace, day=timezone.now().date(), status="COMPLETE")
            now = timezone.now()
            Worker.objects.create(host="h", pid=1, slots=1, version="1", started_at=now, heartbeat_at=now)

    url = f"/admin/jobs/{model}/"
    more(1)
    few = queries_of(admin, url)
    more(8)
    assert queries_of(admin, url) == few <= 9


def test_every_row_page_opens(admin, pipeline):
    job = make_job(pipeline, status="COMPLETE")
    chunk = LogChunk.objects.create(job=job, first_line=0, line_count=1, text="0\tx\tinfo\thello")
    assert admin.get(f"/admin/jobs/logchunk/{chunk.pk}/change/").status_code == 200
    assert admin.get("/admin/jobs/logchunk/add/").status_code == 403
    assert queries_of(admin, f"{LIST}{job.pk}/change/") <= 8
