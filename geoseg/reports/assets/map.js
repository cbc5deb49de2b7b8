/* The map of the report, of notebooks and of the app: image, footprints and regions, from data that comes with it. */
"use strict";

function geosegMap(element, data) {
  const map = L.map(element, {
    crs: data.plane ? L.CRS.Simple : L.CRS.EPSG3857, preferCanvas: true, zoomSnap: 0.25, minZoom: -8, maxZoom: 24,
    attributionControl: false,
  });
  L.control.attribution({ prefix: false }).addAttribution(data.attribution).addTo(map);
  if (!data.plane) L.control.scale({ imperial: false }).addTo(map);

  const text = data.words;
  const hidden = new Set(data.images.filter((image) => !image.shown).map((image) => image.name));
  const opacity = { buildings: 0.3 };
  let coloring = data.coloring, tells = true, b, polygons, buildings, regions, images = [];

  function decode(rings) {
    return rings.map((ring) => {
      const points = [];
      for (let i = 0, x = 0, y = 0; i < ring.length; i += 2) {
        x += ring[i]; y += ring[i + 1];
        points.push([y / data.scale, x / data.scale]);
      }
      return points;
    });
  }

  const number = (value, digits) => value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
  function describe(i) {
    const rows = [[text.area, number(b.area[i], 1) + " " + text.unit]];
    if (b.confidence) rows.push([text.confidence, number(b.confidence[i], 2)]);
    if (b.classes.length > 1) rows.push([text.class, b.classes[b.class[i]]]);
    rows.push([text.corners, b.rings[i].reduce((n, ring) => n + ring.length / 2, 0)]);
    const table = document.createElement("table");
    rows.forEach(([name, value]) => {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = value;
    });
    return table;
  }

  const tell = (i, place) => L.popup().setLatLng(place).setContent(describe(i)).openOn(map);

  function ramp(share) {
    const s = Math.min(1, Math.max(0, share)) * (data.ramp.length - 1), low = Math.floor(s), high = Math.min(low + 1, data.ramp.length - 1);
    return "rgb(" + data.ramp[low].map((c, i) => Math.round(c + (data.ramp[high][i] - c) * (s - low))).join(",") + ")";
  }
  const classColor = (kind) => data.classColors[kind % data.classColors.length];
  const colorings = {
    one: () => "#ffd400",
    area: (i) => ramp(Math.log(b.area[i] / data.areas[0]) / Math.log(data.areas[1] / data.areas[0])),
    confidence: (i) => b.confidence ? ramp((b.confidence[i] - 0.5) * 2) : "#ffd400",
    class: (i) => classColor(b.class[i]),
  };
  const style = (i) => ({ color: colorings[coloring](i), weight: 1.5, fillOpacity: opacity.buildings });
  const restyle = () => polygons.forEach((polygon, i) => polygon.setStyle(style(i)));

  /* What colours mean, in the lower right corner; nothing where they mean nothing. */
  const legend = L.control({ position: "bottomright" });
  legend.onAdd = () => L.DomUtil.create("div", "legend");
  legend.addTo(map);
  function addToLegend(color, words) {
    const row = L.DomUtil.create("div", "", legend.getContainer());
    L.DomUtil.create("span", "", row).style.background = color;
    row.append(words);
  }
  function explain() {
    const box = legend.getContainer();
    box.replaceChildren();
    box.hidden = coloring === "one";
    if (coloring === "class") b.classes.forEach((name, kind) => addToLegend(classColor(kind), name));
    if (coloring === "confidence") [0.5, 0.75, 1].forEach((value) => addToLegend(ramp((value - 0.5) * 2), String(value)));
    if (coloring === "area") [0, 0.5, 1].forEach((share) => {
      const area = data.areas[0] * (data.areas[1] / data.areas[0]) ** share;
      addToLegend(ramp(share), (share === 0 ? "to " : share === 1 ? "from " : "") + number(Number(area.toPrecision(2)), 0) + " " + text.unit);
    });
  }

  function replaceImages(wanted) {
    images.forEach((image) => image.layer.remove());
    images = wanted.map(({ name, url, bounds }) => ({
      name, layer: L.imageOverlay(url, bounds, { alt: name, className: "pixels", opacity: name in opacity ? opacity[name] : 1 }),
    }));
    images.forEach((image) => { if (!hidden.has(image.name)) image.layer.addTo(map); });
  }

  /* Footprints and regions instead of those that are there; all else stays. */
  function replace(changed) {
    [buildings, regions].forEach((layer) => layer && layer.remove());
    b = changed.buildings;
    polygons = b.rings.map((rings, i) => L.polygon(decode(rings), style(i)));
    buildings = L.featureGroup(polygons).on("click", (event) => { if (tells) tell(polygons.indexOf(event.propagatedFrom), event.latlng); });
    regions = L.featureGroup(changed.regions.rings.map((rings) => L.polygon(rings.map(decode), {
      color: "#00e5ff", weight: 2, fill: false, interactive: false,
    })));
    if (!hidden.has("buildings")) buildings.addTo(map);
    if (!hidden.has("regions")) regions.addTo(map);
    explain();
  }

  map.fitBounds(data.bounds);
  replaceImages(data.images);
  replace(data);

  let baseMap = null;
  function findLayer(name) {
    if (name === "base map") {
      baseMap = baseMap || L.tileLayer(data.baseMap.url, {
        attribution: data.baseMap.attribution, maxZoom: 24, maxNativeZoom: 19,
        referrerPolicy: "strict-origin-when-cross-origin",
      });
      return baseMap;
    }
    if (name === "buildings" || name === "regions") return { buildings, regions }[name];
    return images.find((image) => image.name === name).layer;
  }
  return {
    map,
    replace,
    replaceImages,
    show(name, visible) {
      hidden[visible ? "delete" : "add"](name);
      if (visible) findLayer(name).addTo(map); else findLayer(name).remove();
      if (name !== "buildings" && map.hasLayer(buildings)) buildings.bringToFront();
    },
    fade(name, value) {
      opacity[name] = value;
      if (name === "buildings") restyle(); else findLayer(name).setOpacity(value);
    },
    color(by) { coloring = by; restyle(); explain(); },
    open(i) { tell(i, polygons[i].getBounds().getCenter()); map.fitBounds(polygons[i].getBounds().pad(4)); },
    listen(does) { tells = does; },
    count: () => polygons.length,
  };
}

/* Let the boxes, sliders and the choice of colours inside an element move a map. */
function geosegSwitches(root, view) {
  root.querySelectorAll("[data-layer]").forEach((box) => box.addEventListener("change", () => view.show(box.dataset.layer, box.checked)));
  root.querySelectorAll("[data-fade]").forEach((slider) => slider.addEventListener("input", () => view.fade(slider.dataset.fade, Number(slider.value))));
  const colors = root.querySelector("[data-colors]");
  if (colors) colors.addEventListener("change", () => view.color(colors.value));
}
