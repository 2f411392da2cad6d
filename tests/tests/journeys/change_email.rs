//! `/api/change-email` and `/api/undo-email-change`.

mod limits;
mod races;

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    DynamoDbHealth, Person, Reply, Ses, SesHealth, Stack, StackBuilder,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    mailbox::{self, EMAIL_CHANGE, EMAIL_CHANGE_REQUESTED, EMAIL_CHANGED, EMAIL_RESTORED, PASSWORD_CHANGED, RESET},
};

use crate::{
    reauthenticate::assert_reauthentication_required,
    support::{assert_link_refused, assert_session_ended},
};

/// Stacks whose requests need no minimum duration.
fn builder(store: Store) -> StackBuilder {
    Stack::builder().state_in(store).with("FORGOT_PASSWORD_FLOOR_MS", "0")
}

#[track_caller]
fn assert_requested(reply: &Reply) {
    assert_eq!((reply.status, reply.json()), (202, json!({ "message": "Verification email sent" })));
}

#[track_caller]
fn assert_changed(reply: &Reply) {
    reply.assert_ok(&json!({ "message": "Email address changed" }));
}

#[track_caller]
fn assert_restored(reply: &Reply) {
    reply.assert_ok(&json!({ "message": "Email address restored" }));
}

/// Requests a change to the address of `new`, and returns the token of the mail to it.
async fn link_for(ada: &Person<'_>, tokens: &Tokens, new: &Person<'_>) -> String {
    assert_requested(&ada.requests_email_change(&tokens.access, &new.email).await);
    new.newest_mail(EMAIL_CHANGE).await.token()
}

/// Changes the address of `ada` to that of `new`, and returns the token that undoes it.
async fn change(ada: &Person<'_>, tokens: &Tokens, new: &Person<'_>) -> String {
    let link = link_for(ada, tokens, new).await;
    assert_changed(&ada.changes_email(&link).await);
    ada.newest_mail(EMAIL_CHANGED).await.token()
}

/// The address of the account, whether it is verified, and the requested address.
async fn addresses(person: &Person<'_>, tokens: &Tokens) -> (String, bool, Value) {
    let account = person.account(&tokens.access).await.json();
    let email = account["user"]["email"].as_str().unwrap().to_owned();
    (email, account["user"]["email_verified"].as_bool().unwrap(), account["pending_email"].clone())
}

// Requirements 51, 53.
#[rstest]
#[tokio::test]
async fn a_user_changes_the_address_and_the_earlier_mailbox_undoes_it(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder(store).start().await;
    let ada = stack.user("Ada").await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let (phone, laptop) = (ada.signs_in().await, ada.signs_in().await);
    assert_eq!(addresses(&ada, &phone).await, (ada.email.clone(), false, Value::Null));

    let link = link_for(&ada, &phone, &renamed).await;
    assert_eq!(link.len(), 43, "256 bits");
    assert!(!ada.newest_mail(EMAIL_CHANGE_REQUESTED).await.text.contains("http"), "the notice has no link");
    assert_eq!(addresses(&ada, &phone).await, (ada.email.clone(), false, json!(renamed.email)));
    let patched = ada.changes_account(&phone.access, json!({ "locale": "en" })).await.json();
    assert_eq!(patched["pending_email"], json!(renamed.email));
    ada.signs_in().await;

    assert_changed(&ada.changes_email(&link).await);
    assert_link_refused(&ada.changes_email(&link).await);
    for tokens in [&phone, &laptop] {
        assert_eq!(addresses(&renamed, tokens).await, (renamed.email.clone(), true, Value::Null));
    }
    renamed.signs_in().await;
    ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    let undo = ada.newest_mail(EMAIL_CHANGED).await;
    assert!(undo.link().starts_with(&format!("{}/undo-email-change/", stack.base_url)));

    assert_restored(&ada.undoes_email_change(&undo.token()).await);
    assert_link_refused(&ada.undoes_email_change(&undo.token()).await);
    for tokens in [&phone, &laptop] {
        assert_session_ended(&stack, tokens).await;
    }
    renamed.newest_mail(EMAIL_RESTORED).await;
    let reset = ada.newest_mail(RESET).await.token();
    let tokens = ada.signs_in().await;
    assert_eq!(addresses(&ada, &tokens).await, (ada.email.clone(), false, Value::Null), "as verified as it was");
    assert_eq!(renamed.tries_to_sign_in().await.status, 401);
    assert_eq!(ada.resets_password(&reset, "another password").await.status, 200);
    ada.with_password("another password").signs_in().await;

    let logs = stack.logs();
    for event in ["email_change_requested", "email_changed", "email_restored"] {
        assert_eq!(logs.matches(&format!("event=\"{event}\" user_id=1")).count(), 1, "{event}");
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0);
    if store == DynamoDb {
        assert_eq!(stack.sql_number("SELECT count(*) FROM session_endings").await, 0, "no debt is left");
    }
}

