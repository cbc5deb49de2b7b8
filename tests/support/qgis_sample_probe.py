"""Opens a sample and its project in a real QGIS, fills in its form, and tells what it sees; run by QGIS's own Python.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 qgis_sample_probe.py points.gpkg points.qgz
"""

import json
import sys

from qgis.core import QgsApplication, QgsProject, QgsVectorLayer


def seen_layer(layer):
    form = layer.editFormConfig()
    fields = layer.fields()
    return {
        "valid": layer.isValid(),
        "features": layer.featureCount(),
        "widgets": {
            f.name(): layer.editorWidgetSetup(fields.indexOf(f.name())).type() for f in fields
        },
        "choices": [
            choice
            for f in fields
            for choice in layer.editorWidgetSetup(fields.indexOf(f.name())).config().get("map", [])
        ],
        "locked": [f.name() for f in fields if form.readOnly(fields.indexOf(f.name()))],
        "shown": [element.name() for element in form.tabs()],
        "legend": [item.label() for item in layer.renderer().legendSymbolItems()],
        "actions": [[action.name(), action.command()] for action in layer.actions().actions()],
    }  # fmt: skip


class Canvas:
    """Stands for the window of QGIS, which there is none of here: remembers where it was sent."""

    def __init__(self):
        self.extent = self.form = None

    def mapCanvas(self):
        return self

    def mapSettings(self):
        return self

    def destinationCrs(self):
        return QgsProject.instance().crs()

    def setExtent(self, extent):
        self.extent = extent

    def openFeatureForm(self, layer, feature, *more):
        self.form = feature["id"]

    def zoomScale(self, scale):
        pass

    def refresh(self):
        pass


def run_action(layer):
    """Where the action of a layer goes."""
    import qgis.utils

    qgis.utils.iface = canvas = Canvas()
    code = layer.actions().actions()[0].command().replace("[% @layer_id %]", layer.id())
    exec(code, {})
    feature = next(f for f in layer.getFeatures() if f["id"] == canvas.form)
    return [canvas.form, canvas.extent.contains(feature.geometry().asPoint())]


def answer_one(layer):
    """Fill in the first point as a person would, through the layer's edit buffer."""
    layer.startEditing()
    feature = next(layer.getFeatures())
    layer.changeAttributeValue(feature.id(), layer.fields().indexOf("answer"), "building")
    return layer.commitChanges(), feature["id"]


def seen_project(path):
    project = QgsProject.instance()
    read = project.read(path)
    layers = [node.layer() for node in project.layerTreeRoot().findLayers()]
    seen = {
        "read": read,
        "layers": [
            [layer.name(), layer.isValid(), node.isVisible(), layer.featureCount() if hasattr(layer, "featureCount") else None]
            for node, layer in zip(project.layerTreeRoot().findLayers(), layers, strict=True)
        ],
        "bookmarks": [
            [mark.name(), mark.group(), mark.extent().crs().isValid(), mark.extent().width()]
            for mark in project.bookmarkManager().bookmarks()
        ],
        "form": seen_layer(layers[0]),
        "next": run_action(layers[1]),
    }  # fmt: skip
    del layers
    project.clear()
    return seen


def main():
    sample, project = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    seen = {"project": seen_project(project)}
    seen["next"] = seen["project"].pop("next")
    for table in ("points", "squares", "marks"):
        layer = QgsVectorLayer(f"{sample}|layername={table}", table, "ogr")
        if layer.isValid():
            seen[table] = seen_layer(layer)
            if table == "points":
                seen["committed"], seen["answered"] = answer_one(layer)
        del layer
    application.exitQgis()
    sys.stdout.write(json.dumps(seen) + "\n")


main()
