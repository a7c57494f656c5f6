"""Forms of components and pipelines: settings by their kinds, secrets write-only. They check nothing twice: services do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from pipelines.models import DataComponent, Pipeline, WorkspaceFile, WorkspaceVariable
from pipelines.plugins import JSON_KINDS, MASK, Plugin, Setting, SettingKind, parse
from pipelines.validation import split_property
from workspaces.admin_base import ServiceForm

SETTING = "setting__"  # begins the names of form fields that hold a setting
CLEAR = "clear__"  # and of those that remove a stored secret
OTHER = "other_properties"


# ---------- settings as form fields ----------


def setting_fields(plugin: Plugin, stored: Mapping[str, str], secrets_set: Mapping[str, Any]) -> dict[str, forms.Field]:
    """A form field for each setting of the plugin, with its stored value unless that is secret."""
    fields: dict[str, forms.Field] = {}
    for setting in plugin.settings:
        fields[SETTING + setting.name] = _field(setting, stored, secrets_set)
        if setting.is_secret and stored.get(setting.name):
            fields[CLEAR + setting.name] = forms.BooleanField(
                required=False, label=f"Remove the stored {setting.title}", help_text="Without a new one there is none."
            )
    extra = {key: text for key, text in stored.items() if plugin.setting(key) is None and key not in secrets_set}
    if extra or "CATALOG" in plugin.capabilities:
        fields[OTHER] = forms.CharField(
            required=False,
            widget=forms.Textarea(attrs={"rows": 4}),
            initial=_pretty(json.dumps(extra)),
            label="Other properties",
            help_text='A JSON object of texts, such as {"_select": "[\\"orders.*\\"]"}.',
        )
    return fields


def _field(setting: Setting, stored: Mapping[str, str], secrets_set: Mapping[str, Any]) -> forms.Field:
    common = {"required": False, "label": setting.title, "help_text": _help(setting)}
    value = stored.get(setting.name, "")
    if setting.is_secret:
        return forms.CharField(
            **common | {"help_text": _secret_help(setting, value, secrets_set)},
            strip=False,
            widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        )
    if setting.kind == SettingKind.BOOLEAN:
        choices = [("", _unset(setting)), ("true", "Yes"), ("false", "No")]
        return _KeptChoiceField(**common, choices=choices, initial=value)
    if setting.kind == SettingKind.OPTIONS:
        choices = [("", _unset(setting)), *((option.value, option.label) for option in setting.options)]
        return _KeptChoiceField(**common, choices=choices, initial=value)
    if setting.kind in JSON_KINDS:
        return forms.CharField(**common, initial=_pretty(value), widget=forms.Textarea(attrs={"rows": 8, "cols": 80}))
    return forms.CharField(
        **common, initial=value, widget=forms.TextInput(attrs={"placeholder": setting.placeholder, "size": 60})
    )


class _KeptChoiceField(forms.ChoiceField):
    """A choice that leaves refusing to the service, and still shows a stored value outside its options."""

    def __init__(self, *, choices: Any, initial: str, **kwargs: Any) -> None:
        if initial and initial not in dict(choices):
            choices = [*choices, (initial, initial)]
        super().__init__(choices=choices, initial=initial, **kwargs)

    def validate(self, value: Any) -> None:
        """The service does."""


def _help(setting: Setting) -> str:
    parts = [setting.description]
    if setting.items:
        parts.append("A JSON list of objects with " + ", ".join(item.name for item in setting.items) + ".")
    elif setting.kind == SettingKind.ARRAY:
        parts.append("Words between commas, or a JSON list.")
    elif setting.kind == SettingKind.OBJECT:
        parts.append("A JSON object.")
    if setting.when:
        parts.append(
            "Only when "
            + " and ".join(f"{name} is {' or '.join(values)}" for name, values in setting.when.items())
            + "."
        )
    if setting.required:
        parts.append("Needed, here or in the pipeline.")
    if setting.default not in (None, "") and setting.kind not in (SettingKind.BOOLEAN, SettingKind.OPTIONS):
        parts.append(f"Empty means {setting.default}.")
    return " ".join(part for part in parts if part)


def _secret_help(setting: Setting, value: str, secrets_set: Mapping[str, Any]) -> str:
    if not value:
        return _help(setting)
    stamp = secrets_set.get(setting.name, {})
    who = f" by {stamp['by']}" if stamp.get("by") else ""
    when = f" on {stamp['at'][:10]}" if stamp.get("at") else ""
    return f"Stored{who}{when}. Type to replace it. {_help(setting)}".strip()


def _unset(setting: Setting) -> str:
    if setting.default in (None, ""):
        return "Not set"
    if setting.kind == SettingKind.BOOLEAN:
        return f"As usual: {'yes' if setting.default else 'no'}"
    label = next((option.label for option in setting.options if option.value == setting.default), setting.default)
    return f"As usual: {label}"


def _pretty(text: str) -> str:
    """JSON with line breaks; other text as it is, for the service to refuse."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if text else ""
    except ValueError:
        return text


