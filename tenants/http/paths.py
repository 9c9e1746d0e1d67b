"""Names that clients choose, in the path of a URL."""

from __future__ import annotations

from django.urls import register_converter
from django.urls.converters import StringConverter


class NameConverter(StringConverter):
    """Any text, slashes included: `/api/events/order%2F7`. Whether it can be a name, the view says."""

    regex = "(?s:.+)"


register_converter(NameConverter, "name")
