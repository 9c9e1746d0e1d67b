"""What the demo tenant says and to whom: three kinds of event on six channels."""

from __future__ import annotations

from dataclasses import dataclass

from preferences.services import PushToken, RecipientData
from tenants.vocabulary import Channel, Priority

TENANT = "demo"
USER = "user_123"

_EVERYWHERE = list(Channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of event and its words; `variables` gives an example for each."""

    name: str
    category: str
    description: str
    channels: list[Channel]
    variables: dict[str, str]
    subject: str
    text: str
    html: str
    priority: Priority = Priority.NORMAL
    required: bool = False


KINDS = (
    Kind(
        name="account",
        category="account",
        description="Something about the user's own account.",
        channels=_EVERYWHERE,
        variables={"userName": "John", "actionUrl": "https://example.com/verify"},
        subject="Welcome, {{ userName }}",
        text="Hello {{ userName }}, your account is ready.{% if actionUrl %} Confirm it at {{ actionUrl }}{% endif %}",
        html="<h1>Hello {{ userName }}</h1><p>Your account is ready.</p>"
        '{% if actionUrl %}<p><a href="{{ actionUrl }}">Confirm it</a></p>{% endif %}',
    ),
    Kind(
        name="order.shipped",
        category="orders",
        description="A parcel is on its way.",
        channels=_EVERYWHERE,
        variables={"orderNumber": "A-1042", "carrier": "Parcel Post"},
        subject="Order {{ orderNumber }} is on its way",
        text="Order {{ orderNumber }} left us today with {{ carrier }}.",
        html="<h1>On its way</h1><p>Order <strong>{{ orderNumber }}</strong> left us today with {{ carrier }}.</p>",
    ),
    Kind(
        name="security.login",
        category="security",
        description="A sign-in from a new place. Sent whatever the user has muted.",
        channels=[Channel.EMAIL, Channel.SMS, Channel.IN_APP],
        variables={"place": "Vienna", "device": "Firefox on Linux"},
        subject="New sign-in from {{ place }}",
        text="Somebody signed in from {{ place }} with {{ device }}. If that was not you, change your password.",
        html="<h1>New sign-in</h1><p>From {{ place }}, with {{ device }}.</p><p>Not you? Change your password.</p>",
        priority=Priority.URGENT,
        required=True,
    ),
    Kind(
        name="newsletter",
        category="marketing",
        description="Goes to the topic `news`.",
        channels=[Channel.EMAIL, Channel.IN_APP],
        variables={"headline": "Spring is here"},
        subject="{{ headline }}",
        text="{{ headline }}: read it in the app.",
        html="<h1>{{ headline }}</h1><p>Read it in the app.</p>",
    ),
)

OPTIONAL = frozenset({"actionUrl"})
"""Variables that an event may leave out."""

RECIPIENTS = (
    RecipientData(
        user_id=USER,
        email="john@example.com",
        phone="+14155550100",
        telegram_chat_id="100200300",
        webhook_url="https://ok.simulator.invalid/hook",
        locale="en",
        timezone="America/New_York",
        attributes={"plan": "pro"},
        push_tokens=[PushToken("simulator-ok", "android")],
    ),
    RecipientData(user_id="ada", email="ok@simulator.invalid", phone="+15005550000", locale="en", timezone="Europe/London"),
    RecipientData(user_id="bounces", email="bounce@simulator.invalid", phone="+15005550001", locale="en"),
    RecipientData(user_id="flaky", email="temporary@simulator.invalid", phone="+15005550002", locale="en"),
)

NEWS = "news"
"""The topic that everybody is on."""
