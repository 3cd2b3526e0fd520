"""The address of the system page."""

from django.urls import path

from console.system import views

app_name = "system"
urlpatterns = [path("", views.report, name="report")]
