/* Switches of the map, and tables that sort where their headings are clicked. */
"use strict";

(function () {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const view = geosegMap(document.getElementById("map"), data);
  window.geosegView = view;
  geosegSwitches(document, view);

  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("thead button").forEach((button, column) => button.addEventListener("click", () => {
      const heading = button.closest("th"), up = heading.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("thead th").forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "descending" : "ascending");
      const value = (row) => { const cell = row.cells[column]; return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value); };
      const order = (one, other) => typeof value(one) === "number" ? value(other) - value(one) : value(one).localeCompare(value(other));
      const rows = [...table.tBodies[0].rows].sort((one, other) => (up ? 1 : -1) * order(one, other));
      table.tBodies[0].append(...rows);
    }));
  });
})();
