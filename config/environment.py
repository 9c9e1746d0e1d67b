"""The service's settings, read once and checked.

A wrong value, or a combination that cannot work, stops the start with one line that names the setting. The line never
shows a value that may be secret. `docs/settings.md` describes them all; `config.sources` says where they come from.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from config.public_url import checked_public_url
from config.service_account import service_account
from config.sources import gather
from config.stack.paths import PROJECT_DIR, StackPaths
from tenants.throttling.limits import RateLimit, parse_rate_limit

KNOWN = frozenset(
    {
        "SECRET_KEY",
        "ENCRYPTION_KEYS",
        "DEBUG",
        "ALLOWED_HOSTS",
        "PORT",
        "DATABASE_URL",
        "REDIS_URL",
        "CELERY_BROKER_URL",
        "EMAIL_URL",
        "DEFAULT_FROM_EMAIL",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_FROM_NUMBER",
        "TWILIO_API_URL",
        "FCM_CREDENTIALS",
        "FCM_API_URL",
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_API_URL",
        "PUBLIC_URL",
        "CSRF_TRUSTED_ORIGINS",
        "TRUST_PROXY_HEADERS",
        "WEBHOOK_ALLOWED_NETWORKS",
        "BACKLOG_LIMIT",
        "API_RATE_LIMIT",
        "USER_RATE_LIMIT",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "LOCAL_STATE_DIR",
        "PROMETHEUS_MULTIPROC_DIR",
    }
)

_HTTP = ("http", "https")
_REDIS = ("redis", "rediss", "unix")
_BROKERS = ("amqp", "amqps", "redis", "rediss", "redis+socket", "sentinel", "sqs")
_SMTP_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465, "smtps": 465}
# What Twilio takes as a sender: a number, a WhatsApp number, a messaging service, an alphanumeric sender id.
_TWILIO_SENDER = re.compile(r"(whatsapp:)?\+[1-9]\d{6,14}|MG[0-9a-f]{32}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_HOST = re.compile(r"\*|\.?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]")
_LEAST_SECRET = 50  # characters, as Django's own deployment check asks


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Every setting, typed. Empty strings mean "not set"."""

    secret_key: str
    encryption_keys: tuple[str, ...]
    debug: bool
    allowed_hosts: tuple[str, ...]
    csrf_trusted_origins: tuple[str, ...]
    trust_proxy_headers: bool
    port: int
    public_url: str
    database: Mapping[str, Any]
    database_url: str
    redis_url: str
    broker_url: str
    email: Mapping[str, Any] | None
    default_from_email: str
    twilio_account_sid: str
    twilio_auth_token: str
    twilio_from_number: str
    twilio_api_url: str
    fcm_credentials: Mapping[str, Any] | None
    fcm_api_url: str
    telegram_bot_token: str
    telegram_api_url: str
    webhook_allowed_networks: tuple[str, ...]
    backlog_limit: int
    api_rate_limit: RateLimit | None
    user_rate_limit: RateLimit | None
    log_level: str
    log_format: str
    metrics_dir: Path
    stack: StackPaths
    embedded_postgres: bool
    embedded_redis: bool


def read_environment() -> Environment:
    """Read and check the settings of this process; raises ImproperlyConfigured with one readable line."""
    source, stack = gather(KNOWN)
    return parse(source, stack=stack)


