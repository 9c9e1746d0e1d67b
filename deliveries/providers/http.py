"""What HTTP says about a message's fate, whichever vendor and client library: statuses, `Retry-After`, broken connections."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from deliveries.providers.messages import AUTH, Failed, Failure

LONGEST_RETRY_AFTER_S = 86_400.0

_TRANSIENT_STATUSES = frozenset({408, 425})
"""Request Timeout (RFC 9110, 15.5.9) and Too Early (RFC 8470): the server did not act on the request."""


def failure_of_status(status: int, retry_after_s: float | None = None) -> Failure:
    """The class of a failed answer: RFC 9110, section 15; RFC 6585, section 4. Redirects are never followed: permanent."""
    if status == 429 or (status == 503 and retry_after_s is not None):
        return Failure.THROTTLED
    if status >= 500 or status in _TRANSIENT_STATUSES:
        return Failure.TRANSIENT
    return Failure.PERMANENT


def failed_by_vendor(status: int, message: str, *, headers: Mapping[str, str], response: str = "", code: str = "") -> Failed:
    """A vendor's API refused. 401 is the account's fault, not the message's."""
    retry_after_s = retry_after(headers.get("Retry-After"))
    if status == 401:
        return Failed(failure=Failure.TRANSIENT, code=AUTH, message=message, response=response)
    return Failed(
        failure=failure_of_status(status, retry_after_s),
        code=code or f"http_{status}",
        message=message,
        retry_after_s=retry_after_s,
        response=response,
    )


def retry_after(header: str | None) -> float | None:
    """Seconds to wait: `Retry-After` holds either seconds or an HTTP date (RFC 9110, 10.2.3). None if absent or nonsense."""
    if not header:
        return None
    text = header.strip()
    try:
        seconds = float(text)
    except ValueError:
        date = parsedate_tz(text)
        if date is None:
            return None
        try:
            seconds = mktime_tz(date) - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S) if math.isfinite(seconds) else None


def failed_request(error: requests.RequestException) -> Failed:
    """No answer, from a client built on `requests`: was the request written before the connection broke?"""
    if isinstance(error, requests.ReadTimeout):
        return Failed(failure=Failure.AMBIGUOUS, code="read_timeout", message=str(error))
    if isinstance(error, requests.ConnectTimeout):
        return Failed(failure=Failure.TRANSIENT, code="connect_timeout", message=str(error))
    if isinstance(error, requests.exceptions.SSLError):
        return Failed(failure=Failure.TRANSIENT, code="tls", message=str(error))
    if isinstance(error, requests.ConnectionError) and not _broke_midway(error):
        return Failed(failure=Failure.TRANSIENT, code="connect_failed", message=str(error))
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return Failed(failure=Failure.AMBIGUOUS, code="connection_lost", message=str(error))
    return Failed(failure=Failure.TRANSIENT, code="request_failed", message=str(error))


def _broke_midway(error: requests.ConnectionError) -> bool:
    """`requests` wraps urllib3's MaxRetryError around a connection that never was, its ProtocolError around one that broke."""
    cause = error.args[0] if error.args else None
    return not isinstance(cause, urllib3.exceptions.MaxRetryError)


def single_try_adapter(connections: int) -> HTTPAdapter:
    """A pool of kept connections that never repeats a request: whether to try again is decided from the database."""
    return HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
