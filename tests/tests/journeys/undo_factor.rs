//! `POST /api/undo-factor/{token}`: the mailbox removes a factor that somebody else has added.

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use tests::{
    Person, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    authenticator::Added,
    mailbox::{self, EMAIL_CHANGE, EMAIL_CHANGED, PASSKEY_ADDED, RESET, TOTP_ADDED},
    passkey::Device,
};

use crate::support::{
    assert_link_refused, assert_passkey_rejected, assert_session_ended, verified_user, while_codes_are_replaced,
};

// Requirement 77.
#[rstest]
#[tokio::test]
async fn the_owner_of_the_mailbox_gets_rid_of_a_thief_who_has_added_a_factor(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    // The thief knows the password.
    let Added { app, tokens, recovery_codes } = ada.adds_totp().await;
    let in_notice = ada.newest_mail(TOTP_ADDED).await.token();

    // A reset alone does not help the owner.
    let link = ada.newest_reset_link().await;
    assert_eq!(ada.resets_password(&link, "another password").await.status, 200);
    let ada = ada.with_password("another password");
    let waiting = ada.signs_in_halfway().await;
    let of_thief = Tokens::from(&ada.shows_factor(&waiting, &json!({ "recovery_code": recovery_codes[0] })).await);
    let waiting = ada.signs_in_halfway().await;

    let replies = join_all((0..4).map(|_| ada.undoes_factor(&in_notice))).await;
    let (done, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(done.len(), 1);
    done[0].assert_ok(&json!({ "message": "Factor removed" }));
    refused.into_iter().for_each(assert_link_refused);
    for ended in [&tokens, &of_thief] {
        assert_session_ended(&stack, ended).await;
    }
    let factor = json!({ "totp": app.code() });
    ada.shows_factor(&waiting, &factor).await.assert_refused(401, "invalid_mfa_token", "Sign in again");
    assert_eq!(stack.sql_number("SELECT count(*) FROM totp").await, 0);
    assert_eq!(stack.sql_number("SELECT count(*) FROM recovery_codes").await, 0);
    let reset = ada.newest_mail(RESET).await.token();
    assert_eq!(ada.resets_password(&reset, "a third password").await.status, 200);
    let ada = ada.with_password("a third password");
    assert_eq!(ada.dashboard(&ada.signs_in().await.access).await.status, 200);
    assert_eq!(stack.logs().matches("event=\"factor_undone\" user_id=1").count(), 1);
}

#[tokio::test]
async fn no_reset_mail_is_sent_if_the_account_was_deleted() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let Added { tokens, .. } = ada.adds_totp().await;
    let in_notice = ada.newest_mail(TOTP_ADDED).await.token();
    assert_eq!(ada.deletes_account(&tokens.access).await.status, 202);
    ada.undoes_factor(&in_notice).await.assert_ok(&json!({ "message": "Factor removed" }));
    assert_eq!(stack.sql_number("SELECT count(*) FROM password_resets").await, 0);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE kind = 'password_reset'").await, 0);
}

/// Changes the address of a person, who then has the returned address.
async fn changes_address<'a>(stack: &'a Stack, person: &Person<'a>, access_token: &str) -> Person<'a> {
    let moved = person.with_email(&stack.stranger("Ada").email);
    assert_eq!(person.requests_email_change(access_token, &moved.email).await.status, 202);
    let link = moved.newest_mail(EMAIL_CHANGE).await.token();
    assert_eq!(person.changes_email(&link).await.status, 200);
    moved
}

// Requirement 77.
#[rstest]
#[tokio::test]
async fn the_owner_can_undo_a_factor_that_was_added_after_a_change_of_the_address(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let moved = changes_address(&stack, &ada, &ada.signs_in().await.access).await;
    moved.adds_totp().await;
    let of_thief = moved.newest_mail(TOTP_ADDED).await.token();

    let undo = ada.newest_mail(EMAIL_CHANGED).await.token();
    assert_eq!(ada.undoes_email_change(&undo).await.status, 200);
    assert_eq!(ada.signs_in_halfway().await.len(), 43, "the undo of the address skips no factor");
    let of_owner = ada.newest_mail(TOTP_ADDED).await.token();
    assert_link_refused(&ada.undoes_factor(&of_thief).await);
    assert_eq!(ada.undoes_factor(&of_owner).await.status, 200);
    let reset = ada.newest_mail(RESET).await.token();
    assert_eq!(ada.resets_password(&reset, "another password").await.status, 200);
    ada.with_password("another password").signs_in().await;
}

// Requirement 77.
#[rstest]
#[tokio::test]
async fn the_owner_can_undo_a_passkey_that_was_added_after_a_change_of_the_address(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let access = ada.signs_in().await.access;
    let moved = changes_address(&stack, &ada, &access).await;
    let mut device = Device::new();
    moved.adds_passkey_of(&mut device, &moved.signs_in().await.access).await;
    // The notice to the thief is not sent yet.
    let undo = mailbox::mails_to(&ada.email).await;
    let undo = undo.into_iter().rfind(|mail| mail.subject == EMAIL_CHANGED);
    let undo = match undo {
        Some(mail) => mail.token(),
        None => ada.newest_mail(EMAIL_CHANGED).await.token(),
    };
    assert_eq!(ada.undoes_email_change(&undo).await.status, 200);
    let of_owner = ada.newest_mail(PASSKEY_ADDED).await.token();
    assert_eq!(ada.undoes_factor(&of_owner).await.status, 200);
    assert_passkey_rejected(&moved.signs_in_with_passkey(&mut device).await);
}

