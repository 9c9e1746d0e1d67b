"""Asks a container's own health: `healthcheck.py` the web server in it, `healthcheck.py workers` (or `scheduler`) what the
web container says about that service. Exit code 0 is healthy. Standard library only: it runs every few seconds.
"""

import json
import os
import sys
import urllib.error
import urllib.request

_LIVE = "http://127.0.0.1:8000/api/health/live"
_ALL = "http://web:8000/api/health"


def ask(url: str) -> dict[str, object]:
    # Django answers only for the hosts it is told to serve.
    host = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".*") or "localhost"
    request = urllib.request.Request(url, headers={"Host": host})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=4) as reply:  # noqa: S310
            return dict(json.load(reply))
    except urllib.error.HTTPError as error:  # 503 comes with the same body
        return dict(json.load(error))


def main(arguments: list[str], *, live: str = _LIVE, everything: str = _ALL) -> str | None:
    """None if healthy, else why not."""
    try:
        if not arguments:
            return None if ask(live)["status"] == "ok" else "not live"
        service = ask(everything)["services"][arguments[0]]  # type: ignore[index]
        return None if service["status"] != "down" else str(service.get("error"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"no answer: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
