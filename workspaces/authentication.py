"""Who is calling: a developer token, or a signed-in browser."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from workspaces.models import ApiToken, User

LAST_USED_STEP = timedelta(minutes=1)  # a write per request would make readers wait for the database's writers


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = timezone.now()
        token = self._find(secret.strip(), now)
        _note_use(token, now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="eltsite"'

    def _find(self, secret: str, now: datetime) -> ApiToken:
        digest = ApiToken.digest_of(secret)
        token = ApiToken.objects.select_related("user").filter(digest=digest).first()
        if token is None:
            raise AuthenticationFailed("This token is not known here. Check that it was copied whole.")
        if token.revoked_at is not None:
            raise AuthenticationFailed(f"The token '{token.name}' was revoked. Make a new one.")
        if token.expires_at is not None and token.expires_at <= now:
            raise AuthenticationFailed(
                f"The token '{token.name}' expired on {token.expires_at:%Y-%m-%d %H:%M} UTC. Make a new one."
            )
        if not token.user.is_active:
            raise AuthenticationFailed(f"The account of {token.user.username} is switched off. Ask an administrator.")
        return token


def _note_use(token: ApiToken, now: datetime) -> None:
    """Keep when the token was last used, to the minute."""
    old = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - LAST_USED_STEP)
    if token.last_used_at is None or token.last_used_at < now - LAST_USED_STEP:
        ApiToken.objects.filter(old, pk=token.pk).update(last_used_at=now)


class SessionAuthentication(authentication.SessionAuthentication):
    """A signed-in browser; requests that change something carry the CSRF token."""

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as refusal:
            raise PermissionDenied(
                f"{refusal.detail} A signed-in browser sends the page's token as X-CSRFToken; programs use a"
                " developer token instead."
            ) from None
