// The threshold of a profile: move it over the record, see what would have changed, set it, take it back.
"use strict";
import { $, LANGUAGE, _, badge, el, fillSelect, plain, svg, when } from "/assets/view.js";

const number = (n) => n.toLocaleString(LANGUAGE);
const rateText = (rate) => rate.toLocaleString(LANGUAGE, { style: "percent", maximumFractionDigits: 2 });
const shareText = (share) => share.toLocaleString(LANGUAGE, { style: "percent", maximumFractionDigits: share < 0.1 ? 1 : 0 });
const range = (s) => `${shareText(s.low)} – ${shareText(s.high)}`;
let use = null, found = null, held = null, asked = 0;

export async function showThreshold(tools) {
  use = tools;
  const profiles = await use.get("/v1/profiles");
  fillSelect($("t-category"), profiles.map((p) => [p.category, plain(p.category)]), _("Choose a profile"));
  if (!$("t-category").value && profiles.length === 1) $("t-category").value = profiles[0].category;
  await load(profiles.length);
}

async function load(profiles = 1) {
  const category = $("t-category").value, turn = ++asked;
  $("t-work").hidden = true;
  $("t-empty").hidden = Boolean(category);
  $("t-source").textContent = "";
  if (!category) {
    $("t-empty").textContent = profiles ? _("Choose a profile to see what other rates would have meant.") : _("There is no profile yet. Learn one from good parts first.");
    return;
  }
  const base = `/v1/profiles/${encodeURIComponent(category)}`, days = $("t-days").value;
  const [threshold, rates] = await Promise.all([use.get(`${base}/threshold`), use.get(`${base}/what-if${days ? `?days=${days}` : ""}`)]);
  if (turn !== asked) return; // another profile was chosen meanwhile
  held = threshold;
  found = rates;
  const current = found.rates.findIndex((r) => r.max_overkill === found.now);
  $("t-slider").max = String(found.rates.length - 1);
  $("t-slider").value = String(current);
  $("t-parts").textContent = _("{parts} parts of the record. What was missed is known only of parts that people gave feedback on.", { parts: number(found.parts) })
    + (found.without_comparison ? ` ${_("{count} of them were compared with no good part; no rate moves those.", { count: number(found.without_comparison) })}` : "");
  $("t-source").textContent = { profile: _("The rate was set for this profile."), usual: _("The usual rate holds; none was set for this profile."), server: _("This server was started with --max-overkill, which goes before what is set here.") }[held.source];
  $("t-empty").hidden = true;
  $("t-work").hidden = false;
  history(threshold);
  draw();
}

function draw() {
  const row = found.rates[Number($("t-slider").value)], now = found.rates.find((r) => r.max_overkill === found.now);
  const same = row === now;
  $("t-rate").textContent = rateText(row.max_overkill);
  $("t-slider").setAttribute("aria-valuetext", rateText(row.max_overkill));
  $("t-figures").replaceChildren(
    figure(_("stopped"), "defective", row.total.stopped, now.total.stopped, _("of all parts"), same),
    figure(_("uncertain"), "uncertain", row.total.uncertain, now.total.uncertain, _("of all parts"), same),
    figure(_("missed"), "defective", row.total.missed, now.total.missed, _("of parts known to be defective"), same),
    figure(_("good ones stopped"), "uncertain", row.total.false_alarms, now.total.false_alarms, _("of parts known to be good"), same));
  $("t-chart").replaceChildren(chart(row, now));
  $("t-table").replaceChildren(...table(row));
  changed(row, same);
  $("t-go").textContent = _("Set {rate} for {profile}", { rate: rateText(row.max_overkill), profile: plain(found.category) });
  const admin = use.state.status?.role === "admin";
  $("t-go").disabled = !admin || (same && held.source === "profile");
  $("t-back").disabled = !admin || !standing(held.history);
  $("t-why").disabled = !admin;
}

const standing = (choices) => choices.reduce((open, c) => Math.max(0, open + (c.max_overkill === null ? -1 : 1)), 0);

function figure(name, tone, share, before, among, same) {
  if (!share.of) return el("li", { class: `panel ${tone}` }, el("span", { class: "t-name" }, name), el("b", {}, "–"), el("span", { class: "small" }, _("nobody gave feedback that would tell")));
  return el("li", { class: `panel ${tone}` }, el("span", { class: "t-name" }, name),
    el("b", {}, number(share.count), same ? null : el("span", { class: "t-was" }, _("now {count}", { count: number(before.count) }))),
    el("span", {}, `${shareText(share.count / share.of)} ${among}`), el("span", { class: "small" }, _("95 % interval {range}, n = {n}", { range: range(share), n: number(share.of) })));
}

