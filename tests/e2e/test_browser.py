"""The pages in a real browser, on a real server: signing in, running, watching, searching, keys, and without scripts."""

import json
from datetime import timedelta

import pytest
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect, sync_playwright

from jobs.counters import count_day, remember_run
from jobs.log_lines import LogLine, pack
from jobs.models import Job, LogChunk, SkippedSlot
from jobs.status import JobStatus
from pipelines.components import definition_of
from pipelines.models import ComponentCatalog, PipelineState, PluginEnvironment
from pipelines.services import save_file
from tests.e2e.browsing import ARGUMENTS, SIZES, find_chromium, start_site, visitor
from tests.e2e.test_run import files_pipeline
from tests.factories import make_component, make_job, make_pipeline, make_plugin, make_user, make_workspace
from tests.pages import write_log

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the browser's driver keeps a loop in this thread
        with sync_playwright() as driver:
            running = driver.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
            yield running
            running.close()


@pytest.fixture(autouse=True)
def passwords_of_the_server(settings):
    """The tests' quick hasher is unknown to the server: people who sign in there need one it knows."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]


@pytest.fixture
def site(browser, installation):
    """A running server on the test's database."""
    return start_site(installation)


@pytest.fixture
def room(transactional_db):
    """A workspace with runs of every kind; made directly, for no worker runs here."""
    owner = make_user("olga", first_name="Olga", last_name="Owner", time_zone="Europe/Helsinki")
    workspace = make_workspace("Harbour Goods", owner=owner, alias="harbour")
    ends = [
        make_component(workspace, "tap-files", "Shop files"),
        make_component(workspace, "target-duckdb", "Warehouse"),
    ]
    now = timezone.now()
    for number, label in enumerate(["Orders nightly", "Payments hourly", "Stock levels"]):
        values = {"schedule": "0 30 2 * * *", "next_run_at": now + timedelta(hours=number + 1)} if number != 1 else {}
        pipeline = make_pipeline(workspace, label, components=ends, **values)
        for index in range(12):
            status = "ERROR" if index in (4, 11 - number * 3) else "STOPPED" if index == 7 else "COMPLETE"
            at = now - timedelta(hours=14 - index, minutes=number)
            rows = 1000 * (index + 3)
            streams = [{"stream": "orders", "rows_read": rows, "rows_written": rows, "bytes": rows * 90, "done": True}]
            job = make_job(
                pipeline, status=status, now=at, rows_written=rows, streams=streams, headline="Loaded 1 stream"
            )
            Job.objects.filter(pk=job.pk).update(ended_at=at + timedelta(seconds=30 + index * 7))
            job = Job.objects.select_related("pipeline").get(pk=job.pk)
            remember_run(job)
            count_day(job)
    return workspace


def job_path(job, name="job-page"):
    return reverse(name, args=[job.workspace.alias, job.number])


