"""Addresses of the sides of one container, below its own."""

from django.urls import path

from console.containers.tabs import changes, environment, files, logs, processes

urlpatterns = [
    path("logs/", logs.show, name="logs"),
    path("logs/lines/", logs.lines, name="log-lines"),
    path("logs/download/", logs.download, name="log-download"),
    path("files/", files.show, name="files"),
    path("files/download/", files.fetch, name="download"),
    path("files/folder/", files.make_directory, name="folder"),
    path("files/edit/", files.edit, name="edit"),
    path("files/rename/", files.rename, name="rename-file"),
    path("files/remove/", files.remove, name="remove-file"),
    path("changes/", changes.show, name="changes"),
    path("processes/", processes.show, name="processes"),
    path("processes/signal/", processes.signal, name="signal"),
    path("commit/", changes.commit, name="commit"),
    path("environment/", environment.reveal, name="environment"),
    path("export/", changes.export, name="export"),
]
