"""The pictures of jobs/pictures.py as template tags."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django import template
from django.utils.safestring import SafeString, mark_safe

from jobs import pictures

register = template.Library()


def _safe(draw: Callable[..., str]) -> Callable[..., SafeString]:
    """Pictures escape what they are given, so their markup is safe."""

    @wraps(draw)
    def drawn(*args: object, **kwargs: object) -> SafeString:
        return mark_safe(draw(*args, **kwargs))

    return drawn


for _name in ("strip", "wide_strip", "days", "fires", "lane", "axis", "meter", "spark", "trend", "minimap"):
    register.simple_tag(_safe(getattr(pictures, _name)), name=f"picture_{_name}")


@register.simple_tag
def progress_meter(seconds: float | None, usual: float) -> SafeString:
    """How far a running job is against the usual duration."""
    return mark_safe(pictures.meter(min((seconds or 0) / usual, 1.0) if usual else 0.0, "running"))
