"""All settings, read top to bottom. Each value comes from the environment, is typed, and fails at start when wrong."""

import os
import socket
import warnings
from pathlib import Path
from typing import Any

import dj_database_url
from environs import Env

from eltsite import crypto

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent

env = Env(prefix="ELTSITE_")


def text_or_file(name: str, default: str = "") -> str:
    """A secret from NAME, or from the file that NAME_FILE names."""
    path = env.str(f"{name}_FILE", "")
    return Path(path).read_text().strip() if path else env.str(name, default)


# ---------- where things lie ----------
ELTSITE_HOME = Path(env.str("HOME", str(BASE_DIR / "var"))).absolute()
ELTSITE_HOST = env.str("HOST", socket.gethostname())  # the name that ties local files to this machine
ELTSITE_ALLOWED_FOLDERS: list[str] = env.list(
    "ALLOWED_FOLDERS", []
)  # folders beside a workspace's own that runs may read and write
ELTSITE_BASE_URL = env.str("BASE_URL", "")  # as users see it; empty: taken from the request

# ---------- database ----------
DATABASE_URL = text_or_file("DATABASE_URL")
USES_SQLITE = not DATABASE_URL
DATABASES: dict[str, Any]
if USES_SQLITE:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ELTSITE_HOME / "eltsite.sqlite3",
            # The queue looks ten times a second: opening the file anew each time would be most of its work.
            "CONN_MAX_AGE": 60,  # seconds
            "OPTIONS": {
                # A write transaction takes its lock at BEGIN and waits its turn; a deferred one would fail at
                # its first write with "database is locked", whatever the busy timeout.
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,  # seconds
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True)}

# ---------- keys ----------
# With SQLite the keys are made on first use, beside the database, readable by its owner alone. With PostgreSQL
# several hosts must share them, so a missing one refuses to start.
if text_or_file("KEY"):
    ELTSITE_KEYS = tuple(crypto.split_keys(text_or_file("KEY")))
elif USES_SQLITE:
    ELTSITE_KEYS = tuple(crypto.split_keys(crypto.read_or_create_key_file(ELTSITE_HOME / "key")))
else:
    ELTSITE_KEYS = ()
if text_or_file("SECRET_KEY"):
    SECRET_KEY = text_or_file("SECRET_KEY")
elif USES_SQLITE:
    SECRET_KEY = crypto.read_or_create_key_file(ELTSITE_HOME / "secret_key").strip()
else:
    raise crypto.KeyFault("ELTSITE_SECRET_KEY is not set: it signs sessions, and all hosts must share it.")

# ---------- web ----------
DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", ELTSITE_HOST])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
if env.bool("TRUST_PROXY", False):  # a proxy in front ends TLS and sets the header itself
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
HTTPS_ONLY = env.bool("HTTPS_ONLY", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SESSION_COOKIE_NAME = "eltsite_session"
CSRF_COOKIE_NAME = "eltsite_csrf"
CSRF_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
APPEND_SLASH = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024  # bytes of a request body
UPLOAD_MAX_BYTES = 64 * 1024 * 1024  # one workspace file

INSTALLED_APPS = [
    "django_q",  # before ours: our admin takes its tables out
    "jobs.apps.JobsConfig",
    "pipelines.apps.PipelinesConfig",
    "workspaces.apps.WorkspacesConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "django_htmx",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "eltsite.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "eltsite.middleware.TimeZoneMiddleware",
    "eltsite.middleware.DomainErrorMiddleware",
]
ROOT_URLCONF = "eltsite.urls"
WSGI_APPLICATION = "eltsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "workspaces.context.frame",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
WHITENOISE_USE_FINDERS = True

# ---------- people ----------
AUTH_USER_MODEL = "workspaces.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# ---------- language and time ----------
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---------- API ----------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "workspaces.authentication.TokenAuthentication",
        "workspaces.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["workspaces.permissions.WorkspacePermission"],
    "DEFAULT_RENDERER_CLASSES": ["eltsite.api.renderers.HALRenderer", "eltsite.api.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["eltsite.api.renderers.HALParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "eltsite.api.renderers.LenientNegotiation",
    "DEFAULT_PAGINATION_CLASS": "eltsite.api.pagination.HALPagination",
    "DEFAULT_FILTER_BACKENDS": ["eltsite.api.filters.FilterBackend", "eltsite.api.filters.SortFilter"],
    "EXCEPTION_HANDLER": "eltsite.api.exceptions.handle",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

# ---------- work ----------
ELTSITE_SLOTS = env.int("SLOTS", os.cpu_count() or 1)  # jobs that run at once on this host
ELTSITE_DRAIN_SECONDS = env.int("DRAIN_SECONDS", 5)  # how long a stopping worker lets its jobs end by themselves
ELTSITE_RUN_AS = env.str("RUN_AS", "eltsite-run" if hasattr(os, "geteuid") and os.geteuid() == 0 else "")
ELTSITE_ENVIRONMENTS = Path(env.str("ENVIRONMENTS", str(ELTSITE_HOME / "environments"))).absolute()  # of plugins
ELTSITE_LOG_DAYS = env.int("LOG_DAYS", 30)
ELTSITE_JOB_DAYS = env.int("JOB_DAYS", 90)
ELTSITE_HTTP_MAX_BYTES = env.int("HTTP_MAX_BYTES", 10 * 1024**3)
ELTSITE_ALLOW_PRIVATE_ADDRESSES = env.bool("ALLOW_PRIVATE_ADDRESSES", False)
# Runs have no queue timeout on purpose, and a redelivered wake-up is harmless: the warning would only worry.
warnings.filterwarnings("ignore", message="Retry and timeout are misconfigured")
Q_CLUSTER = {
    "name": "eltsite",  # also the salt of the task's signature: one name, one queue
    "orm": "default",
    "workers": ELTSITE_SLOTS,
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.1,
    "timeout": None,  # the supervisor alone holds a run's deadline
    "retry": 300,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,  # our own rows are the history
    "catch_up": False,
    "scheduler": False,
    "recycle": 200,
    "guard_cycle": 0.5,
    "time_zone": "UTC",
    "label": "Queue",
}

# ---------- logging ----------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "WARNING")},
    "loggers": {
        "eltsite": {"level": env.str("LOG_LEVEL", "INFO")},
        "django-q": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
    },
}
