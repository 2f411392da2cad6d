//! Concurrent requests of one user. Whatever their order, every endpoint must agree on which sessions are live.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream};
use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    authenticator::Authenticator,
    jwt::claims,
    passkey::Device,
};

use crate::support::verified_user;

/// The delays of requests repeat after this many rounds.
const ROUNDS: u64 = 90;

/// Whether a session is live. The dashboard, the authorizer and refresh must agree.
async fn is_live(stack: &Stack, person: &Person<'_>, tokens: &Tokens) -> bool {
    let at_function = person.dashboard(&tokens.access).await;
    let at_authorizer = stack.with_token(Method::GET, "/api/example", &tokens.access).await;
    let refreshed = person.refreshes(&tokens.refresh).await;
    match at_function.status {
        200 => assert_eq!((at_authorizer.status, refreshed.status), (200, 200)),
        401 => assert_eq!((at_authorizer.status, refreshed.status), (403, 401)),
        other => panic!("{other}: {}", at_function.text),
    }
    at_function.status == 200
}

/// One round: a new user has two sessions and a reset link. Then the user signs in, enters a wrong password, logs one session out, requests a
/// link and uses the old one, all concurrently. The delays differ from round to round. In every fourth round the new password is too short, so
/// that the reset is refused.
async fn round(stack: &Stack, number: u64) {
    const NEW: &str = "the new password";
    let ada = stack.stranger("Ada").from_source(&format!("192.0.2.{number}"));
    ada.signs_up().await.assert_created();
    let (kept, logged_out) = (ada.signs_in().await, ada.signs_in().await);
    let link = ada.receives_reset_mail(1).await.token();
    let delay = async |step: u64| tokio::time::sleep(Duration::from_millis(number * step % ROUNDS)).await;
    let signs_in = |step: u64, password: &'static str| {
        let person = ada.with_password(password);
        async move {
            delay(step).await;
            person.tries_to_sign_in().await
        }
    };
    let resets = async {
        delay(7).await;
        ada.resets_password(&link, if number.is_multiple_of(4) { "short" } else { NEW }).await
    };
    let logs_out = async {
        delay(11).await;
        ada.logs_out(&logged_out.access).await
    };
    let forgets = async {
        delay(13).await;
        ada.forgets_password().await
    };
    let (reset, logout, forgot, wrong, sign_ins) = tokio::join!(
        resets,
        logs_out,
        forgets,
        signs_in(3, "not the password"),
        join_all(
            [(17, "password123"), (23, "password123"), (29, NEW)]
                .map(|(step, password)| async move { (password, signs_in(step, password).await) })
        ),
    );
    assert_eq!(forgot.status, 200, "{}", forgot.text);
    assert_eq!(wrong.status, 401, "{}", wrong.text);
    let current = match reset.status {
        200 => NEW,
        400 => "password123",
        other => panic!("{other}: {}", reset.text),
    };
    for (password, reply) in &sign_ins {
        assert!([200, 401].contains(&reply.status), "{}", reply.text);
        if reply.status == 200 {
            let live = is_live(stack, &ada, &Tokens::from(reply)).await;
            assert_eq!(
                live,
                *password == current,
                "a session opened with {password} while the password became {current}"
            );
        }
    }
    assert!(logout.status == 200 || (logout.status == 401 && current == NEW), "{}", logout.text);
    assert!(!is_live(stack, &ada, &logged_out).await, "a logged-out session is live");
    assert_eq!(is_live(stack, &ada, &kept).await, current != NEW, "a session opened before the round");
    ada.with_password(current).signs_in().await;
}

// Fault 11.
// Requirements 5, 6.
#[rstest]
#[tokio::test]
async fn only_sessions_opened_with_the_current_password_survive_concurrent_requests(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(6).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    stream::iter(0..ROUNDS).for_each_concurrent(2, async |number| round(&stack, number).await).await;
    let logs = stack.logs();
    assert!(!logs.contains("internal_error") && !logs.contains("service_unavailable"));
}

