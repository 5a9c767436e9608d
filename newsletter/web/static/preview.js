// Redraws the page when a file changes, and keeps the places that were scrolled to. Without this script every page works all
// the same.

const places = new Map();

function fit(frame) {
  const inner = frame.contentDocument;
  if (!inner?.documentElement) return;
  frame.height = Math.max(300, inner.documentElement.scrollHeight + 2);
}

function settle(frame) {
  if (!frame.closest(".compared")) fit(frame);
  const place = places.get(frame.title);
  if (place) frame.contentWindow.scrollTo(0, place);
  const root = document.documentElement;
  root.dataset.drawn = String(Number(root.dataset.drawn || 0) + 1);
}

function watch(frame) {
  frame.addEventListener("load", () => settle(frame));
  // It may have been loaded before this script was.
  const inner = frame.contentDocument;
  if (inner?.readyState === "complete" && inner.URL !== "about:blank") settle(frame);
}

async function redraw() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [top, left] = [scrollY, scrollX];
  for (const frame of document.querySelectorAll("iframe")) {
    places.set(frame.title, frame.contentWindow?.scrollY || 0);
  }
  const old = document.getElementById("live");
  const fresh = document.adoptNode(page.getElementById("live"));
  const typing = document.activeElement?.name;
  for (const frame of fresh.querySelectorAll("iframe")) {
    const before = [...old.querySelectorAll("iframe")].find((other) => other.title === frame.title);
    if (before) frame.height = before.height;
    watch(frame);
  }
  old.replaceWith(fresh);
  document.title = page.title;
  if (typing) fresh.querySelector(`[name="${CSS.escape(typing)}"]`)?.focus();
  scrollTo(left, top);
}

document.querySelectorAll("iframe").forEach(watch);

new EventSource("/preview/events").addEventListener("change", redraw);

document.addEventListener("input", async (event) => {
  if (event.target.name !== "as") return;
  const found = await (await fetch(`/preview/people?q=${encodeURIComponent(event.target.value)}`)).json();
  const list = document.getElementById("people");
  list?.replaceChildren(...found.map((email) => Object.assign(document.createElement("option"), { value: email })));
});
