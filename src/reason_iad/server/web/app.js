// The page: inspect, follow, ask, correct, look back. It talks to the same interface as every other client.
"use strict";
import { $, FEEDBACK, LANGUAGE, WORDS, _, answerBars, badge, cut, drawBoxes, duration, digits, el, fetchOnce, fillSelect, icon, likely, low, meter, percent, plain, several, webLink, when } from "/assets/view.js";
import { showThreshold } from "/assets/threshold.js";

const STAGES = { queued: _("Waiting for its turn"), read: _("Reading the image"), recognize: _("Recognizing the category"), evidence: _("Comparing with good parts"), knowledge: _("Looking up knowledge"), prefix: _("Showing it to the model"), verdict: _("Reasoning about the verdict"), naming: _("Naming the defect"), details: _("Describing the defect"), nearest: _("Finding the nearest normal patch"), question: _("Answering your question"), pictures: _("Drawing the map") };
let translations = {};
// A sentence of the record in the language of the page: the server sends it along.
const told = (text) => translations[text] || (text ? _(text) : text);
const state = { file: null, references: [], report: null, id: null, status: null, categories: [], next: null, urls: [] };
const say = (text) => { $("said").textContent = text; };

async function api(path, options = {}) {
  const headers = new Headers(options.headers);
  headers.set("Accept-Language", LANGUAGE);
  const token = sessionStorage.getItem("token");
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const answer = await fetchOnce(path, { ...options, headers });
  if (answer.ok) return answer;
  let detail = { code: String(answer.status), message: answer.statusText };
  try { detail = (await answer.json()).error; } catch { /* no JSON: a proxy answered */ }
  if (answer.status === 401) signIn(token ? _("The token is not known.") : "");
  throw Object.assign(new Error(detail.message), { code: detail.code, status: answer.status });
}
const get = async (path) => (await api(path)).json();
const send = async (method, path, body) => (await api(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();
const post = (path, body) => send("POST", path, body);

async function picture(path) {
  const url = URL.createObjectURL(await (await api(path)).blob());
  state.urls.push(url);
  return url;
}
function frame() {
  const ratio = $("photo").naturalWidth / $("photo").naturalHeight;
  $("canvas").style.aspectRatio = String(ratio);
  $("canvas").style.width = `min(100%, ${(72 * ratio).toFixed(2)}vh)`;
}
$("photo").addEventListener("load", frame);
function load(image, url) {
  image.src = url;
  return image.decode();
}
function fault(error) {
  $("fault").hidden = !error;
  $("fault").textContent = error ? error.message : "";
}

// ---- status and signing in
async function refreshStatus() {
  try {
    const s = await get("/v1/status");
    state.status = s;
    const dot = document.querySelector(".dot");
    dot.className = `dot ${s.model}`;
    const wait = s.waiting ? _(", {waiting} of {room} waiting", s) : "";
    $("state-text").textContent = s.model === "ready" ? `${_("Ready")}${wait}` : s.model === "unable" ? _("Not able: {detail}", s) : `${s.detail || _("Loading the model")}${wait}`;
    $("state").title = s.model_name;
    $("account").hidden = !s.tokens;
    $("account").textContent = s.who ? `${s.who} (${_(s.role)})` : _("Sign in");
    if (s.tokens && !s.who && !sessionStorage.getItem("token")) signIn("");
  } catch {
    document.querySelector(".dot").className = "dot unable";
    $("state-text").textContent = _("The server does not answer");
  }
}
function signIn(problem) {
  $("token-fault").hidden = !problem;
  $("token-fault").textContent = problem;
  if (!$("sign-in").open) $("sign-in").showModal();
}
$("account").addEventListener("click", () => signIn(""));
$("sign-in").addEventListener("close", async () => {
  if ($("sign-in").returnValue === "ok" && $("token").value) {
    sessionStorage.setItem("token", $("token").value.trim());
    $("token").value = "";
    await refreshStatus();
    await loadCategories();
    route();
  }
});
async function loadCategories() {
  try { state.categories = await get("/v1/categories"); } catch { return; }
  const named = state.categories.map((c) => [c.category, c.profile ? _("{name} (profile)", { name: c.name }) : c.name]);
  fillSelect($("category"), named, _("Recognize it"));
  for (const id of ["f-category", "k-category"]) fillSelect($(id), state.categories.map((c) => [c.category, c.name]), _("Any"));
}

// ---- choosing what to inspect
function choose(file) {
  if (!file) return;
  state.file = file;
  fault(null);
  clearResult();
  const url = URL.createObjectURL(file);
  state.urls.push(url);
  $("photo").src = url;
  $("photo").alt = _("The image {name}", { name: file.name });
  $("stage").hidden = false;
  $("send").classList.add("compact");
  $("go").disabled = false;
  $("options").hidden = false;
  say(_("{name} chosen", { name: file.name }));
}
function clearResult() {
  state.report = state.id = null;
  for (const url of state.urls.splice(0)) URL.revokeObjectURL(url);
  for (const id of ["result", "running", "tools", "compare", "beside", "map"]) $(id).hidden = true;
  $("result").replaceChildren();
  $("boxes").replaceChildren();
}
$("file").addEventListener("change", () => { choose($("file").files[0]); $("file").value = ""; });
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("send").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) { location.hash = "#/inspect"; choose(event.dataTransfer.files[0]); }
  });
}
document.addEventListener("paste", (event) => choose([...event.clipboardData.files].find((f) => f.type.startsWith("image/"))));
$("references").addEventListener("change", () => {
  state.references = [...$("references").files].slice(0, 8);
  $("reference-strip").replaceChildren(...state.references.map((file) => el("li", {}, el("img", { src: URL.createObjectURL(file), alt: file.name }))));
  hintLesson();
});
$("category").addEventListener("change", hintLesson);
function hintLesson() {
  const known = state.categories.find((c) => c.category === $("category").value);
  $("category-hint").textContent = known ? (known.profile ? _("A profile was learned: it is used where no good parts are given.") : _("Known defects: {names}.", { names: known.defects.map((d) => _(d)).join(", ") || _("none") })) : _("Name it where you can: knowledge and profile are then certain.");
  $("learn").hidden = !(known && state.references.length && state.status?.role === "admin");
  if (known) $("learn").textContent = _("Learn these as the profile of {name}", { name: known.name });
}
$("learn").addEventListener("click", async () => {
  const form = new FormData();
  form.append("category", $("category").value);
  for (const file of state.references) form.append("images", file);
  $("learn").disabled = true;
  try {
    const lesson = await (await api("/v1/profiles", { method: "POST", body: form })).json();
    $("reference-hint").textContent = _("Learned: version {version}, {normals} good parts. {warnings}", { ...lesson, warnings: lesson.warnings.join(" ") });
    await loadCategories();
  } catch (error) { fault(error); }
  $("learn").disabled = false;
});

