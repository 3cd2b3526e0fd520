"""The form that asks for a container, and what its texts mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from console import gateway, text
from engine import (
    ContainerSpec,
    HealthCheck,
    Image,
    Limits,
    NetworkMode,
    RestartMode,
    RestartPolicy,
    VolumeMount,
    default_limits,
    errors,
    names,
)


@contextmanager
def _said_at_the_field() -> Iterator[None]:
    """The engine's refusal of a value as the form's."""
    try:
        yield
    except errors.InvalidRequest as error:
        raise forms.ValidationError(gateway.sentences(error)) from error


def _area(placeholder: str) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": 4, "placeholder": placeholder, "class": "mono", "spellcheck": "false"})


class CreateForm(forms.Form):
    """Everything a container may be asked to be; empty means as the image or this host says."""

    image = forms.CharField(
        label=gettext_lazy("Image"),
        widget=forms.TextInput(attrs={"list": "images", "autocomplete": "off", "class": "mono", "spellcheck": "false"}),
        error_messages={"required": gettext_lazy("Choose an image.")},
    )
    name = forms.CharField(
        label=gettext_lazy("Name"), required=False, help_text=gettext_lazy("Empty: Wharfie chooses one")
    )
    command = forms.CharField(
        label=gettext_lazy("Command"),
        required=False,
        help_text=gettext_lazy("Words are split as in a shell; nothing is expanded"),
        widget=forms.TextInput(
            attrs={"class": "mono", "spellcheck": "false", "placeholder": gettext_lazy("as the image says")}
        ),
    )
    entrypoint = forms.CharField(
        label=gettext_lazy("Entrypoint"),
        required=False,
        help_text=gettext_lazy("Goes before the command"),
        widget=forms.TextInput(
            attrs={"class": "mono", "spellcheck": "false", "placeholder": gettext_lazy("as the image says")}
        ),
    )
    user = forms.CharField(
        label=gettext_lazy("User"),
        required=False,
        help_text=gettext_lazy("Name or number, and :group if needed"),
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": gettext_lazy("as the image says")}),
    )
    workdir = forms.CharField(
        label=gettext_lazy("Working directory"),
        required=False,
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": gettext_lazy("as the image says")}),
    )
    env = forms.CharField(
        label=gettext_lazy("Variables"),
        required=False,
        help_text=gettext_lazy("One NAME=value a line"),
        widget=_area("LANG=C.UTF-8"),
    )
    volumes = forms.CharField(
        label=gettext_lazy("Mounts"),
        required=False,
        help_text=gettext_lazy("One volume:/path a line, with :ro to forbid writing"),
        widget=_area("data:/srv/data"),
    )
    network = forms.ChoiceField(
        label=gettext_lazy("Network"),
        choices=[
            (NetworkMode.NONE.value, gettext_lazy("None: loopback only")),
            (NetworkMode.HOST.value, gettext_lazy("The host's")),
        ],
        initial=NetworkMode.NONE.value,
        widget=forms.RadioSelect,
    )
    restart = forms.ChoiceField(
        label=gettext_lazy("When it has ended"),
        choices=[
            (RestartMode.NO.value, gettext_lazy("It stays ended")),
            (RestartMode.ON_FAILURE.value, gettext_lazy("Start it again when it failed")),
            (
                RestartMode.UNLESS_STOPPED.value,
                gettext_lazy("Start it again until somebody stops it; after a reboot too"),
            ),
            (
                RestartMode.ALWAYS.value,
                gettext_lazy("Start it again until somebody stops it; after a reboot even then"),
            ),
        ],
        initial=RestartMode.NO.value,
        required=False,
        widget=forms.RadioSelect,
    )
    health = forms.CharField(
        label=gettext_lazy("Health check"),
        required=False,
        help_text=gettext_lazy("A shell command run in it every 30 seconds; it is healthy while that ends with 0"),
        widget=forms.TextInput(
            attrs={"class": "mono", "spellcheck": "false", "placeholder": gettext_lazy("as the image says")}
        ),
    )
    memory = forms.CharField(label=gettext_lazy("Memory"), required=False)
    cpus = forms.FloatField(
        label=gettext_lazy("CPU, cores"), required=False, widget=forms.TextInput(attrs={"inputmode": "decimal"})
    )
    pids = forms.IntegerField(
        label=gettext_lazy("Processes"), required=False, widget=forms.TextInput(attrs={"inputmode": "numeric"})
    )

    def __init__(self, *args: Any, images: Sequence[Image] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tags = [tag for image in images for tag in (image.tags or (image.short_id,))]
        default = default_limits()
        self.fields["memory"].help_text = _("Such as 512m or 2g. Empty: half of the host's, %(size)s") % {
            "size": text.size(default.memory_bytes)
        }
        self.fields["cpus"].help_text = _("Such as 0.5. Empty: all %(n)d of the host's") % {"n": default.cpus}
        self.fields["pids"].help_text = _("Guards against fork bombs. Empty: %(n)d") % {"n": default.pids}
        for name, field in self.fields.items():
            field.widget.attrs.setdefault("autocomplete", "off")
            if self.is_bound and name in self.errors:
                field.widget.attrs["aria-invalid"] = "true"

    def clean_command(self) -> tuple[str, ...] | None:
        """The command's words; None when there are none."""
        with _said_at_the_field():
            return names.words(self.cleaned_data["command"]) or None

    def clean_entrypoint(self) -> tuple[str, ...] | None:
        """The entrypoint's words; None when there are none."""
        with _said_at_the_field():
            return names.words(self.cleaned_data["entrypoint"]) or None

    def clean_env(self) -> tuple[str, ...]:
        """The variables."""
        with _said_at_the_field():
            return names.environment(text.lines(self.cleaned_data["env"]))

    def clean_volumes(self) -> tuple[VolumeMount, ...]:
        """The mounts."""
        with _said_at_the_field():
            return tuple(map(VolumeMount.parse, text.lines(self.cleaned_data["volumes"])))

    def clean_memory(self) -> int | None:
        """The limit in bytes."""
        with _said_at_the_field():
            return names.size_bytes(self.cleaned_data["memory"]) if self.cleaned_data["memory"] else None

    def spec(self) -> ContainerSpec:
        """What a valid form asks the engine for."""
        data = self.cleaned_data
        return ContainerSpec(
            image=data["image"],
            name=data["name"],
            command=data["command"],
            entrypoint=data["entrypoint"],
            env=data["env"],
            user=data["user"] or None,
            workdir=data["workdir"] or None,
            network=NetworkMode(data["network"]),
            limits=Limits(memory_bytes=data["memory"], cpus=data["cpus"], pids=data["pids"]),
            volumes=data["volumes"],
            restart=RestartPolicy(RestartMode(data["restart"] or RestartMode.NO)),
            health=HealthCheck(("/bin/sh", "-c", data["health"])) if data["health"] else None,
        )
