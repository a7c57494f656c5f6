"""Forms of people: signing in, and how they like their pages."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm

from workspaces.models import User, Workspace


class SignInForm(AuthenticationForm):
    """Name or mail address, and password."""

    keep = forms.BooleanField(required=False)

    error_messages = {
        "invalid_login": "The name and the password do not belong together. Check both, or ask an administrator for a new password.",
        "inactive": "This account is switched off. Ask an administrator to switch it on.",
    }

    def clean_username(self) -> str:
        """A mail address stands for the one person who has it."""
        typed = self.cleaned_data["username"].strip()
        if "@" in typed and not User.objects.filter(username=typed).exists():
            names = list(User.objects.filter(email__iexact=typed).values_list("username", flat=True)[:2])
            return names[0] if len(names) == 1 else typed
        return typed


class ProfileForm(forms.ModelForm):
    """Name, mail, zone, theme, and the workspace one begins in."""

    class Meta:
        model = User
        fields = ("first_name", "last_name", "email", "time_zone", "theme", "default_workspace")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["default_workspace"].queryset = Workspace.objects.visible_to(self.instance)  # type: ignore[attr-defined]
        self.fields["default_workspace"].required = False

    def clean_time_zone(self) -> str:
        zone = self.cleaned_data["time_zone"].strip()
        if zone not in zoneinfo.available_timezones():
            raise forms.ValidationError(
                f"{zone} is not a time zone. Choose one from the list, such as Europe/Helsinki."
            )
        return zone
