from __future__ import annotations

from django.urls import URLPattern, path

from preferences.centre import views

urlpatterns: list[URLPattern] = [
    path("u/<str:token>", views.unsubscribe, name="unsubscribe"),
    path("preferences", views.with_user_token, name="preference-centre-with-token"),
    path("preferences/<str:token>", views.centre, name="preference-centre"),
]
