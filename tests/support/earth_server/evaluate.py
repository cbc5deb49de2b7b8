"""Computes Earth Engine expressions over the test world: enough of the algebra to see what an export asks for.

Not modelled: reprojection between CRSs, resampling between pixels, pyramids. A pixel is named by its index in the
grid that is asked for, so every layer is a function of world position alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pyproj import Transformer

from earth_server.world import DOUBLE, Asset, Scene


class RefusedError(Exception):
    """An answer of 4xx, with the text that Earth Engine would give."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Where:
    """The pixels asked for: their column and row in the world, and their size in metres."""

    gx: np.ndarray
    gy: np.ndarray
    pixel_m: float

    def refined(self, factor: int) -> Where:
        steps = np.arange(factor)
        gx = (self.gx[:, None] * factor + steps).ravel()
        gy = (self.gy[:, None] * factor + steps).ravel()
        return Where(gx, gy, self.pixel_m / factor)

    @property
    def mesh(self) -> tuple[np.ndarray, np.ndarray]:
        return np.meshgrid(self.gx, self.gy)


SAFE_NAMES = {"input": "image", "filter": "test", "property": "key", "from": "codes"}
Pixels = tuple[np.ndarray, np.ndarray]
Band = Callable[[Where], Pixels]


@dataclass(frozen=True)
class Picture:
    """An image: for each band how its values and its mask are found; nothing is computed before it is asked."""

    bands: Mapping[str, Band]
    types: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    scale_m: float = 10.0
    scene: Scene | None = None

    def each(self, change: Callable[[np.ndarray, np.ndarray], Pixels], dtype: str = "float64") -> Picture:
        def changed(band: Band) -> Band:
            return lambda where: change(*band(where))

        return replace(
            self,
            bands={name: changed(band) for name, band in self.bands.items()},
            types=dict.fromkeys(self.bands, dtype),
        )


@dataclass(frozen=True)
class Pile:
    """A collection: images, in order."""

    images: tuple[Picture, ...]


def picture(asset: Asset, scene: Scene) -> Picture:
    def band(name: str) -> Band:
        found = asset.bands[name][1]

        def at(where: Where) -> Pixels:
            gx, gy = where.mesh
            values = np.broadcast_to(np.asarray(found(gx, gy, scene.number), float), gx.shape)
            return values, np.ones(gx.shape, bool)

        return at

    names = [name for name in asset.bands if not (scene.index.startswith("n_") and name == "N")]
    facts = {"system:index": scene.index, "system:time_start": scene.time_ms, "system:band_names": names}
    return Picture(
        {name: band(name) for name in names},
        {name: "float64" if asset.bands[name][0] is DOUBLE else "uint16" for name in names},
        {**facts, **scene.properties},
        asset.scale_m,
        scene,
    )


@dataclass
class Evaluator:
    """Finds the value of one expression."""

    assets: Mapping[str, Asset]
    nodes: Mapping[str, Any] = field(default_factory=dict)

    def value(self, expression: Mapping[str, Any]) -> Any:
        self.nodes = expression["values"]
        return self.node(self.nodes[expression["result"]], {})

    def node(self, node: Mapping[str, Any], names: Mapping[str, Any]) -> Any:
        ((kind, content),) = node.items()
        kinds: Mapping[str, Callable[[], Any]] = {
            "constantValue": lambda: content,
            "integerValue": lambda: int(content),
            "valueReference": lambda: self.node(self.nodes[content], names),
            "argumentReference": lambda: names[content],
            "arrayValue": lambda: [self.node(part, names) for part in content["values"]],
            "dictionaryValue": lambda: {
                key: self.node(part, names) for key, part in content["values"].items()
            },
            "functionDefinitionValue": lambda: self.function(content, names),
            "functionInvocationValue": lambda: self.call(
                content["functionName"], content["arguments"], names
            ),
        }
        return kinds[kind]()

    def function(self, content: Mapping[str, Any], names: Mapping[str, Any]) -> Callable[..., Any]:
        body, arguments = self.nodes[content["body"]], content["argumentNames"]
        return lambda *given: self.node(body, {**names, **dict(zip(arguments, given, strict=True))})

    def call(self, name: str, arguments: Mapping[str, Any], names: Mapping[str, Any]) -> Any:
        given = {SAFE_NAMES.get(key, key): self.node(part, names) for key, part in arguments.items()}
        if name in {"Image.load", "ImageCollection.load", "Collection.loadTable"}:
            return self.load(name, given.get("id") or given.get("tableId"))
        if name not in ALGORITHMS:
            raise RefusedError(f"test server: {name} is not modelled")
        return ALGORITHMS[name](**given)

    def load(self, name: str, asset_id: str) -> Picture | Pile:
        if asset_id not in self.assets:
            raise RefusedError(
                f"{name}: asset '{asset_id}' not found (does not exist or caller does not have access)."
            )
        asset = self.assets[asset_id]
        images = tuple(picture(asset, scene) for scene in asset.scenes)
        return images[0] if name == "Image.load" else Pile(images)