/// Somebody who wants to know who has an account requests changes to other people's addresses.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn a_taken_address_gets_the_same_answer_after_the_same_time(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).with("FORGOT_PASSWORD_FLOOR_MS", "1500").start().await;
    let (eve, kate, bob) = (stack.user("Eve").await, stack.user("Kate").await, stack.user("Bob").await);
    // An address that is not verified gets fewer notices.
    stack.sql("UPDATE users SET email_verified_at = now()").await;
    let of_bob = bob.signs_in().await;
    // Bob may get his earlier address back, so it is taken, too.
    let renamed = bob.with_email(&stack.stranger("Bob").email);
    change(&bob, &of_bob, &renamed).await;
    let tokens = eve.signs_in().await;
    let mut answers = Vec::new();
    for address in [&stack.stranger("Nobody").email, &kate.email, &kate.email.to_uppercase(), &bob.email] {
        let mut reply = eve.requests_email_change(&tokens.access, address).await;
        assert_requested(&reply);
        assert!((Duration::from_millis(1500)..Duration::from_secs(3)).contains(&reply.took), "{:?}", reply.took);
        assert_eq!(addresses(&eve, &tokens).await.2, json!(address));
        reply.headers.remove("date");
        answers.push((reply.text, reply.headers));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    stack.send_owed_mails().await;
    assert!(mailbox::mails_to(&kate.email).await.is_empty());
    let to_bob = mailbox::mails_to(&bob.email).await;
    assert!(to_bob.iter().all(|mail| mail.subject != EMAIL_CHANGE), "{to_bob:?}");
    let notices = mailbox::mails_to(&eve.email).await;
    assert_eq!(notices.iter().filter(|mail| mail.subject == EMAIL_CHANGE_REQUESTED).count(), 4);
}

// Requirement 53.
#[rstest]
#[tokio::test]
async fn a_request_needs_a_fresh_session_and_another_valid_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder(store).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let new = stack.stranger("Ada").email;
    for (address, code) in [
        ("", "email_required"),
        ("not an address", "email_invalid"),
        ("Ada <ada@example.com>", "email_invalid"),
        (&format!("ada@{}.com", "a".repeat(260)), "email_too_long"),
        (&ada.email, "email_unchanged"),
        (&ada.email.to_uppercase(), "email_unchanged"),
    ] {
        let reply = ada.requests_email_change(&tokens.access, address).await;
        assert_eq!((reply.status, reply.text_at("code")), (400, code.to_owned()), "{address}");
    }
    ada.requests_email_change(&tokens.refresh, &new).await.assert_refused(401, "invalid_token", "Invalid token");
    stack.sessions().move_auth_time_back(601).await;
    // The session is checked before the body.
    for address in [&*new, ""] {
        assert_reauthentication_required(&ada.requests_email_change(&tokens.access, address).await);
    }
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    let ended = ada.requests_email_change(&tokens.access, &new).await;
    ended.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(stack.sql_number("SELECT count(*) FROM email_changes").await, 0);
    assert!(mailbox::mails_to(&ada.email).await.is_empty() && mailbox::mails_to(&new).await.is_empty());
}

