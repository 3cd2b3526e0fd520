"""Addresses of websockets."""

from django.urls import path

from console.live.consumer import LiveConsumer
from console.terminals.consumer import TerminalConsumer

patterns = [
    path("live/", LiveConsumer.as_asgi()),
    path("terminals/<str:container>/<str:session>/", TerminalConsumer.as_asgi()),
]
