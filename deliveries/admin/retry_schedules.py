"""Retry schedules in the admin."""

from __future__ import annotations

from django.contrib import admin
from unfold.admin import ModelAdmin

from deliveries.models import RetrySchedule
from deliveries.retry import RetryPolicy


@admin.register(RetrySchedule)
class RetryScheduleAdmin(ModelAdmin):
    list_display = ("__str__", "waits", "lasts")
    list_select_related = ("tenant",)
    ordering = ("tenant__slug", "channel")
    fieldsets = (
        (
            None,
            {
                "fields": (("tenant", "channel"), "delays_s"),
                "description": "The most specific schedule counts: of the tenant and the channel, of the tenant, of the "
                "channel, of everybody. Without any: "
                f"{', '.join(f'{delay:g}' for delay in RetryPolicy().delays_s)} seconds.",
            },
        ),
    )

    @admin.display(description="waits (s)")
    def waits(self, schedule: RetrySchedule) -> str:
        return ", ".join(str(delay) for delay in schedule.delays_s) or "no retry"

    @admin.display(description="gives up after")
    def lasts(self, schedule: RetrySchedule) -> str:
        seconds = sum(schedule.delays_s)
        return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