/// The thief adds another passkey while the statement of the undo waits for the account, so that the statement must run again.
// Requirement 77.
#[rstest]
#[tokio::test]
async fn an_undo_that_waits_for_another_factor_removes_it_too(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).start().await;
    let ada = verified_user(&stack, "Ada").await;
    let of_thief = ada.signs_in().await;
    ada.adds_passkey_of(&mut Device::new(), &of_thief.access).await;
    let undo = ada.newest_mail(PASSKEY_ADDED).await.token();
    let changes = "UPDATE users SET credential_version = credential_version + 1;
        INSERT INTO passkeys (factor_id, user_id, name, credential_id, public_key, rp_id, sign_count, backup_eligible, backed_up, transports)
        SELECT gen_random_uuid(), user_id, name, 'another', public_key, rp_id, sign_count, backup_eligible, backed_up, transports FROM passkeys;
        INSERT INTO factor_undos (factor_id, user_id, kind, token_hash, expires_at)
        SELECT factor_id, user_id, 'passkey', sha256('x'), now() + interval '1 day' FROM passkeys WHERE credential_id = 'another'";
    let undone = stack.answer_during(changes, ada.undoes_factor(&undo)).await;
    undone.assert_ok(&json!({ "message": "Factor removed" }));
    assert_eq!(stack.sql_number("SELECT count(*) FROM passkeys").await, 0);
    assert_eq!(stack.sql_number("SELECT count(*) FROM factor_undos").await, 0);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE kind = 'password_reset'").await, 1);
}

/// The thief replaces the recovery codes while the owner undoes the factor. The new codes must not be left.
// Requirement 77.
#[rstest]
#[tokio::test]
async fn an_undo_that_waits_for_new_recovery_codes_removes_them_too(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).start().await;
    let ada = verified_user(&stack, "Ada").await;
    let of_thief = ada.signs_in().await;
    ada.adds_passkey_of(&mut Device::new(), &of_thief.access).await;
    let undo = ada.newest_mail(PASSKEY_ADDED).await.token();
    let replaces = ada.replaces_recovery_codes(&of_thief.access);
    let (replaced, undone) = while_codes_are_replaced(&stack, replaces, ada.undoes_factor(&undo)).await;
    assert_eq!(replaced.status, 201, "{}", replaced.text);
    undone.assert_ok(&json!({ "message": "Factor removed" }));
    assert_eq!(stack.sql_number("SELECT count(*) FROM recovery_codes").await, 0);
}

/// The thief changes the address while the statement of the undo waits for the account. The new mailbox must not get the link that resets the password.
// Requirement 77.
#[rstest]
#[tokio::test]
async fn an_undo_that_waits_for_a_change_of_the_address_mails_no_reset_link(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).start().await;
    let ada = verified_user(&stack, "Ada").await;
    ada.adds_passkey_of(&mut Device::new(), &ada.signs_in().await.access).await;
    let undo = ada.newest_mail(PASSKEY_ADDED).await.token();
    let changes = "INSERT INTO email_undos (id, user_id, email, token_hash, expires_at)
            SELECT gen_random_uuid(), id, email, sha256('x'), now() + interval '1 day' FROM users;
        UPDATE users SET email = 'eve@example.com'";
    let undone = stack.answer_during(changes, ada.undoes_factor(&undo)).await;
    undone.assert_ok(&json!({ "message": "Factor removed" }));
    assert_eq!(stack.sql_number("SELECT count(*) FROM passkeys").await, 0);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE kind = 'password_reset'").await, 0);
    assert_eq!(stack.sql_number("SELECT count(*) FROM password_resets").await, 0);
}

// Requirement 77.
#[rstest]
#[tokio::test]
async fn no_reset_mail_goes_to_an_address_that_is_newer_than_the_factor(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let Added { tokens, .. } = ada.adds_totp().await;
    let undo_factor = ada.newest_mail(TOTP_ADDED).await.token();
    let moved = changes_address(&stack, &ada, &tokens.access).await;
    assert_eq!(ada.undoes_factor(&undo_factor).await.status, 200);
    assert_session_ended(&stack, &tokens).await;
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE kind = 'password_reset'").await, 0);
    assert!(moved.mails(1).await.iter().all(|mail| mail.subject != RESET));
    let undo = ada.newest_mail(EMAIL_CHANGED).await.token();
    assert_eq!(ada.undoes_email_change(&undo).await.status, 200);
    let reset = ada.newest_mail(RESET).await.token();
    assert_eq!(ada.resets_password(&reset, "another password").await.status, 200);
}

// Requirement 77.
#[tokio::test]
async fn an_expired_or_unknown_link_is_refused_and_attempts_are_limited() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    ada.adds_totp().await;
    assert_link_refused(&ada.undoes_factor(&"A".repeat(43)).await);
    assert_link_refused(&ada.undoes_factor("x").await);
    let token = ada.newest_mail(TOTP_ADDED).await.token();
    stack.sql("UPDATE factor_undos SET expires_at = now()").await;
    assert_link_refused(&ada.undoes_factor(&token).await);
    assert_eq!(ada.signs_in_halfway().await.len(), 43, "the factor stays");
    assert_eq!(stack.sweep().await["factor_rows_deleted"], 1);
    for _ in 0..60 {
        ada.undoes_factor(&"A".repeat(43)).await;
    }
    assert_eq!(ada.undoes_factor(&"A".repeat(43)).await.status, 429);
}
