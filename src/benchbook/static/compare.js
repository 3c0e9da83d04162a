/* Runs side by side: a table to sort and filter, curves over one another, pictures under a slider.
   Each experiment's data stand in a script of their own, `benchbookRuns({…})`, so that a page opened from a file
   fetches nothing. What comes from a run is put into the page as text, never as markup. */
"use strict";

window.benchbookRuns = (() => {
  // Okabe and Ito's colours, after the page's own for the first row; with the dashes 35 pairs.
  const COLOURS = ["currentColor", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
  const DASHES = ["none", "7 3", "2 3", "9 3 2 3", "14 4"];
  const DRAWN = 4; // rows that are drawn before anybody chooses
  const VERDICTS = { "holds": "runs-holds", "does not hold": "runs-fails" };

  const fill = (node, attributes, children = []) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(name, value);
      else if (value !== false) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  const draw = (name, attributes, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  const button = (attributes, ...children) => make("button", { type: "button", ...attributes }, ...children);
  const tick = (text, checked, change) => {
    const box = make("input", { type: "checkbox", checked, change: () => change(box.checked) });
    return [make("label", {}, box, ` ${text}`), box];
  };
  const choice = (text, change) => {
    const select = make("select", { change });
    return [make("label", {}, `${text} `, select), select];
  };
  const offer = (select, options) => {
    const before = select.value;
    select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
    if (options.some(([value]) => value === before)) select.value = before;
  };
  const colour = (row) => COLOURS[row.number % COLOURS.length];
  const style = (row) => ({
    "stroke": colour(row), "stroke-dasharray": DASHES[row.number % DASHES.length],
    "stroke-width": row.number ? 1.8 : 2.6, "fill": "none",
  });
  const swatch = (row) =>
    draw("svg", { width: 34, height: 10, "aria-hidden": true }, draw("path", { d: "M0 5H34", ...style(row) }));
  const side = (value) => (typeof value === "number" ? "runs-number" : "");
  const named = (row) => row.label + (row.shown ? " (shown)" : "");

  // ---- the table

  // What is missing stands last, in either direction.
  const order = (a, b, down) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const numbers = typeof a === "number" && typeof b === "number";
    return (down ? -1 : 1) * (numbers ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));
  };

  const satisfies = (found, sign, wanted) => {
    const numbers = typeof found === "number" && !Number.isNaN(Number(wanted));
    const [a, b] = numbers ? [found, Number(wanted)] : [String(found).toLowerCase(), wanted];
    if (found === null || (!numbers && /^[<>]/.test(sign))) return sign === "!=";
    return { "=": a === b, "!=": a !== b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b }[sign];
  };

  // A row passes if every word stands in one of its cells and every comparison holds: `batch_size>=64 scenes`.
  const filter = (columns, text) => {
    let unknown = "";
    const names = columns.map(([, name]) => name.toLowerCase());
    const words = text.toLowerCase().replace(/\s*([<>!]=|[<>=])\s*/g, "$1").split(/\s+/).filter(Boolean);
    const tests = words.map((word) => {
      const [, name, sign, wanted] = word.match(/^([^<>=!]+)([<>!]=|[<>=])(.*)$/) || [];
      const column = names.indexOf(name);
      if (sign && column < 0) unknown = `; there is no column “${name}”`;
      if (sign ? column >= 0 && !wanted : names.some((known) => known.startsWith(word))) return () => true; // half typed
      if (column < 0) return (row) => row.text.includes(word);
      const found = (row) => (columns[column][0] === "seed" ? row.seeds : [row.cells[column][1]]);
      return (row) => found(row).some((one) => satisfies(one, sign, wanted));
    });
    return [(row) => tests.every((passes) => passes(row)), unknown];
  };

  const copy = async (code, pressed) => {
    window.getSelection().selectAllChildren(code); // for a browser that forbids copying
    await navigator.clipboard.writeText(code.textContent);
    pressed.textContent = "Copied";
  };

  const tableOf = (data, rows, changed) => {
    const olders = rows.filter((row) => row.older.length).length;
    let sorted = null, down = false, older = olders === rows.length, passes = () => true, unknown = "";
    const seen = new Set(data.columns.flatMap(([, , main], i) => (main ? [i] : [])));
    const inOrder = () => [...seen].sort((a, b) => a - b);
    for (const row of rows) {
      row.text = [row.label, ...row.cells.map(([text]) => text)].join(" ").replace(/\u00a0/g, " ").toLowerCase();
      row.drawn = row.number < DRAWN && (older || !row.older.length);
    }

    const cell = (column, [text, value, samples]) => {
      const verdict = data.columns[column][0] === "claim" ? `${VERDICTS[value] || ""} ${text.includes("→") ? "runs-moved" : ""}` : "";
      return make("td", { class: `${side(value)} ${verdict}` }, text, samples > 1 ? make("small", {}, ` n\u00a0${samples}`) : "");
    };
    const cells = (all) => inOrder().map((column) => cell(column, all[column]));

    const detail = (row, run) => {
      const code = make("code", {}, run.line);
      const says = run.shown ? "The book shows this run, by " : `The book shows it by this line in profiles/${data.profile}.yml: `;
      const told = [make("p", {}, says, code, " ", button({ click: (event) => copy(code, event.target).catch(() => {}) }, "Copy"))];
      if (row.older.length) told.push(make("p", {}, `Older code; changed since: ${row.older.join("; ")}.`));
      told.push(...run.moved.map((sentence) => make("p", {}, sentence)));
      told.push(make("p", {}, make("small", {}, `run ${run.fingerprint}, made ${run.made}`)));
      return make("tr", { class: "runs-detail" }, make("td", { colspan: seen.size + 2 }, make("div", {}, ...told)));
    };
    const opened = (row) => row.runs.flatMap((run) => {
      const seed = make("th", { scope: "row" }, run.label.slice(row.label.length));
      const own = make("tr", { class: "runs-seed" }, make("td"), seed, ...(run.cells ? cells(run.cells) : []));
      return run.cells ? [own, detail(row, run)] : [detail(row, run)];
    });

    const line = (row) => {
      const draws = (checked) => { row.drawn = checked; arrange(row.box); };
      const opens = () => { row.open = !row.open; arrange(opener); };
      const name = row.runs.length > 1 ? `${row.runs.length} runs` : row.runs[0].fingerprint.slice(0, 8);
      const opener = row.opener = button({ "aria-label": `${name}: details of ${row.label}`, click: opens }, name);
      const [label, box] = tick("", row.drawn, draws);
      row.box = fill(box, { "aria-label": `draw ${row.label}` });
      const tags = [row.shown && "shown", row.older.length && "older code"].filter(Boolean);
      const head = make("th", { scope: "row" }, opener, ...tags.map((text) => make("span", { class: "runs-tag" }, text)));
      return make("tr", {}, make("td", {}, fill(label, {}, [swatch(row)])), head, ...cells(row.cells));
    };

    const heads = new Map();
    const head = (column) => {
      const name = data.columns[column][1];
      const click = () => {
        [sorted, down] = sorted !== column ? [column, false] : down ? [null, false] : [column, true];
        arrange();
      };
      const words = name.split("_").flatMap((word, i) => (i ? ["_", make("wbr"), word] : [word]));
      heads.set(column, make("th", { scope: "col", class: side(rows[0].cells[column][1]) }, button({ click }, ...words)));
      return heads.get(column);
    };

    const visible = () => {
      const kept = rows.filter((row) => (older || !row.older.length) && passes(row));
      return sorted === null ? kept : kept.sort((a, b) => order(a.cells[sorted][1], b.cells[sorted][1], down));
    };
    const arrange = (focus) => {
      const now = visible();
      for (const row of now) row.opener.setAttribute("aria-expanded", Boolean(row.open));
      body.replaceChildren(...now.flatMap((row) => [row.line, ...(row.open ? row.details ??= opened(row) : [])]));
      focus?.focus();
      heads.forEach((th, column) => th.setAttribute("aria-sort", column !== sorted ? "none" : down ? "descending" : "ascending"));
      count.textContent = `${now.length} of ${rows.length} rows${unknown}`;
      all.checked = now.every((row) => row.drawn);
      changed(now);
    };
    const build = () => {
      heads.clear();
      top.replaceChildren(make("th", {}, everything), make("th", { scope: "col" }, "run"), ...inOrder().map(head));
      for (const row of rows) [row.line, row.details] = [line(row), undefined];
      arrange();
    };

    const [everything, all] = tick("", false, (checked) => {
      for (const row of visible()) row.drawn = row.box.checked = checked;
      arrange();
    });
    fill(all, { "aria-label": "draw all rows" });
    const count = make("span", { role: "status" });
    const field = make("input", { type: "search", placeholder: `words, or ${data.columns[0][1]}>=${rows[0].cells[0][0]}`, input: () => {
      [passes, unknown] = filter(data.columns, field.value);
      arrange();
    } });
    const [switched] = tick("older code", false, (checked) => { older = checked; arrange(); });
    const columns = data.columns.map(([, name], i) =>
      tick(name, seen.has(i), (checked) => { seen[checked ? "add" : "delete"](i); build(); })[0]);
    const tools = [make("label", {}, "Filter ", field), count, olders && !older ? switched : "",
      make("details", {}, make("summary", {}, "Columns"), make("div", {}, ...columns))];
    const top = make("tr"), body = make("tbody");
    const table = make("table", { class: "table" }, make("thead", {}, top), body);
    const region = make("div", { class: "runs-scroll", role: "region", tabindex: 0, "aria-label": `runs of ${data.experiment}` }, table);
    return [[make("div", { class: "runs-tools" }, ...tools), region], build];
  };

  // ---- curves

  const written = (number) => {
    const size = Math.abs(number);
    return size && (size < 1e-3 || size >= 1e6) ? number.toExponential(2) : String(Number(number.toPrecision(6)));
  };
  const ticks = (low, high, log) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); log && power <= Math.log10(high); power++) {
      found.push(...[1, 2, 5].map((factor) => Number(`${factor}e${power}`)).filter((at) => at >= low && at <= high));
    }
    if (found.length > 1) return found.length < 9 ? found : found.filter((at) => /^1e/.test(at.toExponential()));
    const rough = (high - low) / 5 || 1;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((factor) => factor * unit >= rough) * unit;
    return Array.from({ length: 8 }, (_, i) => Number(((Math.ceil(low / step) + i) * step).toPrecision(10))).filter((at) => at <= high);
  };

  const curvesOf = (data, rows) => {
    const names = Object.keys(data.curves);
    if (!names.length) return [[], () => {}];
    const HEIGHT = 300, LEFT = 64, RIGHT = 14, TOP = 10, BOTTOM = 40;
    let visible = [], at = null, log = false;
    const legend = make("ul", { class: "runs-legend", "aria-live": "polite" });
    const svg = draw("svg", { class: "runs-plot", tabindex: 0, role: "slider" });
    const frame = make("div", {}, svg);

    const read = (lines, x) => {
      const said = lines.map(([row, curve]) => {
        const i = curve.xs.indexOf(at);
        const range = i >= 0 && curve.low ? ` (${written(curve.low[i])} to ${written(curve.high[i])})` : "";
        return [row, i < 0 ? "—" : written(curve.mean[i]) + range];
      });
      const items = said.map(([row, text]) => make("li", {}, swatch(row), ` ${named(row)}: `, make("b", {}, text)));
      legend.replaceChildren(make("li", {}, `${x} ${written(at)}`), ...items);
      fill(svg, { "aria-valuenow": at, "aria-valuetext": said.map(([row, text]) => `${row.label}: ${text}`).join(", ") });
    };

    const plot = () => {
      const name = curve.value, [x, y] = data.curves[name];
      const lines = visible.filter((row) => row.drawn && row.curves[name]).map((row) => [row, row.curves[name]]);
      none.hidden = lines.length > 0;
      frame.hidden = legend.hidden = !lines.length;
      if (!lines.length) return;
      const width = Math.max(260, frame.clientWidth);
      const xs = [...new Set(lines.flatMap(([, curve]) => curve.xs))].sort((a, b) => a - b);
      const left = xs[0], right = xs.at(-1);
      if (!xs.includes(at)) at = right;
      const ys = lines.flatMap(([, curve]) => [...(curve.low || curve.mean), ...(curve.high || curve.mean)]);
      let [low, high] = ys.reduce(([a, b], n) => [Math.min(a, n), Math.max(b, n)], [Infinity, -Infinity]);
      logBox.disabled = low <= 0;
      const logs = log && low > 0;
      if (low === high) [low, high] = logs ? [low / 2, high * 2] : [low - 1, high + 1];
      const scaled = logs ? Math.log10 : (number) => number;
      const across = (n) => LEFT + (right > left ? (n - left) / (right - left) : 0.5) * (width - LEFT - RIGHT);
      const below = (n) => TOP + (scaled(high) - scaled(n)) / (scaled(high) - scaled(low)) * (HEIGHT - TOP - BOTTOM);
      const points = (curve, ys) => curve.xs.map((x, i) => `${across(x).toFixed(1)},${below(ys[i]).toFixed(1)}`);
      const say = (text, x, y, anchor = "middle") => draw("text", { x, y, "text-anchor": anchor }, text);
      const cursor = draw("g", {});
      const whole = xs.every(Number.isInteger);
      svg.replaceChildren(
        ...ticks(low, high, logs).flatMap((at) => [
          draw("path", { class: "runs-grid", d: `M${LEFT} ${below(at)}H${width - RIGHT}` }), say(written(at), LEFT - 6, below(at) + 4, "end")]),
        ...ticks(left, right).filter((at) => !whole || Number.isInteger(at)).map((at) => say(written(at), across(at), HEIGHT - BOTTOM + 18)),
        say(x, (LEFT + width - RIGHT) / 2, HEIGHT - 4),
        fill(say(y, 0, 0), { transform: `translate(12 ${(HEIGHT - BOTTOM) / 2}) rotate(-90)` }),
        ...lines.filter(([, curve]) => curve.low).map(([row, curve]) => draw("polygon", {
          points: [...points(curve, curve.high), ...points(curve, curve.low).reverse()].join(" "), fill: colour(row), opacity: 0.13 })),
        ...lines.map(([row, curve]) => draw("polyline", { points: points(curve, curve.mean).join(" "), ...style(row) })),
        cursor,
      );
      fill(svg, { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, "aria-label": `${name} against ${x}`,
        "aria-valuemin": left, "aria-valuemax": right });
      const go = (to) => {
        at = to;
        cursor.replaceChildren(draw("path", { class: "runs-ruler", d: `M${across(at)} ${TOP}V${HEIGHT - BOTTOM}` }), ...lines
          .filter(([, curve]) => curve.xs.includes(at))
          .map(([row, curve]) => draw("circle", { cx: across(at), cy: below(curve.mean[curve.xs.indexOf(at)]), r: 3.5, fill: colour(row) })));
        read(lines, x);
      };
      svg.onpointermove = (event) => {
        const box = svg.getBoundingClientRect();
        const where = (event.clientX - box.left) * width / box.width;
        go(xs.reduce((a, b) => (Math.abs(across(b) - where) < Math.abs(across(a) - where) ? b : a)));
      };
      svg.onkeydown = (event) => {
        const i = xs.indexOf(at);
        const next = { ArrowLeft: xs[i - 1] ?? at, ArrowRight: xs[i + 1] ?? at, Home: left, End: right }[event.key];
        if (next === undefined) return;
        event.preventDefault();
        go(next);
      };
      go(at);
    };

    const [chooser, curve] = choice("Curve", plot);
    offer(curve, names.map((name) => [name, name]));
    const [logarithm, logBox] = tick("logarithmic", false, (checked) => { log = checked; plot(); });
    const none = make("p", {}, "No ticked row has this curve.");
    const note = make("small", {}, "Mean over the seeds, with a band from the lowest to the highest. Point at the drawing, or use the arrow keys on it, to read it off.");
    new ResizeObserver(plot).observe(frame);
    const tools = make("div", { class: "runs-tools" }, chooser, logarithm);
    return [[make("h3", {}, "Curves"), tools, frame, legend, none, note], (now) => { visible = now; plot(); }];
  };

  // ---- pictures

  const picturesOf = (data, rows, folder) => {
    const runs = rows.flatMap((row) => row.runs.map((run) => ({ ...run, row }))).filter((run) => Object.keys(run.pictures).length);
    if (runs.length < 2) return [[], () => {}];
    const count = rows.flatMap((row) => row.runs).length;
    const part = runs.length < count ? make("small", {}, `of ${runs.length} of ${count} runs`) : "";
    const update = () => {
      const pair = [runs[first.value], runs[second.value]];
      const files = (place) => pair.map((run) => run?.pictures[place]);
      const both = Object.keys(data.figures).filter((place) => files(place).every(Boolean)).sort(order);
      const fresh = !figure.value;
      offer(figure, both.map((place) => [place, `cell ${place.split(".")[0]}: ${data.figures[place]}`]));
      if (fresh) figure.value = both.find((place) => files(place)[0] !== files(place)[1]) || both[0];
      frame.hidden = range.hidden = caption.hidden = !both.length;
      if (!both.length) return;
      const place = figure.value, [left, right] = files(place);
      images.forEach((image, i) => fill(image, { src: folder + files(place)[i], alt: `${data.figures[place]} (${pair[i].label})` }));
      caption.textContent = data.figures[place] + (left === right ? " (The two are the same.)" : "");
    };
    const [figureLabel, figure] = choice("Figure", update);
    const [firstLabel, first] = choice("Left", update);
    const [secondLabel, second] = choice("Right", update);
    const images = [1, 2].map(() => make("img", { draggable: "false" }));
    const slide = () => frame.style.setProperty("--at", `${range.value}%`);
    const range = make("input", { type: "range", "aria-label": "how much of the left picture is seen, in per cent", input: slide });
    const drag = (event) => {
      const box = frame.getBoundingClientRect();
      if (event.buttons) range.value = 100 * (event.clientX - box.left) / box.width;
      slide();
    };
    const frame = make("div", { class: "runs-slider", pointerdown: drag, pointermove: drag }, ...images, make("span"));
    const caption = make("p");
    const tools = make("div", { class: "runs-tools" }, figureLabel, firstLabel, secondLabel, part);
    return [[make("h3", {}, "Pictures"), tools, frame, range, caption], (now) => {
      const options = runs.flatMap((run, i) => (now.includes(run.row) ? [[String(i), named(run)]] : []));
      const before = second.value;
      for (const select of [first, second]) offer(select, options);
      const other = options.find(([i]) => runs[i].row !== runs[first.value].row) || options[1];
      if (other && (!before || second.value !== before)) second.value = other[0];
      update();
    }];
  };

  return (data) => {
    const rows = data.rows.map((row, number) => ({ ...row, number }));
    for (const place of document.querySelectorAll(".benchbook-compare")) {
      if (place.dataset.experiment !== data.experiment) continue;
      const [curves, showCurves] = curvesOf(data, rows);
      const [pictures, showPictures] = picturesOf(data, rows, place.dataset.pictures);
      const [table, build] = tableOf(data, rows, (now) => { showCurves(now); showPictures(now); });
      place.replaceChildren(...table, ...curves, ...pictures);
      place.parentElement.classList.add("benchbook-live");
      build();
    }
  };
})();
