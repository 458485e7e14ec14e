"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const largest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const SVG = "http://www.w3.org/2000/svg";

function add(parent, name, attributes = {}, text) {
  const element = parent.namespaceURI === SVG
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function show(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 0.001 && size < 1e5 ? String(+value.toPrecision(4)) : value.toExponential(2);
}

const metric = data.metric.replaceAll("_", " ");
const score = (trial) => data.maximize ? trial.best : -trial.best;
// A trial that failed is none that could be chosen.
const rated = data.trials.filter((trial) => trial.best !== null && trial.state !== "failed");
const others = data.trials.filter((trial) => !rated.includes(trial));
const ranked = [...rated].sort((a, b) => score(b) - score(a) || a.trial - b.trial);

// Colours by rank: a single bad trial does not make all others look the same.
const rank = new Map(ranked.map((trial, index) =>
  [trial.trial, ranked.length < 2 ? 1 : 1 - index / (ranked.length - 1)]));
const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [240, 200, 40]];
function colour(trial) {
  if (!rank.has(trial.trial)) return "#999";
  const place = rank.get(trial.trial) * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  const mix = stops[below].map((c, i) => Math.round(c + (stops[below + 1][i] - c) * (place - below)));
  return `rgb(${mix})`;
}

// An axis: from a value to 0..1, and its labels.
function axisOf(param) {
  if (param.kind === "choice") {
    const keys = param.values.map((v) => JSON.stringify(v));
    const place = (v) => keys.length < 2 ? 0.5 : keys.indexOf(JSON.stringify(v)) / (keys.length - 1);
    return { place, ticks: param.values.map((v) => [place(v), show(v)]) };
  }
  const log = param.kind === "log";
  const to = log ? Math.log : (v) => v;
  const back = log ? Math.exp : (v) => v;
  const seen = data.trials.map((t) => t.params[param.name]).filter((v) => typeof v === "number");
  let low = to(least([param.low, ...seen])), high = to(largest([param.high, ...seen]));
  if (low === high) { low -= 0.5; high += 0.5; }
  const place = (v) => (to(v) - low) / (high - low);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((t) => [t, show(back(low + t * (high - low)))]);
  return { place, ticks };
}

function rangeAxis(values) {
  let low = least(values), high = largest(values);
  if (!values.length) { low = 0; high = 1; }
  if (low === high) { low -= 0.5 * (Math.abs(low) || 1) * 0.1; high += 0.5 * (Math.abs(high) || 1) * 0.1; }
  const place = (v) => (v - low) / (high - low);
  return { place, low, high, ticks: [0, 0.25, 0.5, 0.75, 1].map((t) => [t, show(low + t * (high - low))]) };
}
const resultAxis = rangeAxis(rated.map((t) => t.best));
const axes = data.params.map((p) => ({ name: p.name, axis: axisOf(p), value: (t) => t.params[p.name] }));
axes.push({ name: data.metric, axis: resultAxis, value: (t) => rated.includes(t) ? t.best : undefined });

// Ranges that were chosen, by axis.
const brushes = new Map();
const isChosen = (trial) => [...brushes].every(([index, [low, high]]) => {
  const value = axes[index].value(trial);
  if (value === undefined) return false;
  const place = axes[index].axis.place(value);
  return place >= low - 1e-9 && place <= high + 1e-9;
});
const marks = [];
function mark(element, trial) {
  marks.push([element, trial]);
  if (element.namespaceURI === SVG) {
    const lines = Object.entries(trial.params).map(([name, value]) => `${name}: ${show(value)}`);
    const title = `trial ${trial.trial}, ${trial.state}\n${metric}: ${show(trial.best)}\n${lines.join("\n")}`;
    add(element, "title", {}, trial.cause ? `${title}\n${trial.cause}` : title);
  }
  element.addEventListener("mouseenter", () => highlight(trial, true));
  element.addEventListener("mouseleave", () => highlight(trial, false));
}
function highlight(trial, on) {
  for (const [element, other] of marks) if (other === trial) element.classList.toggle("strong", on);
}
function refresh() {
  for (const [element, trial] of marks) element.classList.toggle("off", !isChosen(trial));
  const count = data.trials.filter(isChosen).length;
  byId("chosen").textContent = brushes.size ? `${count} of ${data.trials.length} trials` : "";
}

