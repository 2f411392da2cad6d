//! `POST /api/signin/second-factor`, and the sign-in before it.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Network, Person, PostgresProxy, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    authenticator::Added,
    documents,
    jwt::claims,
};
use toolkit::needs::Need;

use crate::support::{assert_passkey_rejected, get_example};

const WARNING: &str = "Somebody entered your password and then wrong codes";

async fn with_authenticator(stack: &Stack) -> (Person<'_>, Added) {
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let added = ada.adds_totp().await;
    (ada, added)
}

#[track_caller]
fn assert_invalid_token(reply: &Reply) {
    reply.assert_refused(401, "invalid_mfa_token", "Sign in again");
    assert_eq!(reply.header("www-authenticate"), None);
}

#[track_caller]
fn assert_wrong(reply: &Reply) {
    reply.assert_refused(400, "invalid_code", "Invalid or expired code");
}

// Requirements 65, 76.
#[rstest]
#[tokio::test]
async fn a_sign_in_succeeds_with_the_password_and_a_code(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, .. }) = with_authenticator(&stack).await;
    let asked = ada.tries_to_sign_in().await;
    let token = asked.text_at("mfa_token");
    assert_eq!(asked.header("www-authenticate"), None);
    assert_eq!(
        (asked.status, asked.json()),
        (
            401,
            json!({
                "message": "Second factor required", "code": "second_factor_required", "mfa_token": token,
                "factors": ["totp", "recovery_code"], "expires_in": 300,
            })
        )
    );
    // The token opens nothing else.
    ada.dashboard(&token).await.assert_refused(401, "invalid_token", "Invalid token");
    ada.refreshes(&token).await.assert_refused(401, "invalid_token", "Invalid token");

    let reply = ada.shows_factor(&token, &json!({ "totp": app.code() })).await;
    let tokens = Tokens::from(&reply);
    assert_eq!(reply.text_at("message"), "Sign-in successful");
    assert_eq!(reply.json()["user"], json!({ "name": "Ada", "email": ada.email }));
    assert_eq!(reply.json().get("recovery_codes_left"), None);
    let of_token = claims(&tokens.access);
    assert_eq!((&of_token["amr"], &of_token["acr"]), (&json!(["pwd", "otp"]), &json!("aal2")));
    let context = get_example(&stack, &tokens.access).await;
    assert_eq!(context.status, 200, "{}", context.text);
    // A refresh keeps the methods.
    let next = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(claims(&next.access)["amr"], json!(["pwd", "otp"]));

    assert_invalid_token(&ada.shows_factor(&token, &json!({ "totp": app.code_in(1) })).await);
    let token = ada.signs_in_halfway().await;
    let reply = ada.shows_factor(&token, &json!({ "totp": app.code_in(-1) })).await;
    reply.assert_refused(400, "code_already_used", "This code was already used");
    assert_eq!(ada.shows_factor(&token, &json!({ "totp": app.code_in(1) })).await.status, 200, "a later step");
    let logs = stack.logs();
    assert!(logs.contains("event=\"second_factor_required\" user_id=1"), "{logs}");
    assert!(!logs.contains(&token), "no token in the log");
}

// Requirements 64, 73.
#[rstest]
#[tokio::test]
async fn no_way_in_skips_the_factor(#[values(PostgreSql, DynamoDb)] store: Store) {
    let opens = [Need::OpenSessions, Need::RenewSession, Need::RefreshSessions];
    let endpoints = documents::endpoints();
    let ways = endpoints.iter().filter(|endpoint| endpoint.needs.iter().any(|need| opens.contains(need)));
    let ways: BTreeSet<_> = ways.map(|endpoint| &*endpoint.name).collect();
    // Each of them is tried below, except `verify-email`, which mints tokens of the session that the request has, and `passkeys`, which mints none.
    let tried = [
        "change-password",
        "passkeys",
        "reauthenticate",
        "refresh",
        "signin",
        "signin-passkey",
        "signin-second-factor",
        "totp",
        "verify-email",
    ];
    assert_eq!(ways, BTreeSet::from(tried));

    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let without_factor = ada.signs_in().await;
    let Added { app, tokens, recovery_codes } = ada.adds_totp().await;
    // signin
    let token = ada.signs_in_halfway().await;
    // signin-second-factor: nothing but a right factor opens a session.
    for factor in [json!({ "totp": app.wrong_code() }), json!({ "recovery_code": "0000-0000-0000-0000-0000-0000" })] {
        assert_wrong(&ada.shows_factor(&token, &factor).await);
    }
    // refresh, change-password and totp in a session of before.
    assert_eq!(ada.refreshes(&without_factor.refresh).await.status, 401);
    assert_eq!(ada.changes_password(&without_factor.access, "another password").await.status, 401);
    assert_eq!(ada.confirms_totp(&without_factor.access, &app.code()).await.status, 401);
    // signin-passkey: a passkey that the account does not have.
    assert_passkey_rejected(&ada.signs_in_with_assertion(&json!({})).await);
    // reauthenticate
    assert_eq!(ada.reauthenticates(&tokens.access).await.text_at("code"), "second_factor_required");
    // A reset changes the password and not the factor (requirement 73).
    let link = ada.newest_reset_link().await;
    assert_eq!(ada.resets_password(&link, "another password").await.status, 200);
    assert_invalid_token(&ada.shows_factor(&token, &json!({ "totp": app.code() })).await);
    let ada = ada.with_password("another password");
    let token = ada.signs_in_halfway().await;
    let reply = ada.shows_factor(&token, &json!({ "recovery_code": recovery_codes[0] })).await;
    assert_eq!(claims(&Tokens::from(&reply).access)["amr"], json!(["pwd", "otp"]));
}

