"""Callers of the API, for tests."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.test import Client

from workspaces.models import ApiToken, User

JSON = "application/json"


def make_token(user: User, **values: Any) -> str:
    """A token's secret; its row is made directly."""
    secret = secrets.token_urlsafe(32)
    values = {"scope": "admin", "name": "test", **values}
    ApiToken.objects.create(user=user, digest=ApiToken.digest_of(secret), prefix=secret[:8], **values)
    return secret


def api_as(user: User, **values: Any) -> Client:
    """A client that sends a token of this person (scope admin unless told)."""
    return Client(headers={"Authorization": f"Bearer {make_token(user, **values)}"})


def send(client: Client, method: str, path: str, body: Any = None, **options: Any) -> Any:
    """A request with a JSON body, or with none under the JSON content type, as published clients send it."""
    data = "" if body is None else json.dumps(body)
    return client.generic(method, path, data, content_type=JSON, **options)


def names_of(response: Any, key: str) -> list[Any]:
    """One field of each item of a collection of jobs; empty for an empty one."""
    return [item[key] for item in response.json().get("_embedded", {}).get("jobs", [])]
