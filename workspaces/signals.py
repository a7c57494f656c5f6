"""What happens to workspaces. Sent with `send` inside the transaction, so that a receiver's failure undoes it all."""

from django.dispatch import Signal

workspace_created = Signal()  # workspace=, user=
workspace_deleting = Signal()  # workspace=, user=: hidden already; its jobs are to be stopped
