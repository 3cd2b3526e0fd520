"""A clone with data: the form that asks for its name, and the job that makes it."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from console import gateway, jobs
from console.jobs.models import Record
from engine import Container, errors, names


class CloneForm(forms.Form):
    """What the clone is called, and whether it is to run."""

    name = forms.CharField(
        label=gettext_lazy("Name of the clone"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "mono", "spellcheck": "false"}),
    )
    start = forms.BooleanField(label=gettext_lazy("Start it"), required=False)

    def clean_name(self) -> str:
        """A name that no container has."""
        name: str = self.cleaned_data["name"]
        try:
            names.container_name(name)
        except errors.InvalidRequest as error:
            raise forms.ValidationError(gateway.sentences(error)) from error
        try:
            gateway.engine().inspect(name)
        except errors.EngineError:
            return name
        raise forms.ValidationError(_("The name is taken. Choose another."))


@require_http_methods(["GET", "HEAD", "POST"])
def clone(request: HttpRequest, ref: str) -> HttpResponse:
    """Ask for a name, then copy in a job."""
    container = gateway.engine().inspect(ref)
    form = CloneForm(request.POST or None, initial={"name": f"{container.name}-2"})
    if request.method == "POST" and form.is_valid():
        return gateway.go(request, _begin(request, container, form).get_absolute_url())
    status = 400 if request.method == "POST" else 200
    name = "containers/clone/_dialog.html" if request.htmx else "containers/clone/page.html"
    return render(request, name, {"container": container, "form": form}, status=status)


def _begin(request: HttpRequest, container: Container, form: CloneForm) -> Record:
    title = _("Clone %(name)s") % {"name": container.name}
    return jobs.begin(request.user, title, copy, source=container.id, **form.cleaned_data)


@jobs.repeatable(resumes=True)  # what a kill leaves is taken away before, and the key tells what is whole
def copy(job: jobs.Job, *, source: str, name: str, start: bool) -> jobs.Results:
    """Copy files and volumes, and start the clone if it is to run."""
    engine = gateway.engine()
    job.step(_("Copying files and volumes of %(name)s") % {"name": engine.inspect(source).name})
    made = engine.clone(source, name, key=job.record.pk, caller=job.caller, progress=job.step)
    if start and not made.state.alive:
        job.say(_("Starting %(name)s") % {"name": name})  # it is there: too late to cancel
        engine.start(made.id)
    return [(made.name, reverse("containers:details", args=(made.id,)))]
