"""What is to be run: definitions, files and state. Never execution."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from eltsite.fields import EncryptedJSONField, OrderedJSONField
from pipelines.querysets import DataPluginQuerySet, InWorkspaceQuerySet, PipelineQuerySet
from workspaces.models import Workspace


class WorkspaceFile(models.Model):
    """A small file of the workspace (SQL model, script, upload). The row is the original; files on hosts are copies."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=400, help_text="Relative, with forward slashes, such as models/orders.sql.")
    content = models.BinaryField()
    size = models.PositiveIntegerField(help_text="Bytes.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the content.")
    created_at = models.DateTimeField(auto_now_add=True)
    modified_at = models.DateTimeField(auto_now=True)

    objects = InWorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["workspace", "path"], name="one_file_per_path")]

    def __str__(self) -> str:
        return self.path


class WorkspaceVariable(models.Model):
    """A named value that settings may refer to as $NAME."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="variables")
    name = models.CharField(max_length=120)
    value = EncryptedJSONField(default=str)
    is_sensitive = models.BooleanField(default=True)
    modified_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    modified_at = models.DateTimeField(auto_now=True)

    objects = InWorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="one_variable_per_name")]

    def __str__(self) -> str:
        return self.name


class PluginType(models.TextChoices):
    """The contract's plugin types, in upper case."""

    EXTRACTOR = "EXTRACTOR", "Extractor"
    LOADER = "LOADER", "Loader"
    MAPPER = "MAPPER", "Mapper"
    TRANSFORM = "TRANSFORM", "Transform"
    TRANSFORMER = "TRANSFORMER", "Transformer"
    MODEL = "MODEL", "Model"
    FILE = "FILE", "File"
    ORCHESTRATOR = "ORCHESTRATOR", "Orchestrator"
    UTILITY = "UTILITY", "Utility"


class DataPlugin(models.Model):
    """A plugin definition in Meltano's shape: what it is called, how it is installed, which settings it takes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(
        Workspace,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="plugins",
        help_text="Empty: shipped with eltsite.",
    )
    plugin_type = models.CharField(max_length=16, choices=PluginType)
    name = models.CharField(max_length=120)
    variant = models.CharField(max_length=120)
    label = models.CharField(max_length=160, blank=True)
    definition = models.JSONField(default=dict, help_text="The whole definition; see pipelines/plugins.py.")
    is_hidden = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    modified_at = models.DateTimeField(auto_now=True)

    objects = DataPluginQuerySet.as_manager()

    class Meta:
        ordering = ["plugin_type", "name", "variant"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "plugin_type", "name", "variant"], name="one_plugin_per_variant"
            ),
            models.UniqueConstraint(
                fields=["plugin_type", "name", "variant"],
                condition=Q(workspace__isnull=True),
                name="one_shipped_plugin_per_variant",
            ),
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def full_name(self) -> str:
        """The contract's fully qualified name, such as `extractors/tap-files--eltsite`."""
        return f"{self.plugin_type.lower()}s/{self.name}--{self.variant}"


class DataComponent(models.Model):
    """A named configuration of one plugin in one workspace. With a loader as plugin it is a datastore."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="components")
    plugin = models.ForeignKey(DataPlugin, on_delete=models.PROTECT, related_name="components")
    name = models.CharField(max_length=160)
    properties = EncryptedJSONField(default=dict, help_text="Setting name to string value.")
    # When and by whom each secret was last set; the values themselves are never shown.
    secrets_set = models.JSONField(default=dict, editable=False)
    streams = models.JSONField(default=list, blank=True)
    is_default = models.BooleanField(default=False, help_text="The workspace's default datastore.")
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    modified_at = models.DateTimeField(auto_now=True)

    objects = InWorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="one_component_per_name"),
            models.UniqueConstraint(fields=["workspace"], condition=Q(is_default=True), name="one_default_store"),
        ]

    def __str__(self) -> str:
        return self.name


class ComponentCatalog(models.Model):
    """What an extractor's source holds, as its last discovery found it: a Singer catalog without any selection."""

    component = models.OneToOneField(DataComponent, on_delete=models.CASCADE, related_name="catalog")
    key = models.CharField(max_length=64, help_text="Of the settings and versions it was found with.")
    catalog = OrderedJSONField(default=dict, help_text='{"streams": [...]}; a table has its columns in this order.')
    job_id = models.UUIDField(null=True, blank=True, help_text="The job that found it.")
    discovered_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Catalog of {self.component}"


