/* The map as a part of a Streamlit page: it stays as it is while footprints change, tells what is drawn, and keeps its view in the URL. */

const PATIENCE_MS = 250;
const KEYS = { place: "map", colors: "colors", off: "off" };

function readAddress() {
  const query = new URLSearchParams(location.search);
  const place = (query.get(KEYS.place) || "").split(",").map(Number);
  return {
    place: place.length === 3 && place.every(Number.isFinite) ? place : null,
    colors: query.get(KEYS.colors),
    off: query.has(KEYS.off) ? query.get(KEYS.off).split(".").filter(Boolean) : null,
  };
}

function writeAddress(changes) {
  const address = new URL(location.href);
  Object.entries(changes).forEach(([key, value]) => value === null ? address.searchParams.delete(key) : address.searchParams.set(key, value));
  history.replaceState(history.state, "", address);
}

/* Corners by clicks; the first corner or Enter ends it, Escape gives up. */
function draw(view, element, done) {
  const map = view.map, points = [];
  const line = L.polyline([], { color: "#00e5ff", weight: 2, dashArray: "6 4", interactive: false }).addTo(map);
  const corners = L.layerGroup().addTo(map);
  function show() {
    line.setLatLngs(points);
    corners.clearLayers();
    points.forEach((point) => L.circleMarker(point, { radius: 4, color: "#00e5ff", fillOpacity: 1, interactive: false }).addTo(corners));
  }
  function add(event) {
    const first = points.length > 2 && map.latLngToContainerPoint(points[0]).distanceTo(event.containerPoint) < 12;
    if (first) return end(true);
    points.push(event.latlng);
    show();
  }
  function press(event) {
    if (event.key === "Escape") end(false);
    if (event.key === "Enter") end(points.length > 2);
    if (event.key === "Backspace") { points.pop(); show(); }
  }
  function end(keep) {
    map.off("click", add).off("dblclick", finish);
    element.removeEventListener("keydown", press);
    map.doubleClickZoom.enable();
    view.listen(true);
    element.classList.remove("drawing");
    line.remove();
    corners.remove();
    done(keep ? points.map((point) => [point.lng, point.lat]) : null);
  }
  function finish() { points.pop(); end(points.length > 2); }
  map.doubleClickZoom.disable();
  view.listen(false);
  map.closePopup();
  map.on("click", add).on("dblclick", finish);
  element.addEventListener("keydown", press);
  element.classList.add("drawing");
  element.focus();
  return end;
}

function build(component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".geoseg-map");
  const element = root.querySelector(".map"), switches = root.querySelector(".switches");
  const view = geosegMap(element, data.map);
  const map = view.map, address = readAddress();
  const state = { id: data.id, version: data.version, pictures: data.pictures, view, drawn: data.drawn, data, component, root };

  switches.innerHTML = data.switches;
  geosegSwitches(switches, view);
  const boxes = [...switches.querySelectorAll("[data-layer]")], colors = switches.querySelector("[data-colors]");
  if (address.off) boxes.forEach((box) => {
    const wanted = !address.off.includes(box.dataset.layer.replace(" ", "-"));
    if (box.checked !== wanted) { box.checked = wanted; view.show(box.dataset.layer, wanted); }
  });
  if (address.colors && [...colors.options].some((option) => option.value === address.colors)) { colors.value = address.colors; view.color(address.colors); }
  if (address.place) map.setView(address.place.slice(0, 2), address.place[2], { animate: false });
  switches.addEventListener("change", () => writeAddress({
    [KEYS.colors]: colors.value === data.map.coloring ? null : colors.value,
    [KEYS.off]: boxes.filter((box) => !box.checked).map((box) => box.dataset.layer.replace(" ", "-")).join(".") || ".",
  }));
  map.on("moveend", () => {
    const { lat, lng } = map.getCenter();
    writeAddress({ [KEYS.place]: [lat.toFixed(6), lng.toFixed(6), map.getZoom()].join(",") });
  });

  /* Where there are too many outlines, those of the part that is looked at are asked for, with some around it. */
  let waiting = null;
  function ask() {
    clearTimeout(waiting);
    const { pictured, part } = state.data, seen = map.getBounds(), box = seen.pad(0.5);
    const isThere = part ? L.latLngBounds([part[1], part[0]], [part[3], part[2]]).contains(seen) : box.contains(data.map.bounds);
    if (!pictured || isThere) return;
    const sides = [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
    waiting = setTimeout(() => state.component.setStateValue("seen", { run: data.run, value: sides }), PATIENCE_MS);
  }
  map.on("moveend", ask);
  ask();

  const tell = (rings) => { state.drawn = rings; state.component.setStateValue("drawn", { run: data.run, value: rings }); };
  const button = (name) => root.querySelector(`[data-do="${name}"]`);
  let stop = null;
  button("draw").addEventListener("click", () => {
    if (stop) return stop(false);
    root.querySelector(".hint").hidden = false;
    button("draw").textContent = "Give up drawing";
    stop = draw(view, element, (ring) => {
      stop = null;
      root.querySelector(".hint").hidden = true;
      button("draw").textContent = "Draw a region";
      if (ring) tell([...state.drawn, ring]);
    });
  });
  button("part").addEventListener("click", () => {
    const box = map.getBounds();
    tell([...state.drawn, [box.getSouthWest(), box.getSouthEast(), box.getNorthEast(), box.getNorthWest()].map((p) => [p.lng, p.lat])]);
  });
  button("clear").addEventListener("click", () => tell([]));
  root.querySelector(".tools").hidden = data.map.plane;
  new ResizeObserver(() => map.invalidateSize()).observe(element);
  root.geoseg = state;
  return state;
}

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".geoseg-map");
  let state = root.geoseg;
  if (!data || !data.map) return;
  if (!state || state.id !== data.id) {
    if (data.partial) return component.setStateValue("known", null);  // the images went with an element that is no more
    if (state) state.view.map.remove();
    state = build(component);
    component.setStateValue("known", { run: data.run, value: data.pictures });
  } else if (state.version !== data.version) {
    state.view.replace(data.map);
    if (state.pictures !== data.pictures) {
      state.view.replaceImages(data.map.images);
      component.setStateValue("known", { run: data.run, value: data.pictures });
    }
    Object.assign(state, { version: data.version, pictures: data.pictures });
  }
  Object.assign(state, { component, data });
  root.classList.toggle("near", Boolean(data.part));
  root.querySelector(".note").textContent = data.note;
}
