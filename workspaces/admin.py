"""Admin of people, workspaces, memberships and tokens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from workspaces.admin_base import ReadOnlyAdmin, ServiceAdmin, ServiceForm, run_for_each
from workspaces.models import ApiToken, InstallationFact, Membership, Role, TokenScope, User, Workspace
from workspaces.services import (
    create_workspace,
    delete_workspace,
    issue_token,
    remove_member,
    revoke_token,
    set_member,
    update_workspace,
)

admin.site.site_header = "eltsite"
admin.site.site_title = "eltsite admin"
admin.site.index_title = "Administration"
admin.site.disable_action("delete_selected")  # it deletes rows without asking a service
admin.site.unregister(Group)  # roles are memberships here


@admin.register(User)
class PersonAdmin(UserAdmin):
    """People. Who has left is made inactive: what they did keeps their name."""

    list_display = ("username", "display_name", "email", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("username", "first_name", "last_name", "email")
    filter_horizontal = ()
    autocomplete_fields = ("default_workspace",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Preferences", {"fields": ("time_zone", "theme", "default_workspace")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class WorkspaceForm(ServiceForm):
    """Name and domains; on a new one its owner."""

    name = forms.CharField(required=False, help_text="One line, such as Shop.")
    domains = forms.CharField(required=False, help_text="E-mail domains that may be invited, between commas.")

    class Meta:
        model = Workspace
        fields = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial |= {"name": self.instance.name, "domains": ", ".join(self.instance.domains)}


class NewWorkspaceForm(WorkspaceForm):
    """A workspace's form with the person who will own it."""

    owner = forms.ModelChoiceField(User.objects.filter(is_active=True))


@admin.register(Workspace)
class WorkspaceAdmin(ServiceAdmin):
    """Workspaces, made with their default store and set-up job."""

    list_display = ("name", "alias", "status", "members", "home_host", "created_at", "deleting_at")
    list_filter = ("status",)
    search_fields = ("name", "alias")
    readonly_fields = (
        *("id", "alias", "number", "status", "status_reason", "home_host", "created_at", "modified_at", "deleting_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).annotate(member_count=Count("memberships"))

    @admin.display(ordering="member_count")
    def members(self, workspace: Workspace) -> int:
        """How many people are in it."""
        return workspace.member_count  # type: ignore[attr-defined,no-any-return]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("name", "domains", "owner")})]
        return [(None, {"fields": ("name", "domains", *self.readonly_fields)})]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change=change, form=WorkspaceForm if obj else NewWorkspaceForm, **kwargs)

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> Workspace:
        values = {"name": form.cleaned_data["name"], "domains": form.cleaned_data["domains"].split(",")}
        if change:
            return update_workspace(obj, **values)
        return create_workspace(owner=form.cleaned_data["owner"], **values)

    def delete_by_service(self, request: HttpRequest, obj: Any) -> None:
        delete_workspace(obj, user=request.user)  # type: ignore[arg-type]


class MembershipForm(ServiceForm):
    """Who is in which workspace, as what."""

    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)

    class Meta:
        model = Membership
        fields = ("workspace", "user")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["role"] = self.instance.role


@admin.register(Membership)
class MembershipAdmin(ServiceAdmin):
    """Members and their roles. Each workspace keeps an owner."""

    form = MembershipForm
    fields = ("workspace", "user", "role")
    list_display = ("user", "workspace", "role", "created_at")
    list_filter = ("role", ("workspace", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("user", "workspace")
    search_fields = ("user__username", "user__email", "workspace__name")
    autocomplete_fields = ("workspace", "user")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("workspace", "user") if obj else ()

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> Membership:
        given = obj if change else None
        workspace = given.workspace if given else form.cleaned_data["workspace"]
        user = given.user if given else form.cleaned_data["user"]
        return set_member(workspace, user=user, role=form.cleaned_data["role"])

    def delete_by_service(self, request: HttpRequest, obj: Any) -> None:
        remove_member(obj.workspace, user=obj.user)


class TokenForm(ServiceForm):
    """A new token."""

    name = forms.CharField(required=False, help_text="What it is for, such as nightly export.")
    scope = forms.ChoiceField(choices=TokenScope.choices, initial=TokenScope.READ)
    expires_at = forms.SplitDateTimeField(
        required=False, widget=admin.widgets.AdminSplitDateTime, help_text="In UTC. Empty: never."
    )

    class Meta:
        model = ApiToken
        fields = ("user", "workspace")


@admin.register(ApiToken)
class ApiTokenAdmin(ServiceAdmin):
    """Tokens: made here and shown once; later they can only be looked at and revoked."""

    form = TokenForm
    list_display = (
        "name",
        "prefix",
        "user",
        "workspace",
        "scope",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = ("scope", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("user", "workspace")
    search_fields = ("name", "prefix", "user__username")
    autocomplete_fields = ("user", "workspace")
    actions = ("revoke",)
    add_fields = ("user", "name", "scope", "workspace", "expires_at")
    view_fields = (*add_fields, "prefix", "created_at", "last_used_at", "revoked_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.view_fields if obj else self.add_fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> ApiToken:
        names = ("name", "scope", "workspace", "expires_at")
        values = {name: form.cleaned_data[name] for name in names}
        token, request.token_text = issue_token(form.cleaned_data["user"], **values)  # type: ignore[attr-defined]
        return token

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The token itself, in the answer and nowhere else: a redirect would have to store it on the way."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Token made",
            "token": obj,
            "text": request.token_text,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/workspaces/apitoken/shown_once.html", context)

    @admin.action(description="Revoke selected tokens", permissions=["add"])
    def revoke(self, request: HttpRequest, tokens: QuerySet) -> None:
        """End them for good."""
        run_for_each(request, tokens, revoke_token, "revoked")


@admin.register(InstallationFact)
class InstallationFactAdmin(ReadOnlyAdmin):
    """Facts about the installation."""

    list_display = ("name", "value")
