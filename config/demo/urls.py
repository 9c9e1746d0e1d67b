from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from config.demo.views import DemoView

urlpatterns: list[URLPattern | URLResolver] = [path("demo/", DemoView.as_view(), name="demo")]
