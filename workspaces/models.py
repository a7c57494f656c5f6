"""Who may see what: people, workspaces, memberships and tokens."""

from __future__ import annotations

import hashlib
import secrets
import string
import uuid
from typing import TYPE_CHECKING

from django.contrib.auth.models import AbstractUser
from django.db import models

from eltsite.fields import EncryptedJSONField

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class User(AbstractUser):
    """A person. The id is what the API calls a profile, `eltsite|<id>`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    time_zone = models.CharField(max_length=64, default="UTC")
    theme = models.CharField(
        max_length=8, default="auto", choices=[("auto", "As the system"), ("light", "Light"), ("dark", "Dark")]
    )
    default_workspace = models.ForeignKey(
        "Workspace", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    @property
    def display_name(self) -> str:
        """Full name, or the user name where none is known."""
        return self.get_full_name() or self.username

    @property
    def profile_id(self) -> str:
        """The id the API shows."""
        return f"eltsite|{self.id}"

    @property
    def initials(self) -> str:
        """Two letters for the avatar."""
        words = self.display_name.split()
        return ("".join(word[0] for word in words[:2]) if len(words) > 1 else self.display_name[:2]).upper()


class Role(models.TextChoices):
    """What a member may do. Each role includes the ones before it."""

    VIEWER = "viewer", "Viewer"  # reads all but secrets and sample rows
    OPERATOR = "operator", "Operator"  # also runs, stops, retries, pauses, resets state
    OWNER = "owner", "Owner"  # also defines, adds people, deletes


ROLE_ORDER = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.OWNER: 3}


class WorkspaceStatus(models.TextChoices):
    """Whether a workspace can be worked in. The WORKSPACE_INIT job moves it on."""

    PROVISIONING = "PROVISIONING", "Provisioning"
    READY = "READY", "Ready"
    FAILED = "FAILED", "Failed"


def generate_alias() -> str:
    """A short name for schemas and folders: seven lower-case letters."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(7))


def generate_deployment_secret() -> str:
    """Thirty lower-case letters that sign deploy hooks."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(30))


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    """Workspaces, by who may see them."""

    def visible_to(self, user: User | AnonymousUser) -> WorkspaceQuerySet:
        """Those the user is a member of; all of them for a superuser."""
        if not user.is_authenticated:
            return self.none()
        found = self.filter(deleting_at__isnull=True)
        return found if user.is_superuser else found.filter(memberships__user=user)


class Workspace(models.Model):
    """A closed room: its pipelines, components, files, secrets, jobs and people are its own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alias = models.CharField(
        max_length=32, unique=True, default=generate_alias, help_text="Short name; the default schema of its stores."
    )
    name = models.CharField(max_length=120)
    domains = models.JSONField(default=list, blank=True, help_text="E-mail domains that may be invited.")
    status = models.CharField(max_length=16, choices=WorkspaceStatus, default=WorkspaceStatus.PROVISIONING)
    status_reason = models.TextField(blank=True)
    # Ties the folder's group to the workspace where eltsite runs as root, so that one workspace's runs
    # cannot read another's files.
    number = models.PositiveIntegerField(unique=True, editable=False)
    next_job_number = models.PositiveBigIntegerField(default=1, editable=False)
    next_pipeline_number = models.PositiveIntegerField(default=1, editable=False)
    default_environment = models.CharField(max_length=64, default="dev")
    deployment_secret = EncryptedJSONField(default=generate_deployment_secret, editable=False)
    home_host = models.CharField(
        max_length=255, blank=True, editable=False, help_text="The host that holds its folder."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    modified_at = models.DateTimeField(auto_now=True)
    deleting_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person's role in one workspace."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="one_membership_per_person")]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace} as {self.get_role_display()}"


class TokenScope(models.TextChoices):
    """What a token may do. Each scope includes the ones before it; none exceeds its owner's role."""

    READ = "read", "Read"
    RUN = "run", "Run"
    WRITE = "write", "Write"
    ADMIN = "admin", "Admin"


class ApiToken(models.Model):
    """A developer token. Only a digest is kept: the token itself is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    workspace = models.ForeignKey(
        Workspace, null=True, blank=True, on_delete=models.CASCADE, help_text="Empty: all workspaces of its owner."
    )
    name = models.CharField(max_length=120)
    scope = models.CharField(max_length=8, choices=TokenScope, default=TokenScope.READ)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=12, editable=False, help_text="The first letters, to tell tokens apart.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def digest_of(token: str) -> str:
        """SHA-256 of a token. The token is 256 random bits, so a slow hash would add nothing."""
        return hashlib.sha256(token.encode()).hexdigest()


class InstallationFact(models.Model):
    """A fact about the whole installation, such as the fingerprint of its encryption key."""

    name = models.CharField(max_length=64, primary_key=True)
    value = models.TextField()

    def __str__(self) -> str:
        return f"{self.name}={self.value}"
