"""What happens to pipelines. Sent with `send` inside the transaction, so that a receiver's failure undoes it all."""

from django.dispatch import Signal

pipeline_changed = Signal()  # pipeline=, user=, needs_check=
pipeline_deleting = Signal()  # pipeline=, user=: hidden already; its job is to be stopped, the row goes when none is active
