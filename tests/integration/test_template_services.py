"""Versions, publishing, and what the pipeline reads."""

from __future__ import annotations

import threading

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, connection, transaction

from templates_app import selectors, services
from templates_app.catch_all import seed_catch_all
from templates_app.errors import AlreadyExistsError, InvalidTemplateError, LayoutInUseError, UnknownVersionError
from templates_app.liquid import Region
from templates_app.models import Layout, Template, TemplateVersion
from templates_app.rendering import render
from templates_app.selectors import published_templates
from templates_app.services import create_template, publish, update_template
from templates_app.validation import Content
from tenants.models import Tenant
from tenants.vocabulary import ANY, Channel
from tests.factories import TemplateFactory, TenantFactory

PEOPLE = {
    "recipient": {"userId": "u"},
    "event": {"id": "e", "type": "account"},
    "tenant": {"slug": "acme", "name": "Acme"},
    "region": Region(),
}


@pytest.fixture(autouse=True)
def _empty_store():
    selectors._compiled.clear()
    selectors._layouts.clear()


def template_of(tenant: Tenant, **values) -> Template:
    words = {"subject": "Hi {{ name }}", "body": "Dear {{ name }}", "variables": ["name"]}
    content = Content(**words | values.pop("content", {}))
    return create_template(tenant=tenant, content=content, **{"channel": Channel.IN_APP, "event_type": "account", **values})


def body_of(version) -> str:
    return render(version, data={"name": "Ada"}, **PEOPLE).body


def test_line_ends_are_stored_as_one_character(tenant):
    template = template_of(tenant, content={"body": "a\r\nb\rc"})
    assert template.published_version.body == "a\nb\nc"


def test_versions_are_never_changed(tenant):
    version = template_of(tenant).published_version
    version.body = "Other"
    with pytest.raises(TypeError):
        version.save()
    with pytest.raises(IntegrityError), transaction.atomic():
        TemplateVersion.objects.filter(pk=version.pk).update(body="Other")
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE templates_app_templateversion SET number = 5")
    version.refresh_from_db()
    assert version.body == "Dear {{ name }}"


def test_a_refused_change_writes_nothing(tenant):
    template = template_of(tenant)
    with pytest.raises(InvalidTemplateError) as raised:
        update_template(template=template, changes={"body": "{{ nobody }}", "name": "New"})
    assert raised.value.problems[0].field == "body"
    template.refresh_from_db()
    assert (template.name, template.versions.count()) == ("", 1)


def test_dropping_a_declared_variable_that_is_used_is_refused(tenant):
    with pytest.raises(InvalidTemplateError):
        update_template(template=template_of(tenant), changes={"variables": []})


def test_a_draft_follows_the_newest_version(tenant):
    template = template_of(tenant)
    update_template(template=template, changes={"body": "Two"}, created_by="key")
    update_template(template=template, changes={"subject": "Three"})
    newest = selectors.newest_version(template)
    assert (newest.number, newest.subject, newest.body) == (3, "Three", "Two")
    assert template.versions.get(number=2).created_by == "key"
    assert publish(template=template).published_version.number == 3


def test_publishing_what_is_not_there(tenant):
    with pytest.raises(UnknownVersionError):
        publish(template=template_of(tenant), number=2)


def test_a_template_that_was_deleted_meanwhile(tenant):
    template = template_of(tenant)
    Template.objects.get().delete()
    for change in (lambda: update_template(template=template, changes={"body": "x"}), lambda: publish(template=template)):
        with pytest.raises(ObjectDoesNotExist):
            change()


def test_a_tenant_goes_with_its_templates(tenant, stranger):
    layout = services.create_layout(tenant=tenant, name="Brand", text="{{ content }}")
    template_of(tenant, layout=layout)
    kept = template_of(stranger)
    tenant.delete()
    assert list(Template.objects.all()) == [kept]
    assert not Layout.objects.exists()


def test_a_layout_in_use_is_kept(tenant):
    layout = services.create_layout(tenant=tenant, name="Brand", text="{{ content }}")
    template_of(tenant, layout=layout)
    with pytest.raises(LayoutInUseError):
        services.delete_layout(layout=layout)
    assert Layout.objects.get() == layout


@pytest.mark.django_db(transaction=True)
def test_changes_at_once_get_different_numbers():
    template = template_of(TenantFactory())
    count = 8
    barrier = threading.Barrier(count)
    failures: list[Exception] = []

    def change(number: int) -> None:
        barrier.wait()
        try:
            update_template(template=template, changes={"body": f"Body {number}"})
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    versions = list(template.versions.order_by("number").values_list("number", "body"))
    assert [number for number, _ in versions] == list(range(1, count + 2))
    assert {body for _, body in versions[1:]} == {f"Body {number}" for number in range(count)}


@pytest.mark.django_db(transaction=True)
def test_of_two_templates_for_one_place_one_is_written():
    tenant = TenantFactory()
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def create() -> None:
        barrier.wait()
        try:
            template_of(tenant)
            outcomes.append("written")
        except AlreadyExistsError:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "written"]


def test_a_chunk_is_read_in_two_statements_and_then_in_one(tenant, stranger, django_assert_num_queries):
    keys = set()
    for owner in (tenant, stranger):
        layout = services.create_layout(tenant=owner, name="Brand", text="{{ content }}")
        for channel in (Channel.SMS, Channel.PUSH):
            for number in range(5):
                template_of(owner, channel=channel, event_type=f"type.{number}", layout=layout)
                keys.add((owner.pk, channel, f"type.{number}"))
    with django_assert_num_queries(2):
        first = published_templates(keys)
    with django_assert_num_queries(1):
        second = published_templates(keys)
    for tenant_id, channel, event_type in keys:
        picked = first.pick(tenant_id, channel, event_type, "en", "en")
        assert body_of(picked) == "Dear Ada"
        assert second.pick(tenant_id, channel, event_type, "en", "en") is picked


