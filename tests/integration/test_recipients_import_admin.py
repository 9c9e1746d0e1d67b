"""Recipients as CSV in the admin: the same rows, the same faults as over the API."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from preferences.models import Recipient
from tests.staff import staff_client, superuser_client

LIST = "admin:preferences_recipient_changelist"
PAGE = "admin:preferences_recipient_import_csv"
MAY = ("preferences.view_recipient", "preferences.add_recipient", "preferences.change_recipient")


def send(client, tenant, sheet, name="people.csv"):
    content = sheet if isinstance(sheet, bytes) else sheet.encode()
    return client.post(reverse(PAGE), {"tenant": tenant.pk if tenant else "", "sheet": SimpleUploadedFile(name, content)})


def test_a_sheet_is_taken_and_each_faulty_row_is_named_with_its_line(tenant, stranger):
    sheet = "userId,email,attributes.plan\nzoe,zoe@example.com,pro\nbob,<b>nobody,\nzoe,,\n"
    page = send(superuser_client(), tenant, sheet)
    assert page.status_code == 200
    report = page.context["report"]
    assert (report["created"], report["updated"], report["rejected"]) == (1, 0, 2)
    assert [(error["line"], error["user_id"], error["field"]) for error in report["errors"]] == [
        (3, "bob", "email"),
        (4, "zoe", "userId"),
    ]
    text = page.content.decode()
    assert "1 created, 0 updated, 2 refused" in text
    assert "<b>nobody" not in text
    (stored,) = Recipient.objects.all()
    assert (stored.tenant, stored.user_id, stored.email, stored.attributes) == (
        tenant,
        "zoe",
        "zoe@example.com",
        {"plan": "pro"},
    )


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        ("", "must name this field"),
        ("userId\n", "There is no row below the header."),
        ("userId,colour\na,red\n", "colour: The header names no such field."),
        ('userId\n"a\n', "not valid CSV"),
        (b"userId\nzo\xe9\n", "not UTF-8: line 2"),
        ("userId,attributes.a\n" + f"zoe,{'x' * 100}\n" * 5500, "larger than 512 KB"),
    ],
)
def test_a_doubtful_sheet_is_refused_as_a_whole(tenant, sheet, said):
    page = send(superuser_client(), tenant, sheet)
    assert page.status_code == 200
    assert page.context["report"] is None
    assert said in page.content.decode()
    assert not Recipient.objects.exists()


def test_the_tenant_must_be_named(tenant):
    page = send(superuser_client(), None, "userId\nzoe\n")
    assert "tenant" in page.context["form"].errors
    assert not Recipient.objects.exists()


def test_the_list_has_the_button_for_staff_who_may(tenant):
    client = staff_client(*MAY)
    assert reverse(PAGE) in client.get(reverse(LIST)).content.decode()
    assert client.get(reverse(PAGE)).status_code == 200
    assert send(client, tenant, "userId\nzoe\n").context["report"]["created"] == 1


@pytest.mark.parametrize("missing", MAY[1:])
def test_staff_who_may_not_add_and_change_import_nothing(tenant, missing):
    client = staff_client(*(one for one in MAY if one != missing))
    assert reverse(PAGE) not in client.get(reverse(LIST)).content.decode()
    assert client.get(reverse(PAGE)).status_code == 403
    assert send(client, tenant, "userId\nzoe\n").status_code == 403
    assert not Recipient.objects.exists()
