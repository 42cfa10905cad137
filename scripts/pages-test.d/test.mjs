// Drives Chromium over every page of a seeded server. See scripts/pages-test.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const SERVER_WAIT_MS = 600_000;
const PAGE_WAIT_MS = 60_000;
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
        resolve({ ...JSON.parse(line), stop: async () => { child.stdin.end(); await ended; } });
      }
    });
    child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${text}`)));
  });
}

/** When each chart was there, in milliseconds from the beginning of its page. */
const charts = [];

/** A zoom into a thinned chart asks for what is between, and a double click shows all again. */
async function zoom(page) {
  const before = page.url();
  const box = await page.locator("#chart .u-over").boundingBox();
  const middle = box.y + box.height / 2;
  const detail = page.waitForResponse((response) => /[?&]from=[1-9]/.test(response.url()), { timeout: PAGE_WAIT_MS });
  await page.mouse.move(box.x + box.width * 0.4, middle);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.45, middle, { steps: 4 });
  await page.mouse.up();
  const answer = await detail;
  const wrong = answer.ok() ? [] : [`a zoom was answered ${answer.status()}`];
  if (page.url() === before) wrong.push("a zoom is not in the address");
  await page.mouse.dblclick(box.x + box.width * 0.6, middle);
  await page.waitForFunction(() => !/[?&]from=[1-9]/.test(location.search), null, { timeout: PAGE_WAIT_MS });
  return wrong;
}

/** What is wrong with one page. */
async function look(context, server, target, shot) {
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
      charts.push(await page.evaluate(() => performance.now()));
      if (await page.evaluate(() => { const data = JSON.parse(document.getElementById("chart-data").textContent); return data.of > data.x.length; })) {
        wrong.push(...await zoom(page));
      }
    }
    if (shot) await page.screenshot({ path: shot, fullPage: true });
  } catch (error) {
    wrong.push(`could not be looked at: ${error.message}`);
  } finally {
    await page.close();
  }
  return wrong;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
let looked = 0, faulty = 0;
for (const size of process.env.SIZES.split(",")) {
  const server = await serve(size);
  for (const theme of THEMES) {
    for (const width of WIDTHS) {
      for (const signedIn of [false, true]) {
        const context = await browser.newContext({ colorScheme: theme, viewport: { width, height: 900 } });
        if (signedIn) {
          const { hostname } = new URL(server.url);
          await context.addCookies([{ name: "paceline-session", value: server.cookie, domain: hostname, path: "/" }]);
        }
        // What a signed-in visitor sees differs on few pages; the others are looked at once.
        const paths = signedIn ? server.paths.filter((one) => ["/", "/me", "/service"].includes(one)) : server.paths;
        for (const target of paths) {
          const name = target.replace(/[^A-Za-z0-9]+/g, "_") || "_";
          const file = `${size}-${theme}-${width}${signedIn ? "-in" : ""}-${name}.png`;
          const wrong = await look(context, server, target, process.env.SHOTS && path.join(process.env.SHOTS, file));
          looked += 1;
          if (wrong.length > 0) {
            faulty += 1;
            console.log(`${size} ${theme} ${width}${signedIn ? " signed in" : ""} ${target}`);
            for (const line of wrong) console.log(`  ${line}`);
          }
        }
        await context.close();
      }
    }
  }
  await server.stop();
}
await browser.close();
charts.sort((a, b) => a - b);
if (charts.length > 0) console.log(`${charts.length} charts, half of them there after ${Math.round(charts[charts.length >> 1])} ms, the last after ${Math.round(charts[charts.length - 1])} ms`);
console.log(`${looked} pages looked at, ${faulty} with faults`);
process.exit(faulty > 0 ? 1 : 0);
