"""Model fields of our own: secrets encrypted at rest (the only caller of crypto), and JSON whose order counts."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import models

from eltsite import crypto


class EncryptedJSONField(models.TextField):
    """A JSON value stored as one encrypted text; an empty column means the field's default.

    The database never sees the value, so it cannot be searched or filtered.
    """

    description = "Encrypted JSON"

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        if not value:
            return self.get_default() if self.has_default() else None
        return json.loads(crypto.decrypt(value, keys=settings.ELTSITE_KEYS))

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        return crypto.encrypt(json.dumps(value, separators=(",", ":")), keys=settings.ELTSITE_KEYS)

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> str:
        return json.dumps(self.value_from_object(obj))


class OrderedJSONField(models.TextField):
    """JSON kept as text, so that an object's keys stay in their order: PostgreSQL's own type sorts them."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        """The value as it was stored."""
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        """The value itself, also from its text in a fixture."""
        return json.loads(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> str | None:
        """The text that is stored."""
        return None if value is None else json.dumps(value, ensure_ascii=False)
