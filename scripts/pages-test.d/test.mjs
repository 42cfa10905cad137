// Drives Chromium over every page of a seeded server. See scripts/pages-test.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";
import * as behaviour from "./behaviour.mjs";
import { firstChart } from "./first_chart.mjs";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const SERVER_WAIT_MS = 600_000;
const { PAGE_WAIT_MS } = behaviour;
const WIDTHS = [1440, 390];
const THEMES = ["light", "dark"];

/** Starts a seeded server; its address, its pages, a session, and how to stop it. */
function serve(size) {
  const only = ["--ignored", "--exact", "look::serve", "--nocapture"];
  const cargo = ["test", "--quiet", "--locked", "--workspace", "--test", "it", "--", ...only];
  // PAGES_SERVER names the test binary where it is built already.
  const [program, args] = process.env.PAGES_SERVER ? [process.env.PAGES_SERVER, only] : ["cargo", cargo];
  const child = spawn(program, args, { env: { ...process.env, PACELINE_LOOK: size }, stdio: ["pipe", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the server did not start")), SERVER_WAIT_MS);
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      const line = text.split("\n").find((one) => one.startsWith("{") && one.endsWith("}"));
      if (line) {
        clearTimeout(timer);
        const ended = new Promise((done) => child.on("exit", done));
        const order = (text) => new Promise((done) => child.stdin.write(text + "\n", done));
        resolve({ ...JSON.parse(line), order, stop: async () => { child.stdin.end(); await ended; } });
      }
    });
    child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${text}`)));
  });
}

/** When each chart was there, in milliseconds from the beginning of its page. */
const charts = [];

/** Opens a page, has something done with it, and gathers what is wrong. */
async function visit(context, server, target, act) {
  const wrong = [];
  const page = await context.newPage();
  page.on("console", (message) => {
    // A page that is an answer of 404 is told in the console as a failed load of itself.
    const own = message.location().url === server.url + target;
    if (message.type() === "error" && !(own && /Failed to load resource/.test(message.text()))) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(server.url + "/") && !url.startsWith("data:")) wrong.push(`asks ${url}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 500) wrong.push(`${response.status()} from ${response.url()}`);
  });
  try {
    await page.goto(server.url + target, { waitUntil: "load", timeout: PAGE_WAIT_MS });
    wrong.push(...await act(page));
  } catch (error) {
    wrong.push(`could not be looked at: ${error.message}`);
  } finally {
    await page.close();
  }
  return wrong;
}

/** What is wrong with how a page looks. */
async function look(page, shot) {
  const wrong = [];
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) wrong.push(`${wide} px wider than the screen`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const one of found.violations) {
    if (one.impact === "serious" || one.impact === "critical") {
      wrong.push(`axe ${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
    }
  }
  if (await page.locator("#chart-data").count() > 0) {
    await page.waitForSelector("#chart canvas", { timeout: PAGE_WAIT_MS });
    if (await page.evaluate(() => { const data = JSON.parse(document.getElementById("chart-data").textContent); return data.of > data.x.length; })) {
      wrong.push(...await behaviour.zoomIntoThinned(page));
    }
  }
  if (shot) await page.screenshot({ path: shot, fullPage: true });
  return wrong;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
let looked = 0, faulty = 0;

function tell(what, wrong) {
  looked += 1;
  if (wrong.length === 0) return;
  faulty += 1;
  console.log(what);
  for (const line of wrong) console.log(`  ${line}`);
}

/** What the chart's script does under a visitor's hands. */
async function hands(context, server, size, theme, width) {
  const of = (wanted) => server.paths.find((one) => wanted.test(one));
  const series = of(/history\?.*metric=time$/);
  for (const [name, target] of [["newest", series], ["all", of(/metric=time&from=0$/)], ["together", of(/&with=/)]]) {
    const acts = { hover: behaviour.hover, keys: behaviour.keys, permalink: behaviour.permalink, move: behaviour.move,
      touch: behaviour.touch, outliers: behaviour.outliers, "theme and size": (page) => behaviour.followsThePage(page, theme) };
    for (const [what, act] of Object.entries(acts)) {
      tell(`${size} ${theme} ${width} ${what}, ${name}`, await visit(context, server, target, act));
    }
  }
  tell(`${size} without scripts`, await behaviour.withoutScripts(browser, server.url + series));
}

/** What happens while somebody looks, and what somebody does who may. */
async function orders(server) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  tell("a run under way", await visit(context, server, server.live, (page) => behaviour.live(page, server.order)));
  const { hostname } = new URL(server.url);
  await context.addCookies([{ name: "paceline-session", value: server.cookie, domain: hostname, path: "/" }]);
  const changed = server.paths.find((one) => /history\?.*metric=time$/.test(one));
  tell("forms of a history", await visit(context, server, changed, behaviour.forms));
  await context.close();
}

for (const size of process.env.SIZES.split(",")) {
  const server = await serve(size);
  for (const theme of THEMES) {
    for (const width of WIDTHS) {
      for (const signedIn of [false, true]) {
        const view = { colorScheme: theme, viewport: { width, height: 900 } };
        const context = await browser.newContext(view);
        if (signedIn) {
          const { hostname } = new URL(server.url);
          await context.addCookies([{ name: "paceline-session", value: server.cookie, domain: hostname, path: "/" }]);
        }
        // What a signed-in visitor sees differs on few pages; the others are looked at once.
        const own = (one) => ["/", "/me", "/service"].includes(one) || /history\?.*metric=time$/.test(one);
        const paths = signedIn ? server.paths.filter(own) : server.paths;
        for (const target of paths) {
          const name = target.replace(/[^A-Za-z0-9]+/g, "_") || "_";
          const file = `${size}-${theme}-${width}${signedIn ? "-in" : ""}-${name}.png`;
          const shot = process.env.SHOTS && path.join(process.env.SHOTS, file);
          tell(`${size} ${theme} ${width}${signedIn ? " signed in" : ""} ${target}`, await visit(context, server, target, (page) => look(page, shot)));
          if (!signedIn && /[/]history\?/.test(target)) charts.push(await firstChart(browser, server.url + target, view));
        }
        if (!signedIn && ["small", "large"].includes(size)) await hands(context, server, size, theme, width);
        await context.close();
      }
    }
  }
  if (size === "small") await orders(server);
  await server.stop();
}
await browser.close();
charts.sort((a, b) => a - b);
if (charts.length > 0) {
  const at = (share) => Math.round(charts[Math.min(charts.length - 1, Math.floor(charts.length * share))]);
  const load = readFileSync("/proc/loadavg", "utf8").split(" ")[0];
  console.log(`${charts.length} charts, half of them there after ${at(0.5)} ms, 99 of 100 after ${at(0.99)} ms, the last after ${at(1)} ms; load ${load}`);
}
console.log(`${looked} pages looked at, ${faulty} with faults`);
process.exit(faulty > 0 ? 1 : 0);
