// The three pages share this file; `config.js` says where the API is.
"use strict";

const show = (id, text) => { document.getElementById(id).textContent = text; };

async function ask(path, options) {
  const answer = await fetch(window.CONFERENCE.api + path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || body.message || answer.status);
  return body;
}

function page(name) {
  const own = { apply, list, result }[name];
  own().catch((error) => show("error", error.message));
}

async function apply() {
  const form = document.querySelector("form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    show("error", "");
    const fields = Object.fromEntries(new FormData(form));
    try {
      const made = await ask("/conference", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(fields),
      });
      location.href = "result.html?id=" + encodeURIComponent(made.id);
    } catch (error) {
      show("error", error.message);
    }
  });
}

async function list() {
  const { entries } = await ask("/conference");
  const rows = document.querySelector("tbody");
  for (const entry of entries) {
    const row = rows.insertRow();
    const link = document.createElement("a");
    link.href = "result.html?id=" + encodeURIComponent(entry.id);
    link.textContent = entry.name;
    row.insertCell().append(link);
    for (const field of ["company", "applied", "status"]) row.insertCell().textContent = entry[field];
  }
  show("count", entries.length + (entries.length === 1 ? " entry" : " entries"));
}

async function result() {
  const id = new URLSearchParams(location.search).get("id");
  const entry = await ask("/conference?id=" + encodeURIComponent(id));
  show("name", entry.name);
  show("company", entry.company);
  show("status", entry.status);
  if (!entry.badge) {
    setTimeout(() => result().catch((error) => show("error", error.message)), 1000);
    return;
  }
  const image = document.getElementById("badge");
  image.src = entry.badge;
  image.hidden = false;
}