/// A thief knows the password and has a session. Whatever the thief does, the link to the earlier mailbox gives the account back.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn the_owner_gets_the_account_back_from_a_thief(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder(store).start().await;
    let ada = stack.user("Ada").await;
    let verified_at = "SELECT email_verified_at::text FROM users WHERE id = 1";
    stack.sql("UPDATE users SET email_verified_at = '2026-01-01T00:00:00Z'").await;
    let before = stack.sql_text(verified_at).await;
    let stolen = ada.signs_in().await;
    let (first, second) = (ada.with_email(&stack.stranger("Eve").email), ada.with_email(&stack.stranger("Eve").email));
    let undo = change(&ada, &stolen, &first).await;

    let stolen = Tokens::from(&first.changes_password(&stolen.access, "a password of Eve").await);
    let (first, second) = (first.with_password("a password of Eve"), second.with_password("a password of Eve"));
    let undo_of_thief = change(&first, &stolen, &second).await;
    let pending = link_for(&second, &stolen, &stack.stranger("Eve")).await.clone();
    let reset_of_thief = {
        assert_eq!(second.forgets_password().await.status, 200);
        second.newest_mail(RESET).await.token()
    };
    stack
        .sql("INSERT INTO account_deletions (user_id, token_hash, erase_at) SELECT id, sha256('x'), now() + interval '1 day' FROM users")
        .await;

    assert_restored(&ada.undoes_email_change(&undo).await);
    assert_session_ended(&stack, &stolen).await;
    assert_link_refused(&first.undoes_email_change(&undo_of_thief).await);
    assert_link_refused(&second.changes_email(&pending).await);
    assert_link_refused(&second.resets_password(&reset_of_thief, "another password of Eve").await);
    for table in ["account_deletions", "email_undos", "reserved_addresses WHERE user_id IS NOT NULL"] {
        assert_eq!(stack.sql_number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    second.newest_mail(EMAIL_RESTORED).await;
    assert_eq!(stack.sql_text(verified_at).await, before);
    let reset = ada.newest_mail(RESET).await.token();
    assert_eq!(ada.resets_password(&reset, "a new password of Ada").await.status, 200);
    for thief in [&first, &second, &ada.with_password("a password of Eve")] {
        assert_eq!(thief.tries_to_sign_in().await.status, 401);
    }
    ada.with_password("a new password of Ada").signs_in().await;
    stack.stranger("Bob").with_email(&first.email).signs_up().await.assert_created();
}

/// The second of two undo links cancels only what came after its change.
// Requirement 53.
#[tokio::test]
async fn a_later_undo_link_leaves_the_earlier_one_valid() {
    let stack = builder(PostgreSql).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let (second, third) = (ada.with_email(&stack.stranger("Ada").email), ada.with_email(&stack.stranger("Ada").email));
    let first_undo = change(&ada, &tokens, &second).await;
    let second_undo = change(&second, &tokens, &third).await;
    assert_restored(&second.undoes_email_change(&second_undo).await);
    second.signs_in().await;
    assert_eq!(ada.signs_up().await.json()["code"], "user_already_exists", "the first address is still reserved");
    third.signs_up().await.assert_created();
    assert_restored(&ada.undoes_email_change(&first_undo).await);
    ada.signs_in().await;
    second.signs_up().await.assert_created();
}

/// A user who changes back keeps the link that undoes the first change, which also cancels the link to the other mailbox.
// Requirement 53.
#[tokio::test]
async fn a_user_may_change_back_to_an_address_that_is_reserved_for_the_account() {
    let stack = builder(PostgreSql).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let undo = change(&ada, &tokens, &renamed).await;
    let undo_of_renamed = change(&renamed, &tokens, &ada).await;
    assert_eq!(addresses(&ada, &tokens).await.0, ada.email);
    assert_restored(&ada.undoes_email_change(&undo).await);
    assert_link_refused(&renamed.undoes_email_change(&undo_of_renamed).await);
    ada.signs_in().await;
}

// Requirements 51, 53.
#[rstest]
#[tokio::test]
async fn a_link_serves_only_for_the_newest_request_and_the_credentials_of_the_request(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = builder(store).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let (first, second) = (stack.stranger("Ada"), stack.stranger("Ada"));
    let older = link_for(&ada, &tokens, &first).await;
    let newer = link_for(&ada, &tokens, &second).await;
    assert_link_refused(&ada.changes_email(&older).await);

    let tokens = Tokens::from(&ada.changes_password(&tokens.access, "another password").await);
    let ada = ada.with_password("another password");
    assert_eq!(addresses(&ada, &tokens).await.2, Value::Null, "the request is void");
    assert_link_refused(&ada.changes_email(&newer).await);

    let link = link_for(&ada, &tokens, &stack.stranger("Ada")).await;
    assert_eq!(ada.forgets_password().await.status, 200);
    let reset = ada.newest_mail(RESET).await.token();
    assert_eq!(ada.resets_password(&reset, "a third password").await.status, 200);
    let ada = ada.with_password("a third password");
    assert_link_refused(&ada.changes_email(&link).await);

    let tokens = ada.signs_in().await;
    let link = link_for(&ada, &tokens, &stack.stranger("Ada")).await;
    stack.sql("UPDATE email_changes SET expires_at = now()").await;
    assert_eq!(addresses(&ada, &tokens).await.2, Value::Null);
    assert_link_refused(&ada.changes_email(&link).await);
    for malformed in ["x", &link[1..], &format!("{link}="), &"A".repeat(43)] {
        assert_link_refused(&ada.changes_email(malformed).await);
        assert_link_refused(&ada.undoes_email_change(malformed).await);
    }
    assert_eq!(addresses(&ada, &tokens).await.0, ada.email);
}

/// A reset link that was mailed to the earlier address does not serve for the new one.
// Requirement 51.
#[tokio::test]
async fn a_change_voids_a_reset_link_and_redirects_the_notice_of_a_changed_password() {
    let ses = Ses::new().await;
    let stack = builder(PostgreSql).with("AWS_ENDPOINT_URL_SES", &ses.endpoint).start().await;
    let ada = stack.user("Ada").await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let tokens = ada.signs_in().await;
    ses.set_health(SesHealth::Throttled);
    let tokens = Tokens::from(&ada.changes_password(&tokens.access, "another password").await);
    let (ada, renamed) = (ada.with_password("another password"), renamed.with_password("another password"));
    ses.set_health(SesHealth::Healthy);
    assert_requested(&ada.requests_email_change(&tokens.access, &renamed.email).await);
    assert_eq!(ada.forgets_password().await.status, 200);
    stack.send_owed_mails_where("kind <> 'password_changed'").await;
    let mails = mailbox::mails_to(&ada.email).await;
    let reset = mails.into_iter().rfind(|mail| mail.subject == RESET).unwrap().token();
    let link = mailbox::mails_to(&renamed.email).await.pop().unwrap().token();
    assert_changed(&ada.changes_email(&link).await);
    assert_link_refused(&ada.resets_password(&reset, "a third password").await);
    ada.newest_mail(PASSWORD_CHANGED).await;
    assert!(mailbox::mails_to(&renamed.email).await.iter().all(|mail| mail.subject == EMAIL_CHANGE));
}

/// A thief could change the address and then cause further notices, which would replace those that the owner has not got yet.
#[tokio::test]
async fn a_later_notice_does_not_replace_one_that_is_owed_to_the_earlier_address() {
    let ses = Ses::new().await;
    let stack = builder(PostgreSql).with("AWS_ENDPOINT_URL_SES", &ses.endpoint).start().await;
    let ada = stack.user("Ada").await;
    let renamed = ada.with_email(&stack.stranger("Ada").email).with_password("another password");
    let tokens = ada.signs_in().await;
    assert_requested(&ada.requests_email_change(&tokens.access, &stack.stranger("Ada").email).await);
    ses.set_health(SesHealth::Throttled);
    let tokens = Tokens::from(&ada.changes_password(&tokens.access, "another password").await);
    assert_requested(&ada.requests_email_change(&tokens.access, &renamed.email).await);
    ses.set_health(SesHealth::Healthy);
    stack.send_owed_mails_where("kind = 'email_change'").await;
    let link = mailbox::mails_to(&renamed.email).await.pop().unwrap().token();
    ses.set_health(SesHealth::Throttled);
    assert_changed(&renamed.changes_email(&link).await);
    assert_eq!(renamed.changes_password(&tokens.access, "a third password").await.status, 200);
    ses.set_health(SesHealth::Healthy);
    stack.send_owed_mails().await;
    let count = async |person: &Person<'_>, subject: &str| {
        mailbox::mails_to(&person.email).await.iter().filter(|mail| mail.subject == subject).count()
    };
    assert_eq!(count(&ada, PASSWORD_CHANGED).await, 1);
    assert_eq!(count(&ada, EMAIL_CHANGE_REQUESTED).await, 2);
    assert_eq!(count(&renamed, PASSWORD_CHANGED).await, 1);
}