def properties_from(data: Mapping[str, Any], plugin: Plugin, stored: Mapping[str, str]) -> dict[str, Any]:
    """The properties a service takes, from the cleaned data of `setting_fields`. Empty secrets keep what is stored."""
    properties: dict[str, Any] = dict(json_object(data.get(OTHER) or "{}"))
    for setting in plugin.settings:
        text = data.get(SETTING + setting.name) or ""
        if text:
            properties[setting.name] = text
        elif setting.is_secret and stored.get(setting.name) and not data.get(CLEAR + setting.name):
            properties[setting.name] = MASK
    return properties


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in a text. Raises ValidationError, which says where it is broken."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise forms.ValidationError(f"This is not JSON: {error}. Write an object, such as {{}}.") from None
    if not isinstance(value, dict):
        raise forms.ValidationError('This is JSON and not an object. Write it as {"name": "value"}.')
    return value


# ---------- components ----------


class NewComponentForm(ServiceForm):
    """The first step: where, what and called what. The settings follow on the next page."""

    name = forms.CharField(required=False, help_text="What pipelines refer to, such as Shop files.")

    class Meta:
        model = DataComponent
        fields = ("workspace", "plugin")


class ComponentForm(ServiceForm):
    """A component with the settings of its plugin; made by `component_form`."""

    name = forms.CharField(required=False)
    expected_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = DataComponent
        fields = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial |= {"name": self.instance.name, "expected_revision": self.instance.revision}

    def clean_other_properties(self) -> str:
        """JSON, or said here: the service takes a mapping."""
        text: str = self.cleaned_data[OTHER]
        json_object(text or "{}")
        return text

    def field_for(self, name: str) -> str:
        key = name.removeprefix("properties.")
        return SETTING + key if SETTING + key in self.fields else key if key in self.fields else OTHER


def component_form(component: DataComponent) -> type[ComponentForm]:
    """The form class for a component, with the fields of its plugin."""
    fields = setting_fields(parse(component.plugin.definition), component.properties, component.secrets_set)
    return type("SettingsForm", (ComponentForm,), {**fields, "Meta": ComponentForm.Meta})


# ---------- pipelines ----------


