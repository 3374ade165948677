// Keeps a page about a run up to date, and lets the grid of items be used with the keyboard.
"use strict";

const STATUS_OF_CODE = { f: "failed", c: "cancelled", r: "running", w: "waiting", p: "partial", k: "skipped", s: "success" };
const ORDER = "fcrwpks"; // as `fanfold.history.run_data.ITEM_STATUSES`
const STACK = ["success", "partial", "failed", "cancelled", "skipped", "running", "waiting"];
const MOST_LINES = 5000; // of a log on the page

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const named = (list, key, name) => list.filter((element) => element.dataset[key] === name);

// ---- time ------------------------------------------------------------------------------------------------------

function inWords(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  return minutes < 60 ? `${minutes} min ${two(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

function showTimes(within = document) {
  for (const time of all("time[data-at]:not([datetime])", within)) {
    const at = new Date(Number(time.dataset.at) * 1000);
    time.dateTime = at.toISOString();
    time.title = time.textContent;
    const today = at.toDateString() === new Date().toDateString();
    time.textContent = today ? at.toLocaleTimeString() : at.toLocaleString();
  }
}

function tick() {
  const now = Date.now() / 1000;
  for (const span of all("[data-since]")) span.textContent = inWords(Math.max(1, now - Number(span.dataset.since)));
  drawTimeline(now);
}

// ---- a run that goes on ----------------------------------------------------------------------------------------

let source = null; // of the events of the run that is shown
let known = null; // its state
const lastTold = new Map(); // when something was last asked for anew

function atMostEvery(milliseconds, key, act) {
  const now = Date.now();
  if (now - (lastTold.get(key) ?? 0) < milliseconds) return;
  lastTold.set(key, now);
  act();
}

function watchRun() {
  const run = document.querySelector("#run[data-live]");
  const address = run ? `${run.dataset.run}/events` : null;
  if (source && source.fanfoldAddress === address) return;
  if (source) source.close();
  source = known = null;
  if (!address) return;
  known = { run: {}, steps: {}, codes: {} };
  source = listen(address, {
    state: (event) => take(JSON.parse(event.data)),
    end: () => {
      source = null;
      showAnew();
    },
  });
  source.fanfoldAddress = address;
}

let silent = 0; // errors since something was heard

function tellLost(isLost) {
  if (!isLost) silent = 0;
  document.getElementById("lost").hidden = !isLost;
}

// Events from an address until "end" or `close`. A browser gives up for good where the answer is an error, such as that
// of a gateway that is busy; this asks again, and says how far it has come.
function listen(address, handlers) {
  const listening = { close: () => stream.close() };
  let stream;
  const open = () => {
    stream = new EventSource(address);
    for (const [name, handle] of Object.entries(handlers)) {
      stream.addEventListener(name, (event) => {
        tellLost(false);
        if (name === "end") stream.close();
        handle(event);
      });
    }
    stream.addEventListener("error", () => {
      silent += 1;
      if (silent > 1) tellLost(true);
      if (stream.readyState !== EventSource.CLOSED) return;
      const again = setTimeout(open, 5000);
      listening.close = () => clearTimeout(again);
    });
    listening.close = () => stream.close();
  };
  open();
  return listening;
}

let filtersBefore = []; // of forms that are about to be replaced

function showAnew() {
  filtersBefore = all("[data-fan] form").map((form) => [form.action, new URLSearchParams(new FormData(form)).toString()]);
  const address = location.pathname + location.search;
  htmx.ajax("GET", address, { target: "#main", select: "#main", swap: "outerHTML" });
  const item = document.querySelector("#panel:not([hidden]) .only-panel");
  if (item) openPanel(item.getAttribute("href"));
}

// Once htmx listens to the new forms.
function fillAgain() {
  for (const [action, values] of filtersBefore.splice(0)) {
    const form = all("[data-fan] form").find((other) => other.action === action);
    if (!form || values === new URLSearchParams(new FormData(form)).toString()) continue;
    for (const [name, value] of new URLSearchParams(values)) form.elements[name].value = value;
    htmx.trigger(form, "change");
  }
}

function take(news) {
  Object.assign(known.run, news.run ?? {});
  Object.assign(known.steps, news.steps ?? {});
  Object.assign(known.codes, news.codes ?? {});
  for (const [name, step] of Object.entries(news.steps ?? {})) showStep(name, step);
  for (const [name, codes] of Object.entries(news.codes ?? {})) showCodes(name, codes);
  if (news.run?.status) for (const badge of all("[data-run-status] .badge")) setBadge(badge, news.run.status);
  if (known.run.status !== "running") return; // the end follows, and shows all anew
  const shown = all("[data-fan]").map((section) => section.dataset.fan);
  const onRunPage = document.querySelector("table.timeline") !== null;
  const rows = all("table.timeline tr[data-step]").map((row) => row.dataset.step);
  const isNew = Object.entries(known.steps).some(
    ([name, step]) => !rows.includes(name) || (step.total !== undefined && !shown.includes(name)),
  );
  if (onRunPage && isNew) atMostEvery(1000, "anew", showAnew);
}

function setBadge(badge, status) {
  badge.dataset.status = status;
  badge.textContent = status.replace("_", " ");
}

function showStep(name, step) {
  for (const element of named(all("[data-step]"), "step", name)) {
    element.dataset.status = step.status;
    const badge = element.querySelector("[data-status-text]");
    if (badge) setBadge(badge, step.status);
    const took = element.querySelector("[data-took]");
    if (!took) continue;
    if (step.seconds != null) took.textContent = inWords(step.seconds);
    else if (step.status === "running" && step.started && !took.querySelector("[data-since]")) {
      const since = document.createElement("span");
      since.dataset.since = step.started;
      took.replaceChildren(since);
    }
  }
  const failed = step.status === "failed" || step.counts?.failed;
  if (failed) {
    const count = `${name} ${step.status} ${step.counts?.failed ?? 0}`;
    if (lastTold.get("failures of") !== count) {
      atMostEvery(2000, "failures", () => {
        lastTold.set("failures of", count);
        htmx.trigger("#failures", "refresh");
      });
    }
  }
  for (const section of named(all("[data-fan]"), "fan", name)) if (step.counts) showCounts(section, step);
}

function showCounts(section, step) {
  section.querySelector("[data-speed]").textContent = step.speed ?? "";
  for (const line of all("[data-count]", section)) {
    const count = step.counts[line.dataset.count] ?? 0;
    line.hidden = count === 0;
    line.querySelector("b").textContent = count.toLocaleString("en");
  }
  let x = 0;
  STACK.forEach((status, place) => {
    const rect = section.querySelectorAll(".stack rect")[place];
    const count = step.counts[status] ?? 0;
    rect.setAttribute("x", x);
    rect.setAttribute("width", count);
    x += count;
  });
}

function drawTimeline(now) {
  if (!known) return;
  const begun = Object.entries(known.steps).filter(([, step]) => step.started);
  if (begun.length === 0) return;
  const length = (step) => step.seconds ?? (step.status === "running" ? Math.max(0, now - step.started) : 0);
  const first = Math.min(...begun.map(([, step]) => step.started));
  const span = Math.max(...begun.map(([, step]) => step.started + length(step))) - first || 0.001;
  const rows = all("table.timeline tr[data-step]");
  for (const [name, step] of begun) {
    for (const row of named(rows, "step", name)) {
      const start = Math.min((100 * (step.started - first)) / span, 99.6);
      const rect = row.querySelector("rect");
      rect.dataset.status = step.status;
      rect.setAttribute("x", start);
      rect.setAttribute("width", Math.min(Math.max((100 * length(step)) / span, 0.4), 100 - start));
    }
  }
}

// ---- the grid --------------------------------------------------------------------------------------------------

function showCodes(name, codes) {
  for (const grid of named(all("[data-grid]"), "grid", name)) {
    if (!("whole" in grid.dataset)) {
      atMostEvery(5000, `grid ${name}`, () => htmx.trigger(grid, "refresh"));
      continue;
    }
    const cells = grid.querySelector(".cells");
    let changed = false;
    for (const cell of cells.children) {
      const code = codes[cell.dataset.i];
      if (code === undefined || code === cell.dataset.s) continue;
      cell.dataset.s = code;
      cell.title = cell.title.replace(/[^·]*$/, ` ${STATUS_OF_CODE[code]}`);
      changed = true;
    }
    if (changed && grid.dataset.by === "failed") sortCells(cells);
  }
  const item = document.querySelector("#item[data-of]");
  if (item && item.dataset.of === name) showItem(item, codes[item.dataset.item]);
}

function sortCells(cells) {
  const sorted = [...cells.children].sort(
    (one, other) => ORDER.indexOf(one.dataset.s) - ORDER.indexOf(other.dataset.s) || one.dataset.i - other.dataset.i,
  );
  if (sorted.every((cell, place) => cell === cells.children[place])) return;
  const focused = document.activeElement;
  cells.replaceChildren(...sorted);
  if (cells.contains(focused)) focused.focus({ preventScroll: true });
}

function showItem(item, code) {
  const badge = item.querySelector("[data-item-status] .badge");
  const status = STATUS_OF_CODE[code];
  if (!status || badge.dataset.status === status) return;
  if (["running", "waiting"].includes(status)) setBadge(badge, status);
  else if (item.closest("#panel")) openPanel(item.querySelector(".only-panel").getAttribute("href"));
  else showAnew();
}

function moveInGrid(event) {
  const cell = event.target.closest(".cells > a");
  if (!cell) return;
  const cells = [...cell.parentElement.children];
  const perRow = cells.filter((other) => other.offsetTop === cells[0].offsetTop).length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow, ArrowUp: -perRow };
  const place = cells.indexOf(cell);
  let to = place + (steps[event.key] ?? 0);
  if (event.key === "Home") to = 0;
  if (event.key === "End") to = cells.length - 1;
  if (to === place || !cells[to]) return;
  event.preventDefault();
  cell.tabIndex = -1;
  cells[to].tabIndex = 0;
  cells[to].focus();
}

// ---- the panel -------------------------------------------------------------------------------------------------

let opener = null;

function openPanel(address) {
  const panel = document.getElementById("panel");
  panel.hidden = false;
  htmx.ajax("GET", address, { target: "#panel", select: "#item", swap: "innerHTML" }).then(() => {
    const close = document.createElement("button");
    close.className = "close";
    close.setAttribute("aria-label", "close the item");
    close.textContent = "✕";
    close.addEventListener("click", closePanel);
    panel.prepend(close);
    if (!panel.contains(document.activeElement)) close.focus();
  });
}

function closePanel() {
  const panel = document.getElementById("panel");
  panel.hidden = true;
  panel.replaceChildren();
  followLogs();
  if (opener && document.contains(opener)) opener.focus();
}

// ---- logs ------------------------------------------------------------------------------------------------------

const followed = new Map(); // the stream of each log that grows

function followLogs() {
  for (const [log, stream] of followed) {
    if (document.contains(log)) continue;
    stream.close();
    followed.delete(log);
  }
  for (const log of all(".log[data-follow]")) {
    const stream = listen(log.dataset.follow, { lines: (event) => addLines(log, JSON.parse(event.data)), end: () => {} });
    log.removeAttribute("data-follow");
    followed.set(log, stream);
  }
}

function addLines(log, lines) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const rows = lines.map((line) => {
    const row = document.createElement("div");
    row.className = line.stream;
    const from = document.createElement("span");
    from.className = "from";
    from.textContent = line.step;
    row.append(from, line.text);
    return row;
  });
  log.append(...rows);
  while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// ---- what is listened to ---------------------------------------------------------------------------------------

function begin() {
  showTimes();
  watchRun();
  followLogs();
  for (const log of all(".log:not([data-seen])")) {
    log.dataset.seen = "";
    log.scrollTop = log.scrollHeight;
  }
  tick();
}

document.addEventListener("DOMContentLoaded", begin);
document.addEventListener("htmx:afterSettle", (event) => {
  begin();
  if (event.target.id === "main") fillAgain();
});
for (const fault of ["htmx:responseError", "htmx:sendError"]) document.addEventListener(fault, () => tellLost(true));
document.addEventListener("htmx:afterOnLoad", () => tellLost(false));
setInterval(tick, 1000);

document.addEventListener("click", (event) => {
  const link = event.target.closest(".cells > a, a[data-panel]");
  if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  opener = link;
  openPanel(link.getAttribute("href"));
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.getElementById("panel").hidden) closePanel();
  else moveInGrid(event);
});

document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target;
  if (!form.matches?.("[data-fan] form") || new URL(form.action).pathname !== location.pathname) return;
  history.replaceState(null, "", `?${new URLSearchParams(new FormData(form))}`);
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
