"""Signing in and out, the first password, the profile."""

import pytest
from django.urls import reverse

from jobs import installation
from tests.factories import PASSWORD, make_user, make_workspace
from tests.pages import Markup, page, signed_in
from workspaces.models import User

pytestmark = pytest.mark.django_db


def sign_in(client, name, password=PASSWORD, **more):
    return client.post("/login/", {"username": name, "password": password, **more})


def test_signing_in_by_name_leads_home(client, owner, workspace):
    response = sign_in(client, "olga", keep="on")
    assert response["Location"] == "/"
    assert client.get("/")["Location"] == f"/w/{workspace.alias}/"


def test_signing_in_by_mail_address(client, owner):
    assert sign_in(client, "OLGA@example.org").status_code == 302


def test_a_mail_address_of_two_people_signs_in_neither(client, owner):
    make_user("twin").email = owner.email
    User.objects.filter(username="twin").update(email=owner.email)
    assert sign_in(client, owner.email).status_code == 200


def test_a_wrong_password_is_said_in_words(client, owner):
    response = sign_in(client, "olga", "wrong")
    markup = Markup(response.content.decode())
    assert "do not belong together" in markup.text
    assert markup.all("input", name="password")[0]["aria-invalid"] == "true"


def test_the_session_ends_with_the_browser_unless_kept(client, owner):
    sign_in(client, "olga")
    assert client.cookies["eltsite_session"]["max-age"] == ""
    client.logout()
    sign_in(client, "olga", keep="on")
    assert client.session.get_expire_at_browser_close() is False


def test_after_signing_in_one_is_where_one_wanted_to_be(client, owner, workspace):
    wanted = f"/w/{workspace.alias}/jobs/"
    assert sign_in(client, "olga", next=wanted)["Location"] == wanted
    client.logout()
    assert sign_in(client, "olga", next="https://evil.example/")["Location"] == "/"


def test_signing_out_takes_a_press_not_a_link(owner):
    browser = signed_in(owner)
    assert browser.get("/logout/").status_code == 405
    assert browser.post("/logout/")["Location"] == "/login/"
    assert "_auth_user_id" not in browser.session


def test_the_welcome_link_sets_a_password_once(client, db):
    path = installation.first_administrator_link("")
    form = client.get(path, follow=True)
    assert "You sign in as admin" in Markup(form.content.decode()).text
    set_at = form.redirect_chain[-1][0]
    weak = client.post(set_at, {"new_password1": "short", "new_password2": "short"})
    assert "too short" in weak.content.decode()
    done = client.post(set_at, {"new_password1": "four odd words here", "new_password2": "four odd words here"})
    assert done["Location"] == "/"
    assert client.session["_auth_user_id"] == str(User.objects.get(username="admin").pk)
    client.logout()
    assert "used already" in Markup(client.get(path, follow=True).content.decode()).text


def test_times_are_in_the_persons_zone(owner):
    browser = signed_in(owner)
    assert "Times in UTC" in page(browser, "/profile/").text
    browser.post("/profile/", {"time_zone": "Europe/Helsinki", "theme": "dark", "email": owner.email})
    markup = page(browser, "/profile/")
    assert "Times in Europe/Helsinki" in markup.text
    assert markup.all("html")[0]["data-theme"] == "dark"


def test_a_zone_that_is_none_is_named(owner):
    response = signed_in(owner).post("/profile/", {"time_zone": "Mars/Olympus", "theme": "auto"})
    assert response.status_code == 400
    assert "Mars/Olympus is not a time zone" in response.content.decode()


def test_a_zone_that_no_longer_exists_does_not_break_pages(owner, workspace):
    User.objects.update(time_zone="Gone/Zone")
    assert "Times in UTC" in page(signed_in(owner), f"/w/{workspace.alias}/").text


def test_the_theme_is_set_from_the_menu_and_one_stays_where_one_was(owner, workspace):
    browser = signed_in(owner)
    here = f"/w/{workspace.alias}/jobs/"
    assert browser.post(f"/profile/theme/?next={here}", {"theme": "light"})["Location"] == here
    assert page(browser, here).all("html")[0]["data-theme"] == "light"
    assert browser.post("/profile/theme/?next=//evil.example/", {"theme": "auto"})["Location"] == "/"


def test_the_switcher_offers_the_workspaces_one_is_in(owner, workspace):
    make_workspace("Not mine")
    second = make_workspace("Second", owner=owner)
    markup = page(signed_in(owner), reverse("workspace-home", args=[second.alias]))
    assert f"/w/{workspace.alias}/" in markup.links
    assert "Not mine" not in markup.text


def test_who_is_in_no_workspace_is_told_so(db):
    assert "not in a workspace yet" in page(signed_in(make_user("alone")), "/").text
