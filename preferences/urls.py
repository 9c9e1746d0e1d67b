from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

import tenants.http.paths  # noqa: F401 - its converters
from preferences.views.links import PreferenceLinkView
from preferences.views.preferences import EffectivePreferenceView, ExplainView, PreferencesView, PreferenceView
from preferences.views.quiet_hours import QuietHoursView
from preferences.views.recipients import RecipientExportView, RecipientsBulkView, RecipientsView, RecipientView
from preferences.views.suppressions import SuppressionsView, SuppressionView
from preferences.views.topics import SubscriberView, TopicsView

urlpatterns: list[URLPattern | URLResolver] = [
    path("recipients", RecipientsView.as_view()),
    path("recipients/bulk", RecipientsBulkView.as_view(), {"user_id": "bulk"}),
    # First: a name may have a slash in it.
    path("recipients/<name:user_id>/export", RecipientExportView.as_view()),
    path("recipients/<name:user_id>/preference-link", PreferenceLinkView.as_view()),
    path("recipients/<name:user_id>", RecipientView.as_view()),
    path("preferences", PreferencesView.as_view()),
    path("preferences/explain", ExplainView.as_view()),
    path("preferences/<str:preference_id>", PreferenceView.as_view()),
    path("preferences/<str:channel>/<str:event_type>", EffectivePreferenceView.as_view()),
    path("quiet-hours", QuietHoursView.as_view()),
    path("topics", TopicsView.as_view()),
    path("topics/<name:key>/subscribers/<name:user_id>", SubscriberView.as_view()),
    path("suppressions", SuppressionsView.as_view()),
    path("suppressions/<str:suppression_id>", SuppressionView.as_view()),
]
