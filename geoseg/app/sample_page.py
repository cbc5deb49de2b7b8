"""The page of sample points: one place after another, answered by keys. Only what is seen is here."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from geoseg.app.components import read_answer, show_chips
from geoseg.app.forms import show_labels
from geoseg.app.options import AppOptions, read_app_options
from geoseg.app.runs import FinishedRun
from geoseg.app.samples import MOST_POINTS, PointSurvey, describe_estimate, draw_points, store_points
from geoseg.app.scenes import draw_example
from geoseg.app.state import PageState, find_state
from geoseg.app.widgets import TIGHT, show_numbers
from geoseg.errors import GeosegError

USUAL_POINTS = 100


def show_page() -> None:
    """Everything, from top to bottom."""
    state, options = find_state(), read_app_options()
    state.is_away = True
    st.html(TIGHT)
    st.title("Sample points")
    try:
        show_survey(state, options)
    except GeosegError as error:
        st.error(show_labels(str(error)))


def show_survey(state: PageState, options: AppOptions) -> None:
    """The points that there are, or the ways to come by some."""
    if options.points and options.image and state.survey is None:
        state.survey = PointSurvey(Path(options.points), Path(options.image))
    if state.survey is None:
        show_sources(state, options)
    if state.survey is not None:
        show_points(state, state.survey)


def show_sources(state: PageState, options: AppOptions) -> None:
    """Points over the map that was made, or from a file over the same image."""
    st.write(
        "A map has errors. Look at places that were drawn at random, say what is there, and the errors correct the "
        "built-up area and give it an interval."
    )
    if state.scene is None or not state.scene.is_placed:
        st.info(
            "Find buildings in an image that lies on the map first: points are looked at over that image."
        )
        return
    if state.finished:
        number = st.number_input("Points to draw", 10, MOST_POINTS, USUAL_POINTS, step=50)
        st.button(
            "Draw points over the map",
            type="primary",
            on_click=take_drawn,
            args=(state, state.finished, int(number)),
        )
    file = st.file_uploader("Or answer points of geoseg sample that lie in this image", type=["gpkg"])
    if file:
        path = store_points(file.name, file, state.session.make_folder("points"), options.upload_mb)
        draw_example(state.scene)
        state.survey = PointSurvey(path, state.scene.path)
        st.rerun()
    if state.survey_error:
        st.error(state.survey_error)


def take_drawn(state: PageState, run: FinishedRun, number: int) -> None:
    """Draw points, and begin with them."""
    state.survey_error = ""
    try:
        path = draw_points(run, number, state.session.make_folder("points"))
        state.survey = PointSurvey(path, run.scene.path)
    except GeosegError as error:
        state.survey_error = show_labels(str(error))


def show_points(state: PageState, survey: PointSurvey) -> None:
    """The place that is to be looked at, how far one is, and what may be taken away."""
    total = len(survey.answers)
    st.progress(survey.done / total, text=f"{survey.done:,} of {total:,} points answered")
    if state.survey_error:
        st.error(state.survey_error)
    if survey.is_complete:
        st.success("Every point has an answer. The figures below and above the map use them.")
    show_chips(survey.to_json(), on_answer=lambda: take_answer(state, survey))
    show_figures(state, survey)
    with st.container(horizontal=True):
        st.download_button(
            "Points (GeoPackage)", data=survey.path.read_bytes, file_name="points.gpkg",
            mime="application/geopackage+sqlite3", on_click="ignore",
        )  # fmt: skip
        if not read_app_options().points:
            st.button("Leave these points", on_click=state.forget_survey)


def take_answer(state: PageState, survey: PointSurvey) -> None:
    """Do what a key or a button said."""
    state.survey_error = ""
    try:
        match read_answer():
            case {"number": int(number), "word": str(word)}:
                survey.say(number, word)
            case _:
                survey.go_back()
    except GeosegError as error:
        state.survey_error = show_labels(str(error))


def show_figures(state: PageState, survey: PointSurvey) -> None:
    """The built-up area by the answers so far, when it is asked for: it takes a second."""
    run, views = state.finished, state.views
    if run is None or views is None or state.own_survey is None:
        return
    if st.toggle("Show the built-up area by these points"):
        try:
            numbers = describe_estimate(run, views.find(views.own), survey)
        except GeosegError as error:
            st.caption(survey.explain(error))
            return
        show_numbers(numbers, "By the points")


show_page()
