"""Quiet hours of a user as a whole, and of the tenant for everybody who has none. With a user token, only one's own."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from preferences import choices
from preferences.contact_points import InvalidContactPointError
from preferences.contact_points import user_id as checked_user_id
from preferences.queries import UserQuery
from preferences.quiet_now import contact_of, quiet_of
from preferences.serializers import QuietHoursSerializer, shown_quiet
from tenants.http.problems import InvalidRequest
from tenants.models import Tenant
from tenants.principal import caller
from tenants.vocabulary import Scope

_WRITE = (Scope.PREFERENCES_WRITE,)


@extend_schema(tags=["preferences"], parameters=[UserQuery])
class QuietHoursView(APIView):
    scopes: ClassVar = {"GET": _WRITE, "PUT": _WRITE, "DELETE": _WRITE}
    user_token_methods: ClassVar = {"GET", "PUT", "DELETE"}

    @extend_schema(
        summary="The quiet hours that hold for a user",
        description="The user's own, else the tenant's; `level` says whose they are. A preference may say otherwise of what "
        "it is for, and what is urgent or required is sent all the same.",
        responses=QuietHoursSerializer,
    )
    def get(self, request: Request) -> Response:
        return Response(_shown(caller(request).tenant, UserQuery.whose(request)))

    @extend_schema(
        summary="Set the quiet hours of a user, or the tenant's for everybody who has none",
        description="They replace those that are there; an empty list, as null, takes them away. A user who is not known yet "
        "is made known.",
        request=QuietHoursSerializer,
        responses=QuietHoursSerializer,
    )
    def put(self, request: Request) -> Response:
        user_id = UserQuery.whose(request)
        try:
            checked_user_id(user_id)  # a user token's may be one that no recipient can have
        except InvalidContactPointError as error:
            if user_id:
                raise InvalidRequest.field("userId", str(error)) from error
        body = QuietHoursSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        tenant = caller(request).tenant
        choices.set_quiet_hours(tenant=tenant, user_id=user_id, windows=body.validated_data["quiet_hours"])
        return Response(_shown(tenant, user_id))

    @extend_schema(summary="Take a user's quiet hours away, or the tenant's", responses={204: None})
    def delete(self, request: Request) -> Response:
        choices.set_quiet_hours(tenant=caller(request).tenant, user_id=UserQuery.whose(request), windows=())
        return Response(status=204)


def _shown(tenant: Tenant, user_id: str) -> Any:
    quiet = quiet_of(tenant, contact_of(tenant, user_id), now=now())
    return QuietHoursSerializer({"user_id": user_id or None, **shown_quiet(quiet)}).data
