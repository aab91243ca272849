"use strict";
(async () => {
  const figure = document.querySelector(".flame");
  // Without this part of the platform the tree of spans below is what there is to read.
  if (!figure || !self.DecompressionStream) return;
  const find = (selector) => figure.querySelector(selector);
  const canvas = find("canvas"), stage = find(".stage"), tip = find(".tip");
  const brush = canvas.getContext("2d", { alpha: false });
  const ROW = 18, RULER = 20, CLOSEST = 20; // px, px, and the ns that the view can be zoomed to
  // In the order of the style sheet's colours.
  const LEVELS = ["model", "framework", "layer", "operator", "library", "application", "hardware"];
  const OTHER = 5, COLOURS = [0, 1, 2, 3, 4, 6, 7]; // kinds beyond the colours are grey
  const { labels, attributes, views } = await unpack(figure.dataset.spans);
  let colours, palette, view = views[0], hits = null, selected = -1, waiting = false;

  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const buffer = await new Response(stream).arrayBuffer();
    const length = new Float64Array(buffer, 0, 1)[0];
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    let at = 8 + length;
    const column = (Type, count) => {
      const values = new Type(buffer, at, count);
      at += Math.ceil(values.byteLength / 8) * 8;
      return values;
    };
    header.views.forEach((made, number) => {
      const count = made.boxes;
      made.start = column(Float64Array, count);
      for (let i = 1; i < count; i++) made.start[i] += made.start[i - 1];
      made.duration = column(Float64Array, count);
      made.label = column(Int32Array, count);
      made.parent = column(Int32Array, count).map((back, i) => (back ? i - back : -1));
      made.failed = column(Int32Array, count);
      made.flame = number === 0;
      made[made.flame ? "count" : "attributes"] = column(Int32Array, count);
      made.total = made.flame ? column(Float64Array, count) : made.duration;
      if (made.flame) made.self = column(Float64Array, count);
      made.top = made.flame ? 0 : RULER;
      [made.from, made.to] = [0, made.extent];
      made.hitsBefore = null;
    });
    return header;
  }

  const time = (ns) => {
    for (const [size, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
      const value = ns / size;
      if (value >= 0.99995) return `${fixed(value, Math.max(0, 4 - String(Math.trunc(value)).length))} ${unit}`;
    }
    return `${ns.toFixed(0)} ns`;
  };
  const fixed = (value, digits) =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const count = (value, noun) => `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : "s"}`;
  const end = (i) => view.start[i] + view.duration[i];
  const rowStart = (row) => (row ? view.rows[row - 1] : 0);

  /** The first of the boxes low..high for which `beyond` holds; it holds for all after one that it holds for. */
  function bisect(low, high, beyond) {
    while (low < high) {
      const middle = (low + high) >> 1;
      if (beyond(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  function draw() {
    waiting = false;
    const began = performance.now(), ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = width / (view.to - view.from);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.font = `11px ${getComputedStyle(figure).fontFamily}`;
    brush.textBaseline = "middle";
    brush.fillStyle = palette.page;
    brush.fillRect(0, 0, width, height);
    const letter = brush.measureText("abcdefghijklmnopqrstuvwxyz._").width / 28;
    const last = Math.min(view.rows.length, Math.ceil((stage.scrollTop + height - view.top) / ROW));
    let drawn = 0;
    for (let row = Math.floor(stage.scrollTop / ROW); row < last; row++) {
      const y = view.top + row * ROW - stage.scrollTop, stop = view.rows[row];
      let i = bisect(rowStart(row), stop, (box) => end(box) > view.from || view.start[box] >= view.from);
      while (i < stop && view.start[i] <= view.to) {
        let left = Math.max(0, (view.start[i] - view.from) * scale), right = (end(i) - view.from) * scale, next = i + 1;
        if (right - left < 2) {
          // What starts within the same two pixels is one bar, whatever its number, but for a last one that is wider.
          left = Math.floor(left);
          const edge = view.from + (left + 2) / scale;
          next = bisect(next, stop, (box) => view.start[box] >= edge);
          if (next > i + 1 && end(next - 1) >= edge + 1 / scale) next--;
          right = Math.ceil((end(next - 1) - view.from) * scale);
        }
        box(i, next, left, Math.min(width, Math.max(right, left + 1)), y, letter);
        drawn++;
        i = next;
      }
    }
    if (view.top) rule(width, scale);
    find(".sight").textContent = view.flame
      ? `${fixed((100 * (view.to - view.from)) / view.extent, 1)} % of the time`
      : `${time(view.to - view.from)} from ${view.from ? tick(view.from, (view.to - view.from) / 10) : 0}`;
    // For whoever wants to know whether it is quick, the tests among them.
    figure.dataset.drawn = drawn;
    figure.dataset.frame = (performance.now() - began).toFixed(2);
  }

  function box(first, next, left, right, y, letter) {
    const hit = !hits || (next > first + 1 ? view.hitsBefore[next] > view.hitsBefore[first] : hits[view.label[first]]);
    const paint = palette[colours.of[view.label[first]]];
    const width = right - left;
    brush.globalAlpha = hit ? 1 : 0.22;
    brush.fillStyle = paint.fill;
    brush.fillRect(left, y, width > 3 ? width - 0.75 : width, ROW - 1);
    if (view.failed[first]) {
      brush.fillStyle = palette.bad;
      brush.fillRect(left, y + ROW - 4, width, 3);
    }
    const letters = Math.floor((width - 6) / letter);
    if (letters > 2) {
      const name = labels[view.label[first]][0];
      brush.fillStyle = hit ? paint.ink : palette.ink;
      brush.globalAlpha = hit ? 1 : 0.6;
      brush.fillText(name.length > letters ? name.slice(0, letters - 1) + "…" : name, left + 3, y + ROW / 2, width - 5);
    }
    brush.globalAlpha = 1;
    if (selected >= first && selected < next) {
      brush.strokeStyle = palette.ink;
      brush.lineWidth = 2;
      brush.strokeRect(left + 1, y + 1, Math.max(1, width - 2.75), ROW - 3);
    }
  }

  function rule(width, scale) {
    const least = 90 / scale, power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= least);
    brush.fillStyle = palette.page;
    brush.fillRect(0, 0, width, RULER - 2);
    brush.fillStyle = palette.soft;
    for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
      const x = (at - view.from) * scale;
      brush.fillRect(x, 0, 1, RULER - 2);
      brush.fillText(at ? tick(at, step) : "0", x + 4, RULER / 2 - 1);
    }
  }

  /** A time to as many digits as tell it from its neighbours. */
  function tick(at, step) {
    const [size, unit] = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]].find((entry) => view.to >= entry[0]) || [1, "ns"];
    return `${fixed(at / size, Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9)))} ${unit}`;
  }

  function redraw() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  /** Put the span from..to in sight, within what there is. */
  function look(from, to) {
    const width = Math.min(view.extent, Math.max(CLOSEST, to - from));
    view.from = Math.min(Math.max(0, from + (to - from - width) / 2), view.extent - width);
    view.to = view.from + width;
    redraw();
  }
  const zoom = (factor, at = (view.from + view.to) / 2) =>
    look(at - (at - view.from) * factor, at + (view.to - at) * factor);
  const pan = (part) => look(view.from + part * (view.to - view.from), view.to + part * (view.to - view.from));
  const at = (x) => view.from + (x / canvas.clientWidth) * (view.to - view.from);
  const rowOf = (box) => bisect(0, view.rows.length, (row) => view.rows[row] > box);

  function boxAt(x, y) {
    const row = Math.floor((y + stage.scrollTop - view.top) / ROW), slack = at(2) - at(0);
    if (y < view.top || row < 0 || row >= view.rows.length) return -1;
    const box = bisect(rowStart(row), view.rows[row], (i) => end(i) + slack > at(x));
    return box < view.rows[row] && view.start[box] <= at(x) + slack ? box : -1;
  }

  function line(parent, tag, text) {
    parent.append(Object.assign(document.createElement(tag), { textContent: text }));
  }

  /** Tell about a box beside it. Names come from anywhere: they are text and never markup. */
  function tell(box, x, y) {
    tip.replaceChildren();
    tip.hidden = box < 0;
    if (box < 0) return;
    const [name, level, kind] = labels[view.label[box]], total = view.total[box], above = view.parent[box];
    line(tip, "b", name);
    line(tip, "span", kind === level || kind === name ? level : `${level}, ${kind}`);
    if (view.flame) {
      const spans = view.count[box];
      line(tip, "span", `${time(total)} in ${count(spans, "span")}, ${time(total / spans)} each`);
      line(tip, "span", `${time(view.self[box])} outside of what is below`);
    } else line(tip, "span", `${time(total)}, at ${time(view.start[box])}`);
    if (above >= 0) {
      const share = (100 * total) / (view.total[above] || 1);
      line(tip, "span", `${fixed(share, 1)} % of ${labels[view.label[above]][0]}`);
    }
    if (view.failed[box]) line(tip, "em", view.flame ? `${view.failed[box].toLocaleString("en")} failed` : "failed");
    const pairs = view.flame ? [] : attributes[view.attributes[box]];
    for (let i = 0; i < pairs.length; i += 2) line(tip, "small", `${pairs[i]}: ${pairs[i + 1]}`);
    const room = figure.getBoundingClientRect(), frame = stage.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(x + 14, room.width - tip.offsetWidth))}px`;
    tip.style.top = `${frame.top - room.top + y + ROW}px`;
  }

  /** Choose a box by keyboard or click, bring it into sight and tell about it. */
  function choose(box, closer) {
    if (box < 0) return;
    selected = box;
    const row = rowOf(box), y = view.top + row * ROW;
    const margin = view.flame ? 0 : view.duration[box] * 0.02;
    if (closer) look(view.start[box] - margin, end(box) + margin);
    else if (end(box) < view.from || view.start[box] > view.to) {
      const half = (view.to - view.from) / 2, middle = view.start[box] + view.duration[box] / 2;
      look(middle - half, middle + half);
    }
    if (y < stage.scrollTop + view.top) stage.scrollTop = y - view.top;
    else if (y + ROW > stage.scrollTop + stage.clientHeight) stage.scrollTop = y + ROW - stage.clientHeight;
    const x = ((view.start[box] - view.from) / (view.to - view.from)) * canvas.clientWidth;
    tell(box, Math.min(Math.max(0, x), canvas.clientWidth), y - stage.scrollTop);
    redraw();
  }

  function reset() {
    selected = -1;
    tell(-1);
    look(0, view.extent);
  }

  function show(number) {
    view = views[number];
    selected = -1;
    tell(-1);
    stage.scrollTop = 0;
    find(".tall").style.height = `${view.top + view.rows.length * ROW}px`;
    for (const button of figure.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", button.dataset.view === String(number));
    }
    canvas.style.height = `${stage.clientHeight}px`;
    redraw();
  }

  /** Colours as the style sheet has them, each with the ink that can be read on it. */
  function dye() {
    const style = getComputedStyle(document.documentElement), named = (name) => style.getPropertyValue(name).trim();
    palette = Array.from({ length: 8 }, (_, i) => {
      const fill = named(`--s${i}`), [red, green, blue] = [1, 3, 5].map((at) => parseInt(fill.slice(at, at + 2), 16));
      return { fill, ink: 0.3 * red + 0.59 * green + 0.11 * blue > 130 ? "#101418" : "#ffffff" };
    });
    Object.assign(palette, { page: named("--page"), ink: named("--ink"), soft: named("--soft"), bad: named("--bad") });
    redraw();
  }

  /** A level's kinds get their colours in the order of the time that they take outside of others of the level. */
  function byKind() {
    const flame = views[0], own = flame.total.slice(), levels = new Map();
    flame.parent.forEach((above, box) => {
      if (above >= 0 && labels[flame.label[above]][1] === labels[flame.label[box]][1]) own[above] -= flame.total[box];
    });
    flame.label.forEach((label, box) => {
      const [, level, kind] = labels[label];
      if (kind === level) return;
      if (!levels.has(level)) levels.set(level, new Map());
      levels.get(level).set(kind, (levels.get(level).get(kind) || 0) + own[box]);
    });
    const keys = [...levels].map(([level, kinds]) => {
      const order = [...kinds].sort((a, b) => b[1] - a[1]).slice(0, COLOURS.length);
      return [level, order.map(([kind], i) => [kind, COLOURS[i]])];
    });
    const found = new Map(keys.map(([level, entries]) => [level, new Map(entries)]));
    const of = labels.map(([, level, kind]) => found.get(level)?.get(kind) ?? OTHER);
    return { of, keys: [...keys, ["", [["other", OTHER]]]] };
  }

  function byLevel() {
    const of = labels.map(([, level]) => (LEVELS.includes(level) ? LEVELS.indexOf(level) : OTHER));
    const seen = new Map(labels.map(([, level], label) => [level, of[label]]));
    return { of, keys: [["", [...seen].sort((a, b) => a[1] - b[1])]] };
  }

  function colour(by) {
    colours = by();
    find(".legend").replaceChildren();
    for (const [level, entries] of colours.keys) {
      const line = document.createElement("span");
      if (level) line.append(`${level}:`);
      for (const [name, number] of entries) {
        const entry = document.createElement("span");
        entry.append(Object.assign(document.createElement("i"), { className: `swatch step${number}` }), name);
        line.append(entry);
      }
      find(".legend").append(line);
    }
    redraw();
  }

  /** Mark the names that hold a text. Counts and times are the flame graph's: of all spans, nested ones once. */
  function search(text) {
    const wanted = text.trim().toLowerCase();
    hits = wanted ? Uint8Array.from(labels, (label) => label[0].toLowerCase().includes(wanted)) : null;
    let answer = "";
    if (hits) {
      for (const one of views) {
        one.hitsBefore = new Int32Array(one.boxes + 1);
        for (let i = 0; i < one.boxes; i++) one.hitsBefore[i + 1] = one.hitsBefore[i] + hits[one.label[i]];
      }
      const flame = views[0], below = new Uint8Array(flame.boxes);
      let spans = 0, total = 0;
      // Rows are depths, so that a parent comes before its children.
      for (let i = 0; i < flame.boxes; i++) {
        const above = flame.parent[i];
        below[i] = above >= 0 && (below[above] || hits[flame.label[above]]);
        if (!hits[flame.label[i]]) continue;
        spans += flame.count[i];
        if (!below[i]) total += flame.total[i];
      }
      answer = spans ? `${count(spans, "span")}, ${time(total)}` : "no match";
    }
    find(".found").textContent = answer;
    redraw();
  }

  /** The next box, or the one before, whose name was searched for. */
  function seek(step) {
    if (!hits) return;
    for (let tried = 0, box = selected; tried < view.boxes; tried++) {
      box = (box + step + view.boxes) % view.boxes;
      if (hits[view.label[box]]) return choose(box, true);
    }
  }

  // One pointer drags, two pinch; one that stays where it is clicks.
  const down = new Map();
  let moved = 0;
  const place = (event) => {
    const frame = canvas.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, place(event));
    canvas.setPointerCapture(event.pointerId);
    if (down.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const here = place(event), before = down.get(event.pointerId);
    if (!before) return tell(boxAt(here.x, here.y), here.x, here.y);
    moved += Math.abs(here.x - before.x) + Math.abs(here.y - before.y);
    const other = [...down].find(([id]) => id !== event.pointerId);
    if (other) {
      const apart = Math.max(8, Math.abs(here.x - other[1].x)), was = Math.max(8, Math.abs(before.x - other[1].x));
      zoom(was / apart, at(other[1].x));
    } else if (moved > 4) {
      tell(-1);
      pan((before.x - here.x) / canvas.clientWidth);
      if (event.pointerType === "mouse") stage.scrollTop += before.y - here.y;
    }
    down.set(event.pointerId, here);
  });
  canvas.addEventListener("pointerup", (event) => {
    const here = place(event);
    if (down.size === 1 && moved <= 4) choose(boxAt(here.x, here.y), true);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => down.delete(event.pointerId));
  }
  canvas.addEventListener("pointerleave", () => tell(-1));
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    // A page that can't be scrolled past is worse than a view that must be clicked first; pinching comes with ctrlKey.
    if (!event.ctrlKey && !sideways && document.activeElement !== canvas) return;
    event.preventDefault();
    tell(-1);
    if (sideways) pan(event.deltaX / canvas.clientWidth);
    else zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.003)), at(place(event).x));
  }, { passive: false });

  const beside = (step) => (rowOf(selected + step) === rowOf(selected) ? selected + step : selected);
  const keys = {
    ArrowRight: () => choose(beside(1)),
    ArrowLeft: () => choose(beside(-1)),
    ArrowUp: () => choose(view.parent[selected]),
    ArrowDown: () => choose(view.parent.indexOf(selected)),
    Enter: () => choose(selected, true),
    "+": () => zoom(0.7), "=": () => zoom(0.7), w: () => zoom(0.7),
    "-": () => zoom(1 / 0.7), s: () => zoom(1 / 0.7),
    a: () => pan(-0.2), d: () => pan(0.2),
    n: () => seek(1), N: () => seek(-1),
    Escape: reset, 0: reset,
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    if (selected < 0 && event.key.startsWith("Arrow")) choose(bisect(0, view.rows[0] - 1, (box) => end(box) > view.from));
    else keys[event.key]();
  });

  const query = find("input");
  query.addEventListener("input", () => search(query.value));
  query.addEventListener("keydown", (event) => { if (event.key === "Enter") seek(event.shiftKey ? -1 : 1); });
  find("select").addEventListener("change", (event) => {
    colour(event.target.value === "kind" ? byKind : byLevel);
  });
  const presses = { in: () => zoom(0.5), out: () => zoom(2), reset };
  figure.addEventListener("click", (event) => {
    const { view: number, press } = event.target.dataset;
    if (number) show(Number(number));
    if (press) presses[press]();
  });
  stage.addEventListener("scroll", redraw, { passive: true });

  figure.hidden = false;
  dye();
  colour(byLevel);
  show(0);
  new ResizeObserver(redraw).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dye);
})();
