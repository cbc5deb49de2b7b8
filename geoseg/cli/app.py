"""`geoseg app`: the page in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from geoseg.app.options import AppOptions
from geoseg.cli.console import GroupedCommand, wrap_command
from geoseg.cli.options import take_options
from geoseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command("app", cls=GroupedCommand)
@wrap_command
@take_options(AppOptions, may_trust=False)
def command(*, as_json: bool, options: AppOptions) -> None:
    """Find buildings in a browser: an image goes in; a map, numbers and files come out.

    The page works without internet and tells nobody what it is used for. What people upload, and what is made of it, is
    deleted when their browser is gone for two minutes, and when the server ends. Stop it with Ctrl-C.

    \b
    Examples:
      geoseg app
      geoseg app --allow /data/imagery --port 8600 --no-browser
    """
    import_server()(options)


def import_server() -> Callable[[AppOptions], None]:
    """What serves the app, or a line on how it is installed."""
    try:
        from geoseg.app.server import run_server
    except ModuleNotFoundError as error:
        if error.name != "streamlit":
            raise
        raise InputError(
            'the app needs streamlit, which is not installed: pip install "geoseg[app]"'
        ) from error
    return run_server
