"""Django's settings. Everything that differs between installs comes from WHARFIE_* variables.

WHARFIE_ROOT, WHARFIE_RUN   where things live (engine/config.py)
WHARFIE_LISTEN              host:port that people reach, 127.0.0.1:8000 by default
WHARFIE_HOSTS               more host names to answer to, separated by commas
WHARFIE_TLS=1               the socket speaks TLS (set by the supervisor)
WHARFIE_PROXY=1             a TLS proxy stands in front and sets X-Forwarded-Proto and X-Forwarded-For
WHARFIE_TRUSTED_PROXY       its IP address: from others these headers are dropped (console/proxy.py)
WHARFIE_OIDC_ISSUER         an OpenID Connect provider to sign in with, and what it knows this console as:
WHARFIE_OIDC_CLIENT_ID, WHARFIE_OIDC_SECRET; WHARFIE_OIDC_NAME is what the sign-in page calls it
WHARFIE_DEBUG=1             for who works on Wharfie: errors show code and settings, /styleguide/ shows every piece
"""

from __future__ import annotations

import os
from pathlib import Path

from django.utils.functional import lazy

from console.secret import read_or_make_key
from engine.config import Config
from engine.storage.paths import Paths

BASE_DIR = Path(__file__).resolve().parent.parent
PATHS = Paths(Config.from_environment())

DEBUG = os.environ.get("WHARFIE_DEBUG") == "1"
# Lazy: `manage.py help` and the tests' collection must not need a writable WHARFIE_ROOT.
SECRET_KEY = lazy(lambda: read_or_make_key(PATHS.secret_key), str)()

LISTEN = os.environ.get("WHARFIE_LISTEN") or "127.0.0.1:8000"
BEHIND_PROXY = os.environ.get("WHARFIE_PROXY") == "1"
TRUSTED_PROXY = os.environ.get("WHARFIE_TRUSTED_PROXY", "") if BEHIND_PROXY else ""
SECURE = os.environ.get("WHARFIE_TLS") == "1" or BEHIND_PROXY
ALLOWED_HOSTS = [
    *dict.fromkeys(
        [
            LISTEN.rpartition(":")[0],
            "localhost",
            "127.0.0.1",
            "[::1]",
            *filter(None, (host.strip() for host in os.environ.get("WHARFIE_HOSTS", "").split(","))),
        ]
    )
]

INSTALLED_APPS = [
    # Not `daphne`: it would pull Twisted into every command.
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    # Those with tables whether they are configured or not: these must not come and go with a variable.
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "console",
    "console.accounts",
    "console.jobs",
    "console.live",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "console.middleware.ContentPolicyMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "console.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "console.accounts.bearer.BearerMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "console.middleware.SignInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "console.gateway.EngineErrorMiddleware",
    "console.live.since.SinceMiddleware",
]
ROOT_URLCONF = "console.urls"
ASGI_APPLICATION = "console.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context.page",
                "console.jobs.context.frame",
                "console.disk.frame",
                "console.healthz.frame",
            ],
            "loaders": [("django.template.loaders.cached.Loader", ["django.template.loaders.filesystem.Loader"])],
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.l10n",
                "django.templatetags.static",
                "console.templatetags.wharfie",
                "console.templatetags.jobs",
                "console.templatetags.events",
            ],
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": PATHS.console_database,
        "CONN_MAX_AGE": None,  # for as long as its thread; see console.asgi
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",  # a reader that turns writer would fail at once, not wait
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "console.accounts.passwords.MinimumLength", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_HASHERS = [
    "console.accounts.hashers.Argon2",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",  # of earlier versions: made anew when its owner signs in
]
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "overview"

# Names, no addresses: nothing is ever sent by mail, and nobody makes an account for himself.
ACCOUNT_ADAPTER = "console.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
MFA_ADAPTER = "console.accounts.adapter.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not SECURE  # browsers offer passkeys over plain http to localhost alone
SOCIALACCOUNT_ADAPTER = "console.accounts.adapter.ProviderAdapter"
SOCIALACCOUNT_QUERY_EMAIL = False
OIDC_NAME = os.environ.get("WHARFIE_OIDC_NAME") or "company account"
OIDC_ISSUER = os.environ.get("WHARFIE_OIDC_ISSUER", "").rstrip("/")
if OIDC_ISSUER:
    INSTALLED_APPS.append("allauth.socialaccount.providers.openid_connect")
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "company",
                "name": OIDC_NAME,
                "client_id": os.environ.get("WHARFIE_OIDC_CLIENT_ID", ""),
                "secret": os.environ.get("WHARFIE_OIDC_SECRET", ""),
                "settings": {"server_url": OIDC_ISSUER},
            }
        ]
        if OIDC_ISSUER
        else [],
    }
}
# What slows down who guesses codes. In memory, as the throttle of passwords: one process serves the pages.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

# Over plain http a Secure cookie would vanish without a word, so the names and flags follow the transport.
_PREFIX = "__Host-" if SECURE else ""
SESSION_COOKIE_NAME = f"{_PREFIX}wharfie_session"
SESSION_ENGINE = "console.accounts.session"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_SAVE_EVERY_REQUEST = True  # twelve hours without use, not twelve hours
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = f"{_PREFIX}wharfie_csrf"
CSRF_FAILURE_VIEW = "console.errors.csrf_failure"
# Browsers then refuse plain http on every port of this name: only for a name that somebody gave to TLS for good, and
# never with the own certificate.
_TLS_TO_STAY = BEHIND_PROXY or bool(os.environ.get("WHARFIE_TLS_CERT"))
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _TLS_TO_STAY else 0
SECURE_SSL_REDIRECT = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

STATIC_URL = "/static/"  # Django would put where it is mounted before one without a slash
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "console.assets.VersionedStorage"},
}

# An image is gigabytes: it goes to disk beside the layers, never to memory or to a small /tmp (console/server.py).
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20  # of a form, without its file
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = PATHS.tmp
SILENCED_SYSTEM_CHECKS = [
    "files.E001",  # the directory is made when something first serves, not when Django loads
    # HSTS is for this name alone: the names below it may be other people's, and what their browsers hold for a year
    # is not ours to decide. With the own certificate it would lock people out when that changes.
    "security.W005",
    "security.W021",
    *(() if _TLS_TO_STAY else ("security.W004",)),
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_NAME = f"{_PREFIX}wharfie_language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SECURE, LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE = SECURE, True, "Lax"
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django.request": {"level": "ERROR"},  # 4xx are answers, not faults
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # anyone can send any Host header
    },
}
