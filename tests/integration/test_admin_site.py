"""The admin as a whole: every page of every model, and who may see what."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils.timezone import now

from deliveries.models import Delivery, RetrySchedule, StatusEndpoint, StatusMessage
from deliveries.states import Status
from templates_app.models import Layout
from tenants.models import ApiKey, ProviderAccount
from tenants.services import create_api_key
from tenants.vocabulary import Channel, Scope
from tests import factories
from tests.staff import staff_client, superuser_client

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def root(db):
    return superuser_client()


@pytest.fixture
def rows(tenant):
    """One row of every model in the admin."""
    recipient = factories.RecipientFactory(tenant=tenant)
    factories.DeviceFactory(recipient=recipient)
    factories.PreferenceFactory(tenant=tenant, user_id=recipient.user_id)
    factories.TopicFactory(tenant=tenant)
    factories.SuppressionFactory(tenant=tenant, address="gone@example.com")
    factories.TemplateFactory(tenant=tenant)
    factories.EventTypeFactory(tenant=tenant)
    factories.RuleFactory(tenant=tenant)
    factories.HeartbeatFactory(tenant=tenant)
    factories.LimitFactory(tenant=tenant)
    factories.DigestScheduleFactory(tenant=tenant)
    factories.DigestFactory(tenant=tenant)
    event = factories.EventFactory(tenant=tenant, data={"amount": 12})
    delivery = factories.DeliveryFactory(tenant=tenant, event_id=event.event_id, html="<p>Hi</p>")
    factories.AttemptFactory(delivery=delivery)
    factories.ReceiptFactory(delivery=delivery)
    Layout.objects.create(tenant=tenant, name="plain", html="{{ content }}", text="{{ content }}")
    ProviderAccount.objects.create(tenant=tenant, channel=Channel.SMS, kind="twilio", name="own", credentials={})
    RetrySchedule.objects.create(tenant=tenant, delays_s=[1, 60])
    endpoint = StatusEndpoint.objects.create(tenant=tenant, url="https://example.com/hook")
    StatusMessage.objects.create(
        tenant=tenant, endpoint=endpoint, delivery_id=endpoint.pk, status=Status.SENT, payload={"status": "sent"}
    )
    create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    Group.objects.create(name="support")
    User.objects.create(username="someone")


def pages_of(model) -> list[str]:
    options = model._meta
    name = f"admin:{options.app_label}_{options.model_name}"
    return [reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[model._default_manager.first().pk])]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_page_of_every_model_opens(root, rows, model):
    for page in pages_of(model):
        assert root.get(page).status_code == 200, page
    options = model._meta
    add = root.get(reverse(f"admin:{options.app_label}_{options.model_name}_add"))
    unwritable = {"deliveries.Delivery", "deliveries.StatusMessage", "notifications.Event", "notifications.Digest"}
    assert add.status_code == (403 if model._meta.label in unwritable else 200)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_staff_who_may_only_view_can_browse_and_change_nothing(rows, model):
    options = model._meta
    client = staff_client(f"{options.app_label}.view_{options.model_name}")
    for page in (reverse("admin:index"), *pages_of(model)):
        response = client.get(page)
        assert response.status_code == 200, page
        assert 'name="_save"' not in response.content.decode()
    other = next(one for one in MODELS if one is not model and one._meta.app_label != options.app_label)
    assert client.get(pages_of(other)[0]).status_code == 403


def test_the_sidebar_leads_to_every_model_in_a_group_of_its_own(root, rows):
    groups = root.get(reverse("admin:index")).context["sidebar_navigation"]
    assert "More" not in [group.get("title") for group in groups]
    links = {item["link"] for group in groups for item in group["items"]}
    assert links == {reverse("admin:index"), *(pages_of(model)[0] for model in MODELS)}


def test_the_sidebar_shows_staff_only_what_they_may_see(rows):
    client = staff_client("deliveries.view_delivery")
    page = client.get(reverse("admin:index"))
    titles = [item["title"] for group in page.context["sidebar_navigation"] for item in group["items"]]
    assert titles == ["Overview", "Deliveries"]


def test_the_way_back_keeps_the_letters_of_an_id_or_a_slug(root, tenant):
    page = root.get(reverse("admin:tenants_tenant_change", args=[tenant.pk])).content.decode()
    way = [" ".join(part.split()) for part in re.findall(r"tracking-tight\">([^<]+)</a", page)]
    assert way == ["Tenants", "Tenants", str(tenant)]
    assert str(tenant)[0].islower()


@pytest.mark.parametrize(
    ("place", "query"),
    [
        ("deliveries_delivery", "status__exact=5"),
        ("deliveries_delivery", "q=nobody"),
        ("deliveries_delivery", "older=01890000-0000-7000-8000-000000000000"),
        ("notifications_rule", "is_active__exact=0"),
        ("preferences_topic", "q=nothing"),
    ],
)
def test_a_list_that_was_filtered_empty_can_be_reset(tenant, place, query):
    app, model = place.split("_")
    client = staff_client(f"{app}.view_{model}")  # who may not add anything is led back all the same
    page = client.get(f"{reverse(f'admin:{place}_changelist')}?{query}").content.decode()
    assert "Nothing found" in page
    assert re.search(r'<a href="\?".*?Reset filters', page, re.DOTALL)


@pytest.mark.parametrize("place", ["deliveries_delivery", "notifications_rule", "preferences_topic"])
def test_a_list_that_is_empty_by_itself_has_nothing_to_reset(root, place):
    page = root.get(reverse(f"admin:{place}_changelist")).content.decode()
    assert "Nothing here yet" in page
    assert "Reset filters" not in page


def test_a_visitor_is_asked_to_sign_in(client, rows):
    for model in MODELS:
        for page in (reverse("admin:index"), *pages_of(model)):
            assert client.get(page)["Location"].startswith(reverse("admin:login"))


def test_the_overview_shows_what_the_day_came_to(root, tenant):
    factories.DeliveryFactory(tenant=tenant, status=Status.DELIVERED, channel=Channel.SMS, sent_at=now(), attempt_count=1)
    failed = factories.DeliveryFactory(tenant=tenant, status=Status.FAILED, reason="not_configured")
    page = root.get(reverse("admin:index"))
    text = page.content.decode()
    assert [card["figure"] for card in page.context["cards"][:3]] == ["2", "50 %", "1"]
    assert "Failed because no provider is configured for this channel." in text
    assert reverse("admin:deliveries_delivery_change", args=[failed.pk]) in text
    assert text.count("<rect") >= 25 + 2
    assert not re.search(r"""(src|href)=["'](https?:)?//""", text)  # no other host is asked for anything


