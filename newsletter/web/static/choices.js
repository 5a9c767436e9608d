// Shows beside the choices what they would have brought last time, as they change. Without this script a button does.
const form = document.getElementById("choices");
const place = document.getElementById("last");

async function show() {
  const topics = new URLSearchParams(new FormData(form).getAll("topics").map((topic) => ["topics", topic]));
  const address = form.querySelector("[formaction]").getAttribute("formaction");
  const answer = await fetch(`${address}?${topics}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  page.querySelector("main > p:last-child")?.remove();
  const heading = page.querySelector("h1");
  heading.replaceWith(Object.assign(page.createElement("h2"), { textContent: heading.textContent }));
  place.replaceChildren(...page.querySelector("main").childNodes);
}

form?.addEventListener("change", (event) => { if (event.target.name === "topics") show(); });
if (form) show();
