"""Addresses of jobs."""

from django.urls import path

from console.jobs import views

app_name = "jobs"
urlpatterns = [
    path("", views.show_list, name="list"),
    path("frame/", views.frame, name="frame"),
    path("seen/", views.all_seen, name="seen"),
    path("<str:job_id>/", views.details, name="details"),
    path("<str:job_id>/log/", views.show_log, name="log"),
    path("<str:job_id>/cancel/", views.cancel, name="cancel"),
    path("<str:job_id>/again/", views.again, name="again"),
    path("<str:job_id>/forget/", views.forget, name="forget"),
    path("<str:job_id>/files/<str:name>", views.download, name="file"),
]
