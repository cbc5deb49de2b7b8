"""Opens footprints in a real QGIS and tells what it sees; run by the Python that QGIS belongs to.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 qgis_probe.py buildings.gpkg project.qgz picture.png
"""

import json
import sys
import time

from qgis.core import (
    QgsApplication,
    QgsDistanceArea,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

WGS84_ELLIPSOID = "EPSG:7030"


def legend(layer):
    return [item.label() for item in layer.renderer().legendSymbolItems()]


def areas(layer):
    """Each feature's own area column over QGIS's $area."""
    measure = QgsDistanceArea()
    measure.setSourceCrs(layer.crs(), QgsProject.instance().transformContext())
    measure.setEllipsoid(WGS84_ELLIPSOID)
    return [
        (feature["area_m2"] / measure.measureArea(feature.geometry()),
         feature["perimeter_m"] / measure.measurePerimeter(feature.geometry()))
        for feature in layer.getFeatures()
    ]  # fmt: skip


def seen_layer(path, table):
    started = time.monotonic()
    layer = QgsVectorLayer(f"{path}|layername={table}", table, "ogr")
    seen = {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "features": layer.featureCount(),
        "seconds": time.monotonic() - started,
        "indexed": int(layer.dataProvider().hasSpatialIndex()) == 2,
        "renderer": layer.renderer().type(),
        "legend": legend(layer),
        "aliases": {field.name(): field.alias() for field in layer.fields()},
        "display": layer.displayExpression(),
        "tip": layer.mapTipTemplate(),
        "title": layer.metadata().title(),
        "abstract": layer.metadata().abstract(),
    }
    if table == "buildings" and layer.featureCount() < 10_000:
        seen["ratios"] = areas(layer)
    del layer
    return seen


def seen_project(path, picture):
    project = QgsProject.instance()
    read = project.read(path)
    view = project.viewSettings().defaultViewExtent()
    nodes = project.layerTreeRoot().findLayers()
    seen = {
        "read": read,
        "crs": project.crs().authid(),
        "extent": [view.xMinimum(), view.yMinimum(), view.xMaximum(), view.yMaximum()],
        "layers": [
            {
                "name": node.layer().name(),
                "valid": node.layer().isValid(),
                "shown": node.isVisible(),
                "renderer": node.layer().renderer().type(),
                "crs": node.layer().crs().authid(),
            }
            for node in nodes
        ],
    }
    render([node.layer() for node in nodes if node.isVisible()], view, project.crs(), picture)
    del nodes
    project.clear()
    return seen


def render(layers, view, crs, picture):
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setExtent(view)
    settings.setOutputSize(QSize(900, 700))
    settings.setDestinationCrs(crs)
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(picture)


def main():
    footprints, project, picture, *tables = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    seen = {table: seen_layer(footprints, table) for table in tables}
    if project:
        seen["project"] = seen_project(project, picture)
    application.exitQgis()
    sys.stdout.write(json.dumps(seen) + "\n")


main()
