"use strict";

// The address of the page is …/<page>/<token>. The API has the same prefix.
const token = location.pathname.split("/").pop();
const api = new URL("../api/", location.href);

// The texts of refusals by their codes.
const refusals = JSON.parse(document.getElementById("refusals").textContent);

// Posts the form's field, if it has one. Calls `onAnswer` with `undefined` if the request succeeded, else with the code of the refusal. An answer of
// API Gateway itself has no code. Then it is an empty text. If there was no answer, it is `no_answer`.
function postOnSubmit(form, path, onAnswer) {
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    showProblem(form, "");
    const refusal = await post(path, Object.fromEntries(new FormData(form)));
    button.disabled = false;
    onAnswer(refusal);
  });
}

async function post(path, fields) {
  try {
    const response = await fetch(new URL(path, api), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(fields),
    });
    const answer = await response.json();
    return response.ok ? undefined : (answer.code ?? "");
  } catch {
    return "no_answer";
  }
}

function refuse(form, code) {
  showProblem(form, Object.hasOwn(refusals, code) ? refusals[code] : refusals.other);
}

// The problem is in a live region, so screen readers say it. Then the field gets the focus. In a form without a field, the button gets it back, which
// it lost while it was disabled.
function showProblem(form, text) {
  const field = form.querySelector("[name]");
  form.querySelector("[role=alert]").textContent = text;
  field?.setAttribute("aria-invalid", text ? "true" : "false");
  if (text) (field ?? form.querySelector("button")).focus();
}

// Shows one section of the page. Its heading gets the focus, so screen readers say it.
function show(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  const heading = document.querySelector(`#${id} h1`);
  document.title = heading.textContent;
  heading.focus();
}

document.getElementById("reveal")?.addEventListener("change", (event) => {
  document.getElementById("password").type = event.target.checked ? "text" : "password";
});
