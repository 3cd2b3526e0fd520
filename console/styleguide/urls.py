"""The address of the styleguide; `console.urls` has it with WHARFIE_DEBUG=1 only."""

from django.urls import path

from console.styleguide import views

urlpatterns = [path("", views.show, name="styleguide")]
