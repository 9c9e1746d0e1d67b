from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from deliveries.retry_schedule_views import RetrySchedulesView, RetryScheduleView
from deliveries.views import DeliveriesView, DeliveryView, RetryManyView, RetryView, StatisticsView

urlpatterns: list[URLPattern | URLResolver] = [
    path("deliveries", DeliveriesView.as_view(), name="deliveries"),
    path("deliveries/stats", StatisticsView.as_view(), name="delivery-statistics"),
    path("deliveries/retry", RetryManyView.as_view(), name="deliveries-retry"),
    path("deliveries/<str:id>", DeliveryView.as_view(), name="delivery"),
    path("deliveries/<str:id>/retry", RetryView.as_view(), name="delivery-retry"),
    path("retry-schedules", RetrySchedulesView.as_view(), name="retry-schedules"),
    path("retry-schedules/<str:channel>", RetryScheduleView.as_view(), name="retry-schedule"),
]
