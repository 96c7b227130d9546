// An explanation without this script is whole; it adds sorting, highlighting, and parts and size of the picture.
"use strict";
(() => {
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

  // One fact, lit wherever it is cited, while a link to it has the focus or the pointer.
  const light = (number, on) =>
    each(`[data-fact="${number}"], #fact-${number}`, (element) => element.classList.toggle("lit", on));
  each("[data-fact]", (element) => {
    const number = element.dataset.fact;
    for (const name of ["mouseenter", "focus"]) element.addEventListener(name, () => light(number, true));
    for (const name of ["mouseleave", "blur"]) element.addEventListener(name, () => light(number, false));
  });

  // Parts of the picture, and its size.
  each("[data-picture]", (tools) => {
    const drawing = document.querySelector("svg.evidence");
    const width = Number(drawing.getAttribute("width"));
    const height = Number(drawing.getAttribute("height"));
    let scale = 1;
    const boxes = [...tools.querySelectorAll("[data-part]")];
    const show = () => {
      const on = boxes.filter((box) => box.checked).map((box) => box.dataset.part);
      each("svg.evidence .edge", (edge) => {
        edge.classList.toggle("off", !on.some((part) => edge.classList.contains(part)));
      });
    };
    boxes.forEach((box) => box.addEventListener("change", show));
    tools.addEventListener("click", (event) => {
      const how = event.target.dataset.zoom;
      if (!how) return;
      scale = how === "in" ? Math.min(4, scale * 1.25) : how === "out" ? Math.max(0.4, scale / 1.25) : 1;
      drawing.setAttribute("width", String(Math.round(width * scale)));
      drawing.setAttribute("height", String(Math.round(height * scale)));
    });
    tools.hidden = false;
  });

  // Tables are sorted by a button in each heading: numbers as numbers.
  const value = (row, column) => {
    const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
    const number = Number.parseFloat(text.replaceAll(",", "").replace("\u2212", "-"));
    return Number.isNaN(number) ? text : number;
  };
  const before = (a, b) =>
    typeof a === typeof b
      ? typeof a === "number" ? a - b : a.localeCompare(b)
      : typeof a === "number" ? -1 : 1;
  each("table.sortable", (table) => {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.addEventListener("click", () => {
        const rising = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => (rising ? 1 : -1) * before(value(a, column), value(b, column)));
        table.tBodies[0].append(...rows);
      });
      heading.replaceChildren(button);
    });
  });
})();
