"""The pages of a pipeline's state: looked at, edited, imported, reset, undone; and the run in full beside it."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from jobs.models import Job
from pipelines.models import PipelineState, PipelineStateChange
from pipelines.services import edit_state
from tests.factories import make_component, make_job, make_pipeline
from tests.pages import SIGNING_IN, Markup, page, queries_of, signed_in

pytestmark = pytest.mark.django_db
BOOKMARKS = {"bookmarks": {"orders": {"value": 7}, "customers": {"value": 3}}}
OTHER = {"bookmarks": {"orders": {"value": 1}}}


@pytest.fixture
def loaded(workspace):
    """A pipeline whose pair has a state, with what an unfinished run added to it."""
    pair = [make_component(workspace, "tap-sql", "Shop"), make_component(workspace, "target-duckdb", "Warehouse")]
    pipeline = make_pipeline(workspace, "Orders", components=pair)
    job = make_job(pipeline, status="ERROR")
    values = {"state": BOOKMARKS, "partial": {"bookmarks": {"orders": {"value": 9}}}, "job_id": job.pk}
    PipelineState.objects.create(pipeline=pipeline, extractor=pair[0], loader=pair[1], sequence=4, **values)
    return pipeline


def address(pipeline, name="pipeline-state", *more):
    return reverse(name, args=[pipeline.workspace.alias, pipeline.number, *more])


def text_of(response):
    return Markup(response.content.decode()).text


def test_what_comes_from_an_unfinished_run_is_marked(loaded, viewer):
    markup = page(signed_in(viewer), address(loaded))
    job = Job.objects.get()
    assert f"Part of it comes from an unfinished run, job {job.number} ." in markup.text
    assert "orders from an unfinished run value 9" in markup.text and "customers value 3" in markup.text
    assert address(loaded, "job-page")[: -len(f"{loaded.number}/")] + f"{job.number}/" in markup.links


def test_a_state_of_the_taps_own_form_is_shown_whole(loaded, operator):
    state = {"issues": "2026-01-01", "commits": {"since": 4, "pages": list(range(100))}, "currently_syncing": "issues"}
    PipelineState.objects.update(state=state, partial={})
    markup = page(signed_in(operator), address(loaded))
    for said in ("issues 2026-01-01", "since 4", "pages 100 entries", "currently_syncing the extractor's own issues"):
        assert said in markup.text, said
    resets = [action for action in markup.actions if "?stream=" in action]
    assert [action.partition("=")[2] for action in resets] == ["commits", "issues"]


def test_states_of_earlier_pairs_are_shown_apart(loaded, viewer, workspace):
    step = loaded.steps.get(component__name="Shop")
    step.component = make_component(workspace, "tap-files", "Files")
    step.save()
    text = page(signed_in(viewer), address(loaded)).text
    assert "Where the next run begins Files → Warehouse" in text and "No state yet" in text
    assert "Kept of an earlier pair Shop → Warehouse" in text


def test_a_pipeline_without_a_pair_says_so(pipeline, owner):
    markup = page(signed_in(owner), address(pipeline))
    assert "this pipeline has none" in markup.text and address(pipeline, "pipeline-state-edit") not in markup.links
    refused = signed_in(owner).get(address(pipeline, "pipeline-state-edit"))
    assert refused.status_code == 409 and "no pair" in text_of(refused)


def test_each_role_is_offered_what_it_may_do(loaded, viewer, operator, owner):
    edit_state(loaded, state=OTHER, user=owner)
    change = PipelineStateChange.objects.get()
    undo, edit = address(loaded, "pipeline-state-undo", change.pk), address(loaded, "pipeline-state-edit")
    exported = f"{reverse('api-pipeline-state-export', args=[loaded.pk])}?form=meltano"
    for person, may in ((viewer, (False, False)), (operator, (True, False)), (owner, (True, True))):
        markup = page(signed_in(person), address(loaded))
        offered = (address(loaded, "pipeline-reset") in markup.actions, undo in markup.actions and edit in markup.links)
        assert offered == may and exported in markup.links
    for person in (viewer, operator):
        browser = signed_in(person)
        assert browser.get(edit).status_code == browser.get(address(loaded, "pipeline-state-import")).status_code == 403
        assert browser.post(edit, {"state": "{}"}).status_code == browser.post(undo).status_code == 403
    assert signed_in(viewer).get(exported).json()["completed"] == {"singer_state": OTHER}


def test_an_edit_is_stored_with_its_reason_and_can_be_undone_from_the_toast(loaded, owner):
    browser = signed_in(owner)
    form = page(browser, address(loaded, "pipeline-state-edit"))
    assert '"value": 9' in form.text
    version = form.all("input", name="version")[0]["value"]
    sent = {"state": json.dumps(OTHER), "reason": "March came late", "version": version}
    done = browser.post(address(loaded, "pipeline-state-edit"), sent, follow=True)
    markup = Markup(done.content.decode())
    assert "The state of Orders is changed." in markup.text and "March came late, olga" in markup.text
    assert "orders.value 9 1" in markup.text and "customers.value 3 not set" in markup.text
    undone = browser.post(address(loaded, "pipeline-state-undo", PipelineStateChange.objects.get().pk), follow=True)
    assert "is what it was before" in text_of(undone) and "Undo: March came late" in text_of(undone)
    assert loaded.states.get().state["bookmarks"]["orders"] == {"value": 9}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "bookmarks": {,}\n}', "line 2, column 17"),
        ("", "There is nothing here"),
        ("[]", "[] is not a JSON object"),
        ('{"bookmarks": {"orders": 7}}', "bookmark of orders is 7"),
    ],
)
def test_a_fault_is_named_and_what_was_typed_stays(loaded, owner, text, said):
    sent = {"state": text, "reason": "Try <b>", "version": "0.4"}
    response = signed_in(owner).post(address(loaded, "pipeline-state-edit"), sent)
    markup = Markup(response.content.decode())
    assert response.status_code == 400 and said in markup.text
    assert markup.all("textarea")[0]["aria-invalid"] == "true"
    assert markup.all("input", name="reason")[0]["value"] == "Try <b>"
    assert "".join(text.split()) in "".join(markup.text.split())
    assert loaded.states.get().epoch == 0


@pytest.mark.parametrize("version", ["0.3", "", "x", "1.2.3", "٣.٤"])
def test_an_edit_of_what_changed_meanwhile_is_refused_and_kept(loaded, owner, version):
    sent = {"state": json.dumps(OTHER), "version": version}
    response = signed_in(owner).post(address(loaded, "pipeline-state-edit"), sent)
    assert response.status_code == 409 and "changed this state meanwhile" in text_of(response)
    assert '"value": 1' in text_of(response) and loaded.states.get().epoch == 0


def test_while_a_run_is_active_nothing_is_offered_and_a_form_says_who_holds_it(loaded, owner):
    job = make_job(loaded, status="RUNNING", created_by=owner)
    browser = signed_in(owner)
    markup = page(browser, address(loaded))
    assert f"can be changed again when job {job.number} has ended" in markup.text
    assert address(loaded, "pipeline-state-edit") not in markup.links
    resets = [button for button in markup.all("button") if "/reset/?" in button.get("formaction", "")]
    assert resets and all("disabled" in button for button in resets)
    response = browser.post(address(loaded, "pipeline-state-edit"), {"state": "{}", "version": "0.4"})
    assert response.status_code == 409 and f"job {job.number} (running, started by olga)" in text_of(response)
    assert browser.post(address(loaded, "pipeline-reset")).status_code == 409


def test_an_older_state_is_brought_back_by_editing(loaded, owner):
    for state in (OTHER, {}):
        edit_state(loaded, state=state, user=owner)
    browser = signed_in(owner)
    older = PipelineStateChange.objects.last()
    link = f"{address(loaded, 'pipeline-state-edit')}?from={older.pk}"
    assert link in page(browser, address(loaded)).links
    assert '"value": 1' in page(browser, link).text
    for nothing in ("x", str(2**70)):
        assert '"value"' not in page(browser, f"{address(loaded, 'pipeline-state-edit')}?from={nothing}").text


@pytest.mark.parametrize("way", ["file", "text"])
def test_meltanos_output_is_imported(loaded, owner, way):
    text = json.dumps({"singer_state": OTHER})
    sent = (
        {"state": text}
        if way == "text"
        else {"file": SimpleUploadedFile("state.json", b"\xef\xbb\xbf" + text.encode())}
    )
    done = signed_in(owner).post(address(loaded, "pipeline-state-import"), sent, follow=True)
    assert "The state of Orders is imported." in text_of(done)
    assert loaded.states.get().state == OTHER


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"state": ""}, "There is nothing here"),
        ({"state": "{}"}, "holds no state"),
        ({"state": '{"a" 1}'}, "line 1, column 6"),
        ({"file": b'{"a" 1}'}, "line 1, column 6"),
        ({"file": b"\xff"}, "not UTF-8"),
        ({"file": b"{}", "state": "{}"}, "a file and text as well"),
        ({"file": b" " * (4 * 1024 * 1024 + 1)}, "at most 1,048,576"),
    ],
)
def test_what_cannot_be_imported_is_said(loaded, owner, sent, said):
    if "file" in sent:
        sent = {**sent, "file": SimpleUploadedFile("state.json", sent["file"])}
    response = signed_in(owner).post(address(loaded, "pipeline-state-import"), sent)
    assert response.status_code == 400 and said in text_of(response)
    assert loaded.states.get().epoch == 0


def test_a_reset_of_one_stream_can_be_undone_by_who_may(loaded, owner, operator):
    reset = f"{address(loaded, 'pipeline-reset')}?stream=orders"
    done = signed_in(operator).post(reset, follow=True)
    assert "reads the stream orders from the beginning" in text_of(done)
    assert not [action for action in Markup(done.content.decode()).actions if "/undo/" in action]
    PipelineState.objects.update(state=BOOKMARKS)
    done = signed_in(owner).post(reset, follow=True)
    change = PipelineStateChange.objects.first()
    assert address(loaded, "pipeline-state-undo", change.pk) in Markup(done.content.decode()).actions
    assert signed_in(owner).post(f"{address(loaded, 'pipeline-reset')}?stream=").status_code == 400
    assert loaded.states.get().state == {"bookmarks": {"customers": {"value": 3}}}


def test_the_history_has_pages_and_each_costs_the_same(loaded, owner):
    browser = signed_in(owner)
    edit_state(loaded, state=OTHER, user=owner, reason="Change 0.")
    few = queries_of(browser, address(loaded))
    for number in range(1, 12):
        edit_state(loaded, state={"bookmarks": {"orders": {"value": number}}}, user=owner, reason=f"Change {number}.")
    first = page(browser, address(loaded))
    assert "Change 11." in first.text and "Change 2." in first.text and "Change 1." not in first.text
    older = page(browser, address(loaded) + first.all("a", rel="next")[0]["href"])
    assert "Change 1." in older.text and "Change 2." not in older.text and not older.all("a", rel="next")
    assert queries_of(browser, address(loaded)) == few <= 10 + SIGNING_IN
    page(browser, f"{address(loaded)}?before=x")


def test_a_large_state_stays_a_small_page(loaded, viewer, owner):
    state = {"bookmarks": {f"stream_{number}": {f"key_{key}": key for key in range(30)} for number in range(500)}}
    edit_state(loaded, state=state, user=owner)
    response = signed_in(viewer).get(address(loaded))
    assert "And 300 more; the export has all." in text_of(response) and len(response.content) < 200_000


def test_a_run_in_full_is_asked_for_first_and_then_said(loaded, operator, viewer):
    run = f"{reverse('pipeline-run', args=[loaded.workspace.alias, loaded.number])}?full=1"
    browser = signed_in(operator)
    for name in ("pipeline-page", "pipeline-configuration", "pipeline-state"):
        markup = page(browser, address(loaded, name))
        assert markup.all("button", popovertarget="ask-full")[0].get("disabled") is None
        assert run in markup.actions and "Run Orders in full?" in markup.text
        assert "replaced or updated, never doubled" in markup.text
        assert "Run in full" not in page(signed_in(viewer), address(loaded, name)).text
    said = text_of(browser.post(run, follow=True))
    assert Job.objects.get(status="QUEUED").full_refresh and "full refresh" in said
    assert run not in page(browser, address(loaded)).actions


def test_the_facts_of_a_job_say_full_refresh(loaded, viewer):
    job = make_job(loaded, status="COMPLETE", full_refresh=True)
    there = reverse("job-page", args=[loaded.workspace.alias, job.number])
    assert "Full refresh Yes read from the beginning" in page(signed_in(viewer), there).text
    Job.objects.update(full_refresh=False)
    assert "Full refresh" not in page(signed_in(viewer), there).text
