"""What was just done, and what can be done about it: shown on the next page."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.utils.html import format_html


def toast(
    request: HttpRequest, text: str, *, link: tuple[str, str] | None = None, undo: str = "", is_error: bool = False
) -> None:
    """Say `text` on the next page, with a link (label, address) or the address that takes it back."""
    html = format_html("<p>{}</p>", text)
    if link:
        html += format_html('<a class="btn quiet sm" href="{}">{}</a>', link[1], link[0])
    if undo:
        html += format_html('<button class="btn quiet sm" form="act" formaction="{}">Undo</button>', undo)
    messages.add_message(request, messages.ERROR if is_error else messages.SUCCESS, html)
