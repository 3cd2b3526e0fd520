"""Addresses of websockets."""

from django.urls import path

from console.containers.terminals.consumer import TerminalConsumer
from console.live.consumer import LiveConsumer

patterns = [
    path("live/", LiveConsumer.as_asgi()),
    path("terminals/<str:container>/<str:session>/", TerminalConsumer.as_asgi()),
]
