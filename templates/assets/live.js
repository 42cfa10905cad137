// Follows a job under way: where it stands, and its log as it comes. Without it the page renews itself.
"use strict";

(() => {
  const log = document.getElementById("log-lines");
  if (!log || !log.dataset.live || typeof EventSource === "undefined") return;
  // As many as the server keeps of a job.
  const LINES_MAX = 5000;
  const AGAIN_MS = 5000;
  const bar = document.getElementById("progress");
  const words = document.getElementById("progress-words");
  const standing = document.getElementById("standing");
  let first = null;
  let lines = log.textContent === "" ? [] : log.textContent.split("\n");

  const source = new EventSource(log.dataset.live);
  source.addEventListener("log", (event) => {
    const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    lines = lines.concat(JSON.parse(event.data)).slice(-LINES_MAX);
    log.textContent = lines.join("\n");
    if (below) log.scrollTop = log.scrollHeight;
  });
  source.addEventListener("standing", (event) => {
    const now = JSON.parse(event.data);
    // What the page has beside the log is of another time then.
    if (first !== null && first !== now.state) return location.reload();
    first = now.state;
    standing.textContent = now.text || now.state;
    if (bar && words && now.total > 0) {
      bar.max = now.total;
      bar.value = now.done;
      words.textContent = now.done.toLocaleString("en") + " of " + now.total.toLocaleString("en") + " steps";
    }
  });
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
  source.onerror = () => {
    // A browser asks again by itself, unless it was refused: then the page does what it does without us.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), AGAIN_MS);
  };
  log.scrollTop = log.scrollHeight;
})();
