"""`geoseg doctor`: whether this machine is fit to work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from geoseg.cli.console import GroupedCommand, print_result, wrap_command

if TYPE_CHECKING:
    from geoseg.workflows.doctor import MachineFinding


@click.command("doctor", cls=GroupedCommand)
@wrap_command
def command(*, as_json: bool) -> None:
    """Look at this machine: versions, GDAL, GPU, engine and speed, memory, disk, sign-in to Earth Engine.

    Marks what keeps geoseg from working (!) and what could be better (?), and says what to do about it. The exit code is 1 where
    something keeps it from working.

    \b
    Examples:
      geoseg doctor
      geoseg doctor --json > machine.json
    """
    from geoseg.workflows.doctor import diagnose

    diagnosis = diagnose([check_earth_engine])
    print_result(diagnosis.summary, as_json, str(diagnosis))
    if diagnosis.problems:
        raise SystemExit(1)


def check_earth_engine() -> Iterator[MachineFinding]:
    """Whether credentials are there, as `geoseg export` would look for them; nobody is asked whether they hold."""
    from gee.session import SCOPES, choose_project, find_credentials
    from geoseg.errors import InputError
    from geoseg.workflows.doctor import MachineFinding

    topic, remedy = "Earth Engine", "only `geoseg export` needs it; to sign in: earthengine authenticate"
    try:
        found = find_credentials(None, SCOPES["direct"])
        if found is None:
            yield MachineFinding(topic, "not signed in", "hint", remedy)
        else:
            yield MachineFinding(
                topic, f"credentials in {found.origin}, project {choose_project('', found.project)}"
            )
    except InputError as error:
        yield MachineFinding(topic, str(error), "hint", remedy)
