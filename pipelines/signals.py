"""What happens to pipelines. Sent with `send` inside the transaction, so that a receiver's failure undoes it all."""

from django.dispatch import Signal

pipeline_changed = Signal()  # pipeline=, user=, needs_check=
# Hidden already; its job is to be stopped, and the row goes when none is active.
pipeline_deleting = Signal()  # pipeline=, user=
# Used by no pipeline. Its jobs are its tests: a receiver refuses while one is active, and removes the others.
component_deleting = Signal()  # component=, user=
