from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from deliveries.inbox.views import CountsView, InboxView, ItemView, MarkAllReadView, MarkAllSeenView

urlpatterns: list[URLPattern | URLResolver] = [
    path("inbox", InboxView.as_view(), name="inbox"),
    path("inbox/counts", CountsView.as_view(), name="inbox-counts"),
    path("inbox/mark-all-read", MarkAllReadView.as_view(), name="inbox-mark-all-read"),
    path("inbox/mark-all-seen", MarkAllSeenView.as_view(), name="inbox-mark-all-seen"),
    path("inbox/<str:id>", ItemView.as_view(), name="inbox-item"),
]
