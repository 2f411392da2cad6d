//! Failures of DynamoDB, where the sessions and the counters are. No failure may lose a session, or end one that nobody ended.

use futures_util::future::join_all;
use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use tests::{
    DynamoDbHealth::{self, Hanging, Healthy, Late, LeavingKeysUnprocessed, Throttled, Unreachable},
    InterruptionPoint::{AfterCommit, BeforeExecution},
    Person, Reply, Stack, StateTable,
    Store::DynamoDb,
    Tokens,
    authenticator::Authenticator,
    mailbox, wait_until,
};

use crate::{
    fault::{Fault, request_every_endpoint, warm_up},
    operation::{NEW_PASSWORD, Operation},
    passkey_operation::PasskeyOperation,
};

/// A stack whose functions `signup`, `signin` and `reset-password` have already used DynamoDB Local, because its first answers may be too slow.
async fn warm_stack() -> Stack {
    let stack = Stack::builder().state_in(DynamoDb).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let warm = stack.stranger("Warm");
    wait_until("sign-up answers", async || warm.signs_up().await.status != 503).await;
    wait_until("sign-in succeeds", async || warm.tries_to_sign_in().await.status == 200).await;
    let unknown = "A".repeat(43);
    wait_until("reset answers", async || warm.resets_password(&unknown, NEW_PASSWORD).await.status == 400).await;
    stack
}

fn table_of(stack: &Stack) -> &StateTable {
    stack.state_table.as_deref().expect("the sessions are in DynamoDB")
}

/// The authorizer's answer to a request with an access token.
async fn ask_authorizer(stack: &Stack, tokens: &Tokens) -> Reply {
    stack.with_token(Method::GET, "/api/example", &tokens.access).await
}

// Fault 15.
// Requirement 18.
#[rstest]
#[tokio::test]
async fn without_the_table_requests_are_unavailable_and_no_session_is_lost(
    #[values(Throttled, Unreachable, Hanging, Late)] health: DynamoDbHealth,
) {
    let mut fault = Fault::new(15, format!("The table in DynamoDB: {health:?}"));
    let stack = warm_stack().await;
    let (ada, eve) = (stack.user("Ada").await, stack.user("Eve").await);
    let (kept, of_eve) = (warm_up(&ada).await, eve.signs_in().await);

    table_of(&stack).set_health(health);
    let replies = request_every_endpoint(&eve, &stack.stranger("Bob"), &of_eve).await;
    fault.record_unavailable(&replies);
    fault.record_unavailable(&[ada.dashboard(&kept.access).await, ada.refreshes(&kept.refresh).await]);
    let authorizer = ask_authorizer(&stack, &kept).await;
    assert_eq!(authorizer.status, 500, "the authorizer lets nobody in: {}", authorizer.text);
    fault.record_served(&stack.get("/api/public").await);

    table_of(&stack).set_health(Healthy);
    fault.wait_for_recovery(|| Box::pin(ada.tries_to_sign_in())).await;
    assert_eq!(ask_authorizer(&stack, &kept).await.status, 200);
    fault.assert_recovered(&ada, &stack.stranger("Cid"), &kept).await;
}

/// DynamoDB executes a request of an operation, and its answer is lost. The SDK sends the request again, unless it is a `PutItem`.
// Fault 15.
#[rstest]
#[tokio::test]
async fn only_an_operation_that_opens_a_session_must_be_repeated_after_a_lost_answer_of_the_table(
    #[values(
        Operation::SignUp,
        Operation::SignIn,
        Operation::Refresh,
        Operation::LogOut,
        Operation::ForgotPassword,
        Operation::ResetPassword,
        Operation::ChangeAccount,
        Operation::Reauthenticate,
        Operation::ChangePassword,
        Operation::EndOtherSessions,
        Operation::DeleteAccount,
        Operation::KeepAccount,
        Operation::VerifyByCode,
        Operation::VerifyByLink,
        Operation::SendVerification,
        Operation::RequestEmailChange,
        Operation::ChangeEmail,
        Operation::UndoEmailChange
    )]
    operation: Operation,
) {
    let mut fault = Fault::new(
        15,
        format!(
            "DynamoDB's answer to one request that `{}` sends is lost (each request in turn)",
            operation.function()
        ),
    );
    let stack = warm_stack().await;
    for number in 1.. {
        let client = operation.prepare(&stack).await;
        table_of(&stack).hold_request(number, AfterCommit);
        let reply = operation.send(&client).await;
        let sent = table_of(&stack).requests_since_fault_was_set();
        table_of(&stack).stop_interrupting();
        if sent < number {
            assert!(number > 1, "the operation sends at least one request");
            break;
        }
        let requests = table_of(&stack).requests();
        if requests[requests.len() - sent + number - 1].operation == "PutItem" {
            // It stores a new session, and the service turns off the SDK's retries for it. So the operation fails, and the client repeats it.
            fault.record_unavailable(&[reply]);
            operation.retry(&stack, &client).await;
        } else {
            fault.record_served(&reply);
        }
    }
}

