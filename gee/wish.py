"""What a user wants exported: a picture, labels, or any asset."""

from __future__ import annotations

from dataclasses import dataclass, field

from gee.catalogue import SENTINEL2_LATTICE_M, Imagery, Label
from gee.expressions import Look, Marking, Period
from gee.layers import UNLISTED, Asset, Layer, imagery_layer, label_layer, looks_layer
from gee.session import Session
from gee.settlement import Settlement


@dataclass(frozen=True)
class Wish:
    """Everything that is to lie on one grid."""

    period: Period
    source: Imagery | None = None
    look: Look | None = None
    labels: tuple[Label, ...] = ()
    marking: Marking = field(default_factory=Marking)
    settlement: Settlement | None = None
    asset: Asset | None = None
    counts_looks: bool = False
    given_scale_m: float | None = None

    def known_layers(self) -> list[Layer]:
        """The layers that need no question to Earth Engine to be known."""
        layers = []
        if self.source and self.look:
            layers.append(imagery_layer(self.source, self.look))
            if self.counts_looks:
                layers.append(looks_layer(self.source, self.look))
        return layers + [label_layer(label, self.marking, self.period) for label in self.labels]

    @property
    def outdated(self) -> list[str]:
        """Labels that show other years than the pictures, in words."""
        if self.source is None:
            return []
        return [
            f"the label {label.name} shows {label.first.year}, the pictures {self.period}: what was built or torn "
            "down between them is labelled wrongly"
            for label in self.labels
            if label.is_of_one_date and not self.period.is_near(label.first, label.last)
        ]

    def layers(self, earth: Session) -> list[Layer]:
        """Every layer that Earth Engine makes."""
        return self.known_layers() + ([self.asset.layer(earth)] if self.asset else [])

    @property
    def scale_m(self) -> float:
        """The pixel size: the one given, else the picture's own, else the first label's."""
        if self.given_scale_m is not None:
            return self.given_scale_m
        sources = [*filter(None, [self.source]), *self.labels, UNLISTED]
        return sources[0].scale_m

    @property
    def lattice_m(self) -> float | None:
        """What grids keep to: Sentinel-2's own, so that labels exported alone fit; photographs have none."""
        return self.source.lattice_m if self.source else SENTINEL2_LATTICE_M

    @property
    def needs_earth_engine(self) -> bool:
        return bool(self.source or self.labels or self.asset)
