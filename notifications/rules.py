"""Rules: which people and channels an event's type and payload call for.

Patterns are dotted names with `*` for any characters (`order.*`). Conditions and recipient paths are CEL expressions
(Common Expression Language, cel.dev) over `payload` (the event's data) and `event` (`id`, `type`, `priority`, `metadata`):
comparisons, `in`, `has(…)`, `&&`, `||`, `!`, loops over lists. They have no side effects, no access to anything else, and
bounded time and memory (`notifications.expressions`).
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from django.core.exceptions import ValidationError

from notifications.expressions.evaluation import ExpressionError, evaluate, program
from notifications.models import Rule

PATTERN = re.compile(r"^[A-Za-z0-9_*][A-Za-z0-9_.:*\-]*$")
LONGEST_EXPRESSION = 2000
MAX_RECIPIENTS = 1000
MOST_RULES = 200
"""Of a tenant, active or not. An event that names nobody is asked of each: small conditions (11 to 40 µs) take at most 4 s over
a chunk of 500 events, well within the chunk's lease.
"""
LONGEST_TOPIC = 200
_ROOTS = frozenset({"payload", "event"})
_RECIPIENT_KEYS = frozenset({"path", "userIds", "topic"})


class RuleError(Exception):
    """A rule could not be applied to an event; the message says why. Other rules are not affected."""

    def __init__(self, why: str, *, part: Literal["condition", "recipients"]) -> None:
        super().__init__(why)
        self.part: Final = part


@functools.lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def is_for(rule: Rule, event_type: str) -> bool:
    """Whether the rule's pattern matches an event type."""
    return pattern_matches(rule.event_type, event_type)


def pattern_matches(pattern: str, event_type: str) -> bool:
    return _pattern(pattern).match(event_type) is not None


def matches(rule: Rule, event_type: str, variables: Mapping[str, Any]) -> bool:
    """Whether `rule` applies; raises RuleError if its condition cannot be evaluated on this payload."""
    if not is_for(rule, event_type):
        return False
    if not rule.condition:
        return True
    result = _evaluate(rule, rule.condition, variables, part="condition")
    if not isinstance(result, bool):
        raise RuleError(f"the condition gave {type(result).__name__}, not true or false", part="condition")
    return result


def recipients_of(rule: Rule, variables: Mapping[str, Any]) -> tuple[list[str], str]:
    """The user ids and the topic a matching rule names (either may be empty)."""
    wanted = rule.recipients or {}
    if topic := wanted.get("topic"):
        return [], str(topic)
    if ids := wanted.get("userIds"):
        return [str(user_id) for user_id in ids], ""
    if path := wanted.get("path"):
        return list(_user_ids(_evaluate(rule, path, variables, part="recipients"))), ""
    return [], ""


def _evaluate(rule: Rule, expression: str, variables: Mapping[str, Any], *, part: Literal["condition", "recipients"]) -> Any:
    try:
        return evaluate(expression, variables, tenant_id=rule.tenant_id, rule_id=rule.pk)
    except ExpressionError as error:
        raise RuleError(str(error), part=part) from error


def _user_ids(value: Any) -> Iterator[str]:
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MAX_RECIPIENTS:
        raise RuleError(f"the path names {len(entries)} recipients, more than {MAX_RECIPIENTS}", part="recipients")
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, str | int) or not 0 < len(str(entry)) <= 255:
            raise RuleError(f"the path gave {type(entry).__name__}, not a user id", part="recipients")
        yield str(entry)


def validate_pattern(pattern: str) -> None:
    """Raises ValidationError unless `pattern` is an event type or a pattern of one."""
    if not PATTERN.match(pattern) or len(pattern) > 200:
        raise ValidationError("Use a dotted name, with * for any characters: order.*", code="pattern")


def validate_condition(text: str) -> None:
    """Raises ValidationError unless `text` is a CEL expression over `payload` and `event`."""
    if not text.strip():
        return
    if len(text) > LONGEST_EXPRESSION:
        raise ValidationError(f"The expression is longer than {LONGEST_EXPRESSION} characters.", code="too_long")
    try:
        unknown = set(program(text).variables()) - _ROOTS - set(_macro_names(text))
    except Exception as error:  # the library raises by kind of fault
        raise ValidationError(f"This is not a CEL expression: {error}", code="syntax") from error
    if unknown:
        raise ValidationError(f"Only payload and event are known here, not {', '.join(sorted(unknown))}.", code="unknown_name")


def _macro_names(text: str) -> list[str]:
    """Names bound by `all`, `exists`, `map` and `filter`: `payload.items.exists(item, item.price > 5)`."""
    return re.findall(r"\.(?:all|exists|exists_one|map|filter)\(\s*([A-Za-z_]\w*)\s*,", text)


def validate_recipients(value: Any) -> None:
    """Raises ValidationError unless `value` is empty or one of `{"path"}`, `{"userIds"}`, `{"topic"}`."""
    if not isinstance(value, dict) or set(value) - _RECIPIENT_KEYS or len(value) > 1:
        raise ValidationError("Give one of path, userIds or topic, or nothing for the event's own recipient.", code="shape")
    if "path" in value:
        if not isinstance(value["path"], str) or not value["path"].strip():
            raise ValidationError("path must be an expression like payload.customer.id", code="path")
        validate_condition(value["path"])
    if "userIds" in value and not _is_id_list(value["userIds"]):
        raise ValidationError(f"userIds must be a list of 1 to {MAX_RECIPIENTS} user ids.", code="user_ids")
    if "topic" in value and not (isinstance(value["topic"], str) and 0 < len(value["topic"]) <= LONGEST_TOPIC):
        raise ValidationError("topic must be a topic's key.", code="topic")


def _is_id_list(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MAX_RECIPIENTS
        and all(isinstance(entry, str) and 0 < len(entry) <= 255 for entry in value)
    )


def active_rules(tenant_ids: Sequence[int]) -> dict[int, list[Rule]]:
    """The active rules of some tenants in order; one statement."""
    rules: dict[int, list[Rule]] = {tenant_id: [] for tenant_id in tenant_ids}
    for rule in Rule.objects.filter(tenant_id__in=tenant_ids, is_active=True).order_by("position", "id"):
        rules[rule.tenant_id].append(rule)
    return rules
