from __future__ import annotations

from django.urls import path

import tenants.http.paths  # noqa: F401 - its converters
from notifications import rule_trials, rule_views, template_tests, views
from notifications.digests import views as digests
from notifications.limits import views as limits

urlpatterns = [
    path("events", views.EventsView.as_view()),
    path("events/bulk", views.BulkEventsView.as_view(), {"event_id": "bulk"}),
    path("events/retry", views.ReplayEventsView.as_view(), {"event_id": "retry"}),
    path("events/<name:event_id>", views.EventView.as_view()),
    path("rules", rule_views.RulesView.as_view()),
    path("rules/test", rule_trials.NewRuleTestView.as_view()),
    path("rules/explain", rule_trials.ExplainView.as_view()),
    path("rules/<uuid:id>", rule_views.RuleView.as_view()),
    path("rules/<uuid:id>/test", rule_trials.RuleTestView.as_view()),
    path("admin/templates/<uuid:id>/test", template_tests.TemplateTestView.as_view()),
    path("event-types", rule_views.EventTypesView.as_view()),
    path("event-types/<uuid:id>", rule_views.EventTypeView.as_view()),
    path("limits", limits.LimitsView.as_view()),
    path("limits/<uuid:id>", limits.LimitView.as_view()),
    path("digest-schedules", digests.DigestSchedulesView.as_view()),
    path("digest-schedules/<uuid:id>", digests.DigestScheduleView.as_view()),
    path("digests", digests.DigestsView.as_view()),
    path("digests/<uuid:id>", digests.DigestView.as_view()),
    path("digests/<uuid:id>/close", digests.CloseDigestView.as_view()),
]
