"""Which jobs: one FilterSet for API and pages, and the number of jobs it leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

import django_filters
from django import forms
from django.core.cache import cache
from django.db.models import QuerySet, Sum
from django.http import QueryDict
from django_filters import filters
from django_filters.fields import ModelChoiceField

from eltsite.api.times import read_instant
from jobs.models import Job, JobCount
from jobs.querysets import JobQuerySet
from jobs.status import JobStatus, JobType, StopReason, Trigger, parse_type
from pipelines.models import Pipeline
from workspaces.models import Workspace

COUNT_SECONDS = 10
COUNTED_BY = frozenset({"status", "type", "pipeline"})  # filters whose totals the counters know
# Types the contract names and nothing here makes: asking for them finds nothing, which is no error.
CONTRACT_TYPES = (
    "PIPELINE_VERIFY",
    "WORKSPACE_DEPLOY",
    "WORKSPACE_CONFIG",
    "PROFILE_COLLABORATE",
    "PROFILE_IMPORT",
    "PROFILE_CONFIGURE_PIPELINE",
    "PROFILE_CONFIGURE_DATASTORE",
)
ALIASES = {"createdAfter": "created_after", "createdBefore": "created_before", "stopReason": "stop_reason"}


def normalised(text: str) -> str:
    """A word of ours in any case."""
    return text.strip().upper()


class ChoicesField(forms.MultipleChoiceField):
    """Any of several words, in any case: repeated, or in one text with commas."""

    def __init__(self, *, also: Iterable[str] = (), read: Callable[[str], str] = normalised, **options: Any) -> None:
        super().__init__(**options)
        self.also = {read(word) for word in also}
        self.read = read

    def to_python(self, value: Any) -> list[str]:
        texts = [value] if isinstance(value, str) else list(value or [])
        words = [self.read(word) for text in texts for word in str(text).split(",") if word.strip()]
        return list(dict.fromkeys(words))

    def validate(self, value: list[str]) -> None:
        known = [key for key, _ in self.choices]
        for word in value:
            if word not in known and word not in self.also:
                noun = str(self.label).lower()
                raise forms.ValidationError(
                    f"'{word[:80]}' is no {noun}. Choose from {', '.join(known)}.", code="choice"
                )


class ChoicesFilter(filters.Filter):
    """Rows whose column has one of the chosen words."""

    field_class = ChoicesField

    def filter(self, qs: QuerySet, value: list[str]) -> QuerySet:
        return qs.filter(**{f"{self.field_name}__in": value}) if value else qs


class InstantField(forms.Field):
    """A time or a day; without an offset it is of `zone`."""

    zone: tzinfo = UTC

    def to_python(self, value: Any) -> datetime | None:
        if not str(value or "").strip():
            return None
        try:
            return read_instant(str(value)[:80], zone=self.zone)
        except ValueError as error:
            raise forms.ValidationError(str(error), code="time") from None


class InstantFilter(filters.Filter):
    """Rows before or after a time."""

    field_class = InstantField


class PipelineField(ModelChoiceField):
    """One of the pipelines offered, by id."""

    def to_python(self, value: Any) -> Pipeline | None:
        try:
            return super().to_python(value)
        except forms.ValidationError:
            raise forms.ValidationError(
                f"'{str(value)[:80]}' is no pipeline that you can see here. Give the id of one; "
                "/api/workspaces/<id>/pipelines lists them.",
                code="choice",
            ) from None


class PipelineFilter(filters.ModelChoiceFilter):
    """Jobs of one pipeline."""

    field_class = PipelineField


class JobFilterForm(forms.Form):
    """The filters' form."""

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        after, before = found.get("created_after"), found.get("created_before")
        if after and before and before <= after:
            self.add_error(
                "created_before",
                forms.ValidationError(
                    "created_before is not later than created_after, so no job lies between. Exchange the two.",
                    code="range",
                ),
            )
        return found


def pipelines_to_choose(request: Any) -> QuerySet:
    """The pipelines a caller may filter by."""
    return Pipeline.objects.visible_to(request.user) if request is not None else Pipeline.objects.none()


class JobFilter(django_filters.FilterSet):
    """Filters of jobs. `zone` is that of times written without offset; `workspace` narrows the pipelines offered."""

    status = ChoicesFilter(label="Status", choices=[(s.value, s.value.title()) for s in JobStatus])
    type = ChoicesFilter(
        label="Type",
        choices=[(t.value, t.value.replace("_", " ").capitalize()) for t in JobType],
        also=CONTRACT_TYPES,
        read=parse_type,
    )
    trigger = ChoicesFilter(label="Trigger", choices=[(t.value, t.value.title()) for t in Trigger])
    stop_reason = ChoicesFilter(label="Stop reason", choices=[(r.value, r.value.title()) for r in StopReason])
    pipeline = PipelineFilter(label="Pipeline", queryset=pipelines_to_choose, empty_label="All pipelines")
    created_after = InstantFilter(label="Created from", field_name="created_at", lookup_expr="gte")
    created_before = InstantFilter(label="Created before", field_name="created_at", lookup_expr="lt")
    q = filters.CharFilter(label="Headline", field_name="headline", lookup_expr="icontains", max_length=200)

    class Meta:
        model = Job
        fields: tuple[str, ...] = ()
        form = JobFilterForm

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        queryset: JobQuerySet | None = None,
        *,
        request: Any = None,
        prefix: str | None = None,
        workspace: Workspace | None = None,
        zone: tzinfo = UTC,
    ) -> None:
        super().__init__(_with_aliases(data), queryset, request=request, prefix=prefix)
        self.form.fields["created_after"].zone = self.form.fields["created_before"].zone = zone
        if request is not None:
            pipelines = pipelines_to_choose(request)
            self.form.fields["pipeline"].queryset = pipelines.filter(workspace=workspace) if workspace else pipelines

    def total(self, *, workspace: Workspace, pipeline: Pipeline | None = None) -> int:
        """How many jobs of the workspace (and pipeline) pass these filters.

        Plain lists are summed from counters; anything else is counted and remembered for ten seconds.
        """
        chosen = {name: value for name, value in self.form.cleaned_data.items() if value not in (None, "", [])}
        if not COUNTED_BY.issuperset(chosen):
            return self._counted_total()
        counts = JobCount.objects.filter(workspace=workspace)
        for only in (pipeline, chosen.get("pipeline")):
            counts = counts.filter(pipeline=only) if only is not None else counts
        for name in ("status", "type"):
            counts = counts.filter(**{f"{name}__in": chosen[name]}) if name in chosen else counts
        return max(0, counts.aggregate(total=Sum("count"))["total"] or 0)

    def _counted_total(self) -> int:
        statement = repr(self.qs.order_by().values("pk").query.sql_with_params())
        key = f"job-count:{hashlib.sha256(statement.encode()).hexdigest()}"
        return cache.get_or_set(key, self.qs.count, COUNT_SECONDS)


def _with_aliases(data: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The query with our camelCase names, which the bodies use, put under the filters' own."""
    if not isinstance(data, QueryDict) or not ALIASES.keys() & data.keys():
        return data
    found = data.copy()
    for alias, name in ALIASES.items():
        if alias in found:
            found.setlist(name, found.pop(alias))
    return found
