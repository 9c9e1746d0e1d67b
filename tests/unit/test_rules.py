import pytest
from django.core.exceptions import ValidationError

from notifications.models import Rule
from notifications.patterns import validate_pattern
from notifications.rules import (
    RuleError,
    matches,
    recipients_of,
    validate_condition,
    validate_recipients,
)


def variables(**payload):
    return {"payload": payload, "event": {"id": "1", "type": "order.shipped", "priority": "normal", "metadata": {}}}


@pytest.mark.parametrize(
    ("pattern", "event_type", "expected"),
    [
        ("order.*", "order.shipped", True),
        ("order.*", "orders.shipped", False),
        ("order.shipped", "order.shipped", True),
        ("*", "anything.at.all", True),
        ("order.*", "order", False),
        ("*.failed", "payment.failed", True),
    ],
)
def test_patterns(pattern, event_type, expected):
    assert matches(Rule(event_type=pattern), event_type, variables()) is expected


@pytest.mark.parametrize(
    ("condition", "payload", "expected"),
    [
        ("payload.amount > 100", {"amount": 101}, True),
        ("payload.amount > 100", {"amount": 99.5}, False),
        ("payload.country in ['DE', 'AT']", {"country": "AT"}, True),
        ("has(payload.vip) && payload.vip", {}, False),
        ("!(payload.a == 1) || payload.b == 2", {"a": 1, "b": 2}, True),
        ("event.type == 'order.shipped'", {}, True),
        ("payload.items.exists(item, item.price > 5)", {"items": [{"price": 1}, {"price": 9}]}, True),
        ("payload.a.exists(x, payload.b.exists(y, x == y))", {"a": [1, 2], "b": [2, 3]}, True),
    ],
)
def test_conditions(condition, payload, expected):
    assert matches(Rule(event_type="order.*", condition=condition), "order.shipped", variables(**payload)) is expected


@pytest.mark.parametrize("condition", ["payload.missing > 1", "payload.amount", "payload.text > 1"])
def test_a_condition_that_cannot_be_asked_is_a_rule_error(condition):
    with pytest.raises(RuleError):
        matches(Rule(event_type="*", condition=condition), "x", variables(amount=1, text="a"))


@pytest.mark.parametrize(
    ("wanted", "payload", "expected"),
    [
        ({"path": "payload.customer.id"}, {"customer": {"id": "u1"}}, (["u1"], "")),
        ({"path": "payload.users.map(u, u.id)"}, {"users": [{"id": "a"}, {"id": "b"}]}, (["a", "b"], "")),
        ({"path": "payload.n"}, {"n": 7}, (["7"], "")),
        ({"userIds": ["a", "b"]}, {}, (["a", "b"], "")),
        ({"topic": "news"}, {}, ([], "news")),
        ({}, {}, ([], "")),
    ],
)
def test_recipients(wanted, payload, expected):
    assert recipients_of(Rule(recipients=wanted), variables(**payload)) == expected


@pytest.mark.parametrize("value", [None, True, 1.5, {"id": 1}, "", "x" * 256, [["a"]]])
def test_a_path_that_names_nobody_is_a_rule_error(value):
    with pytest.raises(RuleError):
        recipients_of(Rule(recipients={"path": "payload.who"}), variables(who=value))


@pytest.mark.parametrize("text", ["payload.a +", "colour == 1", "payload..a", "x" * 3000])
def test_a_condition_that_does_not_parse_is_refused(text):
    with pytest.raises(ValidationError):
        validate_condition(text)


@pytest.mark.parametrize(
    "text",
    [
        "payload.a.exists(x, x == ').exists(y') && payload.b.all(y, y > 1)",
        "payload.a.exists(x, payload.b.exists(y, x == y))",
        "",
        "payload.a == 1",
        "payload.items.all(i, i.ok) && event.priority == 'high'",
    ],
)
def test_sound_conditions_pass(text):
    assert validate_condition(text) is None


@pytest.mark.parametrize("pattern", ["", "order shipped", "a" * 201, "order/x"])
def test_odd_patterns_are_refused(pattern):
    with pytest.raises(ValidationError):
        validate_pattern(pattern)


@pytest.mark.parametrize(
    "value",
    [
        [],
        "x",
        {"path": ""},
        {"path": "1 +"},
        {"userIds": []},
        {"userIds": [1]},
        {"topic": ""},
        {"who": 1},
        {"topic": "a", "path": "b"},
    ],
)
def test_odd_recipients_are_refused(value):
    with pytest.raises(ValidationError):
        validate_recipients(value)