// ---- inspecting
$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!state.file) return;
  clearResult();
  await load($("photo"), URL.createObjectURL(state.file)).catch(() => {}); // TIFF and others the browser cannot show
  fault(null);
  const form = new FormData();
  form.append("image", state.file);
  if ($("category").value) form.append("category", $("category").value);
  if ($("first-question").value.trim()) form.append("question", $("first-question").value.trim());
  for (const file of state.references) form.append("references", file);
  busy(true);
  try {
    const accepted = await (await api("/v1/inspections?wait=0", { method: "POST", body: form })).json();
    await follow(accepted.id);
    history.replaceState(null, "", `#/inspection/${accepted.id}`);
    await show(accepted.id, true);
  } catch (error) { fault(error); }
  busy(false);
  refreshStatus();
});
function busy(on) {
  $("go").disabled = on;
  $("canvas").classList.toggle("busy", on);
  $("running").hidden = !on;
  if (on) $("stages").replaceChildren();
}
async function follow(id) {
  const reader = (await api(`/v1/inspections/${id}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", began = 0;
  const step = (name, at) => {
    const last = $("stages").lastElementChild;
    if (last) { last.className = "past"; last.lastElementChild.textContent = duration(at - began); }
    began = at;
    if (name) $("stages").append(el("li", { class: "now" }, el("span", {}, STAGES[name] || name), el("time", {})));
  };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
      const found = /^event: (.+)\ndata: (.+)$/s.exec(rest.slice(0, end));
      if (!found) continue;
      const data = JSON.parse(found[2]);
      if (found[1] === "queued") step("queued", data.at);
      else if (found[1] === "stage") step(data.name, data.at);
      else if (found[1] === "failed") throw new Error(data.error || _("The inspection failed."));
      else if (found[1] === "done") { step(null, data.at); return; }
    }
  }
}

// ---- a result
async function show(id, fresh = false) {
  const body = await get(`/v1/inspections/${id}`);
  if (!fresh) clearResult();
  translations = body.translations;
  Object.assign(state, { id, report: body.report });
  $("send").classList.add("compact");
  $("stage").hidden = false;
  if (!body.report) {
    $("stage").hidden = true;
    $("options").hidden = false;
    return fault(new Error(body.error || _("This inspection is {state}.", { state: low(WORDS[body.state]) })));
  }
  const report = body.report;
  $("photo").alt = _("The inspected image {name}", { name: report.image }) + (report.regions.length ? `; ${several("{count} marked region", "{count} marked regions", report.regions.length)}: ${report.regions.map((r) => told(r.place)).join(", ")}` : "");
  await load($("photo"), await picture(body.pictures.preview));
  if (body.pictures.map) await load($("map"), await picture(body.pictures.map));
  $("map").hidden = !body.pictures.map;
  const again = (report.trace?.patches.length ?? 0) + (report.trace?.details?.length ?? 0);
  $("tools").hidden = !body.pictures.map && !report.regions.length && !again;
  for (const [id, shown] of [["opacity", body.pictures.map], ["show-regions", report.regions.length], ["show-patches", again]]) $(id).closest("label").hidden = !shown;
  document.querySelector(".scale-key").hidden = !body.pictures.map;
  redraw();
  $("options").hidden = true;
  $("result").replaceChildren(...resultPanels(body));
  $("beside").replaceChildren(...besidePanels(body));
  $("result").hidden = $("beside").hidden = false;
  if (fresh) { $("verdict-word").focus({ preventScroll: true }); say(`${WORDS[report.verdict]}, ${_("{share} probability of a defect", { share: percent(report.probability) })}`); }
  await comparePatches(body);
}
function redraw() {
  $("map").style.opacity = String($("opacity").value / 100);
  $("opacity-value").textContent = `${$("opacity").value} %`;
  if (state.report) drawBoxes($("boxes"), state.report, $("show-regions").checked, $("show-patches").checked);
}
for (const id of ["opacity", "show-regions", "show-patches"]) $(id).addEventListener("input", redraw);

async function comparePatches(body) {
  const near = body.report.regions.map((r, i) => ({ r, i })).filter(({ r }) => r.nearest && body.pictures[`shown-${r.nearest.reference + 1}`]);
  const details = (body.report.trace?.details ?? []).map((d, i) => ({ d, i })).filter(({ d }) => d.good && body.pictures[`shown-${d.good.reference + 1}`]);
  $("compare").hidden = !near.length && !details.length;
  const pairs = [];
  for (const { r, i } of near) {
    const good = new Image();
    await load(good, await picture(body.pictures[`shown-${r.nearest.reference + 1}`]));
    const here = cut($("photo"), r.box_xyxy, body.report.image_hw), there = cut(good, r.nearest.box_xyxy, [good.naturalHeight, good.naturalWidth]);
    for (const [canvas, label] of [[here, _("Region {number} of this image", { number: i + 1 })], [there, _("The nearest patch of a good part")]]) { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", label); }
    pairs.push(el("li", { class: "pair" }, el("b", {}, `${i + 1}  ${told(r.place)}`), here, there, el("span", {}, _("this part")), el("span", {}, _("good part, distance {distance}", { distance: digits(r.nearest.distance, 2) }))));
  }
  for (const { d, i } of details) {
    const good = new Image();
    await load(good, await picture(body.pictures[`shown-${d.good.reference + 1}`]));
    const here = cut($("photo"), d.box_xyxy, body.report.image_hw), there = cut(good, d.good.box_xyxy, [good.naturalHeight, good.naturalWidth]);
    for (const [canvas, label] of [[here, _("Detail {number} of this part", { number: i + 1 })], [there, _("The same place of a good part")]]) { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", label); }
    const step = body.report.trace.steps.find((one) => one.detail === i), known = step?.agreement == null ? "" : `, ${_("agreement with what was measured {value}", { value: digits(step.agreement, 2) })}`;
    pairs.push(el("li", { class: "pair" }, el("b", {}, `${told(d.place)} (${d.kept ? _("kept") : _("not kept")}${known})`), here, there, el("span", {}, _("detail of this part")), el("span", {}, _("the same place of a good part"))));
  }
  $("pairs").replaceChildren(...pairs);
}

const panel = (title, ...children) => el("section", { class: "panel", "aria-label": title }, el("h2", {}, title), ...children);
const fact = (name, value) => (value ? [el("dt", {}, name), el("dd", {}, value)] : []);
const SOURCES = { given: _("given"), recognized: _("recognized"), unknown: _("neither given nor recognized") };

function resultPanels(body) {
  const r = body.report;
  const sure = r.category_probability === null ? "" : `, ${percent(r.category_probability)}`;
  const total = Object.values(r.milliseconds).reduce((a, b) => a + b, 0);
  const first = el("section", { class: `panel verdict ${r.verdict}`, "aria-labelledby": "verdict-word" },
    el("div", { class: "verdict-head" }, el("h2", { class: "verdict-word", id: "verdict-word", tabindex: "-1" }, icon(r.verdict), WORDS[r.verdict]), el("span", { class: "big" }, percent(r.probability))),
    meter(r.probability), el("div", { class: "ends" }, el("span", {}, _("normal")), el("span", {}, `p = ${digits(r.probability, 3)}`), el("span", {}, _("defective"))),
    el("p", { class: "lead" }, _("The part is {words}.", { words: likely(r.probability) })), el("p", { class: "small" }, told(r.probability_note)),
    body.why_uncertain.length ? el("div", { class: "why" }, el("b", {}, _("Why uncertain")), el("ul", {}, body.why_uncertain.map((n) => el("li", {}, n)))) : null);
  const finding = panel(_("Finding"), el("dl", { class: "facts" },
    fact(_("Category"), `${translations[r.category] || plain(r.category)} (${SOURCES[r.category_source]}${sure})`), fact(_("Defect"), told(r.defect_type)), fact(_("Description"), told(r.description)), fact(_("May lead to"), told(r.consequence)),
    fact(_("Evidence"), r.evidence ? told(r.evidence.text) : _("No good part was compared: the model alone speaks."))),
    body.check_next ? el("div", { class: "next" }, el("b", {}, _("Check next")), el("p", {}, body.check_next)) : null);
  const links = el("p", { class: "links" }, reportLink(body.id, "report.html", _("Full report")), reportLink(body.id, "figure.png", _("Picture")), reportLink(body.id, "report.pdf", "PDF"), el("button", { type: "button", class: "quiet", onclick: another }, _("Inspect another")), el("span", { class: "small" }, `${duration(total)}`));
  return [first, finding, feedbackPanel(body), talkPanel(body), el("section", { class: "panel", "aria-label": _("Report") }, links)];
}
function besidePanels(body) {
  const r = body.report, notes = r.notes.filter((n) => !body.why_uncertain.includes(told(n)));
  return [r.citations.length ? panel(_("Knowledge cited"), el("ul", { class: "cited" }, r.citations.map((c) => el("li", {}, el("span", { class: "tag" }, c.defect_type ? `${_(c.kind)}: ${plain(c.defect_type)}` : _(c.kind)), told(c.text), el("br"), el("span", { class: "small" }, `${_("Source:")} `, webLink(told(c.source))))))) : null,
    notes.length ? panel(_("Notes"), el("ul", { class: "cited" }, notes.map((n) => el("li", {}, told(n))))) : null].filter(Boolean);
}
function reportLink(id, name, text) {
  const path = `/v1/inspections/${id}/${name}`;
  if (!state.status?.tokens) return el("a", { href: path, target: "_blank", rel: "noopener" }, text);
  return el("button", { type: "button", class: "quiet", onclick: async () => el("a", { href: await picture(path), download: `${id}-${name}` }).click() }, _("{name} (download)", { name: text }));
}
function another() {
  clearResult();
  state.file = null;
  $("stage").hidden = true;
  $("options").hidden = false;
  $("send").classList.remove("compact");
  $("go").disabled = true;
  location.hash = "#/inspect";
  $("file").focus();
}
function feedbackPanel(body) {
  const comment = el("input", { "aria-label": _("Comment (optional)"), placeholder: _("Comment (optional)"), maxlength: 2000 });
  const said = el("ul", { class: "said", "aria-live": "polite" }, body.feedback.map(feedbackLine));
  const kinds = { defective: ["false_alarm", "confirmed"], normal: ["missed", "confirmed"], uncertain: ["false_alarm", "missed"] }[body.verdict];
  const buttons = kinds.map((kind) => el("button", { type: "button", onclick: async (event) => {
    event.target.disabled = true;
    try { said.append(feedbackLine(await post(`/v1/inspections/${body.id}/feedback`, { kind, comment: comment.value }))); comment.value = ""; }
    catch (error) { said.append(el("li", { class: "fault" }, error.message)); }
    event.target.disabled = false;
  } }, { false_alarm: _("False alarm"), missed: _("Missed a defect"), confirmed: _("Verdict is right") }[kind]));
  return panel(_("Is the verdict right?"), el("div", { class: "feedback" }, ...buttons, comment), said);
}
const feedbackLine = (f) => el("li", {}, el("b", {}, FEEDBACK[f.kind]), ` ${_("by {who}", f)}. ${f.comment ? `"${f.comment}" ` : ""}`, el("span", { class: "soft" }, f.effect));

function talkPanel(body) {
  const mine = body.report.answers.filter((a) => body.question && a.question === body.question);
  const talk = el("div", { class: "talk", "aria-live": "polite" }, mine.map((a) => el("div", {}, el("p", { class: "q" }, told(a.question)), answerBars(a, told))));
  const question = el("input", { "aria-label": _("Question about this image"), placeholder: _("Ask about this image"), maxlength: 500, required: true });
  const choices = el("input", { class: "choices", "aria-label": _("Answers to choose from, separated by semicolons (optional)"), placeholder: _("Answers to choose from (optional): one; two; three") });
  const button = el("button", { type: "submit" }, _("Ask"));
  const form = el("form", { class: "ask", onsubmit: async (event) => {
    event.preventDefault();
    if (!question.value.trim()) return;
    button.disabled = true;
    try {
      const asked = await post(`/v1/inspections/${body.id}/questions`, { question: question.value, choices: choices.value.split(";").map((c) => c.trim()).filter(Boolean) });
      talk.append(el("div", {}, el("p", { class: "q" }, asked.answer.question), answerBars(asked.answer, told), el("p", { class: "small" }, `${duration(asked.milliseconds)}; ${asked.prepared ? _("the image was still before the model") : _("the image was shown to the model again")}`)));
      question.value = "";
    } catch (error) { talk.append(el("p", { class: "fault" }, error.message)); }
    button.disabled = false;
  } }, question, button, choices);
  return panel(_("Ask about this image"), talk, form);
}

// ---- history
async function showHistory(more = false) {
  const query = new URLSearchParams({ limit: "25" });
  for (const [name, id] of [["text", "f-text"], ["verdict", "f-verdict"], ["category", "f-category"], ["feedback", "f-feedback"], ["state", "f-state"]]) if ($(id).value) query.set(name, $(id).value);
  if (more && state.next) query.set("cursor", state.next);
  const page = await get(`/v1/inspections?${query}`);
  state.next = page.next;
  $("more").hidden = !page.next;
  const rows = page.inspections.map(historyRow);
  if (more) $("rows").append(...rows); else $("rows").replaceChildren(...(rows.length ? rows : [el("tr", {}, el("td", { colspan: 7, class: "empty" }, _("No inspection matches.")))]));
  const counts = (await get("/v1/status")).counts;
  $("counts").replaceChildren(...["defective", "uncertain", "normal", "failed"].filter((k) => counts[k]).map((k) => el("li", { class: k }, el("b", {}, counts[k]), low(WORDS[k]))));
}
function historyRow(i) {
  const image = i.pictures.thumbnail ? el("img", { alt: "" }) : el("div", { class: "blank", "aria-hidden": "true" });
  if (i.pictures.thumbnail) picture(i.pictures.thumbnail).then((url) => { image.src = url; }).catch(() => {});
  const tags = i.feedback.map((f) => el("span", { class: "tag" }, FEEDBACK[f.kind]));
  return el("tr", {}, el("td", {}, image), el("td", { class: "name" }, el("a", { href: `#/inspection/${i.id}` }, i.name), tags.length ? el("div", {}, tags) : null),
    el("td", {}, badge(i.verdict || i.state)), el("td", { class: i.verdict || "" }, i.probability === null ? "" : [percent(i.probability), meter(i.probability)]), el("td", {}, i.category ? plain(i.category) : ""), el("td", {}, told(i.defect_type) || ""), el("td", {}, when(i.created_at)));
}
let typing = 0;
$("filters").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => showHistory().catch(() => {}), 200); });
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => showHistory(true));

