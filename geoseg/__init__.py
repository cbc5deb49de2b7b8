"""Building footprints and trustworthy areas from large GeoTIFFs."""

__version__ = "0.1.0"
