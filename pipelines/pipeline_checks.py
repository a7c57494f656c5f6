"""What a pipeline's own fields may hold. Called by save_pipeline."""

from __future__ import annotations

from eltsite.errors import FieldError
from pipelines.models import Pipeline

LONGEST_LABEL = 160
LARGEST_NUMBER = 2_147_483_647  # of the column


def check_texts(row: Pipeline) -> list[FieldError]:
    """Faults of a pipeline's label, and of what it may not have yet."""
    errors = []
    if not row.label:
        message = "The pipeline has no label. Give it one, such as Orders nightly."
        errors.append(FieldError("label", message, code="required"))
    elif len(row.label) > LONGEST_LABEL or not row.label.isprintable():
        message = f"The label is one line of at most {LONGEST_LABEL} characters. Shorten it."
        errors.append(FieldError("label", message, value=row.label))
    if row.script:
        message = (
            "Scripts do not run here: a pipeline runs its extractor, its loader and the SQL models in models/*.sql. "
            "Write the transformation as a SQL model and leave script empty."
        )
        errors.append(FieldError("script", message, code="not-run"))
    if row.actions:
        message = (
            f"The action {row.actions[0]} does not run here: a pipeline runs its extractor, its loader and the SQL models in "
            "models/*.sql, in this order. Leave actions empty."
        )
        errors.append(FieldError("actions", message, value=row.actions, code="not-run"))
    return errors


def check_numbers(row: Pipeline) -> list[FieldError]:
    """Faults of a pipeline's times and counts."""
    errors = []
    for name, what in [
        ("timeout_seconds", "time-out in seconds"),
        ("max_retries", "number of retries"),
        ("retry_delay_seconds", "wait before a retry in seconds"),
    ]:
        value = getattr(row, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_NUMBER:
            message = f"The {what} is {value}. Write a whole number from 0 to {LARGEST_NUMBER}."
            errors.append(FieldError(name, message, value=value))
    return errors
