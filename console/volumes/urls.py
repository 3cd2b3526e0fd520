"""Addresses of volumes."""

from django.urls import path

from console.volumes import views

app_name = "volumes"
urlpatterns = [
    path("", views.show_list, name="list"),
    path("<str:name>/remove/", views.remove, name="remove"),
]
