"""Query parameters of this room's API, checked as bodies are."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions, serializers
from rest_framework.request import Request

from preferences.contact_points import LONGEST_USER_ID
from preferences.fields import AnyChannelField, AnyEventTypeField, TextField, UserIdField
from preferences.models import Suppression
from tenants.http.serializers import CamelSerializer, CodedField
from tenants.principal import caller
from tenants.vocabulary import Channel


class Query(CamelSerializer):
    """The parameters a view reads; it leaves others, such as the list's own, alone."""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """The checked values; raises ValidationError naming the parameter."""
        names = cls().fields.keys()
        query = cls(data={name: value for name, value in request.query_params.items() if name in names})
        query.is_valid(raise_exception=True)
        return dict(query.validated_data)


class UserQuery(Query):
    user_id = UserIdField(help_text="With an API key: whose; absent, the tenant's default. A user token has only its own user.")

    @classmethod
    def whose(cls, request: Request) -> str:
        """The user asked about, as `whose`."""
        return whose(request, cls.read(request).get("user_id", ""))


class ExplainQuery(UserQuery):
    event_type = AnyEventTypeField()
    channel = AnyChannelField()


class SuppressionQuery(Query):
    channel = CodedField(Channel, required=False)
    address = TextField(required=False, max_length=4096)
    reason = serializers.ChoiceField(choices=Suppression.Reason.values, required=False)


class AddressQuery(Query):
    channel = CodedField(Channel)
    address = TextField(max_length=4096)


def whose(request: Request, asked: str) -> str:
    """The user asked about: with a user token, the token's own and no other; empty is the tenant's default."""
    own = caller(request).user_id
    if own is None:
        return asked
    if asked not in ("", own):
        raise exceptions.PermissionDenied("A user token reaches only its own user's preferences.")
    return str(own)


def name_in_path(name: str, longest: int = LONGEST_USER_ID, *, exclude: bool = False) -> OpenApiParameter:
    """How a client's own name in the path is described."""
    schema = {"type": "string", "minLength": 1, "maxLength": longest}
    return OpenApiParameter(name, schema, OpenApiParameter.PATH, exclude=exclude)
