// Name defects: one area at a time, what teaches most first; one key a name, u takes the last one back.
"use strict";
import { $, LANGUAGE, _, fetchOnce } from "/assets/view.js";

const KEYS = "123456789abcdefghijklmnopqrtvwxyz"; // s skips and u takes back
const state = { category: "", types: [], waiting: [], passed: new Set(), done: [], url: null };
const token = () => sessionStorage.getItem("token");
const key = (one) => `${one.inspection} ${one.area}`;

async function ask(path, body) {
  const headers = { "Accept-Language": LANGUAGE, ...(token() ? { Authorization: `Bearer ${token()}` } : {}) };
  const options = { headers };
  if (body) Object.assign(options, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await fetchOnce(path, options);
  if (answer.ok) return answer;
  const found = await answer.json().catch(() => null);
  throw new Error(answer.status === 401 ? _("Sign in on the first page, in this tab.") : found?.error?.message || answer.statusText);
}

async function load() {
  const limit = Math.min(100, 20 + state.passed.size);
  take(await (await ask(`/v1/labels?category=${encodeURIComponent(state.category)}&limit=${limit}`)).json());
}

function take(found) {
  state.types = Object.entries(found.types);
  state.waiting = found.waiting.filter((one) => !state.passed.has(key(one)));
  show();
}

async function show() {
  const one = state.waiting[0];
  $("work").hidden = !one && !state.done.length;
  $("undo").disabled = !state.done.length;
  $("image").textContent = one ? _("{image}, area {number}", { image: one.image, number: one.area + 1 }) : _("Nothing waits for a name");
  $("why").textContent = one ? one.reasons.join("; ") : "";
  $("picture").hidden = !one;
  $("new").hidden = $("skip").hidden = !one;
  $("keys").replaceChildren(...(one ? state.types.map(button) : []));
  if (!one) return;
  try {
    const blob = await (await ask(one.picture)).blob();
    if (state.waiting[0] !== one) return;
    if (state.url) URL.revokeObjectURL(state.url);
    $("picture").src = state.url = URL.createObjectURL(blob);
  } catch (error) { say(error.message); }
}

function button([name, count], index) {
  const item = document.createElement("li");
  const found = document.createElement("button");
  found.type = "button";
  found.textContent = `${KEYS[index] ? `${KEYS[index]}: ` : ""}${_(name)} (${count})`;
  found.addEventListener("click", () => name_(name));
  item.append(found);
  return item;
}

const say = (text) => { $("said").textContent = text; };

async function act(work) {
  try { await work(); } catch (error) { say(error.message); }
}

const name_ = (type) => act(async () => {
  const one = state.waiting[0];
  if (!one) return;
  const found = await (await ask("/v1/labels", { inspection: one.inspection, area: one.area, defect_type: type })).json();
  state.done.push({ inspection: one.inspection, example: found.example });
  say([_("{defect}: {count} examples now", { defect: found.defect_type, count: found.examples }), ...found.notes].join("; "));
  await load();
});

const undo = () => act(async () => {
  const last = state.done.pop();
  if (!last) return;
  take(await (await ask("/v1/labels/undo", last)).json());
  say(_("Taken back"));
});

function skip() {
  if (state.waiting[0]) state.passed.add(key(state.waiting[0]));
  act(load);
}

$("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  Object.assign(state, { category: $("category").value.trim(), passed: new Set(), done: [] });
  say("");
  act(load);
});
$("new").addEventListener("submit", (event) => {
  event.preventDefault();
  const type = $("type").value.trim();
  $("type").value = "";
  if (type) name_(type);
});
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey || $("work").hidden) return;
  const pressed = event.key.toLowerCase();
  if (pressed === "s") skip();
  else if (pressed === "u") undo();
  else if (pressed.length === 1 && state.types[KEYS.indexOf(pressed)]) name_(state.types[KEYS.indexOf(pressed)][0]);
  else return;
  event.preventDefault();
});
const given = new URLSearchParams(location.search).get("category");
if (given) {
  $("category").value = given;
  $("choose").requestSubmit();
}
