// What the pages' scripts do under a visitor's hands: each function returns what is wrong.

/** Longer than a page takes on a machine that is busy with ten other things. */
export const PAGE_WAIT_MS = 60_000;

const data = (page) => page.evaluate(() => JSON.parse(document.getElementById("chart-data").textContent));
const told = (page) => page.locator("#chart-told").innerText();
const chart = async (page) => {
  await page.waitForSelector("#chart canvas", { timeout: PAGE_WAIT_MS });
  await page.locator("#chart").scrollIntoViewIfNeeded();
  return page.locator("#chart .u-over").boundingBox();
};

/** Waits for what a page says of itself. Asked from here: the pages' policy forbids a script that is made of text. */
export async function until(page, what, argument, patienceMs = PAGE_WAIT_MS) {
  for (const end = Date.now() + patienceMs; ; await new Promise((done) => setTimeout(done, 50))) {
    // Between two pages nobody answers.
    if (await page.evaluate(what, argument).catch(() => false)) return;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
  }
}

async function drag(page, from, to) {
  const box = await chart(page);
  const middle = box.y + box.height / 2;
  await page.mouse.move(box.x + box.width * from, middle);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * to, middle, { steps: 4 });
  await page.mouse.up();
}

async function doubleClick(page) {
  const box = await chart(page);
  await page.mouse.dblclick(box.x + box.width * 0.6, box.y + box.height / 2);
}

/** A zoom into a thinned chart asks for what is between, and a double click shows all again. */
export async function zoomIntoThinned(page) {
  const before = page.url();
  const wrong = [];
  const detail = page.waitForResponse((response) => /[?&]from=[1-9]/.test(response.url()), { timeout: PAGE_WAIT_MS });
  await drag(page, 0.4, 0.45);
  const answer = await detail;
  if (!answer.ok()) wrong.push(`a zoom was answered ${answer.status()}`);
  if (page.url() === before) wrong.push("a zoom is not in the address");
  const seen = await page.request.get(page.url());
  if (!seen.ok()) wrong.push(`what a zoom shows is answered ${seen.status()}`);
  await doubleClick(page);
  await until(page, () => !/[?&]from=[1-9]/.test(location.search));
  return wrong;
}

/** The commit under the cursor is told: who, what, which pull request, what it costs. */
export async function hover(page) {
  const wrong = [];
  const { commit, authors } = await data(page);
  const box = await chart(page);
  const seen = new Set();
  for (const share of [0.2, 0.5, 0.8]) {
    await page.mouse.move(box.x + box.width * share, box.y + box.height * 0.3);
    await until(page, (before) => !before.includes(document.getElementById("chart-told").innerText), [...seen]);
    const words = await told(page);
    seen.add(words);
    if (!commit.some((sha) => words.includes(sha))) wrong.push(`no commit is told: ${words}`);
    if (!authors.some((name) => name && words.includes(name))) wrong.push(`no author is told: ${words}`);
    if (!/[0-9] ?(%|ns|µs|ms|s)/.test(words)) wrong.push(`no figure is told: ${words}`);
  }
  return wrong;
}

/** The same by keyboard alone. */
export async function keys(page) {
  const wrong = [];
  const { commit, changes, x } = await data(page);
  const last = commit.length - 1;
  await chart(page);
  await page.mouse.move(1, 1);
  await page.locator("#chart").focus();
  const at = async (key, place, what) => {
    await page.keyboard.press(key);
    try {
      await until(page, (sha) => document.getElementById("chart-told").innerText.includes(sha), commit[place], 20_000);
    } catch {
      wrong.push(`${what}: ${commit[place]} is not told, but ${await told(page)}`);
    }
  };
  await at("Home", 0, "Home");
  await at("ArrowRight", 1, "one to the right");
  await at("End", last, "End");
  await at("ArrowLeft", last - 1, "one to the left");
  const place = changes.map((change) => x.indexOf(change.x)).find((found) => found >= 0);
  if (place !== undefined) {
    await at("Home", 0, "Home");
    for (let i = 0; i < place; i++) await page.keyboard.press("ArrowRight");
    const words = await told(page);
    if (!words.includes("Change point")) wrong.push(`a change point is not told: ${words}`);
  }
  return wrong;
}

/** A zoom is in the address, whose page begins with it. */
export async function permalink(page) {
  const wrong = [];
  const before = new URL(page.url()).searchParams.get("from");
  await drag(page, 0.3, 0.6);
  await until(page, (from) => new URLSearchParams(location.search).get("from") !== from, before);
  const query = new URL(page.url()).searchParams;
  const [from, to] = [Number(query.get("from")), Number(query.get("to"))];
  await page.reload({ waitUntil: "load", timeout: PAGE_WAIT_MS });
  const { x } = await data(page);
  if (x.length < 2 || x[0] < from || x[x.length - 1] > to) wrong.push(`${from} to ${to} shows ${x[0]} to ${x[x.length - 1]}`);
  return wrong;
}

