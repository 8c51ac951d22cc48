"use strict";

const FIGURES = 0;
const HEAD_BYTES = 6;
// Figures come several times a second; when they do not, the connection is dead though nobody says so.
const SILENCE_MS = 6000;
const AGAIN_MS = 2000;
// Figures that were on their way when the slider moved would move it back.
const HOLD_MS = 600;

const byId = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  // Never as HTML: class and source names come from files and addresses.
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The stream: messages of kind, source and length, then so many bytes.

let connection = null;
let heardAt = 0;

async function follow() {
  for (;;) {
    if (!document.hidden) await once();
    await sleep(document.hidden ? 200 : AGAIN_MS);
  }
}

async function once() {
  connection = new AbortController();
  heardAt = Date.now();
  try {
    const answer = await fetch("/live", { signal: connection.signal, cache: "no-store" });
    if (answer.status === 401) return location.reload();
    if (answer.ok) await read(answer.body.getReader());
  } catch (problem) {
    // Whatever it is, the state says that there is no connection, and it is tried again.
    console.debug(problem);
  }
  if (byId("state").dataset.state !== "ended" && !document.hidden) lose();
}

async function read(reader) {
  let rest = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heardAt = Date.now();
    const bytes = new Uint8Array(rest.length + value.length);
    bytes.set(rest);
    bytes.set(value, rest.length);
    rest = bytes.subarray(takeAll(bytes));
  }
}

function takeAll(bytes) {
  const view = new DataView(bytes.buffer);
  let at = 0;
  while (bytes.length - at >= HEAD_BYTES) {
    const end = at + HEAD_BYTES + view.getUint32(at + 2);
    if (end > bytes.length) break;
    const body = bytes.slice(at + HEAD_BYTES, end);
    if (view.getUint8(at) === FIGURES) tell(JSON.parse(new TextDecoder().decode(body)));
    else hang(view.getUint8(at + 1), body);
    at = end;
  }
  return at;
}

setInterval(() => {
  if (connection && Date.now() - heardAt > SILENCE_MS) connection.abort();
}, 1000);
document.addEventListener("visibilitychange", () => {
  // Nobody looks: the device need not draw.
  if (document.hidden && connection) connection.abort();
});

// Pictures.

const easels = [];

function easelOf(source) {
  while (easels.length <= source) {
    const figure = byId("picture").content.cloneNode(true).firstElementChild;
    const find = (what) => figure.querySelector(what);
    easels.push({
      frame: find(".frame"), canvas: find("canvas"), cover: find(".cover"), name: find(".name"),
      moment: find(".moment"), button: find(".button"), next: null, busy: false,
    });
    find(".frame").classList.add("empty");
    byId("pictures").append(figure);
    byId("pictures").classList.toggle("many", easels.length > 1);
  }
  return easels[source];
}

async function hang(source, jpeg) {
  const easel = easelOf(source);
  // Only the newest waits while one is being decoded.
  easel.next = jpeg;
  if (easel.busy) return;
  easel.busy = true;
  while (easel.next) {
    const blob = new Blob([easel.next], { type: "image/jpeg" });
    easel.next = null;
    try {
      draw(easel, await createImageBitmap(blob));
    } catch (problem) {
      console.debug(problem);
    }
  }
  easel.busy = false;
}

function draw(easel, bitmap) {
  const { canvas, frame } = easel;
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  frame.classList.remove("empty");
}

// Figures.

