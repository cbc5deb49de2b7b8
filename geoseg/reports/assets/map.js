/* The map of a report: image, footprints and regions, from data in the page itself. */
"use strict";

function geosegMap(element, data) {
  const map = L.map(element, {
    crs: data.plane ? L.CRS.Simple : L.CRS.EPSG3857, preferCanvas: true, zoomSnap: 0.25, minZoom: -8, maxZoom: 24,
    attributionControl: false,
  });
  const text = data.words;
  L.control.attribution({ prefix: false }).addAttribution(data.attribution).addTo(map);
  if (!data.plane) L.control.scale({ imperial: false }).addTo(map);

  const images = data.images.map((image) => L.imageOverlay(image.url, image.bounds, { alt: image.name, className: "pixels" }));
  images.forEach((image, i) => { if (data.images[i].shown) image.addTo(map); });

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

  const b = data.buildings;
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

  function ramp(share) {
    const s = Math.min(1, Math.max(0, share)) * (data.ramp.length - 1), low = Math.floor(s), high = Math.min(low + 1, data.ramp.length - 1);
    return "rgb(" + data.ramp[low].map((c, i) => Math.round(c + (data.ramp[high][i] - c) * (s - low))).join(",") + ")";
  }
  const colorings = {
    one: () => "#ffd400",
    area: (i) => ramp(Math.log(b.area[i] / data.areas[0]) / Math.log(data.areas[1] / data.areas[0])),
    confidence: (i) => b.confidence ? ramp((b.confidence[i] - 0.5) * 2) : "#ffd400",
    class: (i) => data.classColors[b.class[i] % data.classColors.length],
  };
  let coloring = "one", fill = 0.3;
  const style = (i) => ({ color: colorings[coloring](i), weight: 1.5, fillOpacity: fill });
  const buildings = L.featureGroup(b.rings.map((rings, i) => {
    const polygon = L.polygon(decode(rings), style(i));
    polygon.bindPopup(() => describe(i));
    return polygon;
  })).addTo(map);
  const polygons = buildings.getLayers();
  const restyle = () => polygons.forEach((polygon, i) => polygon.setStyle(style(i)));

  const regions = L.featureGroup(data.regions.rings.map((rings, i) => L.polygon(rings.map(decode), {
    color: "#00e5ff", weight: 2, fill: false, interactive: false,
  }))).addTo(map);

  map.fitBounds(data.bounds);
  return {
    map,
    show(name, visible) {
      const layer = { buildings, regions }[name] || images[data.images.findIndex((image) => image.name === name)];
      if (visible) layer.addTo(map); else layer.remove();
      if (name !== "buildings" && map.hasLayer(buildings)) buildings.bringToFront();
    },
    fade(name, opacity) {
      if (name === "buildings") { fill = opacity; restyle(); }
      else images[data.images.findIndex((image) => image.name === name)].setOpacity(opacity);
    },
    color(by) { coloring = by; restyle(); },
    open(i) { polygons[i].openPopup(); map.fitBounds(polygons[i].getBounds().pad(4)); },
  };
}