/** The stretch that the address names. */
async function stretch(page) {
  const query = new URL(page.url()).searchParams;
  return [Number(query.get("from")), Number(query.get("to"))];
}

/** Does something, and returns the stretch that is seen then. */
async function then(page, act) {
  const before = await stretch(page);
  await act();
  await until(page, ([from, to]) => {
    const query = new URLSearchParams(location.search);
    return query.has("to") && (Number(query.get("from")) !== from || Number(query.get("to")) !== to);
  }, before);
  return stretch(page);
}

/** Whether a stretch moved by a share of itself and is as wide as before, but for what rounding takes. */
function moved([from, to], [nowFrom, nowTo], by) {
  const near = (a, b) => Math.abs(a - b) <= 2 + 0.03 * (to - from);
  return near(nowFrom - from, by * (to - from)) && near(nowTo - nowFrom, to - from);
}

/** With Shift a drag moves what is seen, and so do keys, which zoom too. */
export async function move(page) {
  const wrong = [];
  const hold = (what, before, now, by) => {
    if (!moved(before, now, by)) wrong.push(`${what}: ${before} became ${now}`);
  };
  const zoomed = await then(page, () => drag(page, 0.4, 0.7));
  const left = await then(page, async () => {
    await page.keyboard.down("Shift");
    await drag(page, 0.3, 0.8);
    await page.keyboard.up("Shift");
  });
  hold("a drag with Shift", zoomed, left, -0.5);
  const answer = await page.request.get(page.url());
  if (!answer.ok()) wrong.push(`what a move shows is answered ${answer.status()}`);
  await page.locator("#chart").focus();
  const right = await then(page, () => page.keyboard.press("Shift+ArrowRight"));
  hold("Shift and an arrow", left, right, 0.25);
  const [from, to] = await then(page, () => page.keyboard.press("+"));
  if (Math.abs((to - from) * 2 - (right[1] - right[0])) > 4) wrong.push(`plus: ${right} became ${[from, to]}`);
  // What is seen is drawn: a commit of it is told.
  const box = await chart(page);
  await page.mouse.move(box.x + box.width * 0.37, box.y + box.height / 2);
  await page.mouse.move(box.x + box.width * 0.4, box.y + box.height / 2);
  const shown = await page.request.get(page.url());
  const { commit } = JSON.parse((await shown.text()).split('id="chart-data">')[1].split("</script>")[0]);
  try {
    await until(page, (all) => all.some((sha) => document.getElementById("chart-told").innerText.includes(sha)), commit, 20_000);
  } catch {
    wrong.push(`what was moved to is not drawn: ${await told(page)}`);
  }
  return wrong;
}

/** One finger moves what is seen, two zoom. */
export async function touch(page) {
  const wrong = [];
  const zoomed = await then(page, () => drag(page, 0.3, 0.7));
  const box = await chart(page);
  const hand = await page.context().newCDPSession(page);
  const at = (shares) => shares.map((share, id) => ({ x: box.x + box.width * share, y: box.y + box.height / 2, id }));
  const fingers = async (...places) => {
    await hand.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: at(places[0]) });
    for (const place of places.slice(1)) {
      await hand.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(place) });
    }
    await hand.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  };
  const left = await then(page, () => fingers([0.3], [0.4], [0.6], [0.7]));
  if (!moved(zoomed, left, -0.4)) wrong.push(`a finger: ${zoomed} became ${left}`);
  const [from, to] = await then(page, () => fingers([0.4, 0.6], [0.35, 0.65], [0.3, 0.7]));
  if (Math.abs((to - from) * 2 - (left[1] - left[0])) > 4 + 0.03 * (left[1] - left[0])) {
    wrong.push(`two fingers: ${left} became ${[from, to]}`);
  }
  return wrong;
}