// Requirement 65.
#[rstest]
#[tokio::test]
async fn a_token_works_five_minutes_for_five_tries_and_one_version_of_the_credentials(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, tokens, .. }) = with_authenticator(&stack).await;
    for unknown in ["", "x", &"A".repeat(43)] {
        let reply = ada.shows_factor(unknown, &json!({ "totp": app.code() })).await;
        if unknown.is_empty() {
            reply.assert_refused(400, "missing_required_fields", "Missing required fields");
        } else {
            assert_invalid_token(&reply);
        }
    }
    let token = ada.signs_in_halfway().await;
    for factor in [json!({}), json!({ "totp": app.code(), "recovery_code": "x" }), json!({ "totp": "" })] {
        ada.shows_factor(&token, &factor).await.assert_refused(400, "missing_factor", "Send exactly one factor");
    }
    for malformed in ["12345", "1234567", "abcdef"] {
        assert_wrong(&ada.shows_factor(&token, &json!({ "totp": malformed })).await);
    }
    for _ in 0..5 {
        assert_wrong(&ada.shows_factor(&token, &json!({ "totp": app.wrong_code() })).await);
    }
    assert_invalid_token(&ada.shows_factor(&token, &json!({ "totp": app.code() })).await);

    let token = ada.signs_in_halfway().await;
    stack.sql("UPDATE mfa_tokens SET expires_at = now()").await;
    assert_invalid_token(&ada.shows_factor(&token, &json!({ "totp": app.code() })).await);
    assert_eq!(stack.sweep().await["factor_rows_deleted"], 2);

    let token = ada.signs_in_halfway().await;
    assert_eq!(ada.changes_password(&tokens.access, "another password").await.status, 200);
    assert_invalid_token(&ada.shows_factor(&token, &json!({ "totp": app.code() })).await);
    assert_eq!(stack.sql_text("SELECT string_agg(m::text, '') FROM mfa_tokens m").await.find(&token), None);
}

// Requirements 66, 68.
#[rstest]
#[tokio::test]
async fn of_fifty_requests_with_one_code_at_once_one_succeeds(
    #[values(PostgreSql, DynamoDb)] store: Store,
    #[values(true, false)] with_one_token: bool,
    #[values("totp", "recovery_code")] kind: &str,
) {
    let stack = Stack::builder().state_in(store).processes(10).start().await;
    let (ada, Added { app, tokens, recovery_codes }) = with_authenticator(&stack).await;
    // Refused attempts count, too, so each request has a source of its own.
    let people: Vec<_> = (0..50).map(|number| ada.from_source(&format!("198.51.100.{number}"))).collect();
    let mut mfa_tokens = Vec::new();
    for person in people.iter().take(if with_one_token { 1 } else { 50 }) {
        mfa_tokens.push(person.signs_in_halfway().await);
    }
    let factor =
        if kind == "totp" { json!({ "totp": app.code() }) } else { json!({ "recovery_code": recovery_codes[3] }) };
    let all = people.iter().zip(mfa_tokens.iter().cycle());
    let replies = join_all(all.map(|(person, token)| person.shows_factor(token, &factor))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{replies:?}");
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        let codes = ["code_already_used", "invalid_code", "invalid_mfa_token"];
        assert!(codes.contains(&&*reply.text_at("code")), "{}", reply.text);
    }
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(stack.sessions().live().await.len(), 2);
}