// Stopped and uncertain shares of each week, as stacked bars; a line marks the height at the rate that holds now.
function chart(row, now) {
  const width = matchMedia("(max-width: 640px)").matches ? 360 : 720, height = 190, left = 46, bottom = 26, weeks = row.weeks;
  if (!weeks.length) return el("p", { class: "soft" }, _("No part of this profile is in the record of this time."));
  const sum = (o) => (o.stopped.count + o.uncertain.count) / o.parts;
  const top = Math.min(1, Math.max(0.05, ...weeks.map((w) => sum(w.outcome)), ...now.weeks.map((w) => sum(w.outcome))) * 1.12);
  const y = (share) => 8 + (height - bottom - 8) * (1 - share / top), step = (width - left - 6) / weeks.length, bar = Math.min(46, step * 0.62);
  const nodes = [];
  for (const level of [0, top / 2, top]) {
    const label = svg("text", { x: left - 7, y: y(level) + 4, "text-anchor": "end" });
    label.textContent = shareText(level);
    nodes.push(svg("line", { x1: left, x2: width, y1: y(level), y2: y(level), class: "t-grid" }), label);
  }
  const every = Math.ceil(weeks.length / (width / 80));
  weeks.forEach((w, i) => {
    const x = left + step * i + (step - bar) / 2, o = w.outcome, stopped = o.stopped.count / o.parts, both = sum(o);
    nodes.push(svg("rect", { x, width: bar, y: y(stopped), height: Math.max(0, y(0) - y(stopped)), class: "t-stopped" }));
    nodes.push(svg("rect", { x, width: bar, y: y(both), height: Math.max(0, y(stopped) - y(both)), class: "t-uncertain" }));
    nodes.push(svg("line", { x1: x - 4, x2: x + bar + 4, y1: y(sum(now.weeks[i].outcome)), y2: y(sum(now.weeks[i].outcome)), class: "t-now" }));
    if (i % every === 0) {
      const label = svg("text", { x: x + bar / 2, y: height - 8, "text-anchor": "middle" });
      label.textContent = day(w.week);
      nodes.push(label);
    }
  });
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "t-plot", role: "img", "aria-label": _("Share of parts stopped and uncertain in each of {n} weeks; the numbers are in the table below.", { n: weeks.length }) }, ...nodes);
}

const day = (iso) => new Date(`${iso}T12:00:00Z`).toLocaleDateString(LANGUAGE, { day: "numeric", month: "short" });

function table(row) {
  const head = [_("Week of"), _("Parts"), _("Stopped"), _("Uncertain"), _("Missed, of known"), _("Good ones stopped, of known")];
  const cell = (s) => el("td", {}, s.of ? `${number(s.count)} / ${number(s.of)} ` : "–", s.of ? el("span", { class: "small" }, range(s)) : null);
  return [el("thead", {}, el("tr", {}, head.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, row.weeks.map((w) => el("tr", {}, el("td", {}, day(w.week)), el("td", {}, number(w.outcome.parts)), cell(w.outcome.stopped), cell(w.outcome.uncertain), cell(w.outcome.missed), cell(w.outcome.false_alarms))))];
}

let shown = "";
async function changed(row, same) {
  $("t-changed").hidden = same || !row.changes;
  const key = `${found.category} ${row.max_overkill}`;
  if ($("t-changed").hidden || key === shown) return;
  shown = key;
  $("h-changed").textContent = _("{count} parts would be judged otherwise; the newest of them", { count: number(row.changes) });
  const parts = await Promise.all(row.changed.map((id) => use.get(`/v1/inspections/${id}`).catch(() => null)));
  if (key !== shown) return;
  $("t-list").replaceChildren(...parts.filter(Boolean).map((part) => {
    const image = el("img", { alt: "" });
    if (part.pictures.thumbnail) use.picture(part.pictures.thumbnail).then((url) => { image.src = url; }).catch(() => {});
    return el("li", {}, el("a", { href: `#/inspection/${part.id}` }, image, el("span", {}, part.name)), badge(part.verdict));
  }));
}

function history(threshold) {
  $("t-history").replaceChildren(...[...threshold.history].reverse().map((c) => el("li", {}, el("b", {}, c.max_overkill === null ? _("Taken back") : _("Set to {rate}", { rate: rateText(c.max_overkill) })), ` ${_("by {who}", { who: c.who })}, `, when(c.at), c.why ? ` "${c.why}"` : "")));
}

async function change(path, method, body) {
  $("t-fault").hidden = true;
  try {
    await use.send(method, `/v1/profiles/${encodeURIComponent(found.category)}/${path}`, body);
    $("t-why").value = "";
    await load();
  } catch (error) {
    $("t-fault").hidden = false;
    $("t-fault").textContent = error.message;
  }
}

let moving = 0;
$("t-slider").addEventListener("input", () => { cancelAnimationFrame(moving); moving = requestAnimationFrame(draw); });
for (const id of ["t-category", "t-days"]) $(id).addEventListener("change", () => load());
$("t-choose").addEventListener("submit", (event) => event.preventDefault());
$("t-set").addEventListener("submit", (event) => {
  event.preventDefault();
  change("threshold", "PUT", { max_overkill: found.rates[Number($("t-slider").value)].max_overkill, why: $("t-why").value });
});
$("t-back").addEventListener("click", () => change("threshold/back", "POST", { why: $("t-why").value }));
