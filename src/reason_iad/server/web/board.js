// The watchboard: follows the server's events for hours, never reloads, and says so when it cannot be trusted.
"use strict";
import { $, LANGUAGE, WORDS, _, el, percent, plain } from "/assets/view.js";

const SILENT = 40_000; // milliseconds without a sign of life after which what is shown is called old; beats come every 15 s
const query = location.search;
const MARKS = { normal: "✓", defective: "✕", uncertain: "?", failed: "!" };
const state = { heard: 0, shown: null, picture: null, skew: 0, last: null };
const number = (n) => n.toLocaleString(LANGUAGE);
const token = () => sessionStorage.getItem("token") || new URLSearchParams(location.hash.slice(1)).get("token");
const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});
const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });
const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

async function follow() {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 15_000)) {
    const aborter = new AbortController();
    const guard = setInterval(() => { if (Date.now() - state.heard > SILENT) aborter.abort(); }, 5000);
    try {
      state.heard = Date.now();
      const answer = await fetch(`/v1/board/events${query}`, { headers: headers(), signal: aborter.signal });
      if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status, detail: await answer.json().catch(() => null) });
      await read(answer.body, () => { wait = 1000; });
      lost(_("The connection ended; trying again"));
    } catch (error) {
      if (error.status === 401) lost(_("This board needs a token: sign in on the first page, in this tab"));
      else if (error.status) lost(error.detail?.error?.message || error.message);
      else lost(_("No connection to the server; trying again"));
    }
    clearInterval(guard);
    aborter.abort();
    await sleep(wait);
  }
}

async function read(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
      const found = /^event: board\ndata: (.+)$/s.exec(rest.slice(0, end));
      if (!found) continue;
      state.heard = Date.now();
      alive();
      const board = JSON.parse(found[1]);
      if (board.fault) lost(_("The record cannot be reached ({fault})", { fault: board.fault }));
      else show(board);
    }
  }
}

function lost(why) {
  put("lost", why);
  document.body.classList.add("stale");
}

function show(board) {
  document.body.classList.remove("stale");
  put("lost", "");
  state.skew = Date.parse(board.now) - Date.now();
  for (const name of ["normal", "defective", "uncertain", "failed"]) put(`n-${name}`, number(board.counts[name] || 0));
  put("rate", board.per_minute.toLocaleString(LANGUAGE, { maximumFractionDigits: board.per_minute < 10 ? 1 : 0 }));
  put("h-counts", _("Since {time}", { time: new Date(board.since).toLocaleString(LANGUAGE, { weekday: "short", hour: "2-digit", minute: "2-digit" }) }));
  drifted(board.drift);
  const part = board.last[0];
  $("none").hidden = Boolean(part);
  if (part) last(part);
  $("strip").replaceChildren(...board.last.map((p) => el("li", { class: p.verdict, title: p.name }, MARKS[p.verdict], el("span", { class: "unseen" }, WORDS[p.verdict]))));
  state.shown = board;
  document.body.dataset.ready = "yes";
}

function last(part) {
  state.last = Date.parse(part.at);
  if (state.id === part.id) return;
  state.id = part.id;
  $("verdict").className = `verdict ${part.verdict}`;
  put("word", WORDS[part.verdict]);
  put("more", part.verdict === "failed" ? part.error || "" : [part.defect_type ? _(part.defect_type) : null, part.probability === null ? "" : _("{share} probability of a defect", { share: percent(part.probability) })].filter(Boolean).join(", "));
  put("part", [part.name, part.category ? plain(part.category) : ""].filter(Boolean).join(" · "));
  picture(part);
}

async function picture(part) {
  let url = null;
  if (part.picture) {
    try {
      const answer = await fetch(part.picture, { headers: headers() });
      if (answer.ok) url = URL.createObjectURL(await answer.blob());
    } catch { /* the board goes on without it */ }
  }
  if (state.id !== part.id) { if (url) URL.revokeObjectURL(url); return; }
  if (state.picture) URL.revokeObjectURL(state.picture); // a board runs for weeks
  state.picture = url;
  $("photo").hidden = !url;
  if (url) $("photo").src = url; else $("photo").removeAttribute("src");
  $("photo").alt = _("The last part, {name}", { name: part.name });
}

function ago(seconds) {
  const words = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
  if (seconds < 90) return words.format(-Math.max(0, Math.round(seconds)), "second");
  return seconds < 5400 ? words.format(-Math.round(seconds / 60), "minute") : words.format(-Math.round(seconds / 3600), "hour");
}

function tick() {
  const now = new Date(Date.now() + state.skew);
  put("clock", now.toLocaleTimeString(LANGUAGE, { hour: "2-digit", minute: "2-digit" }));
  if (state.last) put("ago", ago((now - state.last) / 1000));
  if (state.heard && Date.now() - state.heard > SILENT) lost(_("Nothing heard from the server; what is shown is old"));
}

function drifted(alarms) {
  $("drift-box").classList.toggle("alarm", Boolean(alarms?.length));
  put("drift", alarms === null ? _("not measured") : [...new Set(alarms.map((a) => plain(a.quantity)))].join(", ") || _("none"));
}

const chosen = new URLSearchParams(query);
put("name", [chosen.get("line"), chosen.get("category")].filter(Boolean).join(" · ") || _("Watchboard"));
$("paper").href = `/v1/board/shift.pdf${query}`;
$("paper").addEventListener("click", async (event) => {
  if (!token()) return; // a link cannot carry a token
  event.preventDefault();
  const answer = await fetch($("paper").href, { headers: headers() });
  if (!answer.ok) return;
  const url = URL.createObjectURL(await answer.blob());
  el("a", { href: url, download: "shift.pdf" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
});
setInterval(tick, 1000);
tick();
follow();