def test_the_overview_tells_nothing_to_staff_who_may_not_see_deliveries(tenant):
    factories.DeliveryFactory(tenant=tenant, status=Status.FAILED, reason="not_configured", user_id="ada")
    client = staff_client("auth.view_group")
    page = client.get(reverse("admin:index"))
    assert page.status_code == 200
    assert "cards" not in page.context
    assert "ada" not in page.content.decode()


def test_the_success_rate_is_never_rounded_up_to_all(root, tenant):
    Delivery.objects.bulk_create(factories.DeliveryFactory.build_batch(2500, tenant=tenant, status=Status.DELIVERED))
    factories.DeliveryFactory(tenant=tenant, status=Status.FAILED)
    assert root.get(reverse("admin:index")).context["cards"][1]["figure"] == "99.9 %"


def test_the_overview_costs_the_same_statements_whatever_there_is(root, tenant, django_assert_max_num_queries):
    for channel in Channel:
        factories.DeliveryFactory.create_batch(4, tenant=tenant, channel=channel, status=Status.FAILED)
    with django_assert_max_num_queries(9):
        root.get(reverse("admin:index"))


def test_a_new_tenant_can_send_at_once(root):
    response = root.post(
        reverse("admin:tenants_tenant_add"),
        {"slug": "initech", "name": "Initech", "is_active": "on", "default_locale": "en", "timezone": "Europe/Vienna"},
    )
    assert response.status_code == 302, response.context["errors"]
    from templates_app.models import Template

    channels = Template.objects.filter(tenant__slug="initech", event_type="*").values_list("channel", flat=True)
    assert set(channels) == {channel.value for channel in Channel}


def test_a_tenants_quiet_hours_are_written_and_shown_in_words(root, tenant):
    page = reverse("admin:tenants_tenant_change", args=[tenant.pk])
    form = {"name": "Acme", "is_active": "on", "default_locale": "en", "timezone": "UTC"}
    assert root.post(page, form | {"quiet_hours": "mon-thu 21:00-08:00"}).status_code == 302
    tenant.refresh_from_db()
    assert tenant.quiet_hours == [{"start": "21:00", "end": "08:00", "days": ["mon", "tue", "wed", "thu"]}]
    assert "Mon–Thu 21:00 – 08:00" in root.get(reverse("admin:tenants_tenant_changelist")).content.decode()
    refused = root.post(page, form | {"quiet_hours": "00:00-24:00"})
    assert list(refused.context["adminform"].form.errors) == ["quiet_hours"]


def test_a_tenant_is_not_deleted_nor_renamed(root, tenant):
    assert root.post(reverse("admin:tenants_tenant_delete", args=[tenant.pk])).status_code == 403
    root.post(
        reverse("admin:tenants_tenant_change", args=[tenant.pk]),
        {"slug": "other", "name": "New name", "default_locale": "en", "timezone": "UTC"},
    )
    tenant.refresh_from_db()
    assert (tenant.slug, tenant.name, tenant.is_active) == ("acme", "New name", False)
    assert ApiKey.objects.count() == 0
