"""From images and labels of any kind to an audited data set: what each kind of source is asked, and who makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.datasets.audit.findings import AuditResult
from geoseg.datasets.audit.run import audit_dataset, warn_about_leaks
from geoseg.datasets.benchmarks import (
    INRIA_LICENCE,
    INRIA_SOURCE,
    InriaOptions,
    SyntheticOptions,
    find_spacenet_pairs,
    prepare_inria,
    prepare_synthetic,
)
from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule, find_pairs, pair_with_label
from geoseg.datasets.classes import parse_class_table
from geoseg.datasets.coco.dataset import CocoOptions, find_coco_files, prepare_coco
from geoseg.datasets.cvat.dataset import CvatOptions, prepare_cvat
from geoseg.datasets.exported import ExportFolder, prepare_exported
from geoseg.datasets.masks import MaskOptions, prepare_masks
from geoseg.datasets.options import (
    CocoSetOptions,
    CvatSetOptions,
    DatasetOptions,
    ExportSetOptions,
    ImageOptions,
    InriaSetOptions,
    MaskSetOptions,
    SentinelSetOptions,
    SyntheticSetOptions,
    VectorSetOptions,
)
from geoseg.datasets.schema import Dataset
from geoseg.datasets.sentinel.dataset import (
    SentinelOptions,
    SourcePatterns,
    find_sources,
    prepare_sentinel,
)
from geoseg.datasets.sentinel.reflectance import CloudOptions, parse_cloud_values, parse_reflectance
from geoseg.datasets.vectors import VectorOptions, prepare_vectors
from geoseg.errors import InputError


@dataclass(frozen=True)
class PrepareResult:
    """A data set that was made, and what its audit found."""

    dataset: Dataset
    audit: AuditResult

    @property
    def folder(self) -> Path:
        """Where the data set lies."""
        return self.dataset.folder

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return self.audit.summary

    def __str__(self) -> str:
        return "\n".join(self.audit.lines)

    def __repr__(self) -> str:
        return str(self)


def prepare_dataset(source: Path, out: Path, options: DatasetOptions) -> PrepareResult:
    """Make a data set of the kind that the options' class stands for, and audit it."""
    builder = DatasetBuilder(out, options.workers, options.overwrite)
    dataset = MAKERS[type(options)](source, options, builder)
    audit = audit_dataset(dataset, options.workers)
    warn_about_leaks(audit)
    builder.end()
    return PrepareResult(dataset, audit)


def make_mask_set(source: Path, options: MaskSetOptions, builder: DatasetBuilder) -> Dataset:
    task = MaskOptions(**read_image_options(options, builder), size=parse_size(options.size))
    return prepare_masks(find_pairs(source, options.images, options.labels), task, builder)


def make_vector_set(source: Path, options: VectorSetOptions, builder: DatasetBuilder) -> Dataset:
    if options.footprints:
        pairs = pair_with_label(source, options.images, Path(options.footprints))
    elif options.images or options.labels:
        pairs = find_pairs(source, options.images, options.labels)
    else:
        pairs = find_spacenet_pairs(source)
    task = VectorOptions(
        **read_image_options(options, builder),
        class_field=options.class_field,
        labelled=options.labelled,
        form=options.form,
    )
    return prepare_vectors(pairs, task, builder)


def make_coco_set(source: Path, options: CocoSetOptions, builder: DatasetBuilder) -> Dataset:
    task = CocoOptions(
        make_origin(options, builder),
        require_gsd(options.gsd, source),
        parse_bands(options.bands),
        make_split_rule(options),
        options.limit,
        options.every,
        options.form,
        options.crowds,
    )
    return prepare_coco(find_coco_files(source, options.images), task, builder)


def make_inria_set(source: Path, options: InriaSetOptions, builder: DatasetBuilder) -> Dataset:
    origin = make_origin(
        options,
        builder,
        licence=INRIA_LICENCE,
        source=INRIA_SOURCE,
        attribution="Maggiori et al. 2017, Inria",
    )
    cities = make_split_rule(options) if options.by_city else None
    return prepare_inria(source, InriaOptions(origin, cities), builder)


