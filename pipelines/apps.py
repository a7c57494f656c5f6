"""The pipelines app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PipelinesConfig(AppConfig):
    """Definitions: what is to be run."""

    name = "pipelines"

    def ready(self) -> None:
        """Connect the receivers."""
        from pipelines.receivers import make_default_store
        from pipelines.shipped import after_migrate
        from workspaces.signals import workspace_created

        post_migrate.connect(after_migrate, sender=self)
        workspace_created.connect(make_default_store)
