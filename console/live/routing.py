"""The websocket's address."""

from django.urls import path

from console.live.consumer import LiveConsumer

patterns = [path("live/", LiveConsumer.as_asgi())]