/** Points far out flatten nothing: they are marked and told, a button shows all of the scale, and the address keeps that. */
export async function outliers(page) {
  const wrong = [];
  const drawn = () => page.evaluate(() => document.querySelector("#chart canvas").toDataURL());
  const words = () => page.locator("#chart-cut").innerText();
  const { reach, y } = await data(page);
  if (!reach || !y.some((one) => one > reach[1] || one < reach[0])) return ["no point is far out"];
  await chart(page);
  await until(page, () => !document.getElementById("chart-cut").hidden);
  if (!/[0-9]+ points? lies? beyond the scale/.test(await words())) wrong.push(`points far out are told as ${await words()}`);
  const before = await drawn();
  await page.getByRole("button", { name: "Show all points" }).click();
  await until(page, (was) => document.querySelector("#chart canvas").toDataURL() !== was, before);
  if (!/[?&]scale=all/.test(page.url())) wrong.push("the whole scale is not in the address");
  await page.reload({ waitUntil: "load", timeout: PAGE_WAIT_MS });
  await chart(page);
  await until(page, () => !document.getElementById("chart-cut").hidden);
  if (/beyond the scale/.test(await words())) wrong.push(`the whole scale is not shown: ${await words()}`);
  await page.getByRole("button", { name: "Fit the scale" }).click();
  await until(page, () => document.getElementById("chart-cut").innerText.includes("beyond the scale"));
  if (/[?&]scale=/.test(page.url())) wrong.push("the scale stays in the address");
  return wrong;
}

/** Colours follow the system's, and the drawing its place. */
export async function followsThePage(page, theme) {
  const wrong = [];
  const drawn = () => page.evaluate(() => document.querySelector("#chart canvas").toDataURL());
  await chart(page);
  const before = await drawn();
  await page.emulateMedia({ colorScheme: theme === "dark" ? "light" : "dark" });
  await until(page, (was) => document.querySelector("#chart canvas")?.toDataURL() !== was, before);
  await page.emulateMedia({ colorScheme: theme });
  const size = page.viewportSize();
  await page.setViewportSize({ width: size.width - 60, height: size.height });
  await until(page, () => {
    const [place, drawing] = ["#chart", "#chart .uplot"].map((name) => document.querySelector(name));
    return drawing.getBoundingClientRect().right <= place.getBoundingClientRect().right + 1;
  });
  await page.setViewportSize(size);
  return wrong;
}

/** Without scripts there is a table, and what only scripts can show is not promised as a hole. */
export async function withoutScripts(browser, url) {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "load", timeout: PAGE_WAIT_MS });
  const rows = await page.locator("section[aria-labelledby=points] tbody tr").count();
  await context.close();
  return rows > 0 ? [] : ["without scripts no point is told"];
}

/** A run under way: its progress, its log as it comes, its end. */
export async function live(page, order) {
  const wrong = [];
  const progress = () => page.locator("#progress").evaluate((bar) => bar.value);
  const before = await progress();
  await order("step");
  await until(page, (was) => document.getElementById("progress").value > was, before);
  const now = await progress();
  await until(page, (done) => document.getElementById("log-lines").textContent.includes(`visit ${done} of 45`), now);
  const words = await page.locator("#progress-words").innerText();
  if (!words.includes(`${now} of 45`)) wrong.push(`progress is told as ${words}`);
  if (await page.locator("#log-lines b").count() > 0) wrong.push("a log's line became part of the page");
  if (!(await page.locator("#standing").innerText()).includes(`measuring visit ${now}`)) wrong.push("where it stands is not told");
  await page.evaluate(() => { window.here = true; });
  await order("step");
  await until(page, (was) => document.getElementById("progress").value > was, now);
  if (!await page.evaluate(() => window.here)) wrong.push("the page was loaded anew, where events would have done");
  await order("end");
  await until(page, () => !window.here && document.querySelector("#rows") !== null);
  return wrong;
}

/** A change is accepted and a benchmark held back by forms, by keyboard. */
export async function forms(page) {
  const wrong = [];
  const said = async (summary, field, words) => {
    const fold = page.locator("summary", { hasText: summary }).first();
    await fold.focus();
    await page.keyboard.press("Enter");
    const place = page.locator(`details[open] input[name=${field}]`).first();
    await place.fill(words);
    await Promise.all([page.waitForNavigation({ timeout: PAGE_WAIT_MS }), place.press("Enter")]);
  };
  const has = async (words) => {
    if (!(await page.locator("main").innerText()).includes(words)) wrong.push(`${words} is not said`);
  };
  await said("Accept it", "reason", "the price of <b>safety</b>");
  await has("Accepted by alice");
  await has("the price of <b>safety</b>");
  await said("Put it into quarantine", "reason", "it reads the clock");
  await has("In quarantine");
  await Promise.all([
    page.waitForNavigation({ timeout: PAGE_WAIT_MS }),
    page.getByRole("button", { name: "End the quarantine" }).click(),
  ]);
  if ((await page.locator("main").innerText()).includes("In quarantine")) wrong.push("the quarantine did not end");
  return wrong;
}
