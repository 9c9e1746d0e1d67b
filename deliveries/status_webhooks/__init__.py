"""Status webhooks: a tenant's own server hears, signed, what becomes of its deliveries (https://www.standardwebhooks.com).

Not the channel `webhook`, which carries messages to recipients.
"""
