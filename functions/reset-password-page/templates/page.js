
const reset = document.querySelector("#reset form");
const request = document.querySelector("#expired form");

postOnSubmit(reset, "reset-password/" + token, (refusal) => {
  if (refusal === undefined) show("done");
  else if (refusal === "invalid_or_expired_token") show("expired");
  else refuse(reset, refusal);
});

postOnSubmit(request, "forgot-password", (refusal) => {
  if (refusal === undefined) show("sent");
  else refuse(request, refusal);
});
