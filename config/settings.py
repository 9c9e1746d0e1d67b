"""Django settings. Every value that differs between installations comes from `config.environment`."""

from __future__ import annotations

from pathlib import Path

from config.environment import read_environment
from config.operations.multiprocess import share_metrics

BASE_DIR = Path(__file__).resolve().parent.parent
ENV = read_environment()

SECRET_KEY = ENV.secret_key
ENCRYPTION_KEYS = list(ENV.encryption_keys)
DEBUG = ENV.debug
ALLOWED_HOSTS = list(ENV.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENV.csrf_trusted_origins)
PUBLIC_URL = ENV.public_url
VERSION = "0.1.0"

share_metrics(ENV.metrics_dir)  # before anything below makes its metrics

INSTALLED_APPS = [
    "config.apps.ConfigConfig",
    "notifications.apps.NotificationsConfig",
    "deliveries.apps.DeliveriesConfig",
    "templates_app.apps.TemplatesConfig",
    "preferences.apps.PreferencesConfig",
    "tenants.apps.TenantsConfig",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "django_prometheus",
    "anymail",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.operations.http_metrics.RequestMetricsMiddleware",
    "config.logging.RequestContextMiddleware",
    "tenants.throttling.requests.RateLimitHeadersMiddleware",
    "tenants.http.limits.StatementLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        **ENV.database,
        # Persistent per thread: web threads and workers are few and fixed, so a pool would only add a hop.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**ENV.database.get("OPTIONS", {}), "connect_timeout": 5, "application_name": "notifications"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = ENV.redis_url
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [ENV.redis_url], "prefix": "ws"},
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": ENV.redis_url}}

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = True
# What recipients' pages are translated into; staff's are in English.
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "Français")]
FORMAT_MODULE_PATH = "config.formats"

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Served straight from the apps' folders while developing, from the collected, compressed files otherwise.
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# The largest body any endpoint takes; `tenants.http.parsers` answers 413 beyond it.
MAX_BODY_BYTES = 512 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
SECURE_SSL_REDIRECT = False  # TLS ends at the proxy; health checks and workers on the inside speak plain HTTP
SILENCED_SYSTEM_CHECKS = ["security.W008", "security.W019"]  # no redirect to HTTPS, frames of our own; see beside
X_FRAME_OPTIONS = "SAMEORIGIN"  # the admin previews HTML bodies in a sandboxed frame
TRUST_PROXY_HEADERS = ENV.trust_proxy_headers
if TRUST_PROXY_HEADERS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    USE_X_FORWARDED_HOST = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenants.authentication.ApiKeyAuthentication",
        "tenants.authentication.UserTokenAuthentication",
        "tenants.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.permissions.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["tenants.http.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["tenants.http.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "tenants.http.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "tenants.http.openapi.Schema",
    "EXCEPTION_HANDLER": "tenants.http.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Notifications",
    "DESCRIPTION": "Multi-tenant notifications: events in, deliveries out, and the reason for each.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "tenants.http.openapi.with_headers",
    ],
    # Choices that several fields share, or that share a field's name with others.
    "ENUM_NAME_OVERRIDES": {
        "Channel": "tenants.vocabulary.Channel.api_names",
        "AnyChannel": ["*", "email", "sms", "push", "in_app", "chat", "webhook"],
        "Priority": "tenants.vocabulary.Priority.api_names",
        "DeliveryStatus": "deliveries.states.Status.api_names",
        "EventStatus": "notifications.models.EventStatus.api_names",
        "HealthStatus": ["degraded", "down", "ok"],
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
}

CELERY_BROKER_URL = ENV.broker_url

# Platform-wide providers; a tenant's own provider accounts go before them.
EMAIL = ENV.email
DEFAULT_FROM_EMAIL = ENV.default_from_email
TWILIO_ACCOUNT_SID = ENV.twilio_account_sid
TWILIO_AUTH_TOKEN = ENV.twilio_auth_token
TWILIO_FROM_NUMBER = ENV.twilio_from_number
TWILIO_API_URL = ENV.twilio_api_url
FCM_CREDENTIALS = ENV.fcm_credentials
FCM_API_URL = ENV.fcm_api_url
TELEGRAM_BOT_TOKEN = ENV.telegram_bot_token
TELEGRAM_API_URL = ENV.telegram_api_url
WEBHOOK_ALLOWED_NETWORKS = list(ENV.webhook_allowed_networks)
BACKLOG_LIMIT = ENV.backlog_limit
API_RATE_LIMIT = ENV.api_rate_limit
USER_RATE_LIMIT = ENV.user_rate_limit

LOGGING_CONFIG = "config.logging.configure"
LOGGING = {"level": ENV.log_level, "format": ENV.log_format}

UNFOLD = {
    "SITE_TITLE": "Notifications",
    "SITE_HEADER": "Notifications",
    "SITE_SYMBOL": "notifications",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.icon.address"}],
    "STYLES": ["config.admin_site.appearance.stylesheet"],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "config.admin_site.dashboard.dashboard",
    "SIDEBAR": {"navigation": "config.admin_site.navigation.sidebar"},
}