// Requirement 68.
#[rstest]
#[tokio::test]
async fn of_several_recovery_codes_with_one_token_at_once_only_one_is_used_up(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).processes(5).start().await;
    let (ada, Added { recovery_codes, .. }) = with_authenticator(&stack).await;
    let token = ada.signs_in_halfway().await;
    let factors: Vec<_> = recovery_codes[..5].iter().map(|code| json!({ "recovery_code": code })).collect();
    // No request can use its code before all have begun to.
    let mut rival = stack.database.connect().await;
    let rival = rival.transaction().await.unwrap();
    rival.execute("SELECT FROM recovery_codes FOR UPDATE", &[]).await.unwrap();
    let (replies, ()) = tokio::join!(join_all(factors.iter().map(|factor| ada.shows_factor(&token, factor))), async {
        stack.wait_for_blocked_statements(5).await;
        rival.commit().await.unwrap();
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{isolation}: {replies:?}");
    let left = stack.sql_number("SELECT count(*) FROM recovery_codes").await;
    assert_eq!(left, 9, "{isolation}: refused requests use up no code");
}

/// Both requests find the token before one of them uses it up.
// Requirement 68.
#[tokio::test]
async fn of_two_right_codes_with_one_token_at_once_neither_is_called_wrong() {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().state_in(PostgreSql).database_port(proxy.port).start().await;
    let (ada, Added { recovery_codes, .. }) = with_authenticator(&stack).await;
    let token = ada.signs_in_halfway().await;
    proxy.set_network(Network::Slow(Duration::from_millis(300)));
    let shows = |number: usize| {
        let factor = json!({ "recovery_code": recovery_codes[number] });
        let (ada, token) = (&ada, &token);
        async move { ada.shows_factor(token, &factor).await }
    };
    let (one, other) = tokio::join!(shows(0), shows(1));
    let refused = if one.status == 200 { &other } else { &one };
    assert_invalid_token(refused);
    assert!(!stack.log_of("signin-second-factor").contains("second_factor_failed"));
}

/// Another request changes the credentials after the attempt was counted, and before the code is used up. It also
/// holds the row of the counter, so that the attempt waits for it.
#[rstest]
#[tokio::test]
async fn a_right_code_in_a_session_that_ends_meanwhile_is_not_called_wrong(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, tokens, .. }) = with_authenticator(&stack).await;
    assert_wrong(&ada.reauthenticates_with(&tokens.access, json!({ "totp": app.wrong_code() })).await);
    ada.may_reuse_codes().await;
    let reset = "UPDATE throttle SET attempts = attempts; UPDATE users SET credential_version = credential_version + 1";
    let reply =
        stack.answer_during(reset, ada.reauthenticates_with(&tokens.access, json!({ "totp": app.code() }))).await;
    reply.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(stack.log_of("reauthenticate").matches("second_factor_failed").count(), 1, "that of the wrong code");
}

// Requirement 68.
#[rstest]
#[tokio::test]
async fn a_recovery_code_works_once_in_any_spelling_and_a_mail_tells(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { tokens, recovery_codes, .. }) = with_authenticator(&stack).await;
    let spellings: [fn(&str) -> String; 4] = [
        |code| code.to_owned(),
        |code| code.to_lowercase().replace('-', ""),
        |code| code.replace('-', " "),
        |code| format!(" {} ", code.replace('0', "O").replace('1', "l")),
    ];
    for (number, code) in recovery_codes.iter().enumerate() {
        let spelt = spellings[number % 4](code);
        let token = ada.signs_in_halfway().await;
        let reply = ada.shows_factor(&token, &json!({ "recovery_code": spelt })).await;
        assert_eq!(reply.status, 200, "{spelt}: {}", reply.text);
        let left = 9 - number;
        let said = if left <= 2 { json!(left) } else { Value::Null };
        assert_eq!(reply.json()["recovery_codes_left"], said);
        assert!(ada.newest_mail("A recovery code of your account was used").await.text.contains(&left.to_string()));
        if left > 0 {
            let token = ada.signs_in_halfway().await;
            assert_wrong(&ada.shows_factor(&token, &json!({ "recovery_code": spelt })).await);
        }
    }
    assert_eq!(ada.tries_to_sign_in().await.json()["factors"], json!(["totp"]));
    assert_eq!(ada.recovery_codes_left(&tokens.access).await.json(), json!({ "left": 0, "created_at": null }));
    let stored = stack.sql_text("SELECT coalesce(string_agg(r::text, ''), '') FROM recovery_codes r").await;
    assert!(recovery_codes.iter().all(|code| !stored.contains(code)));
}

