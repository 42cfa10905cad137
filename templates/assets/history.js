// Draws one series: a line with its interval, change points, a word about the commit under the cursor. The table below
// the chart has the same figures for whoever sees no drawing.
"use strict";

(() => {
  const place = document.getElementById("chart");
  const source = document.getElementById("chart-data");
  const told = document.getElementById("chart-told");
  if (!place || !source || typeof uPlot === "undefined") return;
  const data = JSON.parse(source.textContent);
  const last = data.x.length - 1;

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      ink: of("--ink"), muted: of("--muted"), line: of("--line"), band: of("--running-wash"),
      series: of("--running"), worse: of("--slower"), better: of("--faster"),
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

  const at = new Map(data.x.map((x, i) => [x, i]));
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
    const from = [data.author[i], data.pull[i] ? "#" + data.pull[i] : "", data.day[i]];
    const machine = data.environments[data.environment[i]];
    if (machine) from.push("machine " + data.environment[i] + ": " + machine);
    add("span", from.filter((text) => text).join(", ")).className = "sub";
    for (const change of data.changes) {
      if (change.x === data.x[i]) add("span", "Change point: " + change.label).className = "note";
    }
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
    ctx.restore();
  };

  const size = () => ({ width: place.clientWidth || 320, height: Math.max(240, Math.min(420, innerHeight * 0.45)) });
  const remember = (u) => {
    const { min, max } = u.scales.x;
    const query = new URLSearchParams(location.search);
    const all = min <= data.x[0] && max >= data.x[last];
    if (all && !query.has("from") && !query.has("to")) return;
    query.set("from", Math.max(0, Math.floor(min)));
    query.set("to", Math.ceil(max));
    query.set("view", data.view);
    history.replaceState(null, "", "?" + query);
  };

  let chart = null;
  let ready = false;
  const draw = () => {
    if (chart) chart.destroy();
    ready = false;
    const axis = { stroke: colour.muted, grid: { stroke: colour.line, width: 1 }, ticks: { stroke: colour.line, width: 1 } };
    const quiet = { show: true, width: 0, points: { show: false } };
    chart = new uPlot({
      ...size(),
      legend: { show: false },
      cursor: { drag: { x: true, y: false }, points: { size: 9 } },
      scales: { x: { time: false } },
      series: [
        {},
        quiet,
        quiet,
        // Last, so that it lies upon the band.
        { stroke: colour.series, width: 2, points: { show: last < 120, size: 5, fill: colour.series } },
      ],
      bands: [{ series: [2, 1], fill: colour.band }],
      axes: [
        {
          ...axis,
          space: 90,
          values: (u, ticks) => ticks.map((tick) => {
            const i = at.get(tick);
            return i === undefined ? "" : data.day[i] || data.commit[i];
          }),
        },
        { ...axis, size: 70, values: (u, ticks) => ticks.map(value) },
      ],
      hooks: {
        draw: [marks],
        setCursor: [(u) => say(u.cursor.idx)],
        setScale: [(u, key) => { if (ready && key === "x") remember(u); }],
      },
    }, [data.x, data.low, data.high, data.y], place);
    ready = true;
    say(last);
  };
  draw();

  let shown = last;
  place.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    const from = chart.cursor.idx ?? shown;
    shown = Math.max(0, Math.min(last, from + step));
    chart.setCursor({ left: chart.valToPos(data.x[shown], "x"), top: place.clientHeight / 2 });
    say(shown);
  });
  new ResizeObserver(() => chart.setSize(size())).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colour = colours(); draw(); });
})();
