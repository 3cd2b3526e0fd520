"""Jobs: every act that takes long. Each has an address, progress, a log, an owner and a way to cancel it.

    from console import jobs

    def work(job: jobs.Job) -> jobs.Results:             # runs in a thread of its own, in its owner's language
        for number, volume in enumerate(chosen):
            job.progress(number, len(chosen), _("volumes"))   # raises Cancelled once it was asked to stop
            engine.remove_volume(volume)
            job.say(_("Removed %(name)s.") % {"name": volume})
        return [(_("All volumes"), reverse("volumes:list"))]  # what came of it: words and addresses; or None

    return redirect(jobs.begin(request.user, _("Remove volumes"), work))     # 302 to /jobs/<id>/

`job.step` is a progress function of the engine's: ``engine.backup(out, progress=job.step)``. An `EngineError` that
leaves ``work`` is the job's failure, in words; anything else is a fault, and the console's log says which. `Cancelled`
comes out of `step` and `progress` alone, so what they leave half done is undone by ``with`` and ``finally``. Work that
calls neither looks at ``job.cancelled`` itself, or ends when it ends.

A closure dies with the web process, and its job is said to be interrupted. A function of a module, marked with
`repeatable`, takes what it needs as keyword arguments (plain JSON) and can be run again::

    @jobs.repeatable(resumes=True)                        # and is, by itself, when the console starts again
    def load(job: jobs.Job, *, name: str) -> jobs.Results:
        with job.open_upload() as file: …

    jobs.begin(request.user, title, load, upload=form.cleaned_data["upload"], name=name)

An upload is kept beside the job until it ends. Files for the owner to download are written below ``job.output``.
``again`` is the address of a form from which to try once more, for work that cannot be repeated as it was.

In a test, jobs write to the database from their threads: mark it ``django_db(transaction=True)``, and wait with
``jobs.finished(record)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from console.jobs.models import Record as Record
    from console.jobs.running import begin, finished, recover, seen
    from console.jobs.work import Cancelled, Job, Results, Work, repeatable

__all__ = ["Cancelled", "Job", "Results", "Work", "begin", "finished", "recover", "repeatable", "seen"]


def __getattr__(name: str) -> Any:
    # Django imports this package before there can be a model.
    if name in __all__:
        from console.jobs import running, work

        return getattr(running if hasattr(running, name) else work, name)
    raise AttributeError(name)
