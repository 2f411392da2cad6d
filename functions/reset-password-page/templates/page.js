
"use strict";

const heading = document.getElementById("heading");
const done = document.getElementById("done");
const reset = document.getElementById("form");
const request = document.getElementById("request");
const password = document.getElementById("password");
const email = document.getElementById("email");

// …/reset-password/<token> posts to …/api/reset-password/<token>, with the same prefix.
const token = location.pathname.split("/").pop();
const api = new URL("../api/", location.href);

document.getElementById("reveal").addEventListener("change", (event) => {
  password.type = event.target.checked ? "text" : "password";
});

// Sends the password as it was typed. The API checks its length, and the page shows the API's message beside the field.
onSubmit(reset, password, "reset-password/" + token, (ok, answer) => {
  if (ok) {
    finish("Your password has been reset", answer.message + ". You can sign in with your new password now.");
  } else if (answer.code === "invalid_or_expired_token") {
    reset.hidden = true;
    request.hidden = false;
    title("This link no longer works");
    heading.focus();
  } else {
    refuse(password, answer.message);
  }
});

onSubmit(request, email, "forgot-password", (ok, answer) => {
  if (ok) {
    finish("Check your mailbox", "If there is an account with this address, its newest link is in the mailbox. After too many requests, no more mails are sent.");
  } else {
    refuse(email, answer.message);
  }
});

function onSubmit(form, field, path, answered) {
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    refuse(field, "");
    try {
      const response = await fetch(new URL(path, api), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ [field.name]: field.value }),
      });
      answered(response.ok, await response.json());
    } catch {
      refuse(field, "There was no answer. Your request may or may not have succeeded. Try again.");
    }
    button.disabled = false;
  });
}

function refuse(field, message) {
  field.form.querySelector("[role=alert]").textContent = message;
  field.setAttribute("aria-invalid", message ? "true" : "false");
  if (message) field.focus();
}

function finish(text, next) {
  reset.hidden = request.hidden = true;
  title(text);
  done.textContent = next;
  heading.focus();
}

function title(text) {
  heading.textContent = document.title = text;
}
