"""The address of the palette."""

from django.urls import path

from console.search import views

urlpatterns = [path("", views.search, name="search")]
