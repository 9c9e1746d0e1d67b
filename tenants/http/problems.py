"""Errors as RFC 9457 problem documents: `application/problem+json` with `title`, `status`, `detail` and, for validation,
`errors: [{field, code, message}]`.
"""

from __future__ import annotations

import http
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.response import Response

CONTENT_TYPE = "application/problem+json"
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `field` is its path in the request, e.g. `to[2].email`."""

    field: str
    code: str
    message: str


class InvalidRequest(exceptions.APIException):
    """400 naming every faulty field."""

    status_code = 400
    default_detail = "The request is not valid."
    default_code = "invalid"

    def __init__(self, errors: Sequence[FieldError], detail: str | None = None) -> None:
        super().__init__(detail or self.default_detail)
        self.errors = list(errors)

    @classmethod
    def field(cls, field: str, message: str, code: str = "invalid") -> InvalidRequest:
        return cls([FieldError(field, code, message)])


class Conflict(exceptions.APIException):
    status_code = 409
    default_detail = "The request contradicts what is stored."
    default_code = "conflict"


class Unavailable(exceptions.APIException):
    """The database cannot be reached; nothing was stored."""

    status_code = 503
    default_detail = "The service cannot reach its database at the moment. Try again."
    default_code = "unavailable"
    wait = 2
    """Seconds, for `Retry-After`."""


class Busy(Unavailable):
    """More waits than may; nothing was stored."""

    default_detail = "Too many events are waiting to be processed. Try again later."
    default_code = "busy"
    wait = 5


class TooManyRequests(exceptions.APIException):
    """429 (RFC 6585, section 4); nothing was done."""

    status_code = 429
    default_detail = "Too many requests. Try again after the time in Retry-After."
    default_code = "too_many_requests"

    def __init__(self, wait: int) -> None:
        super().__init__()
        self.wait = wait
        """Seconds, for `Retry-After`."""


class PayloadTooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body is larger than 512 KB."
    default_code = "too_large"

    @classmethod
    def than(cls, limit: int) -> PayloadTooLarge:
        """`limit` in bytes."""
        return cls(f"The body is larger than {limit // 1024} KB.")


def problem(
    status: int, detail: str, *, errors: Sequence[FieldError] = (), headers: dict[str, str] | None = None
) -> HttpResponse:
    """A problem document as a plain Django response, for code outside DRF's views."""
    body = msgspec.json.encode(_document(status, detail, errors))
    return HttpResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: every error a view raises leaves as a problem document."""
    error = _as_api_exception(error)
    if not isinstance(error, exceptions.APIException):
        return None  # a fault of ours: logged with its traceback, answered by handler500
    from rest_framework.views import set_rollback  # that module loads the parsers, which need this one

    set_rollback()
    headers: dict[str, str] = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait_s := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(math.ceil(wait_s))
    errors = list(field_errors(error))
    detail = InvalidRequest.default_detail if isinstance(error, exceptions.ValidationError) else str(error.detail)
    response = Response(_document(error.status_code, detail, errors), status=error.status_code, headers=headers)
    response.content_type = CONTENT_TYPE
    return response


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(404, f"There is nothing at {request.path}.")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(400, "The request is malformed.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(403, "This is not allowed.")


def server_error(request: HttpRequest) -> HttpResponse:
    return problem(500, "The service failed to answer; the fault is logged under this request's X-Request-ID.")


def _document(status: int, detail: str, errors: Sequence[FieldError]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = [asdict(error) for error in errors]
    return document


def _as_api_exception(error: Exception) -> Exception:
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("database_unreachable", error=type(error).__name__)
        return Unavailable()
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return PayloadTooLarge()
    if isinstance(error, ModelValidationError):
        return InvalidRequest([FieldError(field, code, message) for field, code, message in _model_errors(error)])
    return error


def _model_errors(error: ModelValidationError) -> Iterator[tuple[str, str, str]]:
    if hasattr(error, "error_dict"):
        for field, inner in error.error_dict.items():
            for one in inner:
                yield camel("" if field == "__all__" else field), one.code or "invalid", " ".join(one.messages)
    else:
        for one in error.error_list:
            yield "", one.code or "invalid", " ".join(one.messages)


def field_errors(error: exceptions.APIException) -> Iterator[FieldError]:
    """What an error says about each field."""
    if isinstance(error, InvalidRequest):
        yield from error.errors
    elif isinstance(error, exceptions.ParseError):
        yield FieldError("", "malformed", str(error.detail))
    elif isinstance(error, exceptions.ValidationError):
        yield from _flatten(error.detail, "")


def _flatten(detail: Any, path: str) -> Iterator[FieldError]:
    if isinstance(detail, dict):
        for key, inner in detail.items():
            name = "" if key == "non_field_errors" else f"[{key}]" if isinstance(key, int) else str(key)
            dot = "." if path and name and not isinstance(key, int) else ""
            yield from _flatten(inner, f"{path}{dot}{name}")
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            yield from _flatten(inner, f"{path}[{index}]" if isinstance(inner, dict) and inner else path)
    else:
        yield FieldError(path, str(getattr(detail, "code", "invalid")), str(detail))


def camel(name: str) -> str:
    """`user_id` → `userId`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