def failed_job(workspace, *, lines=5000):
    """A failed run with a long log: an error in its middle and one near its end."""
    pipeline = workspace.pipelines.get(label="Orders nightly")
    at = timezone.now() - timedelta(minutes=9)
    job = make_job(
        pipeline,
        status="ERROR",
        now=at,
        headline="Failed at orders: column delivery_slot turned from integer to text",
        exit_code=1,
        error={
            "reason": "The source changed the type",
            "remedy": "Allow text widening, then run again",
            "stream": "orders",
        },
        steps=[
            {
                "name": "Extract and load",
                "status": "error",
                "started_at": at.isoformat(),
                "seconds": 11.0,
                "exit_code": 1,
            },
            {"name": "SQL models", "status": "skipped"},
        ],
        streams=[{"stream": "orders", "rows_read": 182403, "rows_written": 0, "bytes": 41_800_000, "done": False}],
        state_before={"bookmarks": {"orders": {"id": 1}}},
        state_after={"bookmarks": {"orders": {"id": 1}, "customers": {"id": 7}}},
    )
    bad = {lines // 2: "could not read page 7", lines - 5: 'could not convert "AM" to integer'}
    texts = [("error", bad[n]) if n in bad else ("info", f"orders: batch {n} of {lines}") for n in range(lines)]
    write_log(job, texts, chunk=400)
    return job


def connector_job(workspace):
    """A test of a pair of connectors that failed at its target, with sample rows and versions; its source is known."""
    tap, target = make_plugin(workspace), make_plugin(workspace, "target-barn")
    ends = [workspace.components.create(name=name, plugin=each) for name, each in (("Orchard", tap), ("Barn", target))]
    pipeline = make_pipeline(workspace, "Harvest", components=ends)
    columns = [f"a_rather_long_column_{number}" for number in range(30)]
    shape = {"type": "object", "properties": {column: {"type": "string"} for column in columns}}
    catalog = {"streams": [{"tap_stream_id": name, "stream": name, "schema": shape} for name in ("trees", "fences")]}
    at = timezone.now() - timedelta(minutes=3)
    ComponentCatalog.objects.create(component=ends[0], catalog=catalog, discovered_at=at)
    requirements = "git+https://git.example.org/orchard/tap-orchard-with-a-long-name.git@0123456789abcdef"
    row = PluginEnvironment.objects.create(
        fingerprint=definition_of(tap).fingerprint,
        requirements=requirements,
        lock="x",
        packages={f"package-{number}": f"{number}.0.1" for number in range(60)},
        built_at=at,
    )
    parts = [
        {"name": "tap-orchard", "after": 0.1, "seconds": 3.0, "exit_code": 143, "was_ended": True},
        {"name": "target-barn", "after": 0.1, "seconds": 2.9, "exit_code": 1, "was_ended": False},
    ]
    step = {"name": "Extract and load", "status": "error", "started_at": at.isoformat(), "seconds": 4.0, "exit_code": 1}
    return make_job(
        pipeline,
        type="PIPELINE_ENV",
        status="ERROR",
        now=at,
        headline="target-barn ended with exit code 1: the door is locked",
        exit_code=1,
        steps=[{**step, "parts": parts}],
        samples=[{"stream": "trees", "columns": columns, "rows": [["x" * 200, None, *columns[2:]]] * 10}],
        environments=[
            {"name": "tap-orchard", "requirements": requirements, "digest": "ab" * 32, "packages": row.packages}
        ],
    )


def append_log(job, *texts, level="info"):
    """What a worker writes while a job runs."""
    job.refresh_from_db()
    lines = [LogLine(timezone.now(), "loader", level, text) for text in texts]
    LogChunk.objects.create(job=job, first_line=job.log_lines, line_count=len(lines), text=pack(lines))
    Job.objects.filter(pk=job.pk).update(log_lines=F("log_lines") + len(lines))


def test_a_person_runs_a_pipeline_and_watches_it_to_its_end(browser, site, shop):
    rows = "".join(f"{number},2026-01-{number % 28 + 1:02},{number * 3 % 997}\n" for number in range(60_000))
    for month in range(1, 7):
        save_file(shop, path=f"orders/2026-{month:02}.csv", content=f"id,day,amount\n{rows}".encode())
    files_pipeline(shop, "Orders nightly", [{"stream": "orders", "path": "orders/*.csv"}])
    with visitor(browser, site) as olga:
        page = olga.page
        olga.sign_in("olga")
        expect(page.locator("h1")).to_have_text("Nothing needs you")
        page.click("nav[aria-label=Main] >> text=Pipelines")
        page.click("text=Orders nightly")
        loaded = page.evaluate("performance.timeOrigin")
        page.click("button:has-text('Run now')")
        page.wait_for_url("**/jobs/*/")
        assert page.evaluate("performance.timeOrigin") > loaded
        shown = page.evaluate("performance.timeOrigin")
        expect(page.locator("#loglines tr.ln[id]").first).to_be_visible(timeout=30_000)
        expect(page.locator("#live .head .badge")).to_have_text("Complete", timeout=60_000)
        expect(page.locator("h1")).to_contain_text("Loaded 360,000 rows in 1 stream")
        assert page.evaluate("performance.timeOrigin") == shown, "the page was loaded anew"
        expect(page.locator("#toasts")).to_contain_text("ended: Complete")
        total = Job.objects.get(type="PIPELINE_RUN").log_lines
        expect(page.locator("#log-total")).to_have_text(f"{total:,}")
        expect(page.locator("#loglines")).to_contain_text("orders")
        assert page.title().startswith("Complete: Orders nightly")
        expect(page.locator("#live [hx-get]")).to_have_count(0)
        expect(page.locator("#state table")).to_be_visible()
        olga.picture("job-complete-1440-light")
        page.click("nav[aria-label=Main] >> text=Jobs")
        page.check("input[name=status][value=COMPLETE]", force=True)
        page.select_option("#ft", "PIPELINE_RUN")
        page.click("button:has-text('Filter')")
        page.wait_for_url("**status=COMPLETE**")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody")).to_contain_text("Loaded 360,000 rows")


def test_the_page_of_a_running_job_moves_by_itself(browser, site, room):
    pipeline = room.pipelines.get(label="Payments hourly")
    stream = {"stream": "payments", "rows_read": 10, "rows_written": 10}
    start = timezone.now()
    step = {"name": "Extract and load", "status": "running", "started_at": start.isoformat()}
    job = make_job(pipeline, status="RUNNING", now=start, streams=[stream], steps=[step], rows_written=10)
    with visitor(browser, site) as olga:
        page = olga.page
        olga.sign_in("olga")
        olga.open(job_path(job))
        expect(page.locator("#log-blank")).to_contain_text("No line yet")
        append_log(job, *[f"payments: page {number}" for number in range(300)])
        expect(page.locator("#loglines")).to_contain_text("payments: page 299")
        expect(page.locator("#log-where")).to_have_text("Following: new lines every second")
        Job.objects.filter(pk=job.pk).update(rows_written=1_284_119)
        expect(page.locator("dl.facts")).to_contain_text("1,284,119")
        page.hover("#logview")
        page.mouse.wheel(0, -2000)
        expect(page.locator("#follow")).not_to_be_checked()
        append_log(job, "payments: the last page")
        expect(page.locator("#log-total")).to_have_text("301")
        expect(page.locator("#loglines")).not_to_contain_text("the last page")
        page.keyboard.press("f")
        expect(page.locator("#loglines")).to_contain_text("the last page")
        page.click("#stop")
        page.click("text=Keep it running")
        page.click("#stop")
        page.click("text=Stop it")
        expect(page.locator("h1")).to_have_text("Stopping: its processes are ending")
        Job.objects.filter(pk=job.pk).update(
            status=JobStatus.STOPPED, stop_reason="USER", headline="Stopped by Olga", ended_at=timezone.now()
        )
        expect(page.locator("h1")).to_have_text("Stopped by Olga")
        expect(page.locator("#follow")).to_be_hidden()


def test_a_long_log_is_searched_and_walked_by_keys(browser, site, room):
    job = failed_job(room, lines=100_000)
    with visitor(browser, site) as olga:
        page = olga.page
        olga.sign_in("olga")
        olga.open(job_path(job))
        expect(page.locator("#L99995.is-error")).to_be_hidden()  # two errors: the first one is shown
        expect(page.locator("#L50000.is-error")).to_be_visible()
        page.keyboard.press("e")
        expect(page.locator("#L50000.at")).to_be_visible()
        page.keyboard.press("e")
        expect(page.locator("#L99995.at")).to_be_visible()
        page.keyboard.press("g")
        page.keyboard.press("g")
        expect(page.locator("#L0")).to_be_visible()
        page.keyboard.press("G")
        expect(page.locator("#L99999")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("batch 4242")
        expect(page.locator("#hit-count")).to_have_text("1 of 11")
        page.keyboard.press("Enter")
        expect(page.locator("#hit-count")).to_have_text("2 of 11")
        expect(page.locator("#loglines mark").first).to_have_text("batch 4242")
        page.keyboard.press("Escape")
        page.keyboard.press("N")
        expect(page.locator("#hit-count")).to_have_text("1 of 11")
        expect(page.locator("#L4242.at")).to_be_visible()
        page.select_option("#llev", "error")
        expect(page.locator("#loglines tr.ln")).to_have_count(2)
        page.click("#loglines >> text=99,995")
        assert page.url.endswith("#L99995")
        page.select_option("#llev", "")
        page.keyboard.press("w")
        expect(page.locator("#logview")).to_have_class("logview wrap")
        page.goto("about:blank")
        olga.open(job_path(job) + "#L70000")
        expect(page.locator("#L70000.at")).to_be_visible()


def test_keys_lead_through_the_pages(browser, site, room):
    with visitor(browser, site) as olga:
        page = olga.page
        olga.sign_in("olga")
        for key, end in {"p": "/pipelines/", "j": "/jobs/", "s": "/profile/", "h": "/w/harbour/"}.items():
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(f"**{end}")
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#keys")).to_be_hidden()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        page.wait_for_url("**/pipelines/*/")
        strip = page.locator(".wide-strip a[tabindex='0']")
        strip.focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_url("**/jobs/*/")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "lq"


def test_pages_work_without_scripts(browser, site, room):
    job = failed_job(room)
    with visitor(browser, site, scripts=False) as olga:
        page = olga.page
        olga.sign_in("olga")
        olga.open(job_path(job))
        expect(page.locator(f"#L{2500}")).to_contain_text("could not read page 7")
        page.click("#log button:has-text('Search')")
        expect(page.locator("h1")).to_contain_text(f"Log of job {job.number}")
        page.fill("#lq", "AM")
        page.click("button:has-text('Search')")
        expect(page.locator("tr.ln.is-error")).to_have_count(1)
        olga.open(job_path(job))
        page.click("button:has-text('Retry from kept state')")
        expect(page.locator("#toasts")).to_contain_text(f"Retry of job {job.number} is queued")
        expect(page.locator("h1")).to_contain_text("No worker is running")
        page.click("nav[aria-label=Main] >> text=Jobs")
        page.check("input[name=status][value=QUEUED]", force=True)
        page.click("button:has-text('Filter')")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.click("summary:has-text('account')")
        page.click("text=Dark")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.click("summary:has-text('account')")
        page.click("text=Sign out")
        expect(page.locator("h1")).to_have_text("Sign in")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", list(SIZES))
def test_every_page_fits_its_window_in_both_themes(browser, site, room, width, theme):
    failed, tested = failed_job(room), connector_job(room)
    pipeline = failed.pipeline
    now = timezone.now()
    make_job(
        room.pipelines.get(label="Stock levels"), status="RUNNING", now=now - timedelta(seconds=20), rows_written=92_340
    )
    SkippedSlot.objects.create(
        pipeline=pipeline, slot_at=now - timedelta(hours=1), reason="the run before was still active"
    )
    ends = [step.component for step in pipeline.steps.all()]
    PipelineState.objects.create(pipeline=pipeline, extractor=ends[0], loader=ends[1], state=failed.state_after)
    base = reverse("pipeline-page", args=["harbour", pipeline.number])
    pages = {
        "home": "/w/harbour/",
        "pipelines": "/w/harbour/pipelines/",
        "pipeline": base,
        "configuration": f"{base}configuration/",
        "state": f"{base}state/",
        "state-edit": f"{base}state/edit/",
        "state-import": f"{base}state/import/",
        "delete": f"{base}delete/",
        "jobs": "/w/harbour/jobs/",
        "job-failed": job_path(failed),
        "job-connectors": job_path(tested),
        "configuration-connectors": reverse("pipeline-configuration", args=["harbour", tested.pipeline.number]),
        "log": job_path(failed, "job-log"),
        "profile": "/profile/",
    }
    with visitor(browser, site, width=width, theme=theme) as olga:
        olga.open("/login/")
        olga.picture(f"login-{width}-{theme}")
        olga.sign_in("olga")
        for name, path in pages.items():
            olga.open(path)
            if "job-failed" in name:
                expect(olga.page.locator("#L2500")).to_be_visible()
            olga.page.evaluate(
                "document.querySelectorAll('td details, dd details').forEach((each) => each.open = true)"
            )
            olga.picture(f"{name}-{width}-{theme}")
            assert not olga.is_too_wide, f"{name} is wider than {width} px"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_state_is_edited_imported_and_undone(browser, site, room, tmp_path, scripts):
    pipeline = room.pipelines.get(label="Orders nightly")
    ends = [step.component for step in pipeline.steps.all()]
    state = {"bookmarks": {"orders": {"day": "2026-11-22"}}}
    PipelineState.objects.create(pipeline=pipeline, extractor=ends[0], loader=ends[1], state=state)
    file = tmp_path / "state.json"
    file.write_text('{"singer_state": {"bookmarks": {"orders": {"day": "2026-01-01"}}}}')
    with visitor(browser, site, scripts=scripts) as olga:
        olga.sign_in("olga")
        page = olga.page
        olga.open(reverse("pipeline-state", args=["harbour", pipeline.number]))
        page.click("text=Import")
        page.set_input_files("#sf", file)
        page.click("button:has-text('Import')")
        expect(page.locator("#main")).to_contain_text("2026-01-01")
        page.click("a:has-text('Edit')")
        page.fill("#st", '{"bookmarks": {}}')
        page.fill("#sr", "From the start")
        page.click("button:has-text('Save')")
        expect(page.locator("table.diff")).to_contain_text("From the start, Olga Owner")
        page.click("table.diff button:has-text('Undo')")
        page.click("button:has-text('Undo it')")
        expect(page.locator("table.diff")).to_contain_text("Undo: From the start")
        with page.expect_download() as download:
            page.click("summary:has-text('Export')")
            page.click("text=For a Singer tap")
        assert json.loads(download.value.path().read_text()) == {"bookmarks": {"orders": {"day": "2026-01-01"}}}
    assert pipeline.states.get().epoch == 3


def test_the_administration_works_under_the_policy(browser, site, room):
    make_user("root", is_staff=True, is_superuser=True)
    pipeline = room.pipelines.get(label="Orders nightly")
    with visitor(browser, site) as root:
        root.sign_in("root")
        for path in (
            "/admin/",
            "/admin/jobs/job/",
            f"/admin/pipelines/pipeline/{pipeline.pk}/change/",
            "/admin/workspaces/user/",
        ):
            root.open(path)
        root.open("/admin/")
        root.picture("administration-1440-light")
        expect(root.page.locator("#site-name")).to_contain_text("eltsite administration")
        assert (
            root.page.evaluate("getComputedStyle(document.querySelector('#header')).backgroundColor")
            == "rgb(255, 255, 255)"
        )
