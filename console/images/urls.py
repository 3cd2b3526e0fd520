"""Addresses of images."""

from django.urls import path

from console.images import views

app_name = "images"
urlpatterns = [
    path("", views.show_list, name="list"),
    path("import/", views.load, name="import"),
    path("starter/", views.starter, name="starter"),
    path("<str:ref>/remove/", views.remove, name="remove"),
]
