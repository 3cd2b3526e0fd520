"""Terminals of running containers: their page, and the websocket behind it."""
