"""Addresses of containers."""

from django.urls import include, path

from console.containers import bulk, cloning, creating, lists, tabs, views
from console.containers.tabs import config, events, health, metrics, overview

app_name = "containers"
urlpatterns = [
    path("", lists.show, name="list"),
    path("-/bulk/", bulk.act, name="bulk"),  # no name begins with a dash
    path("-/create/", creating.create, name="create"),
    path("-/equivalents/", creating.equivalents, name="equivalents"),
    path("<str:ref>/", overview.show, name="details"),
    path("<str:ref>/head/", tabs.head, name="head"),
    path("<str:ref>/", include("console.containers.tabs.urls")),
    path("<str:ref>/terminals/", include("console.containers.terminals.urls")),
    path("<str:ref>/events/", events.show, name="events"),
    path("<str:ref>/menu/", lists.menu, name="menu"),
    path("<str:ref>/clone/", cloning.clone, name="clone"),
    path("<str:ref>/health/", health.show, name="health"),
    path("<str:ref>/metrics/", metrics.show, name="metrics"),
    path("<str:ref>/config/", config.show, name="config"),
    path("<str:ref>/config/<int:number>/restore/", config.restore, name="restore"),
    path("<str:ref>/recreate/", creating.recreate, name="recreate"),
    path("<str:ref>/start/", views.start, name="start"),
    path("<str:ref>/stop/", views.stop, name="stop"),
    path("<str:ref>/restart/", views.restart, name="restart"),
    path("<str:ref>/pause/", views.pause, name="pause"),
    path("<str:ref>/unpause/", views.unpause, name="unpause"),
    path("<str:ref>/kill/", views.kill, name="kill"),
    path("<str:ref>/remove/", views.remove, name="remove"),
]
