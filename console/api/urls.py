"""Addresses of the API. What is here is kept; what comes new may be added to an answer."""

from django.urls import path

from console.api import containers

app_name = "api"
urlpatterns = [
    path("containers/", containers.collection, name="containers"),
    path("containers/<str:ref>/", containers.one, name="container"),
    *(
        path(f"containers/<str:ref>/{act.__name__}/", act, name=act.__name__)
        for act in (containers.update, containers.start, containers.stop, containers.restart)
    ),
]