def select(image: Picture, bandSelectors: list[str], newNames: list[str] | None = None) -> Picture:
    for name in bandSelectors:
        if name not in image.bands:
            raise RefusedError(
                f"Image.select: Band pattern '{name}' did not match any bands. Available bands: {list(image.bands)}"
            )
    new = newNames or bandSelectors
    return replace(
        image,
        bands={to: image.bands[name] for name, to in zip(bandSelectors, new, strict=True)},
        types={to: image.types.get(name, "float64") for name, to in zip(bandSelectors, new, strict=True)},
    )


def map_over(collection: Pile, baseAlgorithm: Callable[[Picture], Picture], **_: Any) -> Pile:
    return Pile(
        tuple(
            replace(baseAlgorithm(image), properties=image.properties, scene=image.scene)
            for image in collection.images
        )
    )


def link(image: Picture, imageCollection: Pile, linkedBands: Any = None, **_: Any) -> Picture:
    """The partner's bands; fully masked where there is no partner, as Earth Engine has it."""
    wanted = [linkedBands] if isinstance(linkedBands, str) else linkedBands
    index = image.properties["system:index"]
    partner = next(
        (other for other in imageCollection.images if other.properties["system:index"] == index), None
    )

    def blank(where: Where) -> Pixels:
        gx, _ = where.mesh
        return np.zeros(gx.shape), np.zeros(gx.shape, bool)

    linked = {name: partner.bands[name] if partner else blank for name in wanted}
    return replace(image, bands={**image.bands, **linked})


def update_mask(image: Picture, mask: Picture) -> Picture:
    (masking,) = mask.bands.values()

    def masked(band: Band) -> Band:
        def at(where: Where) -> Pixels:
            values, valid = band(where)
            allowed, known = masking(where)
            return values, valid & known & (allowed != 0)

        return at

    return replace(image, bands={name: masked(band) for name, band in image.bands.items()})


def stacked(collection: Pile, name: str, where: Where) -> np.ma.MaskedArray:
    parts = [image.bands[name](where) for image in collection.images]
    return np.ma.MaskedArray([values for values, _ in parts], [~valid for _, valid in parts])


def reducer(reduce: Callable[[np.ma.MaskedArray], Any], suffix: str = "") -> Callable[[Pile], Picture]:
    def reduced(collection: Pile, **_: Any) -> Picture:
        if not collection.images:
            return Picture({})

        def band(name: str) -> Band:
            def at(where: Where) -> Pixels:
                stack = stacked(collection, name, where)
                values = np.ma.asarray(reduce(stack))
                return values.filled(0).astype(float), ~np.ma.getmaskarray(values)

            return at

        first = collection.images[0]
        return Picture({name + suffix: band(name) for name in first.bands}, scale_m=first.scale_m)

    return reduced


def mosaic(stack: np.ma.MaskedArray) -> np.ma.MaskedArray:
    """The last image on top."""
    result = stack[0]
    for layer in stack[1:]:
        result = np.ma.where(np.ma.getmaskarray(layer), result, layer)
    return result


def reduce_by(collection: Pile, reducer: Any) -> Picture:
    return reducer(collection)


def percentile(percentiles: list[int], **_: Any) -> Callable[[Pile], Picture]:
    (rank,) = percentiles

    def at_rank(stack: np.ma.MaskedArray) -> np.ma.MaskedArray:
        filled = np.where(np.ma.getmaskarray(stack), np.nan, stack.data)
        return np.ma.masked_invalid(np.nanpercentile(filled, rank, axis=0, method="nearest"))

    return reducer(at_rank, f"_p{rank}")


def compare(operator: Callable[[Any, Any], Any]) -> Callable[..., Picture]:
    def compared(image1: Picture, image2: Picture) -> Picture:
        (other,) = image2.bands.values()

        def band(mine: Band) -> Band:
            def at(where: Where) -> Pixels:
                values, valid = mine(where)
                others, known = other(where)
                return operator(values, others).astype(float), valid & known

            return at

        return replace(image1, bands={name: band(mine) for name, mine in image1.bands.items()})

    return compared


def constant(value: Any) -> Picture:
    def at(where: Where) -> Pixels:
        gx, _ = where.mesh
        return np.full(gx.shape, float(value)), np.ones(gx.shape, bool)

    return Picture({"constant": at})