class PipelineForm(ServiceForm):
    """A pipeline. Its properties are one JSON object, in which stored secrets stand as ***."""

    label = forms.CharField(required=False, widget=forms.TextInput(attrs={"size": 60}))
    name = forms.CharField(required=False, help_text="Without spaces. Empty: made from the label.")
    extractor = forms.ModelChoiceField(DataComponent.objects.none(), required=False)
    loader = forms.ModelChoiceField(DataComponent.objects.none(), required=False)
    properties = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 8, "cols": 80}),
        help_text='A JSON object, such as {"Warehouse.schema": "sales"}: component, dot, setting, and its text. '
        f"Leave {MASK} where a secret is to stay as it is.",
    )
    schedule = forms.CharField(required=False, help_text="Six fields, seconds first: 0 30 2 * * * is 02:30 each day.")
    time_zone = forms.CharField(required=False, help_text="Such as Europe/Berlin.")
    timeout_seconds = forms.CharField(required=False, label="Time-out", help_text="Seconds; 0 means 300.")
    max_retries = forms.CharField(required=False, label="Retries after an error")
    retry_delay_seconds = forms.CharField(required=False, label="Seconds before a retry")
    triggers = forms.ModelMultipleChoiceField(
        Pipeline.objects.none(),
        required=False,
        label="Triggered by",
        help_text="Runs after each success of any of these.",
    )
    tag_words = forms.CharField(required=False, label="Tags", help_text="Words between commas.")
    expected_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Pipeline
        fields = ()

    service_names = {"triggered_by": "triggers", "components": "extractor", "tags": "tag_words"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = self.instance
        components = DataComponent.objects.select_related("plugin", "workspace").order_by("workspace__name", "name")
        others = Pipeline.objects.alive().select_related("workspace").order_by("workspace__name", "label")
        self.is_new = row._state.adding
        if not self.is_new:
            components = components.filter(workspace=row.workspace)
            others = others.filter(workspace=row.workspace).exclude(pk=row.pk)
        self._limit("extractor", components.filter(plugin__plugin_type="EXTRACTOR"))
        self._limit("loader", components.filter(plugin__plugin_type="LOADER"))
        self._limit("triggers", others)
        # Over what the base class read from the row: its properties are not to be shown as they are.
        self.initial |= self._values(row)

    def _limit(self, name: str, rows: Any) -> None:
        """Offer these rows, under their workspaces' names while the pipeline has none yet."""
        field: Any = self.fields[name]
        field.queryset = rows
        if self.is_new:
            field.label_from_instance = lambda row: f"{row.workspace.name}: {row}"

    def _values(self, row: Pipeline) -> dict[str, Any]:
        names = ("label", "name", "schedule", "time_zone", "timeout_seconds", "max_retries", "retry_delay_seconds")
        values = {name: getattr(row, name) for name in names}
        if not self.is_new:
            steps = list(row.steps.select_related("component__plugin"))
            by_type = {step.component.plugin.plugin_type: step.component_id for step in steps}
            values |= {
                "extractor": by_type.get("EXTRACTOR"),
                "loader": by_type.get("LOADER"),
                "triggers": list(row.triggered_by.all()),
                "tag_words": ", ".join(row.tags),
                "expected_revision": row.revision,
                "properties": _pretty(json.dumps(masked_properties(row, [step.component for step in steps]))),
            }
        return values

    def clean_properties(self) -> dict[str, Any]:
        """JSON, or said here: the service takes a mapping."""
        return json_object(self.cleaned_data["properties"] or "{}")

    def clean_timeout_seconds(self) -> Any:
        return _whole(self.cleaned_data["timeout_seconds"])

    def clean_max_retries(self) -> Any:
        return _whole(self.cleaned_data["max_retries"])

    def clean_retry_delay_seconds(self) -> Any:
        return _whole(self.cleaned_data["retry_delay_seconds"] or "30")

    def field_for(self, name: str) -> str:
        return self.service_names.get(name, "properties" if name.startswith("properties.") else name)


class NewPipelineForm(PipelineForm):
    """A pipeline's form that also asks for its workspace."""

    class Meta:
        model = Pipeline
        fields = ("workspace",)


def _whole(text: str) -> Any:
    """A number where it is one; else the text, which the service refuses by its name."""
    return int(text) if text.lstrip("-").isdecimal() else text or 0


def masked_properties(pipeline: Pipeline, components: list[DataComponent]) -> dict[str, str]:
    """A pipeline's properties as they may be shown. What belongs to no known setting counts as secret."""
    plugins = {component.name: parse(component.plugin.definition) for component in components}
    result = {}
    for key, text in pipeline.properties.items():
        parts = split_property(key, plugins)
        setting = plugins[parts[0]].setting(parts[1]) if parts else None
        known = setting is not None or (parts is not None and parts[1] in ("_select", "_metadata"))
        is_open = known and not (setting and setting.is_secret) and key not in pipeline.secrets_set
        result[key] = text if is_open else MASK
    return result


# ---------- files and variables ----------


class FileForm(ServiceForm):
    """A small file: typed here, or sent from a disk."""

    text = forms.CharField(required=False, strip=False, widget=forms.Textarea(attrs={"rows": 25, "cols": 100}))
    upload = forms.FileField(required=False, help_text="In place of the text.")

    class Meta:
        model = WorkspaceFile
        fields = ("workspace", "path")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            return
        try:
            self.initial.setdefault("text", bytes(self.instance.content).decode())
        except UnicodeDecodeError:  # not a text: it can only be replaced
            del self.fields["text"]

    def content(self) -> bytes:
        """What the person gave; the old content where that was nothing."""
        if self.cleaned_data.get("upload"):
            return self.cleaned_data["upload"].read()  # type: ignore[no-any-return]
        if "text" in self.fields:
            return str(self.cleaned_data["text"]).replace("\r\n", "\n").encode()
        return bytes(self.instance.content)

    def field_for(self, name: str) -> str:
        return "upload" if name == "content" else name


class VariableForm(ServiceForm):
    """A variable. A sensitive value is written and never shown."""

    value = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
    )
    is_sensitive = forms.BooleanField(
        required=False, initial=True, label="Sensitive", help_text="Never shown, masked in logs."
    )

    class Meta:
        model = WorkspaceVariable
        fields = ("workspace", "name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            return
        self.initial["is_sensitive"] = self.instance.is_sensitive
        if self.instance.is_sensitive:
            self.fields["value"].help_text = "Stored. Type to replace it."
        else:
            self.fields["value"].widget = forms.TextInput()
            self.initial.setdefault("value", self.instance.value)

    def written_value(self) -> str:
        """The value for the service: nothing written keeps what is stored as sensitive."""
        value: str = self.cleaned_data["value"]
        kept = not value and self.instance.pk and self.instance.is_sensitive
        return MASK if kept else value
