"""A tenant has so many rules and no more."""

from __future__ import annotations

import pytest
from django.urls import reverse

from notifications import services
from notifications.models import Rule
from tenants.vocabulary import Scope
from tests.conftest import client_for
from tests.factories import RuleFactory
from tests.integration.test_recipients_bulk import at_once
from tests.staff import superuser_client

RULE = {"name": "one more", "eventType": "order.*", "channels": ["email"]}


@pytest.fixture(autouse=True)
def two(monkeypatch):
    monkeypatch.setattr(services, "MOST_RULES", 2)


def test_one_rule_more_is_refused_with_the_limit(api, tenant, stranger_api):
    RuleFactory.create_batch(2, tenant=tenant, is_active=False)
    answer = api.post("/api/rules", RULE, format="json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json")
    assert answer.json()["detail"] == "A tenant has at most 2 rules."
    assert stranger_api.post("/api/rules", RULE, format="json").status_code == 201
    rule = Rule.objects.for_tenant(tenant).first()
    assert api.patch(f"/api/rules/{rule.pk}", {"isActive": True}, format="json").status_code == 200
    assert api.delete(f"/api/rules/{rule.pk}").status_code == 204
    assert api.post("/api/rules", RULE, format="json").status_code == 201


def test_the_admin_refuses_it_too_and_still_lets_rules_be_changed(tenant, stranger):
    first, _ = RuleFactory.create_batch(2, tenant=tenant)
    root = superuser_client()
    form = {"name": "big", "event_type": "order.*", "recipients": "{}", "channels": [1], "position": 0, "is_active": "on"}
    add = reverse("admin:notifications_rule_add")
    refused = root.post(add, form | {"tenant": tenant.pk})
    assert refused.status_code == 200
    assert refused.context["adminform"].form.non_field_errors() == ["A tenant has at most 2 rules."]
    assert root.post(add, form | {"tenant": stranger.pk}).status_code == 302
    assert root.post(reverse("admin:notifications_rule_change", args=[first.pk]), form).status_code == 302
    assert Rule.objects.get(pk=first.pk).name == "big"
    assert Rule.objects.for_tenant(tenant).count() == 2


@pytest.mark.django_db(transaction=True)
def test_those_who_come_at_once_find_room_for_no_more(tenant):
    clients = [client_for(tenant, Scope.RULES_WRITE) for _ in range(5)]
    answers = at_once(*[lambda one=one: one.post("/api/rules", RULE, format="json") for one in clients])
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
    assert Rule.objects.count() == 2
