"""Addresses of a container's terminals."""

from django.urls import path

from console.containers.terminals import views

app_name = "terminals"
urlpatterns = [
    path("", views.show, name="list"),
    path("<str:session>/", views.show, name="show"),
    path("<str:session>/end/", views.end, name="end"),
]
