"""Pages of people: signing in and out, the first password, the profile."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from workspaces.forms import ProfileForm, SignInForm
from workspaces.models import User
from workspaces.toasts import toast


class SignIn(LoginView):
    """Sign in. Without "keep me signed in" the session ends with the browser."""

    form_class = SignInForm
    template_name = "workspaces/login.html"
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        if not form.cleaned_data.get("keep"):
            self.request.session.set_expiry(0)
        return response


class Welcome(PasswordResetConfirmView):
    """Set a password by a link that works once; then signed in. The token leaves the address at once."""

    template_name = "workspaces/welcome.html"
    post_reset_login = True
    post_reset_login_backend = "django.contrib.auth.backends.ModelBackend"
    reset_url_token = "set-password"
    success_url = reverse_lazy("home")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        toast(self.request, f"Welcome, {form.user.display_name}. Your password is set.")
        return response


@login_required
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Who one is, and how one likes the pages."""
    form = ProfileForm(request.POST or None, instance=request.user)  # type: ignore[arg-type]
    if request.method == "POST" and form.is_valid():
        form.save()
        toast(request, "Your profile is saved.")
        return redirect("profile")
    if form.errors:
        request.user.refresh_from_db()  # the frame shows what is stored, not what was refused
    context = {"form": form, "zones": sorted(zoneinfo.available_timezones()), "nav": "profile"}
    return render(request, "workspaces/profile.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system; back to where one was."""
    theme = request.POST.get("theme", "")
    if theme in ("light", "dark", "auto"):
        User.objects.filter(pk=request.user.pk).update(theme=theme)
    back = request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = reverse("home")
    return redirect(back)
