"""The page that finds buildings: an image, how to look at it, a map of what was found. Only what is seen is here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import streamlit as st

from geoseg.app.components import ask_map, show_map
from geoseg.app.downloads import DOWNLOADS, Shown
from geoseg.app.forms import FIRST_FIELDS, MORE_FIELDS, list_models, make_options, show_labels
from geoseg.app.maps import (
    MapRequest,
    draw_footprints,
    leave_out_images,
    make_images,
    make_map,
    parse_part,
)
from geoseg.app.options import AppOptions, read_app_options
from geoseg.app.regions import (
    AREA_ALIASES,
    REGION_SUFFIXES,
    count_in_regions,
    make_region_table,
    parse_rings,
    store_regions,
    write_drawn_regions,
)
from geoseg.app.runs import FinishedRun, Run
from geoseg.app.samples import describe_estimate
from geoseg.app.scenes import (
    UPLOAD_SUFFIXES,
    SceneFile,
    describe_scene,
    find_example,
    open_allowed_path,
    store_upload,
)
from geoseg.app.state import PageState, find_state
from geoseg.app.views import FootprintView, ViewRequest, Views, list_thresholds, start_tracers
from geoseg.app.widgets import STYLE, TIGHT, show_fields, show_numbers
from geoseg.errors import GeosegError
from geoseg.raster.palette import ClassEntry
from geoseg.reports.report import MOST_FOOTPRINTS, write_charts
from geoseg.reports.webmap import WebImage
from geoseg.workflows.options import InferOptions

EXAMPLE, UPLOAD, PATH, REGIONS = "example", "upload", "path", "regions"
SOURCES = {EXAMPLE: "The example", UPLOAD: "My own image", PATH: "A path on this server"}
KEPT_FIELDS = ("source", "path", *FIRST_FIELDS, *MORE_FIELDS)
REFRESH_S = 0.5


def show_page() -> None:
    """Everything, from top to bottom."""
    state, options = find_state(), read_app_options()
    restore_fields(state)
    st.html(TIGHT)
    st.title("Find buildings")
    left, right = st.columns([1, 2.4], gap="large")
    with left:
        show_source(state, options)
        start = st.container()  # above the options, which most people leave as they are
        asked = show_options(options)
        with start:
            show_start(state, asked)
    with right:
        if state.run is not None and not state.run.is_over:
            show_progress(state)
        elif state.finished is not None:
            show_results(state)
        else:
            show_outcome(state)
    state.fields = {name: st.session_state[name] for name in KEPT_FIELDS if name in st.session_state}


def restore_fields(state: PageState) -> None:
    """Give the fields what they held before another page was shown."""
    if state.is_away:
        state.is_away, state.emptied = False, {UPLOAD, REGIONS}
        for name, value in state.fields.items():
            st.session_state.setdefault(name, value)


def show_source(state: PageState, options: AppOptions) -> None:
    """Where the image comes from."""
    choices = [EXAMPLE, UPLOAD, *([PATH] if options.allow else [])]
    source = st.radio("Image", choices, format_func=SOURCES.__getitem__, key="source", bind="query-params")
    if source == EXAMPLE:
        take_source(state, EXAMPLE, find_example)
    elif source == UPLOAD:
        file = st.file_uploader(
            f"GeoTIFF, JPEG or PNG, up to {options.upload_mb:,} MB and {options.most_mpx:,} megapixels",
            type=[suffix.lstrip(".") for suffix in UPLOAD_SUFFIXES],
            max_upload_size=options.upload_mb,
        )
        take_upload(state, file, options)
    else:
        text = st.text_input(
            "Path", key="path", bind="query-params", help=f"Below {', '.join(options.allow)}."
        )
        take_source(state, f"{PATH} {text}" if text else "", lambda folder: open_allowed_path(text, options))
    if state.error:
        st.error(state.error)
    elif state.scene:
        st.caption(describe_scene(state.scene))
        if not state.scene.is_placed:
            st.caption(
                "Give its pixel size in metres below, and sizes are in metres; else they are in pixels."
            )


def take_upload(state: PageState, file: Any, options: AppOptions) -> None:
    """Keep an upload; none lets the one before it go, but for the empty field of a page that was left and shown again."""
    if state.keeps_file(UPLOAD, file) and state.source_key.startswith(UPLOAD):
        return
    key = f"{UPLOAD} {file.file_id}" if file else ""
    take_source(state, key, lambda folder: store_upload(file.name, file, folder, options))


def take_source(state: PageState, key: str, open_scene: Callable[[Path], SceneFile]) -> None:
    """Open an image once; what came of the one before it goes."""
    if key == state.source_key:
        return
    forget_scene(state)
    state.source_key = key
    if not key:
        return
    folder = state.session.make_folder("scene")
    try:
        state.scene = open_scene(folder)
    except GeosegError as error:
        shutil.rmtree(folder, ignore_errors=True)
        state.error = show_labels(str(error))


def forget_scene(state: PageState) -> None:
    """Stop what works on an image, and delete all that came of it."""
    forget_run(state)
    if state.scene and state.scene.origin != PATH:
        shutil.rmtree(state.scene.path.parent, ignore_errors=True)
    state.scene, state.error = None, ""


def forget_run(state: PageState) -> None:
    if state.run:
        state.run.stop()
        state.run.wait()
        if state.views:
            state.views.close()
        shutil.rmtree(state.run.folder, ignore_errors=True)
    state.run, state.views, state.images = None, None, ()
    state.rings, state.counted, state.picture = (), None, None
    state.forget_survey()


def show_options(options: AppOptions) -> InferOptions | None:
    """How to look at it; none where the answers are of no use."""
    models = list_models(options.model)
    answers = show_fields(FIRST_FIELDS, models)
    with st.expander("More options"):
        answers |= show_fields(MORE_FIELDS, models)
    try:
        return make_options(answers)
    except GeosegError as error:
        st.error(show_labels(str(error)))
        return None


def show_start(state: PageState, asked: InferOptions | None) -> None:
    """The button that begins, or the one that stops."""
    if state.run is not None and not state.run.is_over:
        st.button("Stop", on_click=state.run.stop, width="stretch")
        return
    ready = state.scene is not None and asked is not None
    if st.button("Find buildings", type="primary", disabled=not ready, width="stretch"):
        assert state.scene
        assert asked
        forget_run(state)
        state.run = Run(state.scene, state.session.make_folder("run"), asked, state.session.token)
        state.run.start()
        st.rerun()


@st.fragment(run_every=REFRESH_S)
def show_progress(state: PageState) -> None:
    """How far the run is, until it is over."""
    run = state.run
    if run is None or run.is_over:
        st.rerun()
    st.progress(run.progress.share, text=str(run.progress))


def show_outcome(state: PageState) -> None:
    """What there is to say where there is no map."""
    if state.run is None:
        st.info("Choose an image and press *Find buildings*: a map, numbers and files appear here.")
    elif state.run.state == "stopped":
        st.info("Stopped. Nothing was kept.")
    else:
        st.error(state.run.error)


@st.fragment
def show_results(state: PageState) -> None:
    """The map, the numbers, the files. Only this part runs again when a slider moves."""
    run = state.finished
    assert run
    assert state.run
    if state.views is None:
        start_tracers(run)
        state.views, state.images = Views(run), make_images(run)
    for line in run.warnings:
        st.warning(line)
    views = state.views
    view = views.find(ask_view(views))
    if not len(view.buildings):
        st.info(f"No {views.what} at this threshold and minimum area.")
    else:
        show_numbers(views.summarize(view), "Totals")
        show_interval(state, views, view)
    table = find_regions(state, view, run)
    show_result_map(state, state.run.folder.name, view, table)
    if state.regions_error:
        st.error(state.regions_error)
    show_regions(state, table)
    show_downloads(Shown(run, view, table))
    if len(view.buildings):
        with st.expander("Distribution of sizes and confidence"):
            st.html(STYLE + write_charts(view.buildings, views.what))
    views.prepare_neighbours(view.request)


def show_result_map(state: PageState, run: str, view: FootprintView, table: gpd.GeoDataFrame | None) -> None:
    """The map; where there are too many footprints, those of the part that is looked at."""
    assert state.finished
    classes = state.finished.card.classes[1:]
    picture = find_picture(state, view, classes)
    part = parse_part(ask_map("map", "seen", run)) if picture else None
    regions = "" if table is None else f"{len(table)} {table.total_bounds}"
    version = state.count_version(f"{run} {view.request.key} {part} {state.regions_key} {regions}")
    asked = MapRequest(run, version, view, state.images, table, classes, picture, part, state.rings)
    show_map(leave_out_images(make_map(asked), ask_map("map", "known", run)), "map")


def find_picture(state: PageState, view: FootprintView, classes: Sequence[ClassEntry]) -> WebImage | None:
    """A picture of footprints, where they are too many to be drawn one by one; it is kept while they are shown."""
    if len(view.buildings) <= MOST_FOOTPRINTS:
        return None
    if state.picture is None or state.picture[0] is not view:
        state.picture = view, draw_footprints(view.buildings, classes)
    return state.picture[1]


def show_interval(state: PageState, views: Views, view: FootprintView) -> None:
    """The built-up area by the points that were answered, where there are some, or how to come by it."""
    survey = state.own_survey
    if survey is None:
        if not views.has_interval:
            remedy = " *Sample points* (above) gives one." if views.run.scene.is_placed else ""
            st.caption(f"No interval of the area: the model's card holds no sample of its errors.{remedy}")
        return
    try:
        numbers = describe_estimate(views.run, view, survey)
    except GeosegError as error:
        st.caption(survey.explain(error))
        return
    show_numbers(numbers, "By sample points")


def ask_view(views: Views) -> ViewRequest:
    """Threshold and minimum area, which change polygons and numbers at once."""
    left, right = st.columns(2)
    threshold = views.own.threshold
    if threshold is not None:
        choices = list_thresholds(threshold)
        threshold = left.select_slider(
            "Threshold", choices, value=threshold, key="shown_threshold", bind="query-params",
            help="Probability from which a pixel counts as building. The network is not asked again.",
        )  # fmt: skip
    least = right.number_input(
        f"Smallest {views.what[:-1]} shown (m²)", min_value=0.0, value=views.own.min_area_m2, step=5.0,
        key="shown_min_area", bind="query-params", placeholder="5",
    )  # fmt: skip
    return ViewRequest(threshold, least)


def find_regions(state: PageState, view: FootprintView, run: FinishedRun) -> gpd.GeoDataFrame | None:
    """Statistics of the regions that were drawn or uploaded."""
    state.regions_error = ""
    if not run.scene.is_placed:
        return None
    assert state.run
    drawn = ask_map("map", "drawn", state.run.folder.name)
    state.rings = state.rings if drawn is None else parse_rings(drawn)
    path = write_drawn_regions(state.rings, state.session.folder) if state.rings else state.regions
    if path is None:
        return None
    try:
        return count_once(state, view, path, run)
    except GeosegError as error:
        state.regions_error = show_labels(str(error))
        return None


def count_once(state: PageState, view: FootprintView, path: Path, run: FinishedRun) -> gpd.GeoDataFrame:
    """What is counted in regions, anew only where something has changed."""
    survey = state.own_survey
    samples = survey.path if survey and survey.is_complete else None
    counted = (
        view,
        path,
        state.regions_key,
        str(state.rings),
        survey and samples and list(survey.answers.values()),
    )
    if state.counted is None or state.counted[0] != counted:
        state.counted = counted, count_in_regions(view, path, run, samples)
    return state.counted[1]


def show_regions(state: PageState, table: gpd.GeoDataFrame | None) -> None:
    """The table of regions, and the way to bring some."""
    if table is not None:
        st.subheader("Per region")
        st.dataframe(make_region_table(table), hide_index=True, column_config=format_columns())
    assert state.finished
    if not state.finished.scene.is_placed:
        return
    with st.expander("Regions from a file"):
        file = st.file_uploader(
            "GeoPackage, GeoJSON, FlatGeobuf, GeoParquet, or a shapefile in a .zip",
            type=[suffix.lstrip(".") for suffix in REGION_SUFFIXES],
        )
        if state.keeps_file(REGIONS, file):
            if state.regions:
                st.button("Leave the regions of the file", on_click=state.emptied.discard, args=(REGIONS,))
        elif take_regions(state, file):
            st.rerun(scope="fragment")


def format_columns() -> dict[str, Any]:
    """How the numbers of the table are written."""
    whole = {name: st.column_config.NumberColumn(format="localized", step=1) for name in AREA_ALIASES}
    return whole | {"Built share": st.column_config.NumberColumn(format="percent")}


def take_regions(state: PageState, file: Any) -> bool:
    """Keep uploaded regions; whether they are others than before."""
    key = file.file_id if file else ""
    if key == state.regions_key:
        return False
    if state.regions:
        shutil.rmtree(state.regions.parent, ignore_errors=True)
    state.regions_key, state.regions = key, None
    if file:
        try:
            state.regions = store_regions(file.name, file, state.session.make_folder("regions"))
        except GeosegError as error:
            st.error(show_labels(str(error)))
            return False
    return True


def show_downloads(shown: Shown) -> None:
    """A button for each file, which is made when it is pressed."""
    st.subheader("Files")
    with st.container(horizontal=True):
        for download in DOWNLOADS:
            st.download_button(
                download.label,
                data=partial(download.read, shown),
                file_name=f"{shown.stem}{download.ending}",
                mime=download.kind,
                on_click="ignore",
                key=f"download {download.label}",
            )


show_page()