const number = (value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const short = (value) => number(value, value < 100 ? 1 : 0);

function span(seconds) {
  const whole = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return (hours ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(whole % 60)}`;
}

const STATES = {
  waiting: "Waiting for the first frame",
  running: "Running",
  stalled: "No new frame",
  ended: "The run has ended",
};

function tell(figures) {
  const state = byId("state");
  const text = STATES[figures.state];
  // A screen reader reads it out whenever it is set.
  if (state.textContent !== text) state.textContent = text;
  state.dataset.state = figures.state;
  byId("title").textContent = figures.title;
  document.title = figures.title;
  figures.sources.forEach((source, index) => tellSource(source, index, figures));
  tellThreshold(figures.score_threshold);
  tellObjects(figures.sources);
  if (figures.frames === undefined) return;
  tellTiles(figures);
  tellClasses(figures.sources);
  bars(byId("stages"), Object.entries(figures.stages_ms).map(([name, ms]) => [name, ms, `${short(ms)} ms`]), "not measured yet");
  tellCounts(figures.sources);
  tellHealth(figures.health);
}

function tellSource(source, index, figures) {
  const easel = easelOf(index);
  easel.name.textContent = source.name;
  easel.name.title = source.name;
  easel.canvas.setAttribute("aria-label", `${source.name}: ${(source.objects ?? []).length} objects`);
  easel.moment.textContent = source.time_s == null ? source.frame ?? "" : span(source.time_s);
  const empty = easel.frame.classList.contains("empty");
  const covers = {
    waiting: "Waiting for the first picture",
    stalled: `No new picture for ${span(source.since_s ?? 0)}`,
    ended: "The run has ended",
  };
  easel.cover.textContent = covers[source.state] ?? "";
  easel.cover.hidden = source.state === "running" && !empty;
  if (figures.state === "ended") return keepSnapshot(easel);
  if (source.frame === undefined) return;
  easel.button.href = `/snapshots/${index}.jpg`;
  easel.button.setAttribute("aria-disabled", "false");
  easel.button.setAttribute("aria-label", `Snapshot of ${source.name}`);
}

function keepSnapshot(easel) {
  // The server is gone, what was shown last is still here.
  sleep(500).then(() => easel.canvas.toBlob((blob) => {
    if (!blob || byId("state").dataset.state !== "ended") return;
    easel.button.href = URL.createObjectURL(blob);
    easel.button.download = "edgeseg-last.png";
  }));
}

function lose() {
  byId("state").textContent = "Connection lost, trying again";
  byId("state").dataset.state = "lost";
  for (const { cover } of easels) {
    cover.textContent = "Connection lost, trying again";
    cover.hidden = false;
  }
}

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);

function tellTiles(figures) {
  byId("uptime").textContent = span(figures.uptime_s);
  const tiles = [
    ["frames/s", short(figures.fps)],
    figures.age_ms == null ? null : ["frame age", number(figures.age_ms), "ms"],
    ["frames", number(figures.frames)],
    ["dropped", number(sum(figures.dropped))],
    ["unreadable", number(figures.skipped), "", figures.skipped > 0],
    ["reconnects", number(figures.reconnects), "", figures.reconnects > 0],
  ].filter(Boolean);
  pairs(byId("tiles"), tiles);
}

const classes = new Set();

function tellClasses(sources) {
  const counts = {};
  for (const object of sources.flatMap((source) => source.objects ?? [])) {
    counts[object.class] = (counts[object.class] ?? 0) + 1;
  }
  // Classes keep their rows when there is none of them, or bars would jump.
  for (const name of Object.keys(counts)) classes.add(name);
  const rows = [...classes].sort().map((name) => [name, counts[name] ?? 0, number(counts[name] ?? 0)]);
  bars(byId("classes"), rows, "nothing yet");
  byId("total").textContent = number(sum(counts));
}

function tellCounts(sources) {
  const rows = [];
  for (const { scene, name } of sources) {
    if (!scene) continue;
    const where = sources.length > 1 ? `${name}: ` : "";
    rows.push([`${where}entered`, number(scene.entered)], [`${where}left`, number(scene.left)]);
    for (const [label, count] of Object.entries(scene.entered_by_class)) rows.push([`${where}${label} entered`, number(count)]);
    for (const line of scene.lines) rows.push([`${where}${line.name}`, `${line.forward} forward, ${line.backward} back`]);
    for (const zone of scene.zones) rows.push([`${where}${zone.name}`, `${zone.inside} inside, ${zone.entered} so far`]);
  }
  byId("tracking").hidden = !rows.length;
  pairs(byId("counts"), rows);
}

function tellHealth(health) {
  const rows = [
    ["Processor", health.cpu_percent, 0, "%"],
    ["GPU", health.gpu_percent, 0, "%"],
    ["Temperature", health.temperature_c, 0, "°C"],
    ["Power", health.power_w, 1, "W"],
    ["Memory of the run", health.memory_mib, 0, "MiB"],
    ["Memory of the GPU", health.gpu_memory_mib, 0, "MiB"],
  ].filter(([, value]) => value != null);
  byId("machine").hidden = !rows.length;
  pairs(byId("health"), rows.map(([label, value, digits, unit]) => [label, `${number(value, digits)} ${unit}`]));
}

function pairs(list, rows) {
  list.replaceChildren(...rows.map(([label, text, unit, alert]) => {
    const row = element("div", "", alert ? "alert" : "");
    const value = element("dd", text);
    if (unit) value.append(" ", element("small", unit));
    row.append(element("dt", label), value);
    return row;
  }));
}

function bars(list, rows, nothing) {
  const most = Math.max(...rows.map(([, size]) => size), 1e-9);
  const items = rows.map(([label, size, text]) => {
    const item = element("li");
    const bar = element("span", "", "bar");
    const fill = element("span");
    fill.style.width = `${(100 * size) / most}%`;
    bar.append(fill);
    const name = element("span", label, "label");
    name.title = label;
    item.append(name, bar, element("span", text, "value"));
    return item;
  });
  list.replaceChildren(...(items.length ? items : [element("li", nothing, "none")]));
}

function tellObjects(sources) {
  const many = sources.length > 1;
  const found = sources.flatMap((source) => (source.objects ?? []).map((object) => ({ ...object, source: source.name })));
  const tracked = found.some((object) => "track_id" in object);
  const columns = [
    many && ["source", (object) => object.source],
    tracked && ["id", (object) => object.track_id ?? "–", true],
    ["class", (object) => object.class],
    ["score", (object) => number(object.score, 2), true],
    ["area in px", (object) => number(object.area_px), true],
    ["box: left, top, right, bottom", (object) => object.box_xyxy.map((side) => Math.round(side)).join(", "), true],
  ].filter(Boolean);
  byId("columns").replaceChildren(...columns.map(([title, , right]) => {
    const head = element("th", title, right ? "number" : "");
    head.scope = "col";
    return head;
  }));
  const rows = found.map((object) => {
    const row = element("tr");
    row.append(...columns.map(([, text, right]) => element("td", text(object), right ? "number" : "")));
    return row;
  });
  if (!rows.length) {
    const none = element("td", "nothing above the threshold", "none");
    none.colSpan = columns.length;
    rows.push(none);
  }
  byId("rows").replaceChildren(...rows);
}

// The threshold.

const slider = byId("threshold");
let wish = null;
let sending = false;
let heldUntil = 0;

function tellThreshold(value) {
  if (sending || wish !== null || Date.now() < heldUntil || slider.matches(":active")) return;
  slider.disabled = false;
  slider.value = value;
  byId("threshold-value").textContent = number(value, 2);
}

slider.addEventListener("input", () => {
  wish = Number(slider.value);
  byId("threshold-value").textContent = number(wish, 2);
  if (!sending) send();
});

async function send() {
  sending = true;
  while (wish !== null) {
    const body = JSON.stringify({ score_threshold: wish });
    wish = null;
    try {
      const answer = await fetch("/threshold", { method: "POST", body, headers: { "Content-Type": "application/json" } });
      if (!answer.ok) throw new Error((await answer.json()).error);
    } catch (problem) {
      console.debug(problem);
    }
    heldUntil = Date.now() + HOLD_MS;
    await sleep(80);
  }
  sending = false;
}

follow();
