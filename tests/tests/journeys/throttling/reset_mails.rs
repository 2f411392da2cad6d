//! How many reset mails an account and a mailbox get.

use tests::{Stack, mailbox};

// Requirement 32.
#[tokio::test]
async fn an_account_gets_three_reset_mails_an_hour_and_the_last_link_stays_valid() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    for count in 1..=3 {
        ada.receives_reset_mail(count).await;
    }
    let last = ada.mails(3).await.pop().unwrap();
    for source in ["192.0.2.1", "192.0.2.2"] {
        let reply = ada.from_source(source).forgets_password().await;
        reply.assert_ok(&serde_json::json!({ "message": "Password reset email sent" }));
    }
    assert_eq!(mailbox::mails_to(&ada.email).await.len(), 3);
    assert_eq!(ada.resets_password(&last.token(), "another password").await.status, 200);
}

// Requirement 32.
#[tokio::test]
async fn plus_addresses_of_a_mailbox_share_three_reset_mails_an_hour_and_the_plain_address_has_three_of_its_own() {
    let stack = Stack::builder().with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let kate = stack.user("Kate").await;
    let mut people = Vec::new();
    for tag in ["+1", "+Two", "+1+2", "+", "+5"] {
        let email = kate.email.replace('@', &format!("{tag}@"));
        people.push(kate.with_email(&email.replace("kate", "KATE")));
        people.last().unwrap().signs_up().await.assert_created();
    }
    let mut mails = 0;
    for person in &people {
        let reply = person.forgets_password().await;
        reply.assert_ok(&serde_json::json!({ "message": "Password reset email sent" }));
        stack.send_owed_mails().await;
        mails += mailbox::mails_to(&person.email).await.len();
    }
    assert_eq!(mails, 3);
    assert_eq!(stack.sql_number("SELECT count(*) FROM password_resets").await, 3);
    // The accounts with tags do not use up the mails of the mailbox's own account.
    let link = kate.receives_reset_mail(1).await.token();
    assert_eq!(kate.resets_password(&link, "another password").await.status, 200);
}