/// The address is taken between the request and the change.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn an_address_that_was_taken_in_the_meantime_is_refused(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder(store).start().await;
    let (ada, bob, new) = (stack.user("Ada").await, stack.user("Bob").await, stack.stranger("New"));
    let (tokens, of_bob) = (ada.signs_in().await, bob.signs_in().await);
    let (link, of_bob_to_ada) =
        (link_for(&ada, &tokens, &new).await, link_for(&bob, &of_bob, &stack.stranger("B")).await);
    new.with_email(&new.email.to_uppercase()).signs_up().await.assert_created();
    // The password is right, so these attempts do not count as failures.
    for _ in 0..7 {
        assert_link_refused(&ada.changes_email(&link).await);
    }
    assert_eq!(addresses(&ada, &tokens).await.0, ada.email);
    let reserve = "INSERT INTO reserved_addresses SELECT email, 1, now() + interval '1 hour' FROM email_changes WHERE user_id = 2";
    stack.sql(reserve).await;
    assert_link_refused(&bob.changes_email(&of_bob_to_ada).await);
}

// Requirement 53.
#[rstest]
#[tokio::test]
async fn nobody_else_gets_the_earlier_address_while_the_change_can_be_undone(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = builder(store).start().await;
    let (ada, bob) = (stack.user("Ada").await, stack.user("Bob").await);
    let tokens = ada.signs_in().await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let undo = change(&ada, &tokens, &renamed).await;
    let sign_up = ada.with_email(&ada.email.to_uppercase()).signs_up().await;
    sign_up.assert_refused(400, "user_already_exists", "User already exists");
    let of_bob = bob.signs_in().await;
    assert_requested(&bob.requests_email_change(&of_bob.access, &ada.email).await);
    stack.send_owed_mails().await;
    assert!(mailbox::mails_to(&ada.email).await.iter().all(|mail| mail.subject != EMAIL_CHANGE));

    let expire = "UPDATE email_undos SET expires_at = now(); UPDATE reserved_addresses SET expires_at = now()";
    stack.sql(expire).await;
    assert_link_refused(&ada.undoes_email_change(&undo).await);
    ada.with_password("a password of another").signs_up().await.assert_created();
    assert_link_refused(&ada.undoes_email_change(&undo).await);
    stack.sweep().await;
    assert_eq!(stack.sql_number("SELECT count(*) FROM email_undos").await, 0);
}

