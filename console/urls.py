"""Every address of the console; each noun keeps its own below."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.i18n import set_language

from console import assets, healthz
from console.overview import views as overview

urlpatterns = [
    path("", overview.show, name="overview"),
    path("users-of-most/", overview.users, name="overview-users"),
    path("", include("console.accounts.urls")),
    path("", include("console.accounts.factor_urls")),
    path("users/", include("console.accounts.user_urls")),
    path("api/v1/", include("console.api.urls")),
    path("containers/", include("console.containers.urls")),
    path("images/", include("console.images.urls")),
    path("volumes/", include("console.volumes.urls")),
    path("events/", include("console.events.urls")),
    path("jobs/", include("console.jobs.urls")),
    path("system/", include("console.system.urls")),
    path("language/", login_not_required(set_language), name="language"),
    path("search/", include("console.search.urls")),
    path("live/", include("console.live.urls")),
    path("healthz", healthz.show, name="healthz"),
    path("engine/", healthz.banner, name="engine"),
    path("static/<path:name>", assets.serve, name="static"),
]

if settings.DEBUG:
    urlpatterns.append(path("styleguide/", include("console.styleguide.urls")))

handler400 = "console.errors.bad_request"
handler403 = "console.errors.permission_denied"
handler404 = "console.errors.not_found"
handler429 = "console.errors.too_many"  # allauth's: Django knows none
handler500 = "console.errors.server_error"