/// DynamoDB fails from the first request of an operation on, then from the second one on, and so on.
// Fault 15.
#[rstest]
#[tokio::test]
async fn if_the_table_fails_at_any_request_a_retry_completes_the_operation(
    #[values(
        Operation::SignUp,
        Operation::SignIn,
        Operation::Refresh,
        Operation::LogOut,
        Operation::ForgotPassword,
        Operation::ResetPassword,
        Operation::ChangeAccount,
        Operation::Reauthenticate,
        Operation::ChangePassword,
        Operation::EndOtherSessions,
        Operation::DeleteAccount,
        Operation::KeepAccount,
        Operation::VerifyByCode,
        Operation::VerifyByLink,
        Operation::SendVerification,
        Operation::RequestEmailChange,
        Operation::ChangeEmail,
        Operation::UndoEmailChange,
        Operation::ConfirmTotp,
        Operation::RemoveTotp,
        Operation::ShowTotp,
        Operation::UndoFactor,
        Operation::Passkey(PasskeyOperation::Add),
        Operation::Passkey(PasskeyOperation::Remove),
        Operation::Passkey(PasskeyOperation::SignIn),
        Operation::Passkey(PasskeyOperation::Show),
        Operation::Passkey(PasskeyOperation::Reauthenticate)
    )]
    operation: Operation,
    #[values(Throttled, Unreachable, Hanging, Late)] health: DynamoDbHealth,
) {
    let mut fault = Fault::new(
        15,
        format!(
            "DynamoDB: {health:?} for the nth request that `{}` sends to it and for all later ones, for each n",
            operation.function()
        ),
    );
    let stack = warm_stack().await;
    for number in 1.. {
        let client = operation.prepare(&stack).await;
        table_of(&stack).set_health_from(number, health);
        let reply = operation.send(&client).await;
        let has_failed = table_of(&stack).requests_since_fault_was_set() >= number;
        table_of(&stack).set_health(Healthy);
        if !has_failed {
            assert!(number > 1, "the operation sends at least one request");
            fault.record_served(&reply);
            break;
        }
        // Whether a session is opened or renewed does not depend on whether the counters of failed sign-ins can be cleared.
        let clears_counters = matches!(
            operation,
            Operation::SignIn
                | Operation::Reauthenticate
                | Operation::ShowTotp
                | Operation::Passkey(PasskeyOperation::Show)
        );
        if clears_counters && reply.status == 200 {
            fault.record_served(&reply);
            continue;
        }
        fault.record_unavailable(&[reply]);
        fault.record(&operation.retry(&stack, &client).await);
    }
}

/// The user adds an authenticator, and DynamoDB fails before the other sessions have ended.
// Requirement 64.
// Fault 15.
#[tokio::test]
async fn an_earlier_session_cannot_get_around_a_new_authenticator_with_change_password() {
    let mut fault = Fault::new(15, "DynamoDB fails while an authenticator is added");
    let stack = warm_stack().await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let (tokens, of_thief) = (ada.signs_in().await, ada.signs_in().await);
    let app = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    // The first request reads the session.
    table_of(&stack).set_health_from(2, Unreachable);
    fault.record_unavailable(&[ada.confirms_totp(&tokens.access, &app.code()).await]);
    table_of(&stack).set_health(Healthy);
    assert_eq!(stack.sql_number("SELECT count(*) FROM recovery_codes").await, 0, "nobody has seen them");
    // If a change of the password had not ended the sessions, this request would complete it, and open a session.
    let change = ada.changes_password(&of_thief.access, &ada.password).await;
    change.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(stack.sweep().await["sessions_owed"], 0);
    for ended in [&tokens, &of_thief] {
        assert_eq!(ada.dashboard(&ended.access).await.status, 401);
    }
    ada.may_reuse_codes().await;
    let signed_in = ada.signs_in_with_totp(&app).await;
    fault.record_served(&signed_in);
    let access = Tokens::from(&signed_in).access;
    assert_eq!(ada.replaces_recovery_codes(&access).await.status, 201);
}

