// Draws one series: a line with its interval, change points, a word about the commit under the cursor. The table below
// the chart has the same figures for whoever sees no drawing. Of a long series the page has the highest and the lowest of
// each stretch; what a zoom shows is asked for as the page of that stretch. A mouse's drag zooms, and moves with Shift; one
// finger moves, two zoom; keys do both.
"use strict";

(() => {
  const place = document.getElementById("chart");
  const source = document.getElementById("chart-data");
  const told = document.getElementById("chart-told");
  if (!place || !source || typeof uPlot === "undefined") return;
  // All that came with the page, and what is drawn now: that, or a stretch of it with every point.
  const whole = JSON.parse(source.textContent);
  let data = whole;
  let last = data.x.length - 1;

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      ink: of("--ink"), muted: of("--muted"), line: of("--line"), band: of("--running-wash"),
      series: of("--running"), others: [1, 2, 3, 4].map((n) => of("--other-" + n)), worse: of("--slower"), better: of("--faster"),
    };
  };
  let colour = colours();

  const units = { nanoseconds: [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]] };
  const value = (number) => {
    if (number === null || number === undefined) return "";
    if (data.percent) return (number > 0 ? "+" : "") + number.toFixed(Math.abs(number) < 10 ? 1 : 0).replace("-", "−") + " %";
    const scale = (units[data.unit] || []).find(([size]) => Math.abs(number) >= size);
    if (scale) return parseFloat((number / scale[0]).toPrecision(3)) + " " + scale[1];
    return number.toLocaleString("en", { maximumSignificantDigits: 3 });
  };

  // The last point at or before a place.
  const at = (x) => {
    let low = 0, high = last;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (data.x[middle] <= x) low = middle; else high = middle - 1;
    }
    return data.x[low] <= x ? low : undefined;
  };
  const say = (i) => {
    // Off the chart, the last commit that was looked at stays.
    if (i === null || i === undefined) return;
    told.replaceChildren();
    const add = (name, text) => {
      const part = document.createElement(name);
      part.textContent = text;
      told.append(part, " ");
      return part;
    };
    add("strong", data.told[i]);
    const commit = add(data.run[i] ? "a" : "code", data.commit[i] || "commit " + data.x[i]);
    if (data.run[i]) commit.href = "/runs/" + data.run[i];
    add("bdi", data.subject[i]);
    const from = [data.authors[data.author[i]], data.pull[i] ? "#" + data.pull[i] : "", data.day[i]];
    const machine = data.environments[data.environment[i]];
    if (machine) from.push("machine " + data.environment[i] + ": " + machine);
    add("span", from.filter((text) => text).join(", ")).className = "sub";
    for (const other of data.others) {
      if (other.y[i] !== null) add("span", other.name + " " + value(other.y[i])).className = "sub";
    }
    for (const change of data.changes) {
      if (change.x === data.x[i]) add("span", "Change point: " + change.label).className = "note";
    }
  };

  // Points beyond the scale are marked at its edge, and told below the chart, where the scale can be made larger, too.
  const beyond = (u) => {
    const { ctx, bbox } = u;
    const { min, max } = u.scales.y;
    const found = [];
    [data.y, ...data.others.map((other) => other.y)].forEach((y, line) => {
      ctx.fillStyle = line ? colour.others[line - 1] : colour.series;
      for (let i = u.series[0].idxs[0]; i <= u.series[0].idxs[1]; i++) {
        if (y[i] === null || (y[i] <= max && y[i] >= min)) continue;
        const [x, up] = [u.valToPos(data.x[i], "x", true), y[i] > max ? 1 : -1];
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        const [edge, wide, high] = [up > 0 ? bbox.top : bbox.top + bbox.height, 5 * devicePixelRatio, 8 * devicePixelRatio];
        ctx.beginPath();
        ctx.moveTo(x, edge);
        ctx.lineTo(x - wide, edge + up * high);
        ctx.lineTo(x + wide, edge + up * high);
        ctx.fill();
        found.push({ x, up, y: y[i], at: data.commit[i] || "commit " + data.x[i] });
      }
    });
    // Their values, where none lies upon another; below the words of change points.
    ctx.fillStyle = colour.muted;
    for (const up of [1, -1]) {
      const baseline = up > 0 ? bbox.top + 28 * devicePixelRatio : bbox.top + bbox.height - 12 * devicePixelRatio;
      let end = bbox.left;
      for (const one of found.filter((one) => one.up === up).sort((a, b) => a.x - b.x)) {
        const wide = ctx.measureText(value(one.y)).width;
        const aside = 8 * devicePixelRatio;
        const begin = one.x + aside + wide < bbox.left + bbox.width ? one.x + aside : one.x - aside - wide;
        if (begin < end) continue;
        ctx.fillText(value(one.y), begin, baseline);
        end = begin + wide + 8 * devicePixelRatio;
      }
    }
    tellBeyond(found);
  };
  const cut = document.getElementById("chart-cut");
  const [cutWords, cutButton] = [cut.querySelector("span"), cut.querySelector("button")];
  let wholeScale = new URLSearchParams(location.search).get("scale") === "all";
  const tellBeyond = (found) => {
    cut.hidden = found.length === 0 && !(wholeScale && data.reach);
    found.sort((a, b) => Math.abs(b.y) - Math.abs(a.y));
    const few = found.slice(0, 3).map((one) => value(one.y) + " at " + one.at).join(", ");
    const words = found.length === 0 ? "The scale reaches as far as the furthest point."
      : (found.length === 1 ? "1 point lies" : found.length + " points lie") + " beyond the scale, marked at its edge: " + few + (found.length > 3 ? ", …" : ".");
    // Said only when it is news.
    if (cutWords.textContent !== words) cutWords.textContent = words;
    cutButton.textContent = wholeScale ? "Fit the scale to most points" : "Show all points";
  };
  cutButton.addEventListener("click", () => {
    wholeScale = !wholeScale;
    const query = new URLSearchParams(location.search);
    if (wholeScale) query.set("scale", "all"); else query.delete("scale");
    history.replaceState(null, "", location.pathname + "?" + query);
    // The same stretch once more: it asks for the scale.
    const { min, max } = chart.scales.x;
    setting({ min, max });
    chart.setScale("x", { min, max });
  });
  const heights = (u, least, most) => {
    if (least === null || most === null) return [null, null];
    const [low, high] = data.reach && !wholeScale ? data.reach : [least, most];
    // Where all that is seen is beyond, it is shown.
    const within = low <= most && high >= least;
    return uPlot.rangeNum(within ? Math.max(low, least) : least, within ? Math.min(high, most) : most, 0.1, true);
  };

  const marks = (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.font = "600 " + 11 * devicePixelRatio + "px system-ui, sans-serif";
    for (const change of data.changes) {
      const x = Math.round(u.valToPos(change.x, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = change.worse ? colour.worse : colour.better;
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.setLineDash(change.confirmed ? [] : [5 * devicePixelRatio, 5 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const wide = ctx.measureText(change.label).width;
      const room = x + wide + 12 < bbox.left + bbox.width;
      ctx.fillText(change.label, room ? x + 6 : x - wide - 6, bbox.top + 14 * devicePixelRatio);
    }
    // Where another machine measured, raw values may jump for its sake.
    if (data.view === "raw") {
      ctx.strokeStyle = colour.muted;
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
      for (let i = 1; i <= last; i++) {
        if (data.environment[i] === data.environment[i - 1]) continue;
        const x = Math.round(u.valToPos(data.x[i], "x", true));
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
    }
    beyond(u);
    ctx.restore();
  };

  const size = () => {
    const { paddingLeft, paddingRight } = getComputedStyle(place);
    const width = place.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    return { width: width > 0 ? width : 320, height: Math.max(240, Math.min(420, innerHeight * 0.45)) };
  };
  const address = (from, to) => {
    const query = new URLSearchParams(location.search);
    query.set("view", data.view);
    query.delete("from");
    query.delete("to");
    if (from !== null) query.set("from", from);
    if (to !== null) query.set("to", to);
    return location.pathname + "?" + query;
  };
  const asked = new URLSearchParams(location.search);
  const begun = [asked.get("from"), asked.get("to")];
  // Only the answer to the newest question counts.
  let question = 0;
  const columns = () => [data.x, data.low, data.high, data.y, ...data.others.map((other) => other.y)];
  // A scale that we set ourselves: the chart tells of it a moment later, as it tells of a visitor's.
  let ours = null;
  const setting = (scale) => {
    ours = scale;
    setTimeout(() => { ours = null; }, 0);
  };
  const show = (next, scale) => {
    const was = data.x[shown];
    data = next;
    last = data.x.length - 1;
    // The commit that is told stays, where it is there.
    const still = data.x.indexOf(was);
    shown = still < 0 ? last : still;
    setting(scale);
    chart.setData(columns(), false);
    chart.setScale("x", scale);
    say(shown);
  };
  const detail = async (from, to) => {
    const mine = ++question;
    try {
      const answer = await fetch(address(from, to));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.getElementById("chart-data");
      if (mine !== question || !answer.ok || !found) return;
      const next = JSON.parse(found.textContent);
      if (next.x.length > 1 && next.others.length === data.others.length) show(next, { min: from, max: to });
    } catch {
      // The points that are there stay.
    }
  };
  const zoomed = (u) => {
    const { min, max } = u.scales.x;
    if (ours && min === ours.min && max === ours.max) return;
    seen(min, max);
  };
  // What a visitor's zoom or move came to.
  const seen = (min, max) => {
    const [from, to] = [Math.max(0, Math.floor(min)), Math.ceil(max)];
    if (min === data.x[0] && max === data.x[last]) {
      question += 1;
      history.replaceState(null, "", address(...begun));
      // A double click in a stretch shows what the page began with.
      if (data !== whole) show(whole, { min: whole.x[0], max: whole.x[whole.x.length - 1] });
      return;
    }
    history.replaceState(null, "", address(from, to));
    const [first, newest] = data.ends;
    const further = Math.max(from, first) < data.x[0] || Math.min(to, newest) > data.x[last];
    if (data.of > data.x.length || further) detail(from, to);
  };
  // A stretch of the branch on its way: as wide as it is, no further than there are points, and asked for at the end.
  const POINTS_LEAST = 4;
  const clamped = (min, max) => {
    const [first, newest] = data.ends;
    const wide = Math.min(Math.max(max - min, POINTS_LEAST), Math.max(newest - first, POINTS_LEAST));
    const from = Math.max(first, Math.min((min + max - wide) / 2, newest - wide));
    return { min: from, max: from + wide };
  };
  const move = (min, max) => {
    const scale = clamped(min, max);
    setting(scale);
    chart.setScale("x", scale);
    return scale;
  };
  const settle = ({ min, max }) => seen(min, max);
  // Fingers, and a mouse with Shift: the places that they began at stay under them.
  const pulled = (over) => {
    const held = new Map();
    const placeOf = (event) => event.clientX - over.getBoundingClientRect().left;
    let began = null;
    const begin = () => {
      const xs = [...held.values()];
      began = xs.length > 0 ? { xs, min: chart.scales.x.min, max: chart.scales.x.max } : null;
    };
    let reached = null;
    const follow = () => {
      if (!began) return;
      const per = (began.max - began.min) / over.clientWidth;
      const xs = [...held.values()];
      const under = (x) => began.min + x * per;
      if (xs.length < 2) {
        const by = (began.xs[0] - xs[0]) * per;
        reached = move(began.min + by, began.max + by);
      } else {
        const factor = Math.abs(began.xs[1] - began.xs[0]) / Math.max(1, Math.abs(xs[1] - xs[0]));
        const middle = under((began.xs[0] + began.xs[1]) / 2);
        const from = middle - (xs[0] + xs[1]) / 2 * per * factor;
        reached = move(from, from + (began.max - began.min) * factor);
      }
    };
    over.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && !(event.shiftKey && event.button === 0)) return;
      if (held.size === 2) return;
      if (held.size === 0) reached = null;
      held.set(event.pointerId, placeOf(event));
      over.setPointerCapture(event.pointerId);
      begin();
    });
    over.addEventListener("pointermove", (event) => {
      if (!held.has(event.pointerId)) return;
      held.set(event.pointerId, placeOf(event));
      follow();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      over.addEventListener(end, (event) => {
        if (!held.delete(event.pointerId)) return;
        if (held.size > 0) begin();
        else if (reached) settle(reached);
      });
    }
  };

  let chart = null;
  // The commit that is told. Where several share a pixel, the cursor may stand on another one than a key went to.
  let shown = last;
  let byKey = false;
  const draw = () => {
    if (chart) chart.destroy();
    setting({ min: data.x[0], max: data.x[last] });
    const axis = { stroke: colour.muted, grid: { stroke: colour.line, width: 1 }, ticks: { stroke: colour.line, width: 1 } };
    const quiet = { show: true, width: 0, points: { show: false } };
    chart = new uPlot({
      ...size(),
      legend: { show: false },
      cursor: {
        drag: { x: true, y: false },
        points: { size: 9 },
        // With Shift a drag moves; what zooms hears nothing of it.
        bind: {
          mousedown: (u, target, handler) => (event) => { if (event.button === 0 && !event.shiftKey) handler(event); },
        },
      },
      scales: { x: { time: false }, y: { range: heights } },
      series: [
        {},
        quiet,
        quiet,
        // Last, so that it lies upon the band.
        { stroke: colour.series, width: 2, points: { show: () => last < 120, size: 5, fill: colour.series } },
        // Told apart by more than colour.
        ...data.others.map((other, i) => ({
          stroke: colour.others[i], width: 1.5, dash: [[8, 3], [3, 3], [12, 3, 3, 3], [1, 4]][i], spanGaps: true,
          points: { show: false },
        })),
      ],
      bands: [{ series: [2, 1], fill: colour.band }],
      axes: [
        {
          ...axis,
          space: 90,
          values: (u, ticks) => ticks.map((tick) => {
            const i = at(tick);
            return i === undefined ? "" : data.day[i] || data.commit[i];
          }),
        },
        { ...axis, size: 70, values: (u, ticks) => ticks.map(value) },
      ],
      hooks: {
        draw: [marks],
        setCursor: [(u) => {
          if (byKey) return;
          shown = u.cursor.idx ?? shown;
          say(u.cursor.idx);
        }],
        setScale: [(u, key) => { if (key === "x") zoomed(u); }],
      },
    }, columns(), place);
    pulled(chart.over);
    say(last);
  };
  draw();

  // By how much of what is seen a key moves, and how many times as much it shows.
  const MOVED = 0.25;
  const ZOOMS = { "+": 0.5, "=": 0.5, "-": 2 };
  place.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { min, max } = chart.scales.x;
    const factor = ZOOMS[event.key];
    const side = event.shiftKey && { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (factor || side) {
      event.preventDefault();
      const [by, at] = [side ? side * MOVED * (max - min) : 0, data.x[shown]];
      settle(factor ? move(at - (at - min) * factor, at + (max - at) * factor) : move(min + by, max + by));
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    shown = Math.max(0, Math.min(last, shown + step));
    byKey = true;
    chart.setCursor({ left: chart.valToPos(data.x[shown], "x"), top: place.clientHeight / 2 });
    byKey = false;
    say(shown);
  });
  new ResizeObserver(() => chart.setSize(size())).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colour = colours(); draw(); });
})();