// Requirement 74.
#[rstest]
#[tokio::test]
async fn ten_wrong_codes_block_only_their_source_for_a_quarter_of_an_hour(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, recovery_codes, .. }) = with_authenticator(&stack).await;
    let thief = ada.from_source("198.51.100.1");
    let mut token = thief.signs_in_halfway().await;
    for wrong in 1..=10 {
        assert_wrong(&thief.shows_factor(&token, &json!({ "totp": app.wrong_code() })).await);
        if wrong % 5 == 0 {
            token = thief.signs_in_halfway().await;
        }
    }
    let refused = thief.shows_factor(&token, &json!({ "totp": app.code() })).await;
    refused.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((880..=900).contains(&wait), "{wait}");
    // The owner is elsewhere, and a recovery code works everywhere. A right factor clears the counter of its own source.
    assert_eq!(ada.signs_in_with_totp(&app).await.status, 200);
    ada.may_reuse_codes().await;
    assert_eq!(thief.shows_factor(&token, &json!({ "totp": app.code() })).await.status, 429);
    assert_eq!(thief.shows_factor(&token, &json!({ "recovery_code": recovery_codes[0] })).await.status, 200);
    assert_eq!(thief.signs_in_with_totp(&app).await.status, 200);
    let warning = ada.newest_mail(WARNING).await;
    assert!(warning.text.contains("knows your password"), "{}", warning.text);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE kind LIKE 'second_factor_failed%'").await, 0);
}

// Requirement 74.
#[rstest]
#[tokio::test]
async fn after_a_hundred_wrong_codes_in_a_row_only_sources_with_a_session_may_try_codes(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, recovery_codes, .. }) = with_authenticator(&stack).await;
    let elsewhere = ada.from_source("198.51.100.1");
    let token = elsewhere.signs_in_halfway().await;
    assert_wrong(&elsewhere.shows_factor(&token, &json!({ "totp": app.wrong_code() })).await);
    let account = "SELECT key FROM throttle WHERE key = sha256(convert_to('second factor account 1', 'UTF8'))";
    stack.sql(&format!("UPDATE throttle SET attempts = 100 WHERE key = ({account})")).await;
    let closed = elsewhere.shows_factor(&token, &json!({ "totp": app.code() })).await;
    closed.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    // A reset does not open it.
    let link = ada.newest_reset_link().await;
    assert_eq!(ada.resets_password(&link, "another password").await.status, 200);
    let (ada, elsewhere) = (ada.with_password("another password"), elsewhere.with_password("another password"));
    assert_eq!(elsewhere.signs_in_with_totp(&app).await.status, 429);
    // With a recovery code, the owner has a session at this source. There, codes work, and a right one opens the account.
    stack.sql(&format!("UPDATE throttle SET attempts = 100 WHERE key = ({account})")).await;
    let token = ada.signs_in_halfway().await;
    assert_eq!(ada.shows_factor(&token, &json!({ "recovery_code": recovery_codes[0] })).await.status, 200);
    assert_eq!(elsewhere.signs_in_with_totp(&app).await.status, 200, "a right recovery code clears the counter, too");
    ada.may_reuse_codes().await;
    let token = elsewhere.signs_in_halfway().await;
    assert_wrong(&elsewhere.shows_factor(&token, &json!({ "totp": app.wrong_code() })).await);
    stack.sql(&format!("UPDATE throttle SET attempts = 100 WHERE key = ({account})")).await;
    stack.sql("UPDATE throttle SET attempts = 1 WHERE attempts BETWEEN 2 AND 99").await;
    let nowhere = ada.from_source("198.51.100.2");
    assert_eq!(nowhere.signs_in_with_totp(&app).await.status, 429);
    assert_eq!(ada.signs_in_with_totp(&app).await.status, 200);
}

// Requirement 74.
#[rstest]
#[tokio::test]
async fn wrong_recovery_codes_do_not_block_codes_of_the_authenticator(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, tokens, .. }) = with_authenticator(&stack).await;
    let wrong = json!({ "recovery_code": "0000-0000-0000-0000-0000-0000" });
    for _ in 0..12 {
        assert_wrong(&ada.reauthenticates_with(&tokens.access, wrong.clone()).await);
    }
    let counted = "SELECT count(*) FROM throttle WHERE key = sha256(convert_to('second factor account 1', 'UTF8'))";
    assert_eq!(stack.sql_number(counted).await, 0);
    assert_eq!(ada.reauthenticates_with(&tokens.access, json!({ "totp": app.code() })).await.status, 200);
    // At a sign-in, five wrong ones use the token up, and a mail tells.
    let token = ada.signs_in_halfway().await;
    for _ in 0..5 {
        assert_wrong(&ada.shows_factor(&token, &wrong).await);
    }
    assert_invalid_token(&ada.shows_factor(&token, &wrong).await);
    ada.newest_mail(WARNING).await;
}

