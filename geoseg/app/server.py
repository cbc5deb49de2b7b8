"""Starts the server of the app, which speaks to nobody but its browsers, and deletes what people brought when it ends."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamlit.web import bootstrap

from geoseg.app.options import OPTIONS_VARIABLE, AppOptions
from geoseg.app.samples import PointSurvey
from geoseg.app.state import open_workspace
from geoseg.app.views import TRACERS
from geoseg.errors import InputError
from geoseg.io.trust import is_trusted
from geoseg.models.store import find_model

PRIMARY_COLOR = "#2a78c8"
"""Seen on white and on black."""
MAIN = Path(__file__).with_name("main.py")


def run_server(options: AppOptions) -> None:
    """Serve the app until it is stopped."""
    check_options(options)
    settings = make_settings(options)
    with pass_to_pages(options):
        workspace = open_workspace()
        try:
            bootstrap.load_config_options(settings)
            gc.freeze()  # Streamlit collects garbage after every run of a page; none of it is in what was imported
            bootstrap.run(str(MAIN), False, [], settings)
        finally:
            TRACERS.close()
            workspace.close()


def check_options(options: AppOptions) -> None:
    """Refuse what would fail, or be unsafe, once somebody opens the page."""
    if is_trusted():
        raise InputError(
            "the app takes files of strangers and so never trusts them; take GEOSEG_TRUST out of the environment"
        )
    for folder in options.allow:
        if not Path(folder).is_dir():
            raise InputError(f"`allow` {folder}: no such folder")
    for model in options.model:
        find_model(model)
    if bool(options.points) != bool(options.image):
        raise InputError(
            "`points` and `image` belong together: the points, and the image that lies below them"
        )
    if options.points and options.image:
        PointSurvey(Path(options.points), Path(options.image))


def make_settings(options: AppOptions) -> dict[str, object]:
    """What Streamlit is to do: tell nobody of its use, and show no lines of code when something fails."""
    return {
        "browser_gatherUsageStats": False,
        "client_showErrorDetails": "none",
        "client_toolbarMode": "minimal",
        "logger_hideWelcomeMessage": True,
        "server_address": options.address,
        "server_fileWatcherType": "none",
        "server_headless": not options.browser,
        "server_maxUploadSize": options.upload_mb,
        "server_port": options.port,
        "theme_dark_primaryColor": PRIMARY_COLOR,
        "theme_light_primaryColor": PRIMARY_COLOR,
    }


@contextmanager
def pass_to_pages(options: AppOptions) -> Iterator[None]:
    """Let the pages know the options inside this block."""
    os.environ[OPTIONS_VARIABLE] = options.to_toml()
    try:
        yield
    finally:
        del os.environ[OPTIONS_VARIABLE]
