"""The address where a page fetches a ticket for its websocket."""

from django.urls import path

from console.live import views

app_name = "live"
urlpatterns = [path("ticket/", views.ticket, name="ticket")]
