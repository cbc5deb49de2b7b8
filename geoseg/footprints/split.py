"""Part buildings that touch."""

from __future__ import annotations

from geoseg.footprints.traced import Traced


def split_touching(footprints: Traced) -> Traced:
    return footprints