def remap(image: Picture, codes: list, to: list, defaultValue: float | None = None, **_: Any) -> Picture:
    default = defaultValue

    def change(values: np.ndarray, valid: np.ndarray) -> Pixels:
        result = np.zeros(values.shape) if default is None else np.full(values.shape, float(default))
        known = np.zeros(values.shape, bool)
        for code, target in zip(codes, to, strict=True):
            result[values == code] = target
            known |= values == code
        return result, valid & (known if default is None else True)

    renamed = replace(image, bands={"remapped": next(iter(image.bands.values()))})
    return renamed.each(change)


def unmask(image: Picture, value: Picture, **_: Any) -> Picture:
    (filling,) = value.bands.values()

    def band(mine: Band) -> Band:
        def at(where: Where) -> Pixels:
            values, valid = mine(where)
            return np.where(valid, values, filling(where)[0]), np.ones(values.shape, bool)

        return at

    return replace(image, bands={name: band(mine) for name, mine in image.bands.items()})


def cast(dtype: str) -> Callable[[Picture], Picture]:
    return lambda value: value.each(lambda values, valid: (values.astype(dtype).astype(float), valid), dtype)


def rename(image: Picture, names: list[str]) -> Picture:
    return replace(
        image,
        bands=dict(zip(names, image.bands.values(), strict=True)),
        types=dict(zip(names, image.types.values(), strict=False)),
    )


def reduce_resolution(image: Picture, reducer: Any, maxPixels: int = 64, **_: Any) -> Picture:
    def band(mine: Band) -> Band:
        def at(where: Where) -> Pixels:
            factor = max(1, round(where.pixel_m / image.scale_m))
            if factor**2 > maxPixels:
                raise RefusedError(
                    f"Image.reduceResolution: too many input pixels, {factor**2} > maxPixels {maxPixels}"
                )
            values, valid = mine(where.refined(factor))
            shape = len(where.gy), factor, len(where.gx), factor
            stack = np.ma.MaskedArray(values, ~valid).reshape(shape).mean(axis=(1, 3))
            return stack.filled(0), ~np.ma.getmaskarray(stack)

        return at

    return replace(image, bands={name: band(mine) for name, mine in image.bands.items()})


def paint(image: Picture, featureCollection: Pile, color: float, **_: Any) -> Picture:
    inside = next((part.bands["inside"] for part in featureCollection.images), None)

    def band(mine: Band) -> Band:
        def at(where: Where) -> Pixels:
            values, valid = mine(where)
            return np.where(inside(where)[0] > 0, color, values) if inside else values, valid

        return at

    return replace(image, bands={name: band(mine) for name, mine in image.bands.items()})


