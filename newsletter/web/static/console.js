// Keeps a page's numbers fresh: the server sends the page's live part anew whenever it has changed. Counts down to what
// comes. Without this script a page shows what was so when it was loaded.

const main = document.getElementById("live");

function redraw(html) {
  const open = [...main.querySelectorAll("details")].map((part) => part.open);
  const row = [...main.querySelectorAll("[data-row]")].findIndex((part) => part.classList.contains("here"));
  const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const page = new DOMParser().parseFromString(html, "text/html");
  main.replaceChildren(...page.body.childNodes);
  main.querySelectorAll("details").forEach((part, i) => { part.open = open[i] ?? false; });
  if (row >= 0) main.querySelectorAll("[data-row]")[row]?.classList.add("here");
  if (focused) main.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  main.dataset.drawn = String(Number(main.dataset.drawn || 0) + 1);
}

if (main.querySelector("[data-live]")) {
  const source = new EventSource(location.href);
  source.addEventListener("live", (event) => redraw(event.data));
  addEventListener("pagehide", () => source.close());
}

function writeSpan(seconds) {
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    if (seconds >= size || (unit === "s" && !parts.length)) {
      parts.push(`${Math.floor(seconds / size)} ${unit}`);
      seconds %= size;
    } else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ");
}

function tick() {
  for (const part of document.querySelectorAll("[data-until]")) {
    const at = new Date(part.dataset.until);
    part.textContent = `in ${writeSpan(Math.max(0, Math.round((at - Date.now()) / 1000)))}`;
    part.title = at.toLocaleString();
  }
  for (const part of document.querySelectorAll("[data-here]")) part.textContent = `, here ${new Date(part.dataset.here).toLocaleString()}`;
  for (const part of document.querySelectorAll("time[datetime]")) part.title ||= new Date(part.dateTime).toLocaleString();
}

tick();
setInterval(tick, 1000);
