// Small pieces that build the page. Text from outside only ever becomes text, never markup.
"use strict";

export const LANGUAGE = document.documentElement.lang;

const MESSAGES = JSON.parse(document.getElementById("words").textContent);
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));

// A text of the page in its language: the values replace {names}.
export const _ = (text, values = {}) => fill(MESSAGES[text] || text, values);

// A text about a number of things, by the rules of the language.
export function several(one, many, count, values = {}) {
  const forms = MESSAGES[one] || [one, many];
  return fill(forms[forms.length === 1 || count === 1 ? 0 : 1], { count: count.toLocaleString(LANGUAGE), ...values });
}

export const $ = (id) => document.getElementById(id);

const inSeconds = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });
const isAtIt = async (answer) => answer.status === 409 && (await answer.clone().json().catch(() => null))?.error?.code === "in_progress";

// `fetch`. Where no answer to a POST comes, the same once more under the same key: the server does it once, however often it arrives.
export async function fetchOnce(path, options = {}) {
  if (options.method !== "POST") return fetch(path, options);
  const headers = new Headers(options.headers), pauses = [1, 2, 4];
  headers.set("Idempotency-Key", Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join(""));
  for (let looks = 45; ;) {
    let answer = null, lost = null;
    try { answer = await fetch(path, { ...options, headers }); } catch (error) { lost = error; }
    if (answer && looks > 0 && await isAtIt(answer)) { looks -= 1; await inSeconds(2); continue; }
    if (answer && ![502, 504].includes(answer.status)) return answer; // what a proxy says when its server went away
    if (!pauses.length) { if (lost) throw lost; return answer; }
    await inSeconds(pauses.shift());
  }
}

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

const ICONS = {
  normal: [["circle", { cx: 12, cy: 12, r: 11, fill: "currentColor" }], ["path", { d: "M6.5 12.5l3.7 3.7 7.3-8", fill: "none", stroke: "var(--panel)", "stroke-width": 2.6, "stroke-linecap": "round", "stroke-linejoin": "round" }]],
  defective: [["path", { d: "M7.4 1h9.2L23 7.4v9.2L16.6 23H7.4L1 16.6V7.4z", fill: "currentColor" }], ["path", { d: "M8 8l8 8M16 8l-8 8", stroke: "var(--panel)", "stroke-width": 2.6, "stroke-linecap": "round" }]],
  uncertain: [["path", { d: "M12 3l9.5 17.5h-19z", fill: "currentColor", stroke: "currentColor", "stroke-width": 3, "stroke-linejoin": "round" }], ["path", { d: "M9.6 11.2c0-3 4.9-2.9 4.8-.2-.1 1.7-2.4 1.8-2.4 3.9", fill: "none", stroke: "var(--panel)", "stroke-width": 2, "stroke-linecap": "round" }], ["circle", { cx: 12, cy: 18.4, r: 1.3, fill: "var(--panel)" }]],
};
export const icon = (verdict) => svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, ...(ICONS[verdict] || []).map(([t, a]) => svg(t, a)));

