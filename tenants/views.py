"""Tokens that a tenant's server mints for its users."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.utils.timezone import now as clock
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tenants.principal import caller
from tenants.serializers import UserTokenRequest, UserTokenSerializer
from tenants.services import create_user_token
from tenants.vocabulary import Scope


class UserTokensView(APIView):
    scopes: ClassVar = {"POST": (Scope.RECIPIENTS_WRITE,)}

    @extend_schema(
        summary="Mint a token that opens one user's inbox and preferences",
        tags=["user tokens"],
        request=UserTokenRequest,
        responses={201: UserTokenSerializer},
    )
    def post(self, request: Request) -> Response:
        wanted = UserTokenRequest(data=request.data)
        wanted.is_valid(raise_exception=True)
        ttl = timedelta(seconds=wanted.validated_data["ttl_seconds"])
        expires_at = clock().replace(microsecond=0) + ttl
        token = create_user_token(tenant=caller(request).tenant, user_id=wanted.validated_data["user_id"], ttl=ttl)
        return Response(UserTokenSerializer({"token": token, "expires_at": expires_at}).data, status=201)