def parse(source: Mapping[str, str], *, stack: StackPaths) -> Environment:
    """Turn raw strings into checked settings; pure but for reading the FCM credentials file."""
    debug = _boolean(source, "DEBUG")
    redis_url = _url(source, "REDIS_URL", _REDIS) or stack.redis_url
    port = _number(source, "PORT", 8000, 65_535)
    environment = Environment(
        secret_key=_secret_key(source, debug=debug),
        encryption_keys=_encryption_keys(source),
        debug=debug,
        allowed_hosts=_hosts(source) or (("*",) if debug else ()),
        csrf_trusted_origins=_origins(source),
        trust_proxy_headers=_boolean(source, "TRUST_PROXY_HEADERS"),
        port=port,
        public_url=checked_public_url(_url(source, "PUBLIC_URL", _HTTP)) or f"http://127.0.0.1:{port}",
        database=_database(source.get("DATABASE_URL") or stack.database_url),
        database_url=source.get("DATABASE_URL") or stack.database_url,
        redis_url=redis_url,
        broker_url=_url(source, "CELERY_BROKER_URL", _BROKERS) or _broker_from_redis(redis_url),
        email=_email(source),
        default_from_email=_from_email(source),
        twilio_account_sid=source.get("TWILIO_ACCOUNT_SID", ""),
        twilio_auth_token=source.get("TWILIO_AUTH_TOKEN", ""),
        twilio_from_number=_twilio_sender(source),
        twilio_api_url=_url(source, "TWILIO_API_URL", _HTTP),
        fcm_credentials=service_account(source.get("FCM_CREDENTIALS", "")),
        fcm_api_url=_url(source, "FCM_API_URL", _HTTP),
        telegram_bot_token=_telegram_token(source),
        telegram_api_url=_url(source, "TELEGRAM_API_URL", _HTTP),
        webhook_allowed_networks=_networks(source),
        backlog_limit=_number(source, "BACKLOG_LIMIT", 1_000_000, 1_000_000_000),
        api_rate_limit=_rate_limit(source, "API_RATE_LIMIT", default="60000/minute"),
        user_rate_limit=_rate_limit(source, "USER_RATE_LIMIT", default="6000/minute"),
        log_level=_one_of(source, "LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"),
        log_format=_one_of(source, "LOG_FORMAT", ("json", "console"), default="json"),
        metrics_dir=PROJECT_DIR / (source.get("PROMETHEUS_MULTIPROC_DIR") or stack.metrics),
        stack=stack,
        embedded_postgres=not source.get("DATABASE_URL"),
        embedded_redis=not source.get("REDIS_URL"),
    )
    _refuse_impossible(environment)
    return environment


def _refuse_impossible(environment: Environment) -> None:
    if not environment.debug and not environment.allowed_hosts:
        raise ImproperlyConfigured(
            "ALLOWED_HOSTS must name the hosts served when DEBUG is off, e.g. ALLOWED_HOSTS=notify.example.com"
        )
    twilio = {
        "TWILIO_ACCOUNT_SID": environment.twilio_account_sid,
        "TWILIO_AUTH_TOKEN": environment.twilio_auth_token,
        "TWILIO_FROM_NUMBER": environment.twilio_from_number,
    }
    missing = [name for name, value in twilio.items() if not value]
    if missing and len(missing) < len(twilio):
        given = sorted(set(twilio) - set(missing))
        raise ImproperlyConfigured(
            f"{', '.join(missing)} must be set too, because {', '.join(given)} is set: Twilio needs all three"
        )


def _secret_key(source: Mapping[str, str], *, debug: bool) -> str:
    value = source.get("SECRET_KEY", "")
    if not value:
        raise ImproperlyConfigured("SECRET_KEY must be set to a long random string")
    if not debug and len(value) < _LEAST_SECRET:
        raise ImproperlyConfigured(f"SECRET_KEY must have at least {_LEAST_SECRET} characters when DEBUG is off")
    return value


def _encryption_keys(source: Mapping[str, str]) -> tuple[str, ...]:
    keys = _list(source, "ENCRYPTION_KEYS")
    if not keys:
        raise ImproperlyConfigured("ENCRYPTION_KEYS must be set: comma-separated Fernet keys, the newest first")
    for position, key in enumerate(keys, start=1):
        try:
            valid = len(base64.urlsafe_b64decode(key)) == 32
        except (binascii.Error, ValueError):
            valid = False
        if not valid:
            raise ImproperlyConfigured(f"ENCRYPTION_KEYS: key {position} is not a Fernet key (32 bytes, URL-safe base64)")
    return keys


def _boolean(source: Mapping[str, str], name: str) -> bool:
    value = source.get(name, "").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"", "0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}")


def _list(source: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in source.get(name, "").split(",") if item.strip())


def _one_of(source: Mapping[str, str], name: str, allowed: tuple[str, ...], *, default: str) -> str:
    value = source.get(name) or default
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _number(source: Mapping[str, str], name: str, default: int, most: int) -> int:
    value = source.get(name) or str(default)
    if not (value.isascii() and value.isdecimal()) or not 0 < int(value) <= most:
        raise ImproperlyConfigured(f"{name} must be a number from 1 to {most}, not {value!r}")
    return int(value)


def _rate_limit(source: Mapping[str, str], name: str, *, default: str) -> RateLimit | None:
    """None where it is off."""
    try:
        return parse_rate_limit(source.get(name) or default)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} {error}") from None


