"""Many recipients as CSV: rows as strangers' spreadsheets write them."""

import pytest

from preferences.models import Recipient
from preferences.spreadsheets import MOST_COLUMNS
from tenants.vocabulary import Scope
from tests.conftest import client_for

PLACE = "/api/recipients/bulk"


def post(client, text, *, kind="text/csv"):
    return client.generic("POST", PLACE, text if isinstance(text, bytes) else text.encode(), content_type=kind)


def fields_of(response):
    return [error["field"] for error in response.json()["errors"]]


def test_a_sheet_is_taken_row_by_row_and_faults_name_their_lines(api, stranger_api):
    stranger_api.put("/api/recipients/zoe", {"email": "theirs@example.com"})
    sheet = (
        "userId,email,phone,pushTokens,telegramChatId,webhookUrl,locale,timezone,attributes.plan,attributes.a.b\r\n"
        "zoe,zoe@example.com,+1 415 555 0100,t1  t2,-100,https://example.com/h,de_at,Europe/Vienna,pro,1\r\n"
        "bad,nobody,,,,,,Mars/Olympus,,\r\n"
        "\r\n"
        'two,,,,,,,,"first\nsecond",\r\n'
        "zoe,again@example.com,,,,,,,,\r\n"
        ",nameless@example.com,,,,,,,,\r\n"
        "short,a@b.co\r\n"
    )
    response = post(api, sheet)
    assert response.status_code == 200
    report = response.json()
    assert (report["success"], report["created"], report["updated"], report["rejected"]) == (False, 2, 0, 4)
    assert [(error["line"], error["index"], error["userId"], error["field"], error["code"]) for error in report["errors"]] == [
        (3, 1, "bad", "email", "invalid"),
        (3, 1, "bad", "timezone", "invalid"),
        (7, 3, "zoe", "userId", "repeated"),
        (8, 4, None, "userId", "required"),
        (9, 5, None, "", "columns"),
    ]
    stored = api.get("/api/recipients/zoe").json()
    assert {name: stored[name] for name in stored if name not in {"createdAt", "updatedAt", "quietHours"}} == {
        "userId": "zoe",
        "email": "zoe@example.com",
        "phone": "+14155550100",
        "pushTokens": [{"token": "t1", "platform": ""}, {"token": "t2", "platform": ""}],
        "telegramChatId": "-100",
        "webhookUrl": "https://example.com/h",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "attributes": {"plan": "pro", "a.b": "1"},
    }
    assert api.get("/api/recipients/two").json()["attributes"] == {"plan": "first\nsecond"}
    assert stranger_api.get("/api/recipients/zoe").json()["email"] == "theirs@example.com"


def test_json_reports_no_lines(api):
    report = api.post(PLACE, {"recipients": [{"userId": "a", "email": "x"}]}).json()
    assert "line" not in report["errors"][0]


@pytest.mark.parametrize(
    "cell", ['=HYPERLINK("http://a")', "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "007", "1e3", "TRUE", " x "]
)
def test_a_cell_is_plain_text_whatever_it_looks_like(api, cell):
    quoted = '"' + cell.replace('"', '""') + '"'
    assert post(api, f"userId,attributes.note\nzoe,{quoted}\n").json()["created"] == 1
    assert api.get("/api/recipients/zoe").json()["attributes"] == {"note": cell}


def test_an_empty_cell_is_a_field_left_out(api):
    api.put("/api/recipients/zoe", {"email": "zoe@example.com", "pushTokens": ["t"], "attributes": {"a": 1}})
    assert post(api, "userId,email,pushTokens,attributes.a\nzoe,,,\n").json()["updated"] == 1
    stored = api.get("/api/recipients/zoe").json()
    assert (stored["email"], len(stored["pushTokens"]), stored["attributes"]) == (None, 1, {})


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8", 'text/csv; header=present; charset="UTF-8"'])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_utf8_with_or_without_its_mark(api, kind, start):
    assert post(api, start + "userId\nzoë\n".encode(), kind=kind).json()["created"] == 1
    assert api.get("/api/recipients/zoë").status_code == 200


@pytest.mark.parametrize("kind", ["text/csv; charset=iso-8859-1", "text/csv; charset=utf-16", "text/tab-separated-values"])
def test_no_other_encoding_and_no_other_kind(api, kind):
    assert post(api, "userId\nzoe\n", kind=kind).status_code == 415


@pytest.mark.parametrize(
    ("sheet", "fields"),
    [
        ("", ["recipients"]),
        ("userId\n", [""]),
        ("email\na@b.co\n", ["userId"]),
        ("userId;email\nzoe;a@b.co\n", ["userId;email", "userId"]),
        ("userId,colour,attributes\nzoe,red,{}\n", ["colour", "attributes"]),
        ("userId,attributes.\nzoe,x\n", ["attributes."]),
        ("userId,email,email\nzoe,,\n", ["email"]),
        ("userId,createdAt\nzoe,\n", ["createdAt"]),
        ("userId\n" + "".join(f"u{number}\n" for number in range(1001)), [""]),
        ("userId," + ",".join(f"attributes.{number}" for number in range(MOST_COLUMNS)) + "\nzoe\n", [""]),
        ("userId,attributes.a\nzoe,a\x00b\n", [""]),
        ('userId,email\nzoe,"a"b\n', [""]),
        ('userId,email\nzoe,"a\n', [""]),
        (b"userId\nzo\xe9\n", [""]),
        ("userId\n" + "x" * 200_000, [""]),
    ],
)
def test_what_makes_the_whole_sheet_doubtful_is_refused_as_a_whole(api, sheet, fields):
    response = post(api, sheet)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert fields_of(response) == fields
    assert not Recipient.objects.exists()


@pytest.mark.parametrize(
    ("sheet", "said"), [('userId\na\n"b\nc', "line 3"), (b"userId\na\nzo\xe9", "line 3"), ("userId\na\n\x00", "Line 3")]
)
def test_the_line_is_said(api, sheet, said):
    assert said in post(api, sheet).content.decode()


def test_a_sheet_of_more_than_512_kb_is_refused(api):
    assert post(api, "userId,attributes.a\n" + f"zoe,{'x' * 100}\n" * 5500).status_code == 413


def test_a_sheet_needs_the_same_scope(tenant):
    assert post(client_for(tenant, Scope.EVENTS_WRITE), "userId\nzoe\n").status_code == 403


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_single_recipient_is_json_only(api, method):
    for place in (PLACE, "/api/recipients/zoe"):
        assert api.generic(method, place, b"userId\nzoe\n", content_type="text/csv").status_code == 415