def make_cvat_set(source: Path, options: CvatSetOptions, builder: DatasetBuilder) -> Dataset:
    task = CvatOptions(
        make_origin(options, builder),
        require_gsd(options.gsd, source),
        parse_bands(options.bands),
        make_split_rule(options),
        options.attribute,
    )
    return prepare_cvat(source, task, builder)


def make_sentinel_set(source: Path, options: SentinelSetOptions, builder: DatasetBuilder) -> Dataset:
    cloud = options.cloud
    rasters = cloud if cloud and "*" in cloud else None
    band = cloud if cloud and not rasters else None
    task = SentinelOptions(
        **read_image_options(options, builder),
        threshold=options.threshold,
        clouds=CloudOptions(band or "SCL", bool(band), parse_cloud_values(options.cloud_values)),
        reflectance=parse_reflectance(options.reflectance) if options.reflectance else None,
    )
    patterns = SourcePatterns(options.images, options.labels, options.label_tiles, rasters)
    return prepare_sentinel(find_sources(source, patterns), task, builder)


def make_export_set(source: Path, options: ExportSetOptions, builder: DatasetBuilder) -> Dataset:
    exported = ExportFolder.read(source)
    known = {key: getattr(exported.origin, key) for key in ("licence", "attribution", "source")}
    origin = make_origin(options, builder, **known)
    return prepare_exported(exported, origin, make_split_rule(options), options.side, builder)


def make_synthetic_set(_: Path, options: SyntheticSetOptions, builder: DatasetBuilder) -> Dataset:
    """Draw places; they come from nowhere."""
    origin = make_origin(
        options, builder, licence="CC0-1.0", attribution="geoseg", source="drawn by geoseg demo-scene"
    )
    task = SyntheticOptions(
        origin, make_split_rule(options), options.scenes, options.size, options.seed, options.gsd
    )
    return prepare_synthetic(task, builder)


MAKERS: dict[type[DatasetOptions], Callable[[Path, Any, DatasetBuilder], Dataset]] = {
    MaskSetOptions: make_mask_set,
    VectorSetOptions: make_vector_set,
    CocoSetOptions: make_coco_set,
    InriaSetOptions: make_inria_set,
    CvatSetOptions: make_cvat_set,
    SentinelSetOptions: make_sentinel_set,
    ExportSetOptions: make_export_set,
    SyntheticSetOptions: make_synthetic_set,
}


def read_image_options(
    options: MaskSetOptions | VectorSetOptions | SentinelSetOptions, builder: DatasetBuilder
) -> dict[str, Any]:
    """What sets of images and labels have in common, as their makers take it."""
    assert isinstance(options, ImageOptions)
    return {
        "origin": make_origin(options, builder),
        "table": parse_class_table(options.classes),
        "bands": parse_bands(options.bands),
        "gsd_m": options.gsd,
        "place": options.place,
        "splits": make_split_rule(options),
    }


def make_origin(options: DatasetOptions, builder: DatasetBuilder, **known: str) -> Origin:
    """What a data set is called and where it comes from; what the user says goes before what is known."""
    said = {
        "licence": options.licence,
        "attribution": options.attribution,
        "source": options.origin,
    }
    name = options.name or builder.folder.resolve().name
    return Origin(name, **(known | {key: value for key, value in said.items() if value}))


def make_split_rule(options: DatasetOptions) -> SplitRule:
    return SplitRule(options.validation, options.test, options.validation_share)


def parse_bands(text: str) -> tuple[str, ...]:
    return tuple(band.strip() for band in text.split(",") if band.strip())


def parse_size(size: str | None) -> tuple[int, int] | None:
    """Height and width from WIDTHxHEIGHT."""
    if size is None:
        return None
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"`size` {size}: write WIDTHxHEIGHT, e.g. 368x368")
    return int(parts[1]), int(parts[0])


def require_gsd(gsd: float | None, source: Path) -> float:
    """The resolution, which files of these kinds do not say."""
    if gsd is None:
        raise InputError(f"{source}: does not say how large its pixels are; say it in metres: `gsd` 0.3")
    return gsd