export const WORDS = { normal: _("Normal"), defective: _("Defective"), uncertain: _("Uncertain"), failed: _("Failed"), queued: _("Waiting"), running: _("Running") };
export const FEEDBACK = { false_alarm: _("False alarm"), missed: _("Missed defect"), confirmed: _("Confirmed") };
export const low = (text) => (LANGUAGE === "de" ? text : text.toLowerCase()); // German nouns keep their capitals
export const percent = (p) => (p > 0.99 ? _("over 99 %") : p < 0.01 ? _("under 1 %") : `${Math.round(p * 100)} %`);
export const digits = (value, places) => value.toLocaleString(LANGUAGE, { minimumFractionDigits: places, maximumFractionDigits: places });
export const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${digits(ms / 1000, 1)} s`);
const LIKELY = [[0.05, _("almost certainly normal")], [0.2, _("very likely normal")], [0.4, _("more likely normal than defective")], [0.6, _("as likely defective as normal")], [0.8, _("more likely defective than normal")], [0.95, _("very likely defective")]];
export const likely = (p) => (LIKELY.find(([bound]) => p < bound) || [0, _("almost certainly defective")])[1];
export const plain = (name) => _((name || "unknown").replaceAll("_", " "));

export function meter(share) {
  const bar = el("i");
  bar.style.width = `${(share * 100).toFixed(1)}%`;
  return el("div", { class: "meter", "aria-hidden": "true" }, bar);
}

export const badge = (word) => el("span", { class: `badge ${word}` }, ICONS[word] ? icon(word) : null, WORDS[word] || word);

export const when = (text) => {
  const date = new Date(text);
  return el("time", { datetime: text }, date.toLocaleString(LANGUAGE, { dateStyle: "medium", timeStyle: "short" }));
};

export function fillSelect(select, values, first) {
  const chosen = select.value;
  select.replaceChildren(el("option", { value: "" }, first), ...values.map(([value, text]) => el("option", { value }, text)));
  select.value = [...select.options].some((o) => o.value === chosen) ? chosen : "";
}

export function answerBars(answer, told) {
  if (!answer.options.length) return el("p", { class: "a" }, told(answer.text));
  const rows = answer.options.map((o) =>
    el("li", { class: o.text === answer.text ? "chosen" : "" }, el("div", { class: "head" }, el("span", {}, told(o.text)), el("span", {}, percent(o.probability))), meter(o.probability)));
  if (answer.grounds?.length) rows.push(el("li", { class: "small" }, _("From the model, joined with {grounds}.", { grounds: answer.grounds.map(told).join(_(" and ")) })));
  return el("ul", { class: "bars" }, rows);
}

export function webLink(source) {
  try {
    const url = new URL(source);
    if (url.protocol === "https:" || url.protocol === "http:") return el("a", { href: url.href, rel: "noreferrer noopener", target: "_blank" }, source);
  } catch { /* no address: it stays text */ }
  return document.createTextNode(source);
}

// Regions and patches over the image, in pixels of the original.
export function drawBoxes(target, report, showRegions, showPatches) {
  const [height, width] = report.image_hw;
  target.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const nodes = [];
  const rect = (b, kind) => svg("rect", { class: `box ${kind}`, x: b[0], y: b[1], width: b[2] - b[0], height: b[3] - b[1] });
  if (showPatches && report.trace) for (const p of [...report.trace.patches, ...(report.trace.details ?? [])]) nodes.push(rect(p.box_xyxy, "patch-rim"), rect(p.box_xyxy, "patch-edge"));
  if (showRegions) {
    const size = Math.max(height, width) / 28;
    report.regions.forEach((r, i) => {
      const b = r.box_xyxy;
      const top = b[1] > 1.4 * size ? b[1] - 1.3 * size : Math.min(b[3] + 0.2 * size, height - 1.3 * size);
      const left = Math.min(Math.max(b[0], 0), width - 1.3 * size);
      const label = svg("text", { x: left + 0.65 * size, y: top + size, "font-size": size, "text-anchor": "middle", fill: "#fff", "font-weight": 700 });
      label.textContent = String(i + 1);
      nodes.push(rect(b, "rim"), rect(b, "edge"), svg("rect", { x: left, y: top, width: 1.3 * size, height: 1.3 * size, fill: "#000" }), label);
    });
  }
  target.replaceChildren(...nodes);
}

// A square cut around a box, with some of what lies around it.
export function cut(image, box, hw) {
  const [height, width] = hw;
  const scale = image.naturalWidth / width;
  const side = Math.min(Math.max(box[2] - box[0], box[3] - box[1], Math.max(height, width) * 0.12) * 1.4, Math.min(height, width));
  const left = Math.min(Math.max((box[0] + box[2]) / 2 - side / 2, 0), width - side);
  const top = Math.min(Math.max((box[1] + box[3]) / 2 - side / 2, 0), height - side);
  const canvas = el("canvas", { width: 240, height: 240 });
  canvas.getContext("2d").drawImage(image, left * scale, top * scale, side * scale, side * scale, 0, 0, 240, 240);
  return canvas;
}
