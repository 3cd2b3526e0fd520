"""Long work, its progress and its results."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Jobs."""

    name = "console.jobs"
    label = "jobs"
