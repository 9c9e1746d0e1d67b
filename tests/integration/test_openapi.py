import enum
import io
import re
from typing import Annotated, Literal

import msgspec
import pytest
import yaml
from django.contrib.staticfiles import finders
from django.core.management import call_command
from rest_framework.test import APIClient

from tenants.http.openapi import struct_schema
from tests.unit.test_architecture import PUBLIC

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict:
    """The description as it is served; needs no database."""
    response = APIClient().get("/api/schema")
    assert response.status_code == 200
    return response.json()


@pytest.fixture(scope="module")
def operations(document) -> dict[str, dict]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_the_description_is_valid_and_made_without_a_warning():
    text = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=text)
    assert yaml.safe_load(text.getvalue())["openapi"] == "3.1.0"


def test_it_is_served_as_json_and_as_yaml_to_anyone(document):
    assert document["openapi"] == "3.1.0"
    client = APIClient(HTTP_X_API_KEY="nk_wrong")
    for response in (
        client.get("/api/schema?format=yaml"),
        client.get("/api/schema", HTTP_ACCEPT="application/vnd.oai.openapi"),
    ):
        assert response.status_code == 200
        assert yaml.safe_load(response.content) == document


def test_the_three_ways_in_are_described(document):
    schemes = document["components"]["securitySchemes"]
    assert schemes["apiKey"] | {"description": ""} == {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "",
    }
    assert (schemes["userToken"]["scheme"], schemes["userToken"]["bearerFormat"]) == ("bearer", "JWT")
    assert schemes["staffSession"]["in"] == "cookie"


def test_every_operation_says_who_may_call_it(operations):
    open_operations = {name.split()[1].lstrip("/") for name, operation in operations.items() if not operation.get("security")}
    described = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path) for path in PUBLIC if path not in {"api/schema", "api/docs"}}
    assert open_operations == described


def test_security_follows_the_views_scopes(operations):
    def who(name: str) -> dict[str, list[str]]:
        return {scheme: scopes for entry in operations[name]["security"] for scheme, scopes in entry.items()}

    assert who("POST /api/events") == {"apiKey": ["events:write"], "staffSession": []}
    assert who("GET /api/metrics") == {"apiKey": ["admin"], "staffSession": []}
    assert who("GET /api/inbox") == {"userToken": []}


def test_every_operation_answers_errors_with_problem_documents(operations):
    for name, operation in operations.items():
        assert "default" in operation["responses"], name
        for code, response in operation["responses"].items():
            if code == "default" or (code.startswith("4") and code != "404"):
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }, f"{name} {code}"


def test_errors_are_named_where_they_can_happen(operations):
    post = set(operations["POST /api/events"]["responses"])
    assert {"202", "200", "400", "401", "403", "406", "409", "413", "415", "503", "default"} == post - {"429"}
    assert "404" in operations["GET /api/deliveries/{id}"]["responses"]
    assert not {"400", "401", "403", "404", "413"} & set(operations["GET /api/health/live"]["responses"])


def test_a_real_problem_fits_its_description(document, api):
    problem = document["components"]["schemas"]["Problem"]
    body = api.post("/api/events", {"nonsense": 1}).json()
    assert set(problem["required"]) <= set(body) <= set(problem["properties"])
    assert set(body["errors"][0]) == set(problem["properties"]["errors"]["items"]["required"])


def test_operations_have_names_summaries_and_tags(operations):
    unfinished = [name for name, operation in operations.items() if not (operation.get("summary") and operation.get("tags"))]
    assert unfinished == []
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


def test_requests_refuse_fields_that_are_not_known(document):
    bodies = [
        body["schema"]["$ref"].rpartition("/")[2]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in METHODS
        for body in operation.get("requestBody", {}).get("content", {}).values()
        if "$ref" in body["schema"]
    ]
    assert bodies
    schemas = document["components"]["schemas"]
    assert [name for name in bodies if schemas[name].get("additionalProperties") is not False] == []


def test_the_page_for_people_loads_nothing_from_elsewhere():
    response = APIClient().get("/api/docs")
    assert response.status_code == 200
    html = response.content.decode()
    assert "/api/schema" in html
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html)
    assets = re.findall(r"(?:src|href)=\"/static/([^\"?]+)", html)
    assert len(assets) >= 4
    assert all(finders.find(asset) for asset in assets)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    part_name: Annotated[str, msgspec.Meta(max_length=5)]
    colour: Colour = Colour.RED


class Whole(msgspec.Struct, rename="camel"):
    """What it is."""

    parts: list[Part]
    either: Part | None = None
    kind: Literal["a", "b"] = "a"
    left_out: int | msgspec.UnsetType = msgspec.UNSET


def test_a_struct_is_described_completely_in_itself():
    schema = struct_schema(Whole)
    part = schema["properties"]["parts"]["items"]
    assert "$ref" not in str(schema)
    assert schema["description"] == "What it is."
    assert schema["required"] == ["parts"]
    assert part["properties"]["partName"] == {"type": "string", "maxLength": 5}
    assert part["properties"]["colour"] == {"enum": ["blue", "red"], "type": "string"}
    assert part["additionalProperties"] is False
    assert {"type": "null"} in schema["properties"]["either"]["anyOf"]
    assert schema["properties"]["kind"]["enum"] == ["a", "b"]
    assert schema["properties"]["leftOut"] == {"type": "integer"}
