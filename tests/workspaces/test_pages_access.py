"""Who may open and do what on the pages, and what a browser may load there."""

import re

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from eltsite import page_urls
from jobs.models import Job
from tests.factories import make_component, make_job, make_pipeline
from tests.pages import Markup, page, signed_in, write_log

pytestmark = pytest.mark.django_db
SECRET = "hunter2-never-shown"


@pytest.fixture
def full(workspace, owner):
    """A workspace with something of everything, and the job that failed in it."""
    call_command("migrate", verbosity=0)
    source = make_component(workspace, "tap-sql", "Shop database", properties={"host": "db", "password": SECRET})
    store = make_component(workspace, "target-duckdb", "Warehouse", properties={"path": "w.duckdb"})
    pipeline = make_pipeline(workspace, "Orders nightly", components=[source, store], created_by=owner)
    failed = make_job(pipeline, status="ERROR", headline="Failed at <b>orders</b>", exit_code=1, error={"reason": "r"})
    write_log(failed, [("info", "begin"), ("error", "<script>alert(1)</script>")])
    make_job(pipeline, status="RUNNING")
    return failed


def named(names, workspace, job):
    """The addresses of these routes."""
    numbers = {"pipeline": job.pipeline.number, "job": job.number}
    for name in names:
        route = next(route for route in page_urls.urlpatterns if route.name == name)
        text = str(route.pattern)
        args = [workspace.alias] if "<slug:alias>" in text else []
        if "<int:number>" in text:
            args.append(numbers["job" if "/jobs/" in text else "pipeline"])
        if "<int:change_id>" in text:
            args.append(1)
        if "<uuid:component_id>" in text:
            args.append(workspace.components.get(name="Shop database").pk)
        yield reverse(name, args=args)


READ = [
    "workspace-home",
    "pipeline-pages",
    "pipeline-page",
    "pipeline-configuration",
    "pipeline-state",
    "job-pages",
    "job-page",
    "job-live",
    "job-list-live",
    "job-log",
    "job-log-lines",
    "job-log-plain",
    "job-log-download",
    "find",
]
RUN = [
    *("pipeline-run", "pipeline-test", "pipeline-pause", "pipeline-resume", "pipeline-reset"),
    *("component-test", "job-stop", "job-retry"),
]
WRITE = ["pipeline-delete", "pipeline-state-edit", "pipeline-state-import", "pipeline-state-undo", "job-delete"]
OUTSIDE = ["home", "login", "logout", "welcome", "profile", "theme", None]


def test_every_route_is_covered_by_the_tests_below():
    assert {route.name for route in page_urls.urlpatterns} == {*READ, *RUN, *WRITE, *OUTSIDE}


def test_who_has_not_signed_in_is_asked_to(full, workspace):
    browser = Client()
    for address in named(READ, workspace, full):
        response = browser.get(address)
        assert response.status_code == 302 and response["Location"].startswith("/login/?next="), address
    for address in named(RUN + WRITE, workspace, full):
        assert browser.post(address).status_code == 302, address
    assert (
        browser.get(reverse("workspace-home", args=[workspace.alias]), headers={"HX-Request": "true"}).status_code
        == 401
    )
    assert Job.objects.count() == 2


def test_a_stranger_finds_nothing(full, workspace, stranger):
    browser = signed_in(stranger)
    for address in named(READ, workspace, full):
        assert browser.get(address).status_code == 404, address
    for address in named(RUN + WRITE, workspace, full):
        assert browser.post(address).status_code == 404, address
    assert Job.objects.visible().count() == 2


def test_a_viewer_reads_and_changes_nothing(full, workspace, viewer):
    browser = signed_in(viewer)
    for address in named(READ, workspace, full):
        assert browser.get(address, follow=True).status_code == 200, address
    for address in named(RUN + WRITE, workspace, full):
        refusal = browser.post(address)
        assert refusal.status_code == 403, address
        assert "Your role in this workspace is viewer" in Markup(refusal.content.decode()).text
    assert Job.objects.filter(stop_requested_at__isnull=True).count() == 2


def test_a_viewer_is_offered_no_button_that_would_be_refused(full, workspace, viewer):
    browser = signed_in(viewer)
    for address in named([*READ[:5], "job-page"], workspace, full):
        assert not [action for action in page(browser, address).actions if action.startswith("/w/")], address


def test_an_operator_may_run_and_not_delete(full, workspace, operator):
    browser = signed_in(operator)
    for address in named(WRITE, workspace, full):
        assert browser.post(address).status_code == 403
    assert not any("/delete/" in action for action in page(browser, next(named(["job-page"], workspace, full))).actions)


