"""What happens to pipelines. Sent with `send` inside the transaction, so that a receiver's failure undoes it all."""

from django.dispatch import Signal

pipeline_changed = Signal()  # pipeline=, user=, needs_check=
# Hidden already; its job is to be stopped, and the row goes when none is active.
pipeline_deleting = Signal()  # pipeline=, user=
