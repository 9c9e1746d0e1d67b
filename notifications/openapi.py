"""How the bodies of the intake, and of dry runs, look in the API's description: the very structs that decode them."""

from __future__ import annotations

from typing import Any

from notifications.intake import MAX_BULK, Envelope, EventIn
from tenants.http.openapi import struct_schema

EVENT_BODY: dict[str, Any] = {"anyOf": [struct_schema(EventIn), struct_schema(Envelope)]}

BULK_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["events"],
    "additionalProperties": False,
    "properties": {"events": {"type": "array", "minItems": 1, "maxItems": MAX_BULK, "items": EVENT_BODY}},
}

_RULE = {"$ref": "#/components/schemas/RuleRequest"}  # of `POST /api/rules`

TRIAL_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["event"],
    "additionalProperties": False,
    "properties": {"event": EVENT_BODY},
}

RULE_AND_EVENT_BODY: dict[str, Any] = {
    **TRIAL_BODY,
    "required": ["rule", "event"],
    "properties": {"rule": _RULE, "event": EVENT_BODY},
}
