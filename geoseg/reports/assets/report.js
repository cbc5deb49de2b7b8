/* Switches of the map, and tables that sort where their headings are clicked. */
"use strict";

(function () {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const view = geosegMap(document.getElementById("map"), data);
  window.geosegView = view;
  geosegSwitches(document, view);

  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("thead button").forEach((button, column) => button.addEventListener("click", () => {
      const heading = button.closest("th"), rows = [...table.tBodies[0].rows], cell = (row) => row.cells[column];
      const isText = rows.some((row) => cell(row).dataset.value === undefined);
      const before = heading.getAttribute("aria-sort") || (isText ? "descending" : "ascending");  // of numbers, the largest come first
      const sign = before === "descending" ? 1 : -1;
      table.querySelectorAll("thead th").forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const order = isText
        ? (one, other) => cell(one).textContent.localeCompare(cell(other).textContent)
        : (one, other) => cell(one).dataset.value - cell(other).dataset.value;
      rows.sort((one, other) => sign * order(one, other));
      table.tBodies[0].append(...rows);
    }));
  });
})();
