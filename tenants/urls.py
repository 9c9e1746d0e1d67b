from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from tenants.views import UserTokensView

urlpatterns: list[URLPattern | URLResolver] = [path("user-tokens", UserTokensView.as_view(), name="user-tokens")]
