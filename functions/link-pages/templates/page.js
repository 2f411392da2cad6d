
// A page posts to the route of the API that has the same path: /keep-account/<token> to /api/keep-account/<token>.
const form = document.querySelector("form");
const path = location.pathname.split("/").slice(-2).join("/");

postOnSubmit(form, path, (refusal) => {
  if (refusal === undefined) show("done");
  else if (refusal === "invalid_or_expired_token") show("expired");
  else refuse(form, refusal);
});