/// One round: a user signs in, refreshes, deletes the account from two sessions and keeps it with an earlier link, all concurrently.
async fn round_with_deletion(stack: &Stack, number: u64) {
    let ada = stack.stranger("Ada").from_source(&format!("192.0.2.{number}"));
    ada.signs_up().await.assert_created();
    let link = ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    let is_kept_first = number.is_multiple_of(2);
    let delay = async |step: u64| tokio::time::sleep(Duration::from_millis(number * step % 60)).await;
    let signs_in = async |step: u64| {
        delay(step).await;
        ada.tries_to_sign_in().await
    };
    if !is_kept_first {
        // The sign-ins of this round find the account deleted, or kept in the meantime.
        let (kept, sign_ins) = tokio::join!(
            async {
                delay(7).await;
                ada.keeps_account(&link).await
            },
            join_all((0..3).map(|step| signs_in(step * 11))),
        );
        assert_eq!(kept.status, 200, "{}", kept.text);
        for reply in sign_ins {
            assert!([200, 401].contains(&reply.status), "{}", reply.text);
            if reply.status == 200 {
                assert!(is_live(stack, &ada, &Tokens::from(&reply)).await, "the account was kept");
            }
        }
        return;
    }
    assert_eq!(ada.keeps_account(&link).await.status, 200);
    let (first, second) = (ada.signs_in().await, ada.signs_in().await);
    let deletes = async |step: u64, tokens: &Tokens| {
        delay(step).await;
        ada.deletes_account(&tokens.access).await
    };
    let (deletions, sign_ins, refreshed, kept) = tokio::join!(
        join_all([deletes(5, &first), deletes(9, &second)]),
        join_all((0..3).map(|step| signs_in(step * 11))),
        async {
            delay(13).await;
            ada.refreshes(&second.refresh).await
        },
        ada.keeps_account(&link),
    );
    assert_eq!(kept.status, 400, "the link of the earlier deletion was used");
    let accepted = deletions.iter().filter(|reply| reply.status == 202).count();
    assert!(accepted >= 1, "{}", deletions[0].text);
    for reply in &deletions {
        assert!([202, 401].contains(&reply.status), "{}", reply.text);
    }
    let tokens = [first, second].into_iter().chain(sign_ins.iter().chain([&refreshed]).filter_map(|reply| {
        assert!([200, 401].contains(&reply.status), "{}", reply.text);
        (reply.status == 200).then(|| Tokens::from(reply))
    }));
    for tokens in tokens {
        assert!(!is_live(stack, &ada, &tokens).await, "a session of a deleted account is live");
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 401);
    let newest = ada.mails(2).await.pop().unwrap().token();
    assert_eq!(ada.keeps_account(&newest).await.status, 200);
    ada.signs_in().await;
}

// Requirement 56.
#[rstest]
#[tokio::test]
async fn no_session_of_a_deleted_account_survives_concurrent_requests(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(6).start().await;
    stream::iter(0..50).for_each_concurrent(2, async |number| round_with_deletion(&stack, number).await).await;
    let logs = stack.logs();
    assert!(!logs.contains("internal_error") && !logs.contains("service_unavailable"));
}

/// A deletion expires while its user keeps the account and `sweep` erases it.
// Requirement 56.
#[rstest]
#[tokio::test]
async fn an_account_is_either_kept_or_erased(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let mut outcomes = [0, 0];
    for number in 0..20 {
        let ada = stack.user("Ada").await;
        let link = ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
        stack.sql("UPDATE account_deletions SET erase_at = now() + interval '15 milliseconds'").await;
        let keeps = async {
            tokio::time::sleep(Duration::from_millis(number % 5 * 8)).await;
            ada.keeps_account(&link).await
        };
        let (kept, _) = tokio::join!(keeps, stack.sweep());
        stack.sweep().await;
        assert!([200, 400].contains(&kept.status), "{}", kept.text);
        let is_kept = kept.status == 200;
        assert_eq!(ada.tries_to_sign_in().await.status, if is_kept { 200 } else { 401 });
        outcomes[usize::from(is_kept)] += 1;
        let users = stack.sql_number("SELECT count(*) FROM users").await;
        assert_eq!(users, outcomes[1], "every account that was not kept is erased");
    }
}

