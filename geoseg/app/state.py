"""What a page remembers of its person between one run of its script and the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import streamlit as st
from streamlit.runtime import exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from geoseg.app.regions import Ring
from geoseg.app.runs import FinishedRun, Run
from geoseg.app.samples import PointSurvey
from geoseg.app.scenes import SceneFile
from geoseg.app.views import FootprintView, Views
from geoseg.app.workspace import BrowserSession, Workspace, start_sweeper
from geoseg.reports.webmap import WebImage

STATE = "geoseg"


@dataclass
class PageState:
    """What the page that finds buildings has so far."""

    session: BrowserSession
    source_key: str = ""
    scene: SceneFile | None = None
    error: str = ""
    run: Run | None = None
    views: Views | None = None
    images: Sequence[WebImage] = ()
    regions_key: str = ""
    regions: Path | None = None
    regions_error: str = ""
    rings: Sequence[Ring] = ()
    """Regions that were drawn on the map, which forgets them when its page is left."""
    counted: tuple[object, gpd.GeoDataFrame] | None = None
    """What was counted in regions last, and of what."""
    picture: tuple[FootprintView, WebImage] | None = None
    """Footprints that are too many to be drawn one by one."""
    versions: dict[str, int] = field(default_factory=dict)
    survey: PointSurvey | None = None
    survey_error: str = ""
    is_away: bool = False
    """Whether another page was shown since: its fields are empty then, and are given what they held."""
    emptied: set[str] = field(default_factory=set)
    """The fields for files that are empty only because their page was left."""
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> FinishedRun | None:
        return self.run.finished if self.run else None

    @property
    def own_survey(self) -> PointSurvey | None:
        """Sample points over the image that the map is of, where some are answered."""
        is_own = self.survey and self.scene and self.survey.image == self.scene.path
        return self.survey if is_own and self.survey and self.survey.done else None

    def keeps_file(self, uploader: str, file: object) -> bool:
        """Whether a field for files is empty only because its page was left: then what it held stays."""
        if file is not None:
            self.emptied.discard(uploader)
        return uploader in self.emptied

    def forget_survey(self) -> None:
        """Let sample points go."""
        self.survey, self.survey_error = None, ""

    def count_version(self, key: str) -> int:
        """A number for each different thing that the map has shown."""
        return self.versions.setdefault(key, len(self.versions))


@cache
def open_workspace() -> Workspace:
    """The folder of this server."""
    workspace = Workspace()
    start_sweeper(workspace, is_connected)
    return workspace


def is_connected(session: str) -> bool:
    """Whether the browser of a session is there."""
    return exists() and get_instance().is_active_session(session)


def find_state() -> PageState:
    """What belongs to the browser that looks at this page."""
    context = get_script_run_ctx()
    assert context
    session = open_workspace().open_session(context.session_id)
    state = st.session_state.get(STATE)
    if state is None or state.session is not session:
        state = st.session_state[STATE] = PageState(session)
    return state
