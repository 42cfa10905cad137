// Opens the pages that standard input names, one after another, and prints how long each one's first chart took. Started by
// scripts/pages-speed --charts.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { firstChart } from "./first_chart.mjs";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const LAPTOP = { viewport: { width: 1440, height: 900 } };

const { url, paths } = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const took = [];
try {
  // A visitor's browser runs already; it has nothing of these pages.
  if (paths.length > 0) await firstChart(browser, url + paths[0], LAPTOP);
  for (const path of paths) took.push(await firstChart(browser, url + path, LAPTOP));
} finally {
  await browser.close();
}
console.log(JSON.stringify(took));
