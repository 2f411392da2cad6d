
"use strict";

const form = document.getElementById("form");
const password = document.getElementById("password");
const problem = document.getElementById("problem");
const submit = document.getElementById("submit");
const done = document.getElementById("done");

// …/reset-password/<token> posts to …/api/reset-password/<token>, whatever stands before it.
const token = location.pathname.split("/").pop();
const endpoint = new URL("../api/reset-password/" + token, location.href);

document.getElementById("reveal").addEventListener("change", (event) => {
  password.type = event.target.checked ? "text" : "password";
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  submit.disabled = true;
  refuse("");
  try {
    const response = await fetch(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ password: password.value }),
    });
    const answer = await response.json();
    if (response.ok) {
      form.hidden = true;
      done.textContent = answer.message + ". You can sign in with your new password now.";
      done.focus();
    } else {
      refuse(answer.message);
    }
  } catch {
    refuse("The service could not be reached. Your password is unchanged: try again.");
  }
  submit.disabled = false;
});

function refuse(message) {
  problem.textContent = message;
  password.setAttribute("aria-invalid", message ? "true" : "false");
  if (message) password.focus();
}