/// SES fails. The mails are owed, and `sweep` sends them to the right addresses with links that work.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn sweep_sends_the_mails_that_the_requests_could_not_send(
    #[values(SesHealth::Throttled, SesHealth::Hanging)] health: SesHealth,
) {
    let ses = Ses::new().await;
    let stack = builder(PostgreSql).with("AWS_ENDPOINT_URL_SES", &ses.endpoint).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let sweep = async |mails: u64| {
        ses.set_health(SesHealth::Healthy);
        stack.make_mails_due().await;
        let report = stack.sweep().await;
        assert_eq!((&report["mails_sent"], &report["mails_owed"]), (&json!(mails), &json!(0)), "{report}");
        ses.set_health(health);
    };
    ses.set_health(health);
    assert_requested(&ada.requests_email_change(&tokens.access, &renamed.email).await);
    sweep(2).await;
    ada.newest_mail(EMAIL_CHANGE_REQUESTED).await;
    let link = renamed.newest_mail(EMAIL_CHANGE).await.token();
    assert_changed(&ada.changes_email(&link).await);
    sweep(1).await;
    let undo = ada.newest_mail(EMAIL_CHANGED).await.token();
    assert_restored(&ada.undoes_email_change(&undo).await);
    sweep(2).await;
    renamed.newest_mail(EMAIL_RESTORED).await;
    let reset = ada.newest_mail(RESET).await.token();
    ses.set_health(SesHealth::Healthy);
    assert_eq!(ada.resets_password(&reset, "another password").await.status, 200);
}

/// DynamoDB fails after PostgreSQL has restored the address. `sweep` ends the sessions and sends the mails.
// Requirement 53.
#[tokio::test]
async fn an_undo_that_could_not_end_the_sessions_is_completed_by_the_next_sweep() {
    let stack = builder(DynamoDb).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let undo = change(&ada, &tokens, &renamed).await;
    let table = stack.state_table.as_ref().unwrap();
    table.set_health(DynamoDbHealth::Throttled);
    assert_eq!(ada.undoes_email_change(&undo).await.status, 503);
    table.set_health(DynamoDbHealth::Healthy);
    assert_link_refused(&ada.undoes_email_change(&undo).await);
    stack.make_mails_due().await;
    let report = stack.sweep().await;
    assert_eq!((&report["sessions_owed"], &report["mails_sent"]), (&json!(0), &json!(2)), "{report}");
    assert_session_ended(&stack, &tokens).await;
    renamed.newest_mail(EMAIL_RESTORED).await;
    ada.newest_mail(RESET).await;
    ada.signs_in().await;
}