// ---- knowledge
$("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!$("q").value.trim()) return;
  const query = new URLSearchParams({ q: $("q").value });
  if ($("k-category").value) query.set("category", $("k-category").value);
  try {
    const hits = await get(`/v1/knowledge?${query}`);
    $("hits").replaceChildren(...hits.map((h) => el("li", {}, el("span", { class: "tag" }, h.defect_type ? `${_(h.kind)}: ${plain(h.defect_type)}` : _(h.kind)), el("span", { class: "small" }, plain(h.category)), el("p", {}, h.translation || h.text), el("p", { class: "small" }, `${_("Source:")} `, webLink(told(h.source))))));
  } catch (error) { $("hits").replaceChildren(el("li", { class: "fault" }, error.message)); }
});
async function showProfiles() {
  const found = await get("/v1/profiles");
  $("profiles").replaceChildren(...(found.length ? found.map((p) => el("section", { class: "panel", "aria-label": plain(p.category) }, el("h3", {}, plain(p.category)), el("p", {}, _("Version {version}: {normals} good, {defectives} defective images", p)), el("p", { class: "small" }, p.history.at(-1) || ""), p.warnings.map((w) => el("p", { class: "small" }, w)))) : [el("p", { class: "soft" }, _("None yet. Choose a category and good parts on the page Inspect, or use reason-iad learn."))]));
}

