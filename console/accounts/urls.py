"""Addresses of signing in and out, and of one's own account."""

from django.urls import path

from console.accounts import profile, views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("setup/<str:token>/", views.setup, name="setup"),
    path("account/password/", profile.password, name="password"),
    path("account/sessions/<int:number>/end/", profile.end_session, name="end-session"),
    path("account/sessions/end-others/", profile.end_others, name="end-others"),
    path("account/tokens/create/", profile.make_token, name="make-token"),
    path("account/tokens/<int:number>/revoke/", profile.revoke_token, name="revoke-token"),
    path("account/provider/untie/", profile.untie, name="untie"),
]
