/* Pictures that answer: lines that are read off by pointer or arrow keys and switched on and off, and every picture
   large in a dialog. The numbers are those that the run left beside the drawing; nothing is measured in the picture.
   Without this script all pictures stand as they are. */
"use strict";

(() => {
  const MOST = 8; // lines in a reading

  const make = (name, attributes = {}, ...children) => {
    const node = document.createElementNS(name.startsWith("svg:") ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", name.replace("svg:", ""));
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(key, value);
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  };
  const written = (number) => String(number).replace("-", "\u2212");
  // A label's TeX as text: buttons and readings hold no formulas.
  const SIGNS = { alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", eta: "η", theta: "θ", lambda: "λ", mu: "μ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ",
    phi: "φ", omega: "ω", Delta: "Δ", partial: "∂", nabla: "∇", sqrt: "√", star: "⋆", ast: "∗", cdot: "·", times: "×", leq: "≤", geq: "≥", infty: "∞", mathdefault: "" };
  const tidy = (text) => text.replace(/\\([a-z]+) ?/gi, (_, name) => SIGNS[name] ?? name).replace(/[${}]/g, "").replace(/\s+/g, " ");

  // ---- lines

  const explore = (drawing) => {
    const svg = drawing.querySelector("svg");
    const { entries, panels } = JSON.parse(drawing.querySelector("script").textContent);
    const part = (id) => svg.querySelector(`#${drawing.dataset.prefix}${id}`);
    const off = new Set(), refresh = [];

    const swatch = (id) => {
      const handle = part(id), box = handle?.getBBox?.();
      if (!box || !(box.width + box.height)) return "";
      const [x, y, width, height] = [box.x - 2, box.y + box.height / 2 - 6, box.width + 4, 12];
      return make("svg:svg", { viewBox: `${x} ${y} ${width} ${height}`, width: width * 1.2, height: height * 1.2, "aria-hidden": true },
        make("svg:use", { href: `#${handle.id}` }));
    };

    const toggle = (entry, i, press) => {
      if (!off.delete(entry)) off.add(entry);
      const hidden = off.has(entry);
      press.setAttribute("aria-pressed", !hidden);
      part(`entry-${i}`)?.classList.toggle("benchbook-off", hidden);
      for (const { id, entry: owner } of panels.flatMap((panel) => [...panel.lines, ...panel.bands])) {
        if (owner === entry) part(id)?.classList.toggle("benchbook-hidden", hidden);
      }
      refresh.forEach((again) => again());
    };

    const named = entries.map((entry, i) => [entry, i]).filter(([entry]) => entry !== null);
    if (named.length > 1) {
      drawing.append(make("div", { class: "benchbook-legend", role: "group", "aria-label": "lines that are shown" }, ...named.map(([entry, i]) => {
        const press = make("button", { type: "button", "aria-pressed": true, click: () => toggle(entry, i, press) }, swatch(`entry-${i}-handle`), ` ${tidy(entry)}`);
        for (const id of [`entry-${i}`, `entry-${i}-handle`]) part(id)?.addEventListener("click", (event) => { event.stopPropagation(); press.click(); });
        return press;
      })));
    }

    const canvas = make("div", { class: "benchbook-canvas" });
    svg.replaceWith(canvas);
    canvas.append(svg);
    for (const panel of panels) refresh.push(reader(canvas, svg, part(panel.id)?.querySelector("path"), panel, off));
  };

  // A field over a panel, which says the numbers at the place that is pointed at or stepped to.
  const reader = (canvas, svg, frame, panel, off) => {
    const lines = panel.lines.filter((line) => line.y.length);
    if (!frame || !lines.some((line) => line.x.length)) return () => {};
    const scaled = panel.log.map((log) => (log ? Math.log10 : (number) => number));
    const share = (side, number) => {
      const [from, to] = panel.limits[side].map(scaled[side]);
      return (scaled[side](number) - from) / (to - from);
    };
    const within = (share) => share >= -1e-9 && share <= 1 + 1e-9;
    const xs = [...new Set(lines.flatMap((line) => line.x))].filter((x) => within(share(0, x))).sort((a, b) => share(0, a) - share(0, b));
    if (!xs.length) return () => {};
    let at = 0, pointed = null; // the place among xs; how far up the pointer is

    const [label, unit] = [panel.labels[0], panel.title || panel.labels[1]].map(tidy);
    const reading = make("div", { class: "benchbook-reading", hidden: "" });
    const marks = make("div", { hidden: "" });
    const field = make("div", { class: "benchbook-field", role: "slider", tabindex: 0, "aria-label": `${unit} against ${label}: values`,
      "aria-valuemin": 0, "aria-valuemax": xs.length - 1 }, marks, reading);

    const read = () => {
      const x = xs[at];
      return lines.filter((line) => !off.has(line.entry)).flatMap((line) => {
        const ys = line.x.length ? line.y.filter((_, i) => line.x[i] === x) : line.y;
        return ys.length ? [{ name: tidy(line.name) || unit, ys, across: !line.x.length }] : [];
      });
    };
    const show = (visible = true) => {
      let found = read();
      const away = ({ ys }) => Math.min(...ys.map((y) => Math.abs(share(1, y) - pointed)));
      const most = found.length - MOST;
      if (most > 0 && pointed !== null) found.sort((a, b) => away(a) - away(b));
      found = found.slice(0, MOST);
      const where = `${label} ${panel.names[xs[at]] || written(xs[at])}`;
      const said = found.map(({ name, ys }) => [name, ys.slice(0, MOST).map(written).join(", ")]);
      reading.replaceChildren(make("b", {}, where), ...said.map(([name, text]) => make("div", {}, `${name}: `, make("b", {}, text))),
        ...(most > 0 ? [make("div", {}, `and ${most} more lines`)] : []));
      field.setAttribute("aria-valuenow", at);
      field.setAttribute("aria-valuetext", `${where}; ${said.map((pair) => pair.join(": ")).join("; ")}`);
      const left = share(0, xs[at]);
      reading.style.cssText = left < 0.5 ? `left: calc(${100 * left}% + 10px)` : `right: calc(${100 * (1 - left)}% + 10px)`;
      marks.replaceChildren(make("i", { style: `left: ${100 * left}%` }), ...found.filter(({ across }) => !across).flatMap(({ ys }) => ys)
        .map((y) => share(1, y)).filter(within).map((up) => make("span", { style: `left: ${100 * left}%; top: ${100 * (1 - up)}%` })));
      reading.hidden = marks.hidden = !visible;
    };

    const point = (event) => {
      const box = field.getBoundingClientRect(), where = (event.clientX - box.left) / box.width;
      pointed = 1 - (event.clientY - box.top) / box.height;
      at = xs.reduce((best, x, i) => (Math.abs(share(0, x) - where) < Math.abs(share(0, xs[best]) - where) ? i : best), 0);
      show();
    };
    const step = (event) => {
      const far = Math.ceil(xs.length / 10), last = xs.length - 1;
      const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - far, PageUp: at + far, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      [at, pointed] = [Math.max(0, Math.min(last, to)), null];
      show();
    };
    const leave = () => { if (!field.matches(":focus-visible")) reading.hidden = marks.hidden = true; };
    for (const [event, act] of Object.entries({ pointermove: point, pointerdown: point, pointerleave: leave, keydown: step, focus: () => show(field.matches(":focus-visible")),
      blur: () => { reading.hidden = marks.hidden = true; } })) field.addEventListener(event, act);

    // The panel's place in the drawing, in parts of its width and height.
    const numbers = frame.getAttribute("d").match(/-?[\d.]+/g).map(Number), view = svg.viewBox.baseVal;
    const [across, down] = [0, 1].map((side) => numbers.filter((_, i) => i % 2 === side));
    const [left, right, top, bottom] = [Math.min(...across), Math.max(...across), Math.min(...down), Math.max(...down)];
    field.style.cssText = `left: ${100 * (left - view.x) / view.width}%; top: ${100 * (top - view.y) / view.height}%; ` +
      `width: ${100 * (right - left) / view.width}%; height: ${100 * (bottom - top) / view.height}%`;
    canvas.append(field);
    show(false);
    return () => show(!reading.hidden);
  };

  // ---- every picture, large

  const stage = make("div", { class: "benchbook-stage", tabindex: 0 });
  const dialog = make("dialog", { class: "benchbook-dialog", click: (event) => { if (event.target === dialog) dialog.close(); } },
    make("button", { type: "button", class: "benchbook-close", click: () => dialog.close() }, "Close"), stage);

  const enlarge = (picture, label, opener) => {
    const holder = make("div", { style: `height: ${picture.offsetHeight}px` });
    const { clientWidth: width, clientHeight: height } = picture.firstElementChild ?? picture;
    stage.style.setProperty("--ratio", width / height || 1);
    picture.replaceWith(holder);
    stage.replaceChildren(picture);
    dialog.setAttribute("aria-label", label);
    dialog.onclose = () => { holder.replaceWith(picture); opener.focus(); };
    if (!dialog.isConnected) document.body.append(dialog);
    dialog.showModal();
  };

  const enlargeable = (picture) => {
    const label = (picture.alt ?? picture.querySelector("svg").getAttribute("aria-label") ?? "").trim() || "this picture";
    const arrows = make("svg:svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": true },
      make("svg:path", { d: "M10 2h4v4M14 2L9.5 6.5M6 14H2v-4M2 14l4.5-4.5", fill: "none", stroke: "currentColor", "stroke-width": 1.6 }));
    const opener = make("button", { type: "button", class: "benchbook-enlarge", "aria-label": `Enlarge: ${label}`, title: "Enlarge" }, arrows);
    const open = () => enlarge(picture, label, opener);
    opener.addEventListener("click", open);
    const target = picture.querySelector("svg") ?? picture;
    target.addEventListener("click", () => { if (!dialog.open) open(); });
    const box = make(picture.closest("p") ? "span" : "div", { class: "benchbook-picture" });
    picture.replaceWith(box);
    box.append(picture, opener);
  };

  // Sphinx takes Escape for itself, and what is open would stay so.
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.querySelector(".benchbook-dialog[open], .benchbook-popover:popover-open")) event.stopPropagation();
  }, true);

  const start = () => {
    const drawings = [...document.querySelectorAll(".benchbook-drawing")];
    const images = [...document.querySelectorAll("main figure img, main .cell_output img")]
      .filter((image) => !image.closest("a, button, .benchbook-card, .benchbook-compare, .benchbook-cover, [role=group]"));
    for (const drawing of drawings) explore(drawing);
    for (const picture of [...drawings, ...images]) enlargeable(picture);
  };
  start();
})();
