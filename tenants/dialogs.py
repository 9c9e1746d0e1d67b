"""Admin actions on one object that ask before they act: unfold's dialog, which posts (with its CSRF token) through htmx."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.dataclasses import ActionDialog
from unfold.forms import BaseDialogForm


def confirmation(title: str, description: str, button: str, form: type[BaseDialogForm] = BaseDialogForm) -> ActionDialog:
    return ActionDialog(title=title, description=description, form_class=form, form_submit_text=button)


def leave_for(url: str, request: HttpRequest) -> HttpResponse:
    """The answer to a confirmed dialog: the page to go to, as htmx or a plain form understands it."""
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return redirect(url)
