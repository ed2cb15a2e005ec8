// Sort tables of class "sortable" by a click on a header, or by Enter or Space on it.
// Order: ascending, descending, as written. A cell counts as its first number if most cells of its column begin with one.
"use strict";

(() => {
  const NUMBER = /^[-+−]?(\d+\.?\d*|\.\d+)(e[-+]?\d+|\^\d+)?/i;
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

  const textOf = (row, column) => row.cells[column].textContent.trim();

  function numberOf(text) {
    const match = NUMBER.exec(text);
    if (!match) return NaN;
    const [base, power] = match[0].replace("−", "-").split("^"); // as in 2^14
    return Number(base) ** Number(power ?? 1);
  }

  function isNumeric(texts) {
    const filled = texts.filter((text) => text !== "");
    return filled.filter((text) => !Number.isNaN(numberOf(text))).length > filled.length / 2;
  }

  function sorted(rows, column, direction) {
    if (direction === "none") return rows;
    const numeric = isNumeric(rows.map((row) => textOf(row, column)));
    const key = (row) => (numeric ? numberOf(textOf(row, column)) : textOf(row, column).toLowerCase());
    const missing = (value) => value === "" || Number.isNaN(value);
    const sign = direction === "ascending" ? 1 : -1;
    return [...rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (missing(x) || missing(y)) return missing(x) - missing(y); // empty cells are last in both directions
      return sign * (numeric ? x - y : x.localeCompare(y));
    });
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const headers = table.tHead ? [...table.tHead.rows[0].cells] : [];
    const spans = [...table.querySelectorAll("td, th")].some((cell) => cell.colSpan > 1 || cell.rowSpan > 1);
    if (!body || body.rows.length < 3 || spans) return;
    const original = [...body.rows];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort-button";
      button.title = "Sort by this column";
      button.append(...header.childNodes);
      if (button.textContent.trim() === "") button.setAttribute("aria-label", "Sort by this column");
      header.append(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const direction = NEXT[header.getAttribute("aria-sort")];
        headers.forEach((other) => other.setAttribute("aria-sort", "none"));
        header.setAttribute("aria-sort", direction);
        body.append(...sorted(original, column, direction));
      });
    });
  }

  // A box that scrolls must be reachable with the keyboard.
  function makeReachable() {
    for (const box of document.querySelectorAll(".pst-scrollable-table-container")) {
      if (box.scrollWidth > box.clientWidth) {
        box.tabIndex = 0;
        box.setAttribute("role", "region");
        box.setAttribute("aria-label", "Table");
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
      }
    }
  }

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  makeReachable();
  window.addEventListener("resize", makeReachable);
})();
