"""How the API describes itself: drf-spectacular, taught this service's authentication, errors and msgspec structs.

A view names what it takes and returns, a serializer or a struct; security, the errors every endpoint may answer, and their
`application/problem+json` are added here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_class
from drf_spectacular.utils import Direction

from tenants.http.problems import CONTENT_TYPE
from tenants.http.serializers import CamelSerializer

_API_KEY, _USER_TOKEN, _STAFF_SESSION = "apiKey", "userToken", "staffSession"


_COUNT = {"type": "integer", "minimum": 0}
RATE_LIMIT_HEADERS: dict[str, dict[str, Any]] = {
    "RateLimit-Limit": {"description": "How many requests the caller may make at once.", "schema": _COUNT},
    "RateLimit-Remaining": {"description": "How many of them are left.", "schema": _COUNT},
    "RateLimit-Reset": {
        "description": "Seconds until all of them are there again.",
        "schema": _COUNT,
    },
    "RateLimit-Policy": {
        "description": "The limit: `q` requests in `w` seconds.",
        "schema": {"type": "string"},
        "example": '"default";q=600;w=60',
    },
}
HEADERS = {
    "Retry-After": {"description": "Seconds to wait before the next request.", "schema": _COUNT},
    **RATE_LIMIT_HEADERS,
}
"""Components of the document, to which answers refer; absent where the caller has no limit, or it is not known."""


class ProblemField(msgspec.Struct, frozen=True):
    """One faulty field."""

    field: str
    """Its path in the request, e.g. `to[2].email`."""
    code: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] | msgspec.UnsetType = msgspec.UNSET


def struct_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a struct, complete in itself: structs inside it are written out in place. Not for recursive ones."""
    (schema,), components = msgspec.json.schema_components([kind], ref_template="{name}")

    def written_out(node: Any) -> Any:
        if isinstance(node, list):
            return [written_out(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return written_out(components[node["$ref"]])
        node = {key: written_out(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
        if "enum" in node:  # drf-spectacular names shared enumerations, and wants to know their type
            node.setdefault("type", "string" if isinstance(node["enum"][0], str) else "integer")
        return node

    return dict(written_out(schema))


class StructSchema(OpenApiSerializerExtension):
    """Lets `extend_schema` take a struct wherever it takes a serializer."""

    target_class = msgspec.Struct
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        return str(get_class(self.target).__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        return struct_schema(get_class(self.target))


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.authentication.ApiKeyAuthentication"
    name = _API_KEY

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A tenant's server. Keys have scopes."}


class UserTokenScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.authentication.UserTokenAuthentication"
    name = _USER_TOKEN

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "One user of a tenant."}


class StaffSessionScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.authentication.StaffSessionAuthentication"
    name = _STAFF_SESSION

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A superuser signed in to the admin."}


class Schema(AutoSchema):
    """Describes one operation."""

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Who may call it: what `tenants.permissions.HasScope` would let through."""
        scopes = [str(scope) for scope in getattr(self.view, "scopes", {}).get(self.method, ())]
        allowed = {_API_KEY: scopes, _STAFF_SESSION: []} if scopes else {}
        if self.method in getattr(self.view, "user_token_methods", ()):
            allowed[_USER_TOKEN] = []
        return [{name: allowed[name]} for requirement in super().get_auth() for name in requirement if name in allowed]

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        responses: dict[str, Any] = super()._get_response_bodies(direction)
        content = {CONTENT_TYPE: {"schema": self.resolve_serializer(Problem, direction).ref}}  # type: ignore[arg-type]
        for code, description in self._errors():
            responses.setdefault(code, {"description": description})
        limited = bool(self.view.get_authenticators())
        for code, response in responses.items():
            if limited and (code == "429" or code.startswith("2")):
                names = RATE_LIMIT_HEADERS if code != "429" else HEADERS
                response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
            if code == "default" or (int(code) >= 400 and _is_problem(response, content[CONTENT_TYPE]["schema"])):
                response["content"] = content
        return responses

    def _errors(self) -> Iterator[tuple[str, str]]:
        if self.view.get_authenticators():
            yield "401", "No credential, or one that is not valid."
            yield "403", "The credential does not reach this."
            yield "429", "The caller makes too many requests, or too many with a credential that is not valid."
        takes_body = self._get_request_body() is not None  # type: ignore[no-untyped-call]
        if takes_body:
            yield "413", "The body is larger than 512 KB."
            yield "415", "The body is not JSON."
        if takes_body or self._get_parameters():
            yield "400", "The request is not valid; `errors` names each faulty field."
        if "{" in self.path:
            yield "404", "There is no such thing, or it is another tenant's."
        yield "406", "The answer cannot be had in the media type asked for."
        yield "default", "Anything else that went wrong."

    def _map_basic_serializer(self, serializer: Any, direction: Direction) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        for described in schema.get("properties", {}).values():
            if described.get("oneOf") == [{}, {"type": "null"}]:  # any JSON, or null: but null is JSON, so it fits both
                del described["oneOf"]
        if direction == "request" and isinstance(serializer, CamelSerializer):
            schema["additionalProperties"] = False
        return schema


def _is_problem(response: dict[str, Any], problem: dict[str, str]) -> bool:
    """Whether an error's body was left to us, or said to be a problem (in the renderer's media type, not its own)."""
    return all(body.get("schema") == problem for body in response.get("content", {}).values())


def with_headers(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: adds the headers to the document's components."""
    result["components"]["headers"] = HEADERS
    return result