// ---- moving about
const TITLES = { inspect: _("Inspect"), history: _("History"), knowledge: _("Knowledge"), threshold: _("Threshold") };
async function route() {
  const [, view = "inspect", id] = location.hash.split("/");
  const name = view === "inspection" ? "inspect" : TITLES[view] ? view : "inspect";
  for (const other of Object.keys(TITLES)) $(`view-${other}`).hidden = other !== name;
  for (const link of document.querySelectorAll("nav a")) link.toggleAttribute("aria-current", false), link.dataset.view === name && link.setAttribute("aria-current", "page");
  $("title").textContent = TITLES[name];
  document.title = `${TITLES[name]} - Reason-IAD`;
  try {
    if (view === "inspection" && id && id !== state.id) await show(id);
    if (name === "history") await showHistory();
    if (name === "knowledge") await showProfiles();
    if (name === "threshold") await showThreshold({ get, send, picture, state });
  } catch (error) { fault(error); }
}
$("language").addEventListener("change", () => {
  document.cookie = `language=${$("language").value}; path=/; max-age=31536000; samesite=strict`;
  location.reload();
});
window.addEventListener("hashchange", route);
await refreshStatus();
await Promise.all([loadCategories(), route()]);
setInterval(() => refreshStatus(), 4000);
document.body.dataset.ready = "yes";
