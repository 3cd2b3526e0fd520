"""Addresses of the system page and its backups."""

from django.urls import path

from console.system import backups, views

app_name = "system"
urlpatterns = [
    path("", views.report, name="report"),
    path("disk/count/", views.count_again, name="count-again"),
    path("backups/", backups.begin, name="backups"),
    path("backups/<str:name>", backups.download, name="backup"),
    path("backups/<str:name>/remove/", backups.remove, name="remove-backup"),
]
