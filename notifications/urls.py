from __future__ import annotations

from django.urls import path

import tenants.http.paths  # noqa: F401 - its converters
from notifications import rule_trials, rule_views, template_tests, views

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
]
