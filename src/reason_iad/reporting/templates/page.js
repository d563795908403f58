"use strict";
(() => {
  const bind = (id, apply) => {
    const control = document.getElementById(id);
    if (!control) return;
    const update = () => apply(control);
    control.addEventListener("input", update);
    update();
  };
  const map = document.getElementById("map");
  const opacityText = document.getElementById("opacity-value");
  bind("opacity", (control) => {
    if (map) map.style.opacity = String(control.value / 100);
    if (opacityText) opacityText.textContent = `${control.value} %`;
    control.setAttribute("aria-valuetext", `${control.value} percent`);
  });
  const toggles = { "show-regions": "regions", "show-patches": "patches" };
  for (const [id, layer] of Object.entries(toggles)) {
    bind(id, (control) => {
      const target = document.getElementById(layer);
      if (target) target.style.display = control.checked ? "" : "none";
    });
  }
  // Tables of a batch: a press on a heading sorts by it, and once more turns the order around.
  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), body = head.closest("table").tBodies[0];
      const column = [...head.parentNode.children].indexOf(head);
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => (row.cells[column] ? row.cells[column].dataset.key || row.cells[column].textContent.trim() : "");
      const order = (a, b) => (a === "") - (b === "") || (down ? -1 : 1) * a.localeCompare(b, undefined, { numeric: true });
      body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
    });
  }
  // The counts of a batch choose which rows are shown; a second press shows all again.
  const counts = [...document.querySelectorAll("button[data-show]")];
  for (const button of counts) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of counts) other.setAttribute("aria-pressed", String(on && other === button));
      for (const row of document.querySelectorAll("tr[data-verdict]")) row.hidden = on && row.dataset.verdict !== button.dataset.show;
    });
  }
  // A folded section would be missing on paper: open all for printing, then fold them again.
  const opened = [];
  window.addEventListener("beforeprint", () => {
    for (const section of document.querySelectorAll("details:not([open])")) {
      section.open = true;
      opened.push(section);
    }
  });
  window.addEventListener("afterprint", () => {
    for (const section of opened.splice(0)) section.open = false;
  });
})();
