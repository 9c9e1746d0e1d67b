from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from deliveries.receipts.views import EmailReceiptsView, TwilioReceiptsView

urlpatterns: list[URLPattern | URLResolver] = [
    path("receipts/twilio/<str:account>/<str:delivery_id>", TwilioReceiptsView.as_view(), name="receipts-twilio"),
    path("receipts/email/<str:kind>/<str:account>", EmailReceiptsView.as_view(), name="receipts-email"),
]