def test_nothing_is_asked_for_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert published_templates([]).pick(1, Channel.SMS, "account", "en", "en") is None


@pytest.fixture
def book(tenant, stranger):
    def add(owner: Tenant, event_type: str, locale: str) -> None:
        text = f"{owner.slug} {event_type} {locale}"
        template_of(owner, event_type=event_type, locale=locale, content={"body": text})

    for event_type, locale in (
        *(("account", locale) for locale in ("de", "de-AT", "en", "fr-CA")),
        *(("invoice", locale) for locale in ("pl", "it")),
        *((ANY, locale) for locale in ("en", "de-CH")),
    ):
        add(tenant, event_type, locale)
    add(stranger, "account", "de-CH")
    template_of(tenant, event_type="draft.only", draft=True)
    return published_templates([(tenant.pk, Channel.IN_APP, name) for name in ("account", "invoice", "draft.only", "new")])


@pytest.mark.parametrize(
    ("event_type", "locale", "default", "expected"),
    [
        ("account", "de-AT", "en", "account de-AT"),
        ("account", "DE_at", "en", "account de-AT"),
        ("account", "de-CH", "en", "account de"),  # its own type goes before the locale, and before the stranger's
        ("account", "es", "fr-CA", "account fr-CA"),
        ("account", "es", "de-DE", "account de"),
        ("account", "es", "ja", "account en"),
        ("account", "", "", "account en"),
        ("invoice", "de", "en", "invoice it"),  # neither, nor English: the first in the alphabet
        ("draft.only", "en", "en", "* en"),
        ("new", "de-CH", "en", "* de-CH"),
        ("new", "fr", "en", "* en"),
    ],
)
def test_which_template_is_picked(tenant, book, event_type, locale, default, expected):
    picked = book.pick(tenant.pk, Channel.IN_APP, event_type, locale, default)
    assert body_of(picked) == f"acme {expected}"
    assert book.pick(tenant.pk, Channel.IN_APP, event_type, locale, default) is picked


def test_what_has_no_template(tenant, stranger, book):
    assert book.pick(tenant.pk, Channel.SMS, "account", "en", "en") is None
    assert book.pick(stranger.pk + 1, Channel.IN_APP, "account", "en", "en") is None


def test_a_draft_is_not_sent_and_a_published_version_is_at_once(tenant):
    template = template_of(tenant)
    key = (tenant.pk, Channel.IN_APP, "account")

    def said() -> str:
        return body_of(published_templates([key]).pick(*key, "en", "en"))

    update_template(template=template, changes={"body": "Second"})
    assert said() == "Dear Ada"
    publish(template=template)
    assert said() == "Second"
    publish(template=template, number=1)
    assert said() == "Dear Ada"


def test_a_changed_layout_goes_around_the_next_message(tenant, django_assert_num_queries):
    layout = services.create_layout(tenant=tenant, name="Brand", text="1 {{ content }}")
    template = template_of(tenant, layout=layout)
    key = (tenant.pk, Channel.IN_APP, "account")

    def said() -> str:
        return body_of(published_templates([key]).pick(*key, "en", "en"))

    assert said() == "1 Dear Ada"
    services.update_layout(layout=layout, changes={"text": "2 {{ content }}"})
    assert said() == "2 Dear Ada"
    with django_assert_num_queries(1):
        assert said() == "2 Dear Ada"
    update_template(template=template, changes={"layout": None})
    assert said() == "Dear Ada"


def test_a_broken_template_spoils_only_itself(tenant):
    """As after a change of the language: the row was written when it was still valid."""
    TemplateFactory(tenant=tenant, event_type="broken", version__body="{{ name | gone }}")
    TemplateFactory(tenant=tenant, event_type="sound", version__body="Fine", version__variables=[])
    book = published_templates([(tenant.pk, Channel.IN_APP, name) for name in ("broken", "sound")])
    assert body_of(book.pick(tenant.pk, Channel.IN_APP, "sound", "en", "en")) == "Fine"
    assert "gone" in book.pick(tenant.pk, Channel.IN_APP, "broken", "en", "en").broken


def test_the_catch_all_is_made_once_for_every_channel(tenant, stranger, django_assert_max_num_queries):
    with django_assert_max_num_queries(5):
        assert len(seed_catch_all(tenant)) == len(Channel)
    assert seed_catch_all(tenant) == []
    assert not Template.objects.for_tenant(stranger).exists()
    book = published_templates([(tenant.pk, channel, "account") for channel in Channel])
    for channel in Channel:
        words = render(book.pick(tenant.pk, channel, "account", "de", "en"), data={}, **PEOPLE)
        assert words.body == "There is news for you: account"


def test_the_catch_all_leaves_what_was_there(tenant):
    own = template_of(tenant, channel=Channel.SMS, event_type=ANY)
    assert len(seed_catch_all(tenant)) == len(Channel) - 1
    assert Template.objects.get(channel=Channel.SMS, event_type=ANY).pk == own.pk


def test_the_catch_all_is_edited_like_any_template(tenant):
    template = next(each for each in seed_catch_all(tenant) if each.channel == Channel.SMS)
    update_template(template=template, changes={"body": "{{ data.message | default: 'News' }}"})
    assert publish(template=template).published_version.number == 2
