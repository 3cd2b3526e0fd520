"""allauth's views at our addresses, in our look. It finds its own by these names; what we do not offer is left out."""

from allauth.account.views import ReauthenticateView
from allauth.mfa.base import views as factor
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as app
from allauth.mfa.webauthn import views as passkey
from django.contrib.auth.decorators import login_not_required
from django.urls import path, reverse_lazy

from console.accounts import profile, views

open_to_all = login_not_required

urlpatterns = [
    path("sign-in/", views.sign_in, name="account_login"),
    path("sign-out/", views.sign_out, name="account_logout"),
    path(
        "sign-in/second-step/",
        factor.AuthenticateView.as_view(template_name="accounts/second_step.html"),
        name="mfa_authenticate",
    ),
    path("sign-in/passkey/", open_to_all(passkey.LoginWebAuthnView.as_view()), name="mfa_login_webauthn"),
    path("sign-in/<str:provider_id>/", views.to_provider, name="openid_connect_login"),
    path("sign-in/<str:provider_id>/callback/", views.from_provider, name="openid_connect_callback"),
    path("account/", profile.show, name="mfa_index"),
    path(
        "account/confirm/",
        ReauthenticateView.as_view(template_name="accounts/confirm.html"),
        name="account_reauthenticate",
    ),
    path(
        "account/confirm/code/",
        factor.ReauthenticateView.as_view(template_name="accounts/confirm.html"),
        name="mfa_reauthenticate",
    ),
    path(
        "account/confirm/passkey/",
        passkey.ReauthenticateWebAuthnView.as_view(template_name="accounts/confirm_passkey.html"),
        name="mfa_reauthenticate_webauthn",
    ),
    path(
        "account/app/add/",
        app.ActivateTOTPView.as_view(template_name="accounts/app_add.html"),
        name="mfa_activate_totp",
    ),
    path(
        "account/app/remove/",
        app.DeactivateTOTPView.as_view(template_name="accounts/app_remove.html"),
        name="mfa_deactivate_totp",
    ),
    path(
        "account/passkeys/add/",
        passkey.AddWebAuthnView.as_view(
            template_name="accounts/passkey_add.html", initial={"passwordless": True, "name": ""}
        ),
        name="mfa_add_webauthn",
    ),
    path(
        "account/passkeys/<int:pk>/remove/",
        passkey.RemoveWebAuthnView.as_view(
            template_name="accounts/passkey_remove.html", success_url=reverse_lazy("mfa_index")
        ),
        name="mfa_remove_webauthn",
    ),
    path(
        "account/codes/",
        codes.ViewRecoveryCodesView.as_view(template_name="accounts/codes.html"),
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/codes/generate/",
        codes.GenerateRecoveryCodesView.as_view(template_name="accounts/codes_generate.html"),
        name="mfa_generate_recovery_codes",
    ),
]
