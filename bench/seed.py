"""`python -m bench.seed`, in the service's environment: a tenant with users, preferences, a template and credentials.

Prints `{"apiKey", "tokens": {user id: token}}`.
"""

from __future__ import annotations

import json
from datetime import timedelta

import django

from bench.workload import EVENT_TYPE, EVERY_NTH_CHOSE, SUBJECT, TEMPLATE, USERS, VARIABLES, WATCHED


def main() -> None:
    from notifications.models import EventType
    from preferences.models import Preference, Recipient
    from templates_app.services import create_template
    from templates_app.validation import Content
    from tenants.services import create_api_key, create_tenant, create_user_token
    from tenants.vocabulary import Channel, Scope

    tenant = create_tenant(slug="bench", name="Benchmark")
    _, key = create_api_key(tenant=tenant, scopes=[Scope.ADMIN], name="bench")
    EventType.objects.create(tenant=tenant, name=EVENT_TYPE, category="orders", default_channels=[Channel.IN_APP.value])
    content = Content(subject=SUBJECT, body=TEMPLATE, variables=VARIABLES)
    create_template(tenant=tenant, channel=Channel.IN_APP, event_type=EVENT_TYPE, content=content)
    users = [*WATCHED, *USERS]
    Recipient.objects.bulk_create([Recipient(tenant=tenant, user_id=user, locale="en") for user in users])
    Preference.objects.bulk_create(
        [
            Preference(tenant=tenant, user_id=user, channel=Channel.IN_APP, event_type=EVENT_TYPE, enabled=True)
            for user in users[::EVERY_NTH_CHOSE]
        ]
    )
    tokens = {user: create_user_token(tenant=tenant, user_id=user, ttl=timedelta(days=1)) for user in WATCHED}
    print(json.dumps({"apiKey": key, "tokens": tokens}))


if __name__ == "__main__":
    django.setup()
    main()
