"""Admin lists over tables of any size: pages by id and not by number, no count of rows, no scan for a filter's choices."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.admin import ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.timezone import make_aware
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateTimeFilter, TextFilter
from unfold.views import ChangeList

from tenants.ids import created_within

OLDER, NEWER = "older", "newer"


class _Pager:
    """What stands where the paginator would; the template takes the rest from the change list."""

    template_name = "admin/keyset_pagination.html"


class KeysetChangeList(ChangeList):
    """Newest first, by id. `?older=ID` is the page that follows that row, `?newer=ID` the one before it."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        # Here before anything is made of the parameters: a page's place belongs to no filter, and into no filter's link.
        for parameters in (self.params, self.filter_params):
            for name in (OLDER, NEWER):
                parameters.pop(name, None)
        queryset: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return queryset

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        return ["-id"]

    def get_results(self, request: HttpRequest) -> None:
        older, newer = _place(request, OLDER), _place(request, NEWER)
        rows = self.queryset.defer(*self.model_admin.list_defer)
        size = self.list_per_page
        if newer:
            found = list(rows.filter(pk__gt=newer).order_by("id")[: size + 1])
            page, has_newer, has_older = found[:size][::-1], len(found) > size, True
        else:
            found = list((rows.filter(pk__lt=older) if older else rows)[: size + 1])
            page, has_newer, has_older = found[:size], older is not None, len(found) > size
        self.result_list = page
        self.newer_link = self.get_query_string({NEWER: page[0].pk}) if page and has_newer else ""
        self.older_link = self.get_query_string({OLDER: page[-1].pk}) if page and has_older else ""
        self.newest_link = self.get_query_string() if older or newer else ""
        self.is_narrowed = bool(self.query or self.has_active_filters)
        self.estimated_total = None if self.is_narrowed else estimated_rows(self.model)
        self.result_count = self.full_result_count = len(page)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.paginator = _Pager()


class KeysetModelAdmin(ModelAdmin):
    """For models whose primary key is a time-ordered id."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    list_disable_select_all = True
    list_filter_submit = True
    list_defer: ClassVar[tuple[str, ...]] = ()
    """Columns that the list does not show and should not read."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList


class CreatedFilter(RangeDateTimeFilter):
    """A span of `created_at`, found through the ids; both ends are meant, to the second. A day alone is all of it."""

    whole_day: ClassVar = {"from": "00:00:00", "to": "23:59:59"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for side, time in self.whole_day.items():
            day_given, time_given = (self.used_parameters.get(self._name(side, part)) for part in (0, 1))
            if day_given and not time_given:
                self.used_parameters[self._name(side, 1)] = time  # also what the form shows

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        since, last = self._moment("from"), self._moment("to")
        try:
            until = last + timedelta(seconds=1) if last else None
        except OverflowError as error:
            raise IncorrectLookupParameters(error) from error
        return queryset.filter(created_within(since, until))

    def _moment(self, side: str) -> datetime | None:
        day, time = (self.used_parameters.get(self._name(side, part)) for part in (0, 1))
        if not day:
            return None
        try:
            moment = datetime.fromisoformat(f"{day}T{time}")
        except ValueError as error:
            raise IncorrectLookupParameters(error) from error
        return make_aware(moment) if moment.tzinfo is None else moment

    def _name(self, side: str, part: int) -> str:
        return f"{self.parameter_name}_{side}_{part}"


class NamedTypeFilter(TextFilter):
    """An event type by its name. There is no list to choose from: it would be a DISTINCT over the table."""

    title = "event type"
    parameter_name = "event_type"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = (self.value() or "").strip()
        if "\x00" in name:
            raise IncorrectLookupParameters
        return queryset.filter(event_type=name) if name else queryset


def estimated_rows(model: type[Model]) -> int:
    """About how many rows the table has, as of its last ANALYZE; PostgreSQL's own estimate, read in no time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass", [model._meta.db_table])
        return int(cursor.fetchone()[0])


def _place(request: HttpRequest, name: str) -> UUID | None:
    text = request.GET.get(name)
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise IncorrectLookupParameters(error) from error
