// When a page's chart is drawn.
import { until, PAGE_WAIT_MS } from "./behaviour.mjs";

/** For whoever comes first, with nothing kept: milliseconds from the navigation's beginning to the frame after the drawing. */
export async function firstChart(browser, url, view) {
  const context = await browser.newContext(view);
  try {
    const page = await context.newPage();
    const wrong = [];
    page.on("pageerror", (error) => wrong.push(error.message));
    await page.addInitScript(() => {
      const look = () => {
        if (!document.querySelector("#chart canvas")) requestAnimationFrame(look);
        else requestAnimationFrame(() => { window.firstChartMs = performance.now(); });
      };
      requestAnimationFrame(look);
    });
    await page.goto(url, { waitUntil: "load", timeout: PAGE_WAIT_MS });
    await until(page, () => window.firstChartMs !== undefined);
    if (wrong.length > 0) throw new Error(`${url}: ${wrong.join("; ")}`);
    return await page.evaluate(() => window.firstChartMs);
  } finally {
    await context.close();
  }
}