function parallel() {
  const svg = byId("parallel"), width = Math.max(720, axes.length * 150), top = 34, height = 300;
  svg.setAttribute("viewBox", `0 0 ${width} ${height + top + 24}`);
  svg.style.minWidth = `${width * 0.7}px`;
  const x = (index) => 70 + index * (width - 150) / Math.max(1, axes.length - 1);
  const y = (place) => top + height * (1 - place);
  for (const trial of [...ranked].reverse().concat(others)) {
    // A parameter that a trial does not have is a gap.
    let path = "", pen = false;
    axes.forEach((entry, index) => {
      const value = entry.value(trial);
      if (value === undefined) { pen = false; return; }
      path += `${pen ? "L" : "M"}${x(index).toFixed(1)} ${y(entry.axis.place(value)).toFixed(1)}`;
      pen = true;
    });
    mark(add(svg, "path", { class: "line", d: path || "M0 0", stroke: colour(trial) }), trial);
  }
  axes.forEach((entry, index) => {
    const at = x(index);
    add(svg, "text", { class: "mid", x: at, y: 16 }, entry.name);
    add(svg, "line", { class: "axis", x1: at, x2: at, y1: top, y2: top + height });
    for (const [place, label] of entry.axis.ticks) {
      // The result's labels stand where no lines are.
      const side = index === axes.length - 1 ? { class: "soft label", x: at + 6 } : { class: "soft label end", x: at - 6 };
      add(svg, "text", { ...side, y: y(place) + 4 }, label);
    }
    const brush = add(svg, "rect", { class: "brush", x: at - 7, width: 14, y: 0, height: 0, visibility: "hidden" });
    const hit = add(svg, "rect", { class: "hit", x: at - 16, width: 32, y: top - 8, height: height + 16 });
    const place = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return Math.min(1, Math.max(0, 1 - (point.y - top) / height));
    };
    let from = null;
    const draw = () => {
      const range = brushes.get(index);
      brush.setAttribute("visibility", range ? "visible" : "hidden");
      if (!range) return;
      brush.setAttribute("y", y(range[1]));
      brush.setAttribute("height", Math.max(1, y(range[0]) - y(range[1])));
    };
    hit.addEventListener("pointerdown", (event) => { from = place(event); hit.setPointerCapture(event.pointerId); });
    hit.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = place(event);
      brushes.set(index, [Math.min(from, to), Math.max(from, to)]);
      draw(); refresh();
    });
    hit.addEventListener("pointerup", (event) => {
      // A click takes the range away.
      if (from !== null && Math.abs(place(event) - from) < 0.01) brushes.delete(index);
      from = null; draw(); refresh();
    });
    byId("clear").addEventListener("click", () => { brushes.delete(index); draw(); refresh(); });
  });
}

// A frame with a scale on the left and below; where values lie in it.
function frame(svg, across, up, below, width = 520, height = 250, left = 62) {
  const right = 12, top = 10, bottom = 40;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (place) => left + place * (width - left - right);
  const y = (place) => top + (1 - place) * (height - top - bottom);
  for (const [place, label] of up.ticks) {
    add(svg, "line", { class: "grid", x1: x(0), x2: x(1), y1: y(place), y2: y(place) });
    add(svg, "text", { class: "soft end", x: x(0) - 6, y: y(place) + 4 }, label);
  }
  for (const [place, label] of across.ticks) {
    add(svg, "text", { class: "soft mid", x: x(place), y: height - bottom + 16 }, label);
  }
  add(svg, "text", { class: "mid", x: x(0.5), y: height - 6 }, below);
  return { x, y };
}

function scatter() {
  for (const param of data.params) {
    const svg = add(add(byId("scatter"), "figure"), "div");
    const picture = document.createElementNS(SVG, "svg");
    svg.append(picture);
    const axis = axisOf(param);
    const few = axis.ticks.length > 5 ? axis.ticks.filter((_, i) => i % 2 === 0) : axis.ticks;
    const { x, y } = frame(picture, { ticks: few }, resultAxis, param.name, 300, 210);
    for (const trial of rated) {
      const value = trial.params[param.name];
      if (value === undefined) continue;
      const at = { cx: x(axis.place(value)), cy: y(resultAxis.place(trial.best)), r: 4, fill: colour(trial) };
      mark(add(picture, "circle", at), trial);
    }
  }
}

function curves() {
  const points = data.trials.flatMap((t) => t.curve).filter(([, v]) => v !== null);
  const up = rangeAxis(points.map(([, v]) => v));
  const last = largest([1, ...points.map(([e]) => e)]);
  const place = (epoch) => last === 1 ? 0.5 : (epoch - 1) / (last - 1);
  const step = Math.ceil(last / 10);
  const ticks = [];
  for (let epoch = 1; epoch <= last; epoch += step) ticks.push([place(epoch), epoch]);
  const { x, y } = frame(byId("curves"), { ticks }, up, "epoch");
  for (const trial of [...ranked].reverse()) {
    const line = trial.curve.filter(([, v]) => v !== null)
      .map(([e, v], i) => `${i ? "L" : "M"}${x(place(e)).toFixed(1)} ${y(up.place(v)).toFixed(1)}`).join("");
    const path = { class: "line", d: line, stroke: colour(trial) };
    if (trial.state === "stopped") path["stroke-dasharray"] = "4 3";
    mark(add(byId("curves"), "path", path), trial);
    const [epoch, value] = trial.curve[trial.curve.length - 1];
    mark(add(byId("curves"), "circle", { cx: x(place(epoch)), cy: y(up.place(value)), r: 2.5, fill: colour(trial) }), trial);
  }
}