class PluginEnvironment(models.Model):
    """A Python environment for plugins, shared by all workspaces: what is to be installed, and what that came to.

    One per distinct (pip arguments, Python). `lock` is what jobs use: pinned versions with their hashes. It is
    written once, by the first build; after that only a person's upgrade or step back changes it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    fingerprint = models.CharField(max_length=64, unique=True, editable=False, help_text="Of the two fields below.")
    requirements = models.TextField(help_text="pip arguments, such as meltanolabs-tap-postgres==0.10.0.")
    python = models.CharField(max_length=40, blank=True, help_text="The Python it needs, such as 3.11. Empty: any.")
    lock = models.TextField(blank=True, help_text="Resolved versions with hashes. Empty until it is first built.")
    previous_lock = models.TextField(blank=True, help_text="What a step back returns to.")
    packages = models.JSONField(default=dict, blank=True, help_text="Name to version, as the lock has them.")
    size_bytes = models.PositiveBigIntegerField(default=0)
    error = models.TextField(blank=True, help_text="Why the last build failed; empty where it did not.")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    built_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["requirements", "python"]

    def __str__(self) -> str:
        return f"{self.requirements} on Python {self.python}" if self.python else self.requirements


class PipelineStatus(models.TextChoices):
    """Whether a pipeline may run. Its PIPELINE_CONFIG job moves it from PROVISIONING on."""

    DRAFT = "DRAFT", "Draft"
    PROVISIONING = "PROVISIONING", "Provisioning"
    READY = "READY", "Ready"
    FAILED = "FAILED", "Failed"


class Pipeline(models.Model):
    """Extract from one component, load into another, transform there; when, and how often to try."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="pipelines")
    number = models.PositiveIntegerField(editable=False, help_text="A short number people can say.")
    label = models.CharField(max_length=160)
    name = models.CharField(max_length=160, help_text="Identifier without spaces; made from the label when empty.")
    status = models.CharField(max_length=16, choices=PipelineStatus, default=PipelineStatus.PROVISIONING)
    status_reason = models.TextField(blank=True)
    components = models.ManyToManyField(DataComponent, through="PipelineComponent", related_name="pipelines")
    properties = EncryptedJSONField(default=dict, help_text="<component>.<setting> to string value.")
    secrets_set = models.JSONField(default=dict, editable=False)
    actions = models.JSONField(default=list, blank=True)
    script = models.TextField(blank=True)
    tags = models.JSONField(default=list, blank=True)

    schedule = models.CharField(max_length=120, blank=True, help_text="Cron of six fields, seconds first; or five.")
    time_zone = models.CharField(max_length=64, default="UTC")
    next_run_at = models.DateTimeField(null=True, blank=True, editable=False)
    is_paused = models.BooleanField(default=False)
    triggered_by = models.ManyToManyField("self", symmetrical=False, blank=True, related_name="triggers")
    # Set when a trigger comes while a run is active: exactly one more run follows.
    rerun_requested = models.BooleanField(default=False, editable=False)
    rerun_trigger_job_id = models.UUIDField(null=True, editable=False)

    timeout_seconds = models.PositiveIntegerField(default=0, help_text="0 means 300 seconds, as the API has it.")
    max_retries = models.PositiveIntegerField(default=0)
    retry_delay_seconds = models.PositiveIntegerField(default=30)

    # The last 30 finished runs, oldest first, kept by the finish of each: [{id, number, status, seconds, rows, at}].
    recent_runs = models.JSONField(default=list, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    modified_at = models.DateTimeField(auto_now=True)
    deleting_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PipelineQuerySet.as_manager()

    DEFAULT_TIMEOUT_SECONDS = 300

    class Meta:
        ordering = ["label", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"], condition=Q(deleting_at__isnull=True), name="one_pipeline_per_name"
            ),
            models.UniqueConstraint(fields=["workspace", "number"], name="one_pipeline_per_number"),
        ]
        indexes = [
            models.Index(
                fields=["next_run_at"], condition=Q(next_run_at__isnull=False, is_paused=False), name="pipeline_due"
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def deadline_seconds(self) -> int:
        """How long a run may take: the timeout, or the contract's default where it is 0."""
        return self.timeout_seconds or self.DEFAULT_TIMEOUT_SECONDS


class PipelineComponent(models.Model):
    """A component's place in a pipeline."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="steps")
    component = models.ForeignKey(DataComponent, on_delete=models.PROTECT, related_name="uses")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["pipeline", "component"], name="component_once_per_pipeline")]

    def __str__(self) -> str:
        return f"{self.pipeline}: {self.component}"


class PipelineState(models.Model):
    """Where the next run of a pipeline begins, per extractor and loader pair.

    (epoch, sequence) orders states: a commit of a run raises the sequence, a person's edit or reset raises the
    epoch. The store keeps the same pair beside the rows, so that the newer of the two is known after a crash.
    """

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="states")
    extractor = models.ForeignKey(DataComponent, on_delete=models.CASCADE, related_name="+")
    loader = models.ForeignKey(DataComponent, on_delete=models.CASCADE, related_name="+")
    state = models.JSONField(
        default=dict, help_text='Usually {"bookmarks": {stream: {...}}}; a tap may have its own form.'
    )
    # What an unfinished run of a Singer pair came to: merged over `state` on read, cleared by the next complete run.
    partial = models.JSONField(default=dict, blank=True)
    epoch = models.PositiveBigIntegerField(default=0)
    sequence = models.PositiveBigIntegerField(default=0)
    job_id = models.UUIDField(null=True, blank=True, help_text="The job that last wrote it.")
    modified_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pipeline", "extractor", "loader"], name="one_state_per_pair")]

    def __str__(self) -> str:
        return f"{self.pipeline}: {self.extractor} to {self.loader}"


class PipelineStateChange(models.Model):
    """One entry of a state's history: what it was before, and who or what changed it."""

    state = models.ForeignKey(PipelineState, on_delete=models.CASCADE, related_name="changes")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    job_id = models.UUIDField(null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            # One entry per job, however many commits it makes.
            models.UniqueConstraint(
                fields=["state", "job_id"], condition=Q(job_id__isnull=False), name="one_state_change_per_job"
            )
        ]

    def __str__(self) -> str:
        return f"{self.state} at {self.created_at:%Y-%m-%d %H:%M}"