def _hosts(source: Mapping[str, str]) -> tuple[str, ...]:
    hosts = _list(source, "ALLOWED_HOSTS")
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ImproperlyConfigured(f"ALLOWED_HOSTS takes host names without scheme, port or path, not {host!r}")
    return hosts


def _origins(source: Mapping[str, str]) -> tuple[str, ...]:
    origins = _list(source, "CSRF_TRUSTED_ORIGINS")
    for origin in origins:
        parts = _split("CSRF_TRUSTED_ORIGINS", origin)
        if parts.scheme not in _HTTP or not parts.netloc or parts.path:
            raise ImproperlyConfigured(f"CSRF_TRUSTED_ORIGINS takes origins such as https://example.com, not {origin!r}")
    return origins


def _url(source: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str:
    value = source.get(name, "")
    if not value:
        return ""
    parts = _split(name, value)
    if parts.scheme not in schemes or (schemes == _HTTP and not parts.hostname):
        raise ImproperlyConfigured(f"{name} must be a URL beginning with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return value.rstrip("/")


def _split(name: str, value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port  # checked when asked for
    except ValueError:
        # The reason would quote the value, and with it perhaps a password.
        raise ImproperlyConfigured(f"{name} is not a URL; / : @ # in a password are written %2F %3A %40 %23") from None
    return parts


def _database(url: str) -> Mapping[str, Any]:
    parts = _split("DATABASE_URL", url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must be a URL beginning with postgresql://: the service needs PostgreSQL")
    database: dict[str, Any] = dict(environ.Env.db_url_config(url))
    # libpq finds a Unix socket by a `host` option in the query; Django wants it as HOST.
    options = database.setdefault("OPTIONS", {})
    if "host" in options:
        database["HOST"] = options.pop("host")
    database["ENGINE"] = "tenants.database"
    if not database.get("NAME"):
        raise ImproperlyConfigured("DATABASE_URL must name a database, e.g. postgresql://user@host/notifications")
    return database


def _broker_from_redis(redis_url: str) -> str:
    """The same server in kombu's words, which differ for a Unix socket."""
    if not redis_url.startswith("unix://"):
        return redis_url
    return (
        redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=").replace("&db=", "&virtual_host=")
    )


def _email(source: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Django's `EMAIL_*` settings, or None where e-mail is not configured."""
    value = source.get("EMAIL_URL", "")
    if not value:
        return None
    parts = _split("EMAIL_URL", value)
    if parts.scheme not in _SMTP_PORTS or not parts.hostname:
        raise ImproperlyConfigured(
            "EMAIL_URL must look like smtp://user:password@host:port (smtp+tls:// for STARTTLS, smtp+ssl:// for TLS)"
        )
    # django-environ takes smtps:// for plain SMTP; everyone else means TLS from the first byte.
    email = dict(environ.Env.email_url_config(value.replace("smtps://", "smtp+ssl://", 1)))
    email["EMAIL_PORT"] = email["EMAIL_PORT"] or _SMTP_PORTS[parts.scheme]
    return email


def _from_email(source: Mapping[str, str]) -> str:
    value = source.get("DEFAULT_FROM_EMAIL") or "Notifications <notifications@localhost>"
    local, _, domain = parseaddr(value)[1].rpartition("@")
    if not local or not domain or "\n" in value:
        raise ImproperlyConfigured(f"DEFAULT_FROM_EMAIL must be an e-mail address, not {value!r}")
    return value


def _twilio_sender(source: Mapping[str, str]) -> str:
    value = source.get("TWILIO_FROM_NUMBER", "")
    if value and not _TWILIO_SENDER.fullmatch(value):
        raise ImproperlyConfigured(
            f"TWILIO_FROM_NUMBER must be a number such as +14155550100, a messaging service (MG…) or a sender id, not {value!r}"
        )
    return value


def _telegram_token(source: Mapping[str, str]) -> str:
    value = source.get("TELEGRAM_BOT_TOKEN", "")
    if value and not re.fullmatch(r"\d+:[A-Za-z0-9_-]+", value):
        raise ImproperlyConfigured("TELEGRAM_BOT_TOKEN must look like 123456789:AAE…, as @BotFather gives it")
    return value


def _networks(source: Mapping[str, str]) -> tuple[str, ...]:
    networks = _list(source, "WEBHOOK_ALLOWED_NETWORKS")
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ImproperlyConfigured(f"WEBHOOK_ALLOWED_NETWORKS: {error}") from error
    return networks
