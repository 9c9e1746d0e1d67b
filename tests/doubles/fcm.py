"""Firebase Cloud Messaging's HTTP v1 API and Google's OAuth token endpoint.

The double makes a service account of its own (`credentials`), checks the signature of the JWT that asks for an access token
(RFC 7523), and the token on every send. https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.doubles.http import Answer, Behaviour, HttpDouble, Request

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_ERRORS = {
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found."),
    "INVALID_TOKEN": (400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"),
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT", "Android message is too big"),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric"),
    "UNAVAILABLE": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered."),
    "THIRD_PARTY_AUTH_ERROR": (401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
}
_TOKEN_PATH = "/token"
_AUDIENCE = "https://oauth2.googleapis.com/token"
"""What google-auth names, wherever `token_uri` points."""


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class FcmDouble(HttpDouble):
    """The address is the token; `behave(token, code="UNREGISTERED")` refuses as FCM does. `messages` are those taken."""

    def __init__(self, *, project_id: str = "demo-project", **options: Any) -> None:
        super().__init__(**options)
        self.project_id = project_id
        self.client_email = f"sender@{project_id}.iam.gserviceaccount.com"
        self.access_token = "ya29." + secrets.token_hex(16)
        self.tokens_issued = 0
        self.refuse_tokens = False

    @property
    def credentials(self) -> dict[str, str]:
        """A service account's JSON, as the console offers it for download."""
        pem = _key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": "f" * 40,
            "private_key": pem.decode(),
            "client_email": self.client_email,
            "client_id": "1" * 21,
            "token_uri": f"{self.url}{_TOKEN_PATH}",
        }

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [request.json["message"] for request in self.received]

    def address_of(self, request: Request) -> str:
        if request.path == _TOKEN_PATH:
            return _TOKEN_PATH
        return str(request.json["message"].get("token", ""))

    def answer(self, request: Request, behaviour: Behaviour) -> Answer:
        if request.path == _TOKEN_PATH:
            return self._issue_token(request)
        if request.path != f"/v1/projects/{self.project_id}/messages:send":
            return _refuse(404, "NOT_FOUND", "Project not found")
        if request.headers.get("authorization") != f"Bearer {self.access_token}":
            return _refuse(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if behaviour.code:
            return _refuse_with(behaviour)
        self.take(request)
        return Answer.json(200, {"name": f"projects/{self.project_id}/messages/0:{secrets.token_hex(8)}"})

    def _issue_token(self, request: Request) -> Answer:
        form = request.form
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" or self.refuse_tokens:
            return Answer.json(400, {"error": "invalid_grant", "error_description": "Invalid grant: account not found"})
        try:
            jwt.decode(
                form["assertion"],
                _key().public_key(),
                algorithms=["RS256"],
                audience=_AUDIENCE,
                issuer=self.client_email,
            )
        except jwt.InvalidTokenError as error:
            return Answer.json(400, {"error": "invalid_grant", "error_description": f"Invalid JWT Signature: {error}"})
        self.tokens_issued += 1
        return Answer.json(200, {"access_token": self.access_token, "expires_in": 3599, "token_type": "Bearer"})


def _refuse_with(behaviour: Behaviour) -> Answer:
    status, general, message = _ERRORS[behaviour.code]
    code = "INVALID_ARGUMENT" if behaviour.code == "INVALID_TOKEN" else behaviour.code
    details: list[dict[str, Any]] = [{"@type": _FCM_ERROR, "errorCode": code}]
    if behaviour.code == "INVALID_TOKEN":
        violation = {"field": "message.token", "description": "Invalid registration token"}
        details.append({"@type": _BAD_REQUEST, "fieldViolations": [violation]})
    return _refuse(status, general, message, details, dict(behaviour.headers))


def _refuse(
    status: int, general: str, message: str, details: list[dict[str, Any]] | None = None, headers: dict[str, str] | None = None
) -> Answer:
    problem = {"code": status, "message": message, "status": general, "details": details or []}
    return Answer.json(status, {"error": problem}, headers)
