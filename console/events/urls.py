"""The address of what happened."""

from django.urls import path

from console.events import views

app_name = "events"
urlpatterns = [path("", views.show, name="list")]