/// Requests that wait while the same session adds a second factor. The session stays live, with a higher credential version, and each request must find it.
// Requirements 5, 76.
#[rstest]
#[tokio::test]
async fn requests_that_wait_for_a_new_factor_of_their_session_find_it_live(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).start().await;
    let ada = verified_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let session = session_of(&tokens);
    let refreshed = during_new_factor(&stack, &session, ada.refreshes(&tokens.refresh)).await;
    assert_eq!(refreshed.status, 200, "{isolation}: {}", refreshed.text);
    let tokens = Tokens::from(&refreshed);
    assert!(is_live(&stack, &ada, &tokens).await);

    let renamed = ada.changes_account(&tokens.access, json!({ "name": "Ada Lovelace" }));
    let renamed = during_new_factor(&stack, &session, renamed).await;
    assert_eq!(renamed.status, 200, "{isolation}: {}", renamed.text);

    let options = ada.begins_passkey(&tokens.access).await;
    let created = Device::new().creates(&options.json()).await;
    let added = ada.adds_created_passkey(&tokens.access, "Phone", &created);
    let added = during_new_factor(&stack, &session, added).await;
    assert_eq!(added.status, 201, "{isolation}: {}", added.text);

    let code = Authenticator::of(&ada.enrols_totp(&tokens.access).await).code();
    let confirmed = ada.confirms_totp(&tokens.access, &code);
    let confirmed = during_new_factor(&stack, &session, confirmed).await;
    assert_eq!(confirmed.status, 200, "{isolation}: {}", confirmed.text);
    let tokens = Tokens::from(&confirmed);
    let session = session_of(&tokens);

    let new_codes = ada.replaces_recovery_codes(&tokens.access);
    let new_codes = during_new_factor(&stack, &session, new_codes).await;
    assert_eq!(new_codes.status, 201, "{isolation}: {}", new_codes.text);

    let changed = ada.changes_password(&tokens.access, "another password");
    let changed = during_new_factor(&stack, &session, changed).await;
    assert_eq!(changed.status, 200, "{isolation}: {}", changed.text);

    let tokens = Tokens::from(&changed);
    let deleted = during_new_factor(&stack, &session_of(&tokens), ada.deletes_account(&tokens.access)).await;
    assert_eq!(deleted.status, 202, "{isolation}: {}", deleted.text);
    assert!(!is_live(&stack, &ada, &tokens).await);
}

/// Requests that end a session while it adds a second factor. It stays live, with a higher credential version, and each request must end it all the same.
// Requirements 5, 76.
#[rstest]
#[tokio::test]
async fn a_session_that_adds_a_factor_can_be_ended_at_the_same_time(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).start().await;
    let ada = stack.user("Ada").await;

    let (watching, tokens) = (ada.signs_in().await, ada.signs_in().await);
    let session = session_of(&tokens);
    let ended = during_new_factor(&stack, &session, ada.ends_session(&watching.access, &session)).await;
    assert_eq!(ended.status, 204, "{isolation}: {}", ended.text);
    assert!(!is_live(&stack, &ada, &tokens).await);

    let (watching, tokens) = (ada.signs_in().await, ada.signs_in().await);
    let ended = during_new_factor(&stack, &session_of(&tokens), ada.ends_other_sessions(&watching.access)).await;
    // The new factor has ended the session of this request. The request sees that only if it began again. Then it ends no session.
    let has_begun_again = isolation == "repeatable read";
    assert_eq!(ended.status, if has_begun_again { 401 } else { 200 }, "{isolation}: {}", ended.text);
    assert_eq!(is_live(&stack, &ada, &tokens).await, has_begun_again, "{isolation}");

    let tokens = ada.signs_in().await;
    let logged_out = during_new_factor(&stack, &session_of(&tokens), ada.logs_out(&tokens.access)).await;
    assert_eq!(logged_out.status, 200, "{isolation}: {}", logged_out.text);
    assert!(!is_live(&stack, &ada, &tokens).await);
}

/// The id of the session of these tokens.
fn session_of(tokens: &Tokens) -> String {
    claims(&tokens.access)["sid"].as_str().unwrap().to_owned()
}

/// Sends a request while the versions of the user and of this session are raised, as when the session adds a factor.
async fn during_new_factor(stack: &Stack, session: &str, request: impl Future<Output = Reply>) -> Reply {
    let changes = format!(
        "UPDATE users SET credential_version = credential_version + 1;
        UPDATE sessions SET credential_version = credential_version + 1 WHERE id = '{session}'"
    );
    stack.answer_during(&changes, request).await
}