/// The functions read sessions and counters in batches. They must not treat an unread item as a missing one.
// Fault 15.
#[tokio::test]
async fn an_item_that_dynamodb_left_unread_does_not_count_as_missing() {
    let mut fault = Fault::new(15, "DynamoDB leaves items unread");
    let stack = warm_stack().await;
    let ada = stack.user("Ada").await;
    let (tokens, ended) = (ada.signs_in().await, ada.signs_in().await);
    table_of(&stack).set_health(LeavingKeysUnprocessed);
    fault.record_unavailable(&[
        ada.tries_to_sign_in().await,
        ada.dashboard(&tokens.access).await,
        ada.refreshes(&tokens.refresh).await,
    ]);
    assert_eq!(ask_authorizer(&stack, &tokens).await.status, 500);
    fault.record_served(&ada.logs_out(&ended.access).await);
    table_of(&stack).set_health(Healthy);
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

/// Refreshes, and runs `change` after the refresh has read the session, but before its conditional update of the session.
async fn refresh_while(stack: &Stack, ada: &Person<'_>, tokens: &Tokens, change: impl AsyncFnOnce()) -> Reply {
    let table = table_of(stack);
    table.hold_request(2, BeforeExecution);
    let (reply, ()) = tokio::join!(ada.refreshes(&tokens.refresh), async {
        table.wait_until_held().await;
        change().await;
        table.stop_interrupting();
    });
    let held = table.requests().into_iter().rev().find(|request| request.operation == "UpdateItem");
    assert!(held.is_some(), "the second request of a refresh changes the session");
    reply
}

// Fault 10.
#[tokio::test]
async fn a_refresh_whose_condition_fails_decides_by_the_changed_session() {
    let mut fault = Fault::new(10, "Something changes a session in DynamoDB between the two requests of `refresh`");
    let stack = warm_stack().await;
    let ada = stack.user("Ada").await;

    // Another refresh: both requests get the same successor, and it is accepted.
    let tokens = ada.signs_in().await;
    let mut other = None;
    let reply = refresh_while(&stack, &ada, &tokens, async || {
        other = Some(Tokens::from(&ada.refreshes(&tokens.refresh).await));
    })
    .await;
    fault.record_served(&reply);
    let successor = Tokens::from(&reply);
    assert_eq!(successor.refresh, other.unwrap().refresh);
    fault.record_served(&ada.refreshes(&successor.refresh).await);

    // Two refreshes: the token is older than the parent, so this is a reuse, and the session ends.
    let tokens = ada.signs_in().await;
    let reply = refresh_while(&stack, &ada, &tokens, async || {
        let next = Tokens::from(&ada.refreshes(&tokens.refresh).await);
        assert_eq!(ada.refreshes(&next.refresh).await.status, 200);
    })
    .await;
    reply.assert_refused(401, "invalid_refresh_token", "Invalid or expired refresh token");
    assert_eq!(ada.dashboard(&tokens.access).await.status, 401);

    // A logout: the refresh does not create the session again.
    let tokens = ada.signs_in().await;
    let reply = refresh_while(&stack, &ada, &tokens, async || {
        assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    })
    .await;
    reply.assert_refused(401, "invalid_refresh_token", "Invalid or expired refresh token");
    assert_eq!(ask_authorizer(&stack, &tokens).await.status, 403);

    // A reset: it does not change the item of the session, so the refresh succeeds. But the session is below the minimum version.
    let tokens = ada.signs_in().await;
    let link = ada.receives_reset_mail(1).await.token();
    let reply = refresh_while(&stack, &ada, &tokens, async || {
        assert_eq!(ada.resets_password(&link, NEW_PASSWORD).await.status, 200);
    })
    .await;
    let refreshed = Tokens::from(&reply);
    assert_eq!(ask_authorizer(&stack, &refreshed).await.status, 403);
    assert_eq!(ada.refreshes(&refreshed.refresh).await.status, 401);
}

/// Sets a new password while DynamoDB fails, so that the sessions cannot end. Returns the tokens of such a session, and the token of the reset link.
/// DynamoDB still fails afterwards.
async fn reset_that_ends_no_session(
    fault: &mut Fault,
    stack: &Stack,
    ada: &Person<'_>,
    health: DynamoDbHealth,
) -> (Tokens, String) {
    let (tokens, link) = (ada.signs_in().await, ada.receives_reset_mail(1).await.token());
    // The first request to DynamoDB counts the attempt. The second one, which fails, would raise the minimum version.
    table_of(stack).set_health_from(2, health);
    fault.record_unavailable(&[ada.resets_password(&link, NEW_PASSWORD).await]);
    assert_eq!(debts(stack).await, 1);
    (tokens, link)
}

/// The number of users whose sessions in DynamoDB must still end.
async fn debts(stack: &Stack) -> i64 {
    stack.sql_number("SELECT count(*) FROM session_endings").await
}

/// PostgreSQL has the new password, but the table still has the old minimum version. The authorizer reads only the table.
// Fault 15.
#[tokio::test]
async fn a_reset_that_could_not_end_the_sessions_is_completed_by_the_next_sweep() {
    let mut fault = Fault::new(15, "DynamoDB throttles after a reset has set the password");
    let stack = warm_stack().await;
    let ada = stack.user("Ada").await;
    let (tokens, link) = reset_that_ends_no_session(&mut fault, &stack, &ada, Throttled).await;
    let swept = stack.invoke("sweep", &json!({})).await;
    assert!(swept.is_err(), "while the table throttles, the sweep fails, which an alarm reports");
    assert_eq!(debts(&stack).await, 1);

    table_of(&stack).set_health(Healthy);
    fault.record(&ada.dashboard(&tokens.access).await);
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(ask_authorizer(&stack, &tokens).await.status, 200, "the authorizer accepts the session until a sweep");
    let other = ada.resets_password(&link, "a third password").await;
    other.assert_refused(400, "invalid_or_expired_token", "Invalid or expired token");

    assert_eq!(stack.sweep().await["sessions_owed"], 0);
    assert_eq!(debts(&stack).await, 0);
    assert_eq!(ask_authorizer(&stack, &tokens).await.status, 403);
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
    fault.record_served(&ada.with_password(NEW_PASSWORD).tries_to_sign_in().await);
    let again = ada.resets_password(&link, NEW_PASSWORD).await;
    again.assert_refused(400, "invalid_or_expired_token", "Invalid or expired token");
}

// Fault 15.
#[tokio::test]
async fn a_sign_in_ends_the_sessions_that_a_reset_could_not_end() {
    let mut fault = Fault::new(15, "DynamoDB throttles after a reset has set the password; the user signs in");
    let stack = warm_stack().await;
    let ada = stack.user("Ada").await;
    let (tokens, _) = reset_that_ends_no_session(&mut fault, &stack, &ada, Throttled).await;
    table_of(&stack).set_health(Healthy);
    ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    let reply = ada.with_password(NEW_PASSWORD).tries_to_sign_in().await;
    fault.record_served(&reply);
    assert_eq!(ask_authorizer(&stack, &tokens).await.status, 403);

    assert_eq!(stack.sweep().await["sessions_owed"], 0);
    assert_eq!(ask_authorizer(&stack, &Tokens::from(&reply)).await.status, 200, "the sweep ends only older sessions");
}

// Fault 15.
#[tokio::test]
async fn concurrent_sweeps_and_repeated_resets_settle_a_debt_once() {
    let mut fault = Fault::new(
        15,
        "After a reset that could not end the sessions, sweeps and repeated resets run at the same time",
    );
    let stack = warm_stack().await;
    let ada = stack.user("Ada").await;
    let (tokens, link) = reset_that_ends_no_session(&mut fault, &stack, &ada, Unreachable).await;
    table_of(&stack).set_health(Healthy);
    let (replies, _) = tokio::join!(
        join_all((0..4).map(|_| ada.resets_password(&link, NEW_PASSWORD))),
        join_all((0..4).map(|_| stack.sweep())),
    );
    for reply in &replies {
        fault.record(reply);
        assert!([200, 400].contains(&reply.status), "{}", reply.text);
    }
    assert_eq!(debts(&stack).await, 0);
    assert_eq!(stack.sql_number("SELECT credential_version::bigint FROM users WHERE name = 'Ada'").await, 2);
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
    ada.with_password(NEW_PASSWORD).signs_in().await;
}

/// PostgreSQL has the deletion, but the table still has the old minimum version. A repetition in the session completes the deletion, and so does a
/// sweep.
// Fault 15.
// Requirement 56.
#[tokio::test]
async fn a_deletion_that_could_not_end_the_sessions_is_completed_by_a_repetition_or_a_sweep() {
    let mut fault = Fault::new(15, "DynamoDB throttles after a deletion has been stored");
    let stack = warm_stack().await;
    for is_repeated in [true, false] {
        let ada = stack.user("Ada").await;
        let (tokens, other) = (ada.signs_in().await, ada.signs_in().await);
        // The first request to DynamoDB reads the session. The second one, which fails, would raise the minimum version.
        table_of(&stack).set_health_from(2, Throttled);
        fault.record_unavailable(&[ada.deletes_account(&tokens.access).await]);
        assert_eq!(debts(&stack).await, 1);
        table_of(&stack).set_health(Healthy);
        assert_eq!(ask_authorizer(&stack, &other).await.status, 200, "the authorizer reads only the table");
        // Nobody can open a session in one that has not ended yet.
        for refused in [
            ada.changes_password(&other.access, NEW_PASSWORD).await,
            ada.changes_password(&other.access, &ada.password).await,
            ada.reauthenticates(&other.access).await,
            ada.account(&other.access).await,
        ] {
            refused.assert_refused(401, "token_revoked", "Token has been revoked");
        }
        assert_eq!(ada.tries_to_sign_in().await.status, 401);
        if is_repeated {
            let erased_at = "SELECT max(floor(extract(epoch FROM erase_at))::bigint) FROM account_deletions";
            let before = stack.sql_number(erased_at).await;
            let reply = ada.deletes_account(&tokens.access).await;
            fault.record_served(&reply);
            assert_eq!((reply.status, stack.sql_number(erased_at).await), (202, before));
        } else {
            assert_eq!(stack.sweep().await["sessions_owed"], 0);
        }
        assert_eq!(debts(&stack).await, 0);
        for ended in [&tokens, &other] {
            assert_eq!(ask_authorizer(&stack, ended).await.status, 403);
            assert_eq!(ada.refreshes(&ended.refresh).await.status, 401);
        }
        stack.send_owed_mails().await;
        let link = mailbox::mails_to(&ada.email).await.pop().expect("the mail about the deletion").token();
        fault.record_served(&ada.keeps_account(&link).await);
        fault.record_served(&ada.tries_to_sign_in().await);
    }
}

// Fault 15.
#[tokio::test]
async fn an_account_is_erased_once_the_table_works_again() {
    let mut fault = Fault::new(15, "DynamoDB throttles while `sweep` erases an account");
    let stack = Stack::builder().state_in(DynamoDb).with("ACCOUNT_ERASE_AFTER", "0").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.deletes_account_with_mail(&tokens.access, 1).await;
    table_of(&stack).set_health(Throttled);
    assert!(stack.invoke("sweep", &json!({})).await.is_err(), "the sweep fails, which an alarm reports");
    assert_eq!(
        stack.sql_number("SELECT count(*) FROM users").await,
        1,
        "PostgreSQL still knows that the account is due"
    );
    table_of(&stack).set_health(Healthy);
    assert_eq!(stack.sweep().await["accounts_erased"], 1);
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 0);
    fault.record(&ada.refreshes(&tokens.refresh).await);
}
