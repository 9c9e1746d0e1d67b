"""Links to the preference centre, for tenants' own pages and for whoever asks a tenant's support for one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.timezone import now as clock
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from preferences.centre.links import CENTRE_LIFETIME, CentreLink, Signer, centre_url
from preferences.models import Recipient
from preferences.queries import name_in_path
from preferences.serializers import PreferenceLinkSerializer
from preferences.views.recipients import RecipientView
from tenants.principal import caller
from tenants.vocabulary import Scope

_NOT_HERE = extend_schema(exclude=True)


@extend_schema(tags=["preferences"], parameters=[name_in_path("user_id")])
@extend_schema_view(get=_NOT_HERE, put=_NOT_HERE, patch=_NOT_HERE, delete=_NOT_HERE)
class PreferenceLinkView(RecipientView):
    """A user's link; and the recipient whose user id ends like this path, if there is one."""

    scopes: ClassVar = {**RecipientView.scopes, "POST": (Scope.PREFERENCES_WRITE,)}
    user_token_methods: ClassVar = {"POST"}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            kwargs["user_id"] += "/preference-link"
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        summary="Make a link that opens a user's preference centre",
        description="Whoever has the link may change this user's preferences, without a login, until it expires. A user token "
        "gets its own user's.",
        request=None,
        responses={201: PreferenceLinkSerializer},
    )
    def post(self, request: Request, user_id: str) -> Response:
        tenant, own = caller(request).tenant, caller(request).user_id
        if own is not None and user_id != own:
            raise exceptions.PermissionDenied("A user token reaches only its own user's preferences.")
        known = own is not None or (
            "\x00" not in user_id and Recipient.objects.for_tenant(tenant).filter(user_id=user_id).exists()
        )
        if not known:
            raise Http404
        expires_at = clock().replace(microsecond=0) + CENTRE_LIFETIME
        token = Signer(tenant.link_secret).token(CentreLink(tenant.pk, int(expires_at.timestamp()), user_id))
        shown = {"url": centre_url(token), "expires_at": datetime.fromtimestamp(expires_at.timestamp(), UTC)}
        return Response(PreferenceLinkSerializer(shown).data, status=201)
