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