@pytest.mark.parametrize("person", ["owner", "operator", "viewer"])
def test_no_link_on_any_page_is_dead(full, workspace, person, request):
    browser = signed_in(request.getfixturevalue(person))
    waiting, seen = ["/"], set()
    while waiting:
        address = waiting.pop()
        if address in seen or address.startswith(("/admin/", "/api/")):
            continue
        seen.add(address)
        response = browser.get(address, follow=True)
        assert response.status_code == 200, address
        if not response["Content-Type"].startswith("text/html"):
            continue
        markup = Markup(response.content.decode())
        assert not [link for link in markup.links if link in ("", "#")], address
        ids = {attrs["id"] for _, attrs in markup.tags if "id" in attrs}
        for label in markup.all("label"):
            assert label.get("for", "") in ids | {""}, f"{address}: label for {label}"
        waiting += [link for link in markup.links if link.startswith("/")]
        waiting += [response.request["PATH_INFO"] + link for link in markup.links if link.startswith("?")]
        waiting += [attrs["hx-get"] for _, attrs in markup.tags if "hx-get" in attrs]
    assert len(seen) > 15


def test_no_page_shows_a_secret(full, workspace, owner):
    browser = signed_in(owner)
    for address in named(READ, workspace, full):
        response = browser.get(address, follow=True)
        body = b"".join(response.streaming_content) if response.streaming else response.content
        assert SECRET.encode() not in body, address
    assert "Stored, never shown" in page(browser, next(named(["pipeline-configuration"], workspace, full))).text


def test_pages_need_nothing_inline_and_nothing_from_elsewhere(full, workspace, owner):
    browser = signed_in(owner)
    for address in [*named(READ, workspace, full), "/profile/", "/w/nowhere/", "/nothing/"]:
        response = browser.get(address, follow=True)
        policy = response["Content-Security-Policy"]
        assert "script-src 'self';" in policy and "unsafe" not in policy and "default-src 'none'" in policy
        if not response["Content-Type"].startswith("text/html"):
            continue
        html = response.content.decode()
        for tag, attrs in Markup(html).tags:
            assert tag != "style" and (tag != "script" or "src" in attrs), address
            assert "style" not in attrs and not any(name.startswith("on") for name in attrs), (
                f"{address}: {tag} {attrs}"
            )
        assert not re.search(r'(?:src|href)="(?:https?:)?//', html), address


def test_what_a_log_or_headline_says_is_text(full, workspace, owner):
    html = signed_in(owner).get(reverse("job-page", args=[workspace.alias, full.number])).content.decode()
    assert "<script>alert" not in html and "Failed at <b>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_static_files_carry_the_policy_too(client):
    response = client.get("/static/app.css")
    assert response.status_code == 200 and "Content-Security-Policy" in response.headers


def test_style_and_scripts_stay_small(settings):
    folder = settings.BASE_DIR / "templates" / "static"
    assert (folder / "app.css").stat().st_size < 40_000
    assert sum(path.stat().st_size for path in folder.glob("*.js")) < 35_000


def test_refusals_name_the_way_on(full, workspace, operator):
    response = signed_in(operator).post(
        reverse("pipeline-run", args=[workspace.alias, full.pipeline.number]),
        headers={"Referer": "http://testserver/here/"},
    )
    markup = Markup(response.content.decode())
    active = Job.objects.get(status="RUNNING")
    assert response.status_code == 409
    assert f"busy with job {active.number}" in markup.text
    assert reverse("job-page", args=[workspace.alias, active.number]) in markup.links
    assert "http://testserver/here/" in markup.links


def test_refusals_do_not_lead_to_another_site(full, workspace, operator):
    response = signed_in(operator).post(
        reverse("pipeline-run", args=[workspace.alias, full.pipeline.number]),
        headers={"Referer": "http://evil.example/"},
    )
    assert "evil.example" not in response.content.decode()


def test_a_form_without_its_token_is_refused_in_words(full, workspace, owner):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    response = browser.post(reverse("job-stop", args=[workspace.alias, full.number]))
    assert response.status_code == 403
    assert "the page was too old" in Markup(response.content.decode()).text


def test_a_part_of_a_page_is_never_taken_for_the_page(full, workspace, owner):
    response = signed_in(owner).get(reverse("pipeline-pages", args=[workspace.alias]))
    assert "HX-Request" in response["Vary"] and "private" in response["Cache-Control"]
    assert "no-cache" in response["Cache-Control"]


def test_a_fault_of_ours_is_a_page_too(full, workspace, owner, monkeypatch):
    def fail(*_):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("jobs.list_views.rows_of", fail)
    browser = signed_in(owner)
    browser.raise_request_exception = False
    response = browser.get(reverse("job-pages", args=[workspace.alias]))
    assert response.status_code == 500
    assert "This page could not be made" in response.content.decode() and "on fire" not in response.content.decode()
