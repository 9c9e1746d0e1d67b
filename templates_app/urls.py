from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from templates_app.layout_views import LayoutsView, LayoutView
from templates_app.views import PreviewView, PublishView, TemplatesView, TemplateView, VersionsView

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/templates", TemplatesView.as_view()),
    path("admin/templates/<str:id>", TemplateView.as_view()),
    path("admin/templates/<str:id>/versions", VersionsView.as_view()),
    path("admin/templates/<str:id>/publish", PublishView.as_view()),
    path("admin/templates/<str:id>/preview", PreviewView.as_view()),
    path("admin/layouts", LayoutsView.as_view()),
    path("admin/layouts/<str:id>", LayoutView.as_view()),
]