function progress() {
  const count = Math.max(1, data.trials.length - 1);
  const place = (trial) => trial / count;
  const step = Math.ceil((count + 1) / 10);
  const ticks = [];
  for (let trial = 0; trial <= count; trial += step) ticks.push([place(trial), trial]);
  const svg = byId("progress");
  const { x, y } = frame(svg, { ticks }, resultAxis, "trial");
  let best = null, line = "";
  for (const trial of rated) {
    if (best === null || score(trial) > score(best)) {
      const at = y(resultAxis.place(trial.best)).toFixed(1);
      line += best === null ? `M${x(place(trial.trial)).toFixed(1)} ${at}` : `H${x(place(trial.trial)).toFixed(1)}V${at}`;
      best = trial;
    }
  }
  if (best) add(svg, "path", { class: "line", d: `${line}H${x(1)}`, stroke: "var(--accent)" });
  for (const trial of rated) {
    mark(add(svg, "circle", { cx: x(place(trial.trial)), cy: y(resultAxis.place(trial.best)), r: 3.5, fill: colour(trial) }), trial);
  }
}

function bars(svg, rows, most) {
  const height = 28 * rows.length + 6;
  svg.setAttribute("viewBox", `0 0 520 ${Math.max(height, 30)}`);
  rows.forEach(([name, value, label], index) => {
    const top = 28 * index + 4;
    add(svg, "text", { class: "end", x: 150, y: top + 15 }, name);
    add(svg, "rect", { class: "bars", x: 158, y: top, height: 20, rx: 3, width: Math.max(1, 290 * value / most) });
    add(svg, "text", { class: "soft", x: 164 + 290 * value / most, y: top + 15 }, label);
  });
}

function table() {
  const rows = byId("trials");
  const head = add(add(rows, "thead"), "tr");
  for (const name of ["trial", "state", "epochs", metric, ...data.params.map((p) => p.name), "seconds"]) add(head, "th", { scope: "col" }, name);
  const body = add(rows, "tbody");
  for (const trial of ranked.concat(others)) {
    const row = add(body, "tr", trial.trial === data.best ? { class: "best" } : {});
    add(row, "th", { scope: "row" }, String(trial.trial));
    const state = add(row, "td", {}, trial.state);
    if (trial.cause) state.title = trial.cause;
    add(row, "td", {}, String(trial.curve.length));
    add(row, "td", {}, show(trial.best));
    for (const param of data.params) add(row, "td", {}, show(trial.params[param.name]));
    add(row, "td", {}, trial.seconds.toFixed(0));
    mark(row, trial);
  }
}

const best = ranked[0];
document.title = `Search: ${data.folder}`;
byId("title").textContent = data.folder;
byId("subtitle").textContent = `${data.sampler}, scheduler ${data.scheduler}, seed ${data.seed}`;
const tiles = [
  [`best ${metric}`, best ? show(best.best) : "–"],
  ["of trial", best ? best.trial : "–"],
  ["trials", `${data.trials.length} of ${data.planned}`],
  ["stopped early", data.stopped],
  ["failed", data.failed],
  ["epochs in all", data.trials.reduce((sum, t) => sum + t.curve.length, 0)],
  ["seconds in all", data.trials.reduce((sum, t) => sum + t.seconds, 0).toFixed(0)],
];
for (const [name, value] of tiles) {
  const tile = add(byId("tiles"), "div");
  add(tile, "dt", {}, name);
  add(tile, "dd", {}, String(value));
}
parallel();
scatter();
curves();
progress();
const reached = data.rungs.map((rung) => data.trials.filter((t) => t.curve.some(([e]) => e >= rung)).length);
bars(byId("survival"), data.rungs.map((rung, i) => [`epoch ${rung}`, reached[i], `${reached[i]} trials`]), Math.max(1, data.trials.length));
bars(byId("importance"), data.importance.map(([name, share]) => [name, share, `${(100 * share).toFixed(0)} %`]), 1);
if (!data.importance.length) byId("importance-note").textContent = "Fewer than eight results, or all the same: nothing can be said.";
table();
refresh();
