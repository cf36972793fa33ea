// The interactive chart of a forecast page. In: the JSON of page.py in the element #data. Out: two SVG drawings, redrawn on every choice.
// All text is set through textContent, never as markup: ids and names come from the user's data.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const chart = byId("chart"), overview = byId("overview"), tip = byId("tip");
  const series = byId("series"), filter = byId("filter");
  const HEIGHT = 360, STRIP = 54, LEFT = 62, RIGHT = 12, TOP = 10, BOTTOM = 26;
  const shown = { truth: true, baseline: true, bands: new Set(data.levels) };
  let panel = null, range = null;

  const make = (parent, tag, attributes, text) => {
    const node = document.createElementNS(chart.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };

  // Times come as [first, gap, count, gap, count, ...].
  const times = (runs) => {
    const out = runs.length ? [runs[0]] : [];
    for (let i = 1; i < runs.length; i += 2)
      for (let j = 0; j < runs[i + 1]; j++) out.push(out[out.length - 1] + runs[i]);
    return out;
  };

  const open = (raw) => {
    const past = times(raw.h), next = times(raw.f);
    const last = raw.y.length ? raw.y[raw.y.length - 1] : null;
    const ahead = last === null ? next : [past[past.length - 1], ...next];
    return { title: raw.t, target: raw.v, dates: raw.d === 1, past, next, last, ahead, history: raw.y, forecast: raw.p, truth: raw.a, baseline: raw.n, bands: raw.b };
  };

  const number = (v) => {
    if (v === null || v === undefined) return "–";
    const size = Math.abs(v);
    return size !== 0 && (size < 1e-4 || size >= 1e9) ? v.toExponential(3) : v.toLocaleString("en-US", { maximumSignificantDigits: 5 });
  };

  const two = (n) => String(n).padStart(2, "0");
  const stamp = (t, dates) => {
    if (!dates) return t.toLocaleString("en-US", { maximumFractionDigits: 3 });
    const d = new Date(t), day = `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
    if (t % 86400000 === 0) return day;
    return `${day} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${t % 60000 ? ":" + two(d.getUTCSeconds()) : ""}`;
  };

  const niceStep = (raw) => {
    const unit = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].find((m) => m * unit >= raw) * unit;
  };

  const numberTicks = (low, high, count) => {
    const step = niceStep((high - low) / count || 1), out = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9 && out.length < 50; i++) out.push(i * step);
    return out;
  };

  const SECOND = 1e3, MINUTE = 6e4, HOUR = 36e5, DAY = 864e5;
  const STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * SECOND).concat([1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
    [1, 2, 3, 6, 12].map((n) => n * HOUR), [1, 2, 4, 7, 14].map((n) => n * DAY));
  const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000];

  const evenTicks = (low, high, step) => {
    const out = [];
    for (let t = Math.ceil(low / step) * step; t <= high; t += step) out.push(t);
    return out;
  };

  const monthTicks = (low, high, months) => {
    const out = [], start = new Date(low);
    for (let m = Math.ceil((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months) * months; ; m += months) {
      const t = Date.UTC(Math.floor(m / 12), m % 12, 1);
      if (t > high) return out;
      if (t >= low) out.push(t);
    }
  };

  // No two labels of one axis are alike: hours carry the day where the axis is longer than one.
  const dateLabel = (t, step, span, first) => {
    const d = new Date(t), month = d.toLocaleString("en-US", { month: "short", timeZone: "UTC" }), day = `${month} ${d.getUTCDate()}`;
    if (step >= 360 * DAY) return String(d.getUTCFullYear());
    if (span >= 120 * DAY) return `${month} ${d.getUTCFullYear()}`;
    if (t % DAY === 0) return day;
    const clock = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${step < MINUTE ? ":" + two(d.getUTCSeconds()) : ""}`;
    return span > DAY || first ? `${day} ${clock}` : clock;
  };

  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `11px ${getComputedStyle(chart).fontFamily}`;

  // Labels as they will stand, pushed inside the edges. Where two would touch: null, or, thinned, without the second.
  const placed = (ticks, text, x, width, most, thinned) => {
    if (ticks.length > most) return null;
    let end = -Infinity;
    const out = [];
    for (const [i, t] of ticks.entries()) {
      const label = text(t, i === 0), half = pen.measureText(label).width / 2 + 2;
      const at = Math.min(Math.max(x(t), LEFT - 24 + half), width - half - 2);
      if (at - half < end + 4) {
        if (thinned) continue;
        return null;
      }
      end = at + half;
      out.push([t, at, label]);
    }
    return out;
  };

  // The finest steps whose labels have room; with fewer than three of them, finer steps with some left out.
  const timeAxis = (low, high, x, width) => {
    const span = high - low, most = Math.max(7, Math.floor(width / 90));
    const tries = [];
    if (span < 120 * DAY) for (const step of STEPS) tries.push([step, () => evenTicks(low, high, step)]);
    for (const months of MONTHS) tries.push([months * 30.4 * DAY, () => monthTicks(low, high, months)]);
    const coarse = tries.filter(([step]) => span / step < 60);
    const at = ([step, ticks], thinned) => placed(ticks(), (t, first) => dateLabel(t, step, span, first), x, width, most * (thinned ? 3 : 1), thinned);
    for (const [i, step] of coarse.entries()) {
      const found = at(step, false);
      if (!found) continue;
      for (let j = i; j >= 0 && found.length < 3; j--) {
        const more = at(coarse[j], true);
        if (more && more.length >= 3) return more;
      }
      return found;
    }
    return [];
  };

  const numberAxis = (low, high, x, width) => {
    for (let count = Math.max(4, Math.floor((width - LEFT) / 110)); count > 0; count--) {
      const found = placed(numberTicks(low, high, count), number, x, width, 50, false);
      if (found) return found;
    }
    return [];
  };

  // A path with its gaps left open; a value between two gaps becomes a dot.
  const line = (parent, kind, xs, ys, x, y) => {
    let path = "", last = false;
    ys.forEach((v, i) => {
      if (v === null) { last = false; return; }
      const px = x(xs[i]).toFixed(1), py = y(v).toFixed(1);
      if (!last && (i + 1 >= ys.length || ys[i + 1] === null)) make(parent, "circle", { class: "dot", cx: px, cy: py, r: 1.6 });
      path += `${last ? "L" : "M"}${px} ${py}`;
      last = true;
    });
    make(parent, "path", { class: kind, d: path });
  };

  const band = (parent, xs, lo, hi, opacity, x, y) => {
    const there = [], back = [];
    xs.forEach((t, i) => {
      if (lo[i] === null || hi[i] === null) return;
      there.push(`${x(t).toFixed(1)} ${y(hi[i]).toFixed(1)}`);
      back.unshift(`${x(t).toFixed(1)} ${y(lo[i]).toFixed(1)}`);
    });
    const d = `M${there.join("L")}L${back.join("L")}Z`;
    if (!there.length) return;
    make(parent, "path", { class: "under", d });  // no wider band shines through: the colour is that of the legend
    make(parent, "path", { class: "band", "fill-opacity": opacity, d });
  };

  // From the last value of the history on, where that is known: no gap between the two.
  const joined = (ys) => (panel.last === null ? ys : [panel.last, ...ys]);

  const lines = () => {
    const list = [["history", panel.past, panel.history]];
    if (panel.baseline && shown.baseline) list.push(["baseline", panel.ahead, joined(panel.baseline[1])]);
    list.push(["forecast", panel.ahead, joined(panel.forecast)]);
    if (panel.truth && shown.truth) list.push(["truth", panel.ahead, joined(panel.truth)]);
    return list;
  };

  const bands = () => panel.bands.filter(([level]) => shown.bands.has(level)).sort((a, b) => b[0] - a[0]);

  const extent = (low, high) => {
    let least = Infinity, most = -Infinity;
    const take = (t, v) => {
      if (v !== null && t >= low && t <= high) { least = Math.min(least, v); most = Math.max(most, v); }
    };
    for (const [, xs, ys] of lines()) xs.forEach((t, i) => take(t, ys[i]));
    for (const [, lo, hi] of bands()) panel.next.forEach((t, i) => { take(t, lo[i]); take(t, hi[i]); });
    if (least > most) return [0, 1];
    const room = (most - least) * 0.05 || Math.abs(most) * 0.05 || 1;
    return [least - room, most + room];
  };

  const whole = () => {
    const all = panel.past.concat(panel.next);
    return [all[0], all[all.length - 1]];
  };

  const scale = (from, to, start, end) => (v) => start + ((v - from) / (to - from || 1)) * (end - start);

  const draw = () => {
    const width = chart.clientWidth || 800;
    chart.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    chart.replaceChildren();
    const [low, high] = range, [bottom, top] = extent(low, high);
    const x = scale(low, high, LEFT, width - RIGHT), y = scale(bottom, top, HEIGHT - BOTTOM, TOP);
    for (const v of numberTicks(bottom, top, 6)) {
      make(chart, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) });
      make(chart, "text", { class: "tick", x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, number(v));
    }
    for (const [t, at, label] of (panel.dates ? timeAxis : numberAxis)(low, high, x, width)) {
      make(chart, "line", { class: "grid", x1: x(t), x2: x(t), y1: TOP, y2: HEIGHT - BOTTOM });
      make(chart, "text", { class: "tick time", x: at, y: HEIGHT - 8, "text-anchor": "middle" }, label);
    }
    const [began, ends] = [low, high].map((t) => new Date(t).getUTCFullYear());
    const years = began === ends ? String(began) : `${began}–${two(ends % 100)}`;
    if (panel.dates && high - low < 120 * DAY) make(chart, "text", { class: "tick", x: 0, y: HEIGHT - 8 }, years);
    if (panel.target) make(chart, "text", { class: "tick", x: LEFT + 6, y: TOP + 8 }, panel.target);
    const clip = make(make(chart, "defs", {}), "clipPath", { id: "inside" });
    make(clip, "rect", { x: LEFT, y: 0, width: Math.max(width - LEFT - RIGHT, 1), height: HEIGHT });
    const inside = make(chart, "g", { "clip-path": "url(#inside)" });
    for (const [level, lo, hi] of bands()) band(inside, panel.ahead, joined(lo), joined(hi), data.shades[level], x, y);
    const cut = panel.past.length ? panel.past[panel.past.length - 1] : panel.next[0];
    make(inside, "line", { class: "cut", x1: x(cut), x2: x(cut), y1: TOP, y2: HEIGHT - BOTTOM });
    for (const [kind, xs, ys] of lines()) line(inside, kind, xs, ys, x, y);
    chart.scaleX = x;
    drawOverview(width);
  };

  const drawOverview = (width) => {
    overview.setAttribute("viewBox", `0 0 ${width} ${STRIP}`);
    overview.replaceChildren();
    const [low, high] = whole(), [bottom, top] = extent(low, high);
    const x = scale(low, high, LEFT, width - RIGHT), y = scale(bottom, top, STRIP - 4, 4);
    line(overview, "history", panel.past, panel.history, x, y);
    line(overview, "forecast", panel.ahead, joined(panel.forecast), x, y);
    const from = x(range[0]), to = x(range[1]);
    make(overview, "rect", { class: "brush", x: from, y: 1, width: Math.max(to - from, 1), height: STRIP - 2 });
    overview.fromX = (px) => low + ((px - LEFT) / (width - LEFT - RIGHT || 1)) * (high - low);
  };

  const zoom = (low, high) => {
    const [first, last] = whole();
    const a = Math.max(first, Math.min(low, high)), b = Math.min(last, Math.max(low, high));
    if (b > a || first === last) { range = [a, b]; draw(); }
  };

  const horizons = (n) => {
    const span = panel.next.length > 1 ? panel.next[panel.next.length - 1] - panel.next[0] : whole()[1] - whole()[0];
    zoom(n ? panel.next[0] - n * span : whole()[0], whole()[1]);
  };

  const nearest = (t) => {
    const all = panel.past.concat(panel.next);
    let best = 0;
    all.forEach((v, i) => { if (Math.abs(v - t) < Math.abs(all[best] - t)) best = i; });
    return best;
  };

  const describe = (i) => {
    const n = panel.past.length;
    if (i < n) return [stamp(panel.past[i], panel.dates), `history   ${number(panel.history[i])}`];
    const k = i - n, rows = [stamp(panel.next[k], panel.dates), `forecast  ${number(panel.forecast[k])}`];
    for (const [level, lo, hi] of bands().reverse()) rows.push(`${level} %      ${number(lo[k])} … ${number(hi[k])}`);
    if (panel.truth && shown.truth) rows.push(`truth     ${number(panel.truth[k])}`);
    if (panel.baseline && shown.baseline) rows.push(`${panel.baseline[0]}  ${number(panel.baseline[1][k])}`);
    return rows;
  };

  const hover = (event) => {
    const box = chart.getBoundingClientRect(), width = chart.clientWidth || 800;
    const t = range[0] + ((event.clientX - box.left - LEFT) / (width - LEFT - RIGHT)) * (range[1] - range[0]);
    const i = nearest(t), at = i < panel.past.length ? panel.past[i] : panel.next[i - panel.past.length], px = chart.scaleX(at);
    chart.querySelector(".cross")?.remove();
    make(chart, "line", { class: "cross", x1: px, x2: px, y1: TOP, y2: HEIGHT - BOTTOM });
    tip.textContent = describe(i).join("\n");
    tip.hidden = false;
    tip.style.left = `${px + 14 + tip.offsetWidth > width ? px - 14 - tip.offsetWidth : px + 14}px`;
  };

  const leave = () => { tip.hidden = true; chart.querySelector(".cross")?.remove(); };

  const choose = (index) => {
    panel = open(data.panels[index]);
    series.value = String(index);
    byId("name").textContent = panel.title;
    leave();
    horizons(5);
  };

  const list = () => {
    const words = filter.value.toLowerCase(), chosen = series.value;
    const nodes = [];
    data.panels.forEach((p, i) => {
      if (!p.t.toLowerCase().includes(words)) return;
      const node = document.createElement("option");
      node.value = String(i);
      node.textContent = p.t;
      nodes.push(node);
    });
    series.replaceChildren(...nodes);
    if (nodes.some((node) => node.value === chosen)) series.value = chosen;
    else if (nodes.length) choose(Number(nodes[0].value));
  };

  const step = (by) => {
    const next = series.options[series.selectedIndex + by];
    if (next) choose(Number(next.value));
  };

  const brush = () => {
    let from = null;
    const at = (event) => overview.fromX(event.clientX - overview.getBoundingClientRect().left);
    overview.addEventListener("pointerdown", (event) => { from = at(event); overview.setPointerCapture(event.pointerId); });
    overview.addEventListener("pointermove", (event) => { if (from !== null) zoom(from, at(event)); });
    overview.addEventListener("pointerup", () => { from = null; });
    overview.addEventListener("dblclick", () => horizons(0));
  };

  const toggles = () => {
    for (const box of document.querySelectorAll("[data-toggle]"))
      box.addEventListener("change", () => {
        const what = box.dataset.toggle;
        if (what !== "band") shown[what] = box.checked;
        else if (box.checked) shown.bands.add(Number(box.value));
        else shown.bands.delete(Number(box.value));
        leave();
        draw();
      });
    for (const button of document.querySelectorAll("[data-horizons]"))
      button.addEventListener("click", () => horizons(Number(button.dataset.horizons)));
  };

  if (!data.panels.length) return;
  series.addEventListener("change", () => choose(Number(series.value)));
  filter.addEventListener("input", list);
  byId("before").addEventListener("click", () => step(-1));
  byId("after").addEventListener("click", () => step(1));
  chart.addEventListener("pointermove", hover);
  chart.addEventListener("pointerleave", leave);
  window.addEventListener("resize", draw);
  toggles();
  brush();
  list();
})();