def milliseconds(text: Any) -> float:
    if isinstance(text, (int, float)):
        return float(text)
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def meets(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def intersects(rightValue: Any, **_: Any) -> Callable[[Picture], bool]:
    def test(image: Picture) -> bool:
        west, south, east, north = rightValue.lonlat
        boxes = (
            [rightValue.lonlat]
            if west < east
            else [(west, south, 180.0, north), (-180.0, south, east, north)]
        )
        return any(meets(box, image.scene.bounds) for box in boxes)

    return test


def contains_date(leftValue: tuple[float, float], rightField: str) -> Callable[[Picture], bool]:
    return lambda image: leftValue[0] <= image.properties[rightField] < leftValue[1]


def bounded(operator: Callable[[Any, Any], bool]) -> Callable[..., Callable[[Picture], bool]]:
    return lambda leftField, rightValue: lambda image: operator(image.properties[leftField], rightValue)


def sort(collection: Pile, key: str, ascending: bool = True, **_: Any) -> Pile:
    return Pile(
        tuple(sorted(collection.images, key=lambda image: image.properties[key], reverse=not ascending))
    )


def band_types(image: Picture) -> dict[str, Any]:
    whole = {"uint8": 255, "uint16": 65535}
    return {
        name: {"type": "PixelType", "precision": "int", "min": 0, "max": whole[dtype]}
        if dtype in whole
        else DOUBLE
        for name, dtype in image.types.items()
    }


@dataclass(frozen=True)
class Projection:
    crs: Any
    scale_m: float


@dataclass(frozen=True)
class Gridded:
    """An image on the very grid of a batch export."""

    image: Picture
    crs: str
    transform: list[float]
    size: tuple[int, int] = (0, 0)


def default_projection(image: Picture, crs: Any, **_: Any) -> Picture:
    return replace(image, scale_m=crs.scale_m) if isinstance(crs, Projection) else image


def clipped(image: Gridded, geometry: Any, **_: Any) -> Gridded:
    left, top, right, bottom = geometry.coordinates
    return replace(image, size=(int(right - left), int(bottom - top)))


@dataclass(frozen=True)
class Box:
    """A rectangle in a CRS."""

    coordinates: tuple[float, ...]
    crs: str

    @property
    def lonlat(self) -> tuple[float, float, float, float]:
        transformer = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        return transformer.transform_bounds(*self.coordinates)


def rectangle(coordinates: list[float], crs: Any = "EPSG:4326", **_: Any) -> Box:
    return Box(tuple(np.ravel(coordinates).tolist()), crs.crs if isinstance(crs, Projection) else crs)


ALGORITHMS: dict[str, Callable[..., Any]] = {
    "Collection.filter": lambda collection, test: Pile(tuple(i for i in collection.images if test(i))),
    "Collection.map": map_over,
    "Collection.size": lambda collection: len(collection.images),
    "Collection.first": lambda collection: collection.images[0],
    "Collection.limit": sort,
    "AggregateFeatureCollection.array": lambda collection, key: [
        image.properties.get(key) for image in collection.images
    ],
    "Filter.intersects": intersects,
    "Filter.dateRangeContains": contains_date,
    "Filter.lessThanOrEquals": bounded(lambda value, limit: value <= limit),
    "Filter.not": lambda test: lambda image: not test(image),
    "Filter.lessThan": bounded(lambda value, limit: value < limit),
    "Filter.greaterThan": bounded(lambda value, limit: value > limit),
    "Filter.greaterThanOrEquals": bounded(lambda value, limit: value >= limit),
    "Filter.listContains": bounded(lambda value, item: item in value),
    "DateRange": lambda start, end: (milliseconds(start), milliseconds(end)),
    "Feature": lambda geometry, **_: geometry,
    "GeometryConstructors.Rectangle": rectangle,
    "GeometryConstructors.Polygon": rectangle,
    "Projection": lambda crs, transform=None, **_: Projection(crs, (transform or [10.0])[0]),
    "Projection.atScale": lambda projection, meters: Projection(projection, float(meters)),
    "Image.projection": lambda image: Projection("native", getattr(image, "scale_m", 10.0)),
    "Image.setDefaultProjection": default_projection,
    "Image.select": select,
    "Image.rename": rename,
    "Image.linkCollection": link,
    "Image.updateMask": update_mask,
    "Image.constant": constant,
    "Image.gte": compare(np.greater_equal),
    "Image.lt": compare(np.less),
    "Image.divide": compare(np.divide),
    "Image.multiply": compare(np.multiply),
    "Image.remap": remap,
    "Image.unmask": unmask,
    "Image.round": lambda value: value.each(lambda values, valid: (np.rint(values), valid)),
    "Image.clamp": lambda image, low, high: image.each(lambda v, valid: (np.clip(v, low, high), valid)),
    "Image.resample": lambda image, mode: image,
    "Image.reduceResolution": reduce_resolution,
    "Image.paint": paint,
    "Image.bandTypes": band_types,
    "Image.toByte": cast("uint8"),
    "Image.toUint8": cast("uint8"),
    "Image.toUint16": cast("uint16"),
    "Image.toInt16": cast("int16"),
    "Image.toFloat": cast("float32"),
    "Image.reproject": lambda image, crs, crsTransform=None, **_: Gridded(image, crs.crs, crsTransform or []),
    "Image.clipToBoundsAndScale": clipped,
    "ImageCollection.mosaic": reducer(mosaic),
    "ImageCollection.reduce": reduce_by,
    "reduce.median": reducer(lambda stack: np.ma.median(stack, axis=0)),
    "reduce.mean": reducer(lambda stack: stack.mean(axis=0)),
    "reduce.count": reducer(lambda stack: np.ma.MaskedArray(stack.count(axis=0), stack.count(axis=0) == 0)),
    "Reducer.percentile": percentile,
    "Reducer.mean": lambda **_: None,
}


def decoded(expression: Mapping[str, Any]) -> Any:
    """An expression as nested tuples (name, {argument: value}), for tests that ask for its structure."""
    nodes = expression["values"]

    def plain(node: Mapping[str, Any]) -> Any:
        ((kind, content),) = node.items()
        if kind == "valueReference":
            return plain(nodes[content])
        if kind == "arrayValue":
            return [plain(part) for part in content["values"]]
        if kind == "dictionaryValue":
            return {key: plain(part) for key, part in content["values"].items()}
        if kind == "functionDefinitionValue":
            return ("function", plain(nodes[content["body"]]))
        if kind == "functionInvocationValue":
            arguments = {key: plain(part) for key, part in content["arguments"].items()}
            return (content["functionName"], arguments)
        return content

    return plain(nodes[expression["result"]])


def chain(tree: Any) -> list[str]:
    """The functions from the outermost inwards, along the first argument that is itself a function."""
    names = []
    while isinstance(tree, tuple) and tree[0] != "function":
        names.append(tree[0])
        tree = next((part for part in tree[1].values() if isinstance(part, tuple)), None)
    return names