// Requirement 74.
#[rstest]
#[tokio::test]
async fn a_right_password_in_a_session_that_is_not_fresh_clears_no_failure(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { tokens, .. }) = with_authenticator(&stack).await;
    stack.sessions().move_auth_time_back(601).await;
    let wrong = ada.with_password("wrong password");
    for _ in 0..4 {
        assert_eq!(wrong.tries_to_sign_in().await.status, 401);
    }
    let refused = ada.changes_password(&tokens.access, "another password").await;
    assert_eq!(refused.text_at("code"), "reauthentication_required");
    assert_eq!(ada.reauthenticates(&tokens.access).await.text_at("code"), "second_factor_required");
    assert_eq!(wrong.tries_to_sign_in().await.status, 401, "the fifth failure");
    assert_eq!(wrong.tries_to_sign_in().await.status, 429);
}

// Requirement 74.
#[rstest]
#[tokio::test]
async fn a_right_password_without_the_factor_is_no_failure_and_clears_none(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, .. }) = with_authenticator(&stack).await;
    for _ in 0..12 {
        ada.signs_in_halfway().await;
    }
    let wrong = ada.with_password("wrong password");
    for _ in 0..4 {
        assert_eq!(wrong.tries_to_sign_in().await.status, 401);
    }
    let token = ada.signs_in_halfway().await;
    assert_eq!(wrong.tries_to_sign_in().await.status, 401, "the fifth failure");
    assert_eq!(wrong.tries_to_sign_in().await.status, 429, "the right password cleared nothing");
    // The second factor does.
    assert_eq!(ada.shows_factor(&token, &json!({ "totp": app.code() })).await.status, 200);
    assert_eq!(wrong.tries_to_sign_in().await.status, 401);
}

// Requirements 74, 75.
#[rstest]
#[tokio::test]
async fn a_factor_renews_a_session(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, Added { app, tokens, recovery_codes }) = with_authenticator(&stack).await;
    stack.sessions().move_auth_time_back(601).await;
    let reply = ada.reauthenticates(&tokens.access).await;
    reply.assert_refused(401, "second_factor_required", "Second factor required");
    let challenge = r#"Bearer error="insufficient_user_authentication", max_age=600, acr_values="aal2""#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
    // Nothing changed.
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(ada.replaces_recovery_codes(&tokens.access).await.text_at("code"), "reauthentication_required");

    let both = json!({ "password": "password123", "totp": app.code() });
    let reply = ada.reauthenticates_with(&tokens.access, both).await;
    reply.assert_refused(400, "missing_factor", "Send exactly one factor");
    assert_wrong(&ada.reauthenticates_with(&tokens.access, json!({ "totp": app.wrong_code() })).await);
    let code = json!({ "totp": app.code() });
    let renewed = Tokens::from(&ada.reauthenticates_with(&tokens.access, code.clone()).await);
    assert_eq!(renewed.refresh, tokens.refresh);
    assert_eq!(claims(&renewed.access)["amr"], json!(["pwd", "otp"]));
    let replaced = ada.replaces_recovery_codes(&renewed.access).await;
    assert_eq!(replaced.status, 201);
    let reply = ada.reauthenticates_with(&tokens.access, code).await;
    reply.assert_refused(400, "code_already_used", "This code was already used");
    let old = json!({ "recovery_code": recovery_codes[0] });
    assert_wrong(&ada.reauthenticates_with(&tokens.access, old).await);
    for (number, left) in [(8, Value::Null), (9, json!(2))] {
        stack.sql("DELETE FROM recovery_codes WHERE number < 7").await;
        let code = json!({ "recovery_code": replaced.json()["recovery_codes"][number] });
        let reply = ada.reauthenticates_with(&tokens.access, code).await;
        assert_eq!((reply.status, &reply.json()["recovery_codes_left"]), (200, &left), "{}", reply.text);
    }

    // An account without a factor has no code to show.
    let kate = stack.user("Kate").await;
    let of_kate = kate.signs_in().await;
    assert_wrong(&kate.reauthenticates_with(&of_kate.access, json!({ "totp": app.code() })).await);
    assert_eq!(kate.reauthenticates(&of_kate.access).await.status, 200);
}
