"""Where the settings' raw strings come from, and in which order.

The first that names a setting wins: the process's own environment, the settings that the running `make run` was started
with, `.env` in the project's folder, and the keys that the first local run generated under `.local/`.
"""

from __future__ import annotations

import base64
import difflib
import os
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from config.stack.paths import PROJECT_DIR, StackPaths, stack_paths
from config.stack.running import running_settings

DOTENV = PROJECT_DIR / ".env"
# Names under these prefixes belong to this service wherever they are set, so a misspelt one is an error, not a silence.
_OWN_PREFIXES = ("TWILIO_", "FCM_", "TELEGRAM_", "WEBHOOK_")
# docker-compose.yml shares the file.
_OF_COMPOSE = ("COMPOSE_", "POSTGRES_PASSWORD", "HTTP_PORT", "WEB_CONCURRENCY")


def gather(known: Collection[str], *, dotenv_file: Path = DOTENV) -> tuple[dict[str, str], StackPaths]:
    """All settings as strings, and the folders of the local run they belong to; raises ImproperlyConfigured."""
    process = dict(os.environ)
    dotenv = read_file(dotenv_file)
    _refuse_unknown(dotenv, process, known)
    stack = stack_paths(process.get("LOCAL_STATE_DIR") or dotenv.get("LOCAL_STATE_DIR"))
    given = dotenv | running_settings(stack) | process
    return _local_defaults(stack, given) | given, stack


def _refuse_unknown(dotenv: Mapping[str, str], process: Mapping[str, str], known: Collection[str]) -> None:
    named = {name: ".env" for name in dotenv if not name.startswith(_OF_COMPOSE)}
    named |= {name: "the environment" for name in process if name.startswith(_OWN_PREFIXES)}
    for name, place in sorted(named.items()):
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            raise ImproperlyConfigured(f"{name} in {place} is not a setting" + (f"; did you mean {close[0]}?" if close else ""))


def _local_defaults(stack: StackPaths, given: Mapping[str, str]) -> dict[str, str]:
    """What a local run needs and nobody gave. Without DATABASE_URL the run is local by definition."""
    defaults = read_file(stack.environment_file)
    if given.get("DATABASE_URL"):
        return defaults
    if not given.get("SECRET_KEY"):
        defaults = (defaults or generate_keys(stack)) | {"DEBUG": "true"}
    return defaults


def generate_keys(stack: StackPaths) -> dict[str, str]:
    """Write keys for a local run, readable by their owner alone, and return them; those of an earlier run stay."""
    values = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    draft = stack.environment_file.with_suffix(f".{os.getpid()}")
    try:
        stack.state.mkdir(parents=True, exist_ok=True)
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        os.link(draft, stack.environment_file)  # atomic, and the first of two starts wins
    except FileExistsError:
        return read_file(stack.environment_file)
    except OSError as error:
        raise ImproperlyConfigured(f"LOCAL_STATE_DIR: cannot keep keys in {stack.state} ({error.strerror})") from error
    finally:
        with suppress(OSError):
            draft.unlink()
    return values


def read_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines, with `#` comments, `export` and quotes as a shell would take them; {} if there is no file."""
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path.name} cannot be read: {error}") from error
    values: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        name = name.strip().removeprefix("export ").strip()
        if not separator or not name.isidentifier():
            raise ImproperlyConfigured(f"{path.name} line {number} is not of the form NAME=value")
        values[name] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value.partition(" #")[0].rstrip()
