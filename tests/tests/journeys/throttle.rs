//! Too many attempts: who has to wait, who has not, and for how long.

use std::time::Instant;

use futures_util::future::join_all;
use rstest::rstest;
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    mailbox,
};

#[track_caller]
fn assert_must_wait(reply: &Reply, seconds: std::ops::RangeInclusive<u64>) {
    reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    let wait = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(seconds.contains(&wait), "{wait} s");
}

async fn fails(person: &Person<'_>, times: usize) {
    for _ in 0..times {
        let reply = person.with_password("not the password").tries_to_sign_in().await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
    }
}

/// Lets time pass for every counter.
async fn pass(stack: &Stack, seconds: i64) {
    if let Some(table) = &stack.state_table {
        return table.pass(seconds).await;
    }
    let earlier = format!("- interval '{seconds} seconds'");
    stack
        .sql(&format!("UPDATE throttle SET blocked_until = blocked_until {earlier}, expires_at = expires_at {earlier}"))
        .await;
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn after_five_failures_a_source_waits_and_each_further_one_doubles_the_wait(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    fails(&ada, 5).await;
    for wait in [30, 60, 120, 240, 480, 900, 900] {
        // The right password waits too. A refused attempt does not extend the wait.
        for _ in 0..3 {
            assert_must_wait(&ada.tries_to_sign_in().await, wait - 15..=wait + 1);
        }
        pass(&stack, i64::try_from(wait).unwrap()).await;
        fails(&ada, 1).await;
    }
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn an_account_that_does_not_exist_makes_its_guessers_wait_alike(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let nobody = stack.stranger("Nobody");
    fails(&nobody, 5).await;
    assert_must_wait(&nobody.tries_to_sign_in().await, 15..=31);
    assert_must_wait(&nobody.with_email(&nobody.email.to_uppercase()).tries_to_sign_in().await, 15..=31);
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn of_fifty_guesses_at_once_five_are_tried(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(6).start().await;
    let ada = stack.user("Ada").await.with_password("a guess");
    let began = Instant::now();
    let replies = join_all((0..50).map(|_| ada.tries_to_sign_in())).await;
    // More than 30 seconds where the wait began after a guess did, but no more than it all took.
    let longest = 31 + began.elapsed().as_secs();
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 5);
    for reply in replies.iter().filter(|reply| reply.status != 401) {
        assert_must_wait(reply, 15..=longest);
    }
}

// Requirement 21.
#[rstest]
#[tokio::test]
async fn nobody_locks_somebody_else_out(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    fails(&ada.at("198.51.100.66"), 5).await;
    assert_must_wait(&ada.at("198.51.100.66").tries_to_sign_in().await, 15..=31);
    ada.signs_in().await;
}

// Requirement 22.
#[rstest]
#[tokio::test]
async fn no_header_makes_a_client_somebody_else(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    fails(&ada, 5).await;
    let body = serde_json::json!({ "email": ada.email, "password": ada.password });
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip"] {
        let reply =
            stack.send(reqwest::Method::POST, "/api/signin", |request| request.header(name, "192.0.2.1").json(&body));
        assert_must_wait(&reply.await, 15..=31);
    }
}

#[rstest]
#[tokio::test]
async fn an_ipv6_network_is_one_source(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    for host in 1..=5 {
        fails(&ada.at(&format!("2001:db8:1:2::{host}")), 1).await;
    }
    assert_must_wait(&ada.at("2001:db8:1:2:3:4:5:6").tries_to_sign_in().await, 15..=31);
    ada.at("2001:db8:1:3::1").signs_in().await;
}

// Requirement 21.
#[rstest]
#[tokio::test]
async fn a_success_or_a_reset_clears_the_failures(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    for _ in 0..3 {
        fails(&ada, 4).await;
        ada.signs_in().await;
    }
    fails(&ada, 5).await;
    assert_must_wait(&ada.tries_to_sign_in().await, 15..=31);
    let token = ada.receives_reset_mail(1).await.reset_token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    ada.with_password("another password").signs_in().await;
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn a_source_that_fails_everywhere_waits_everywhere_and_success_does_not_help_it(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let (ada, robot) = (stack.user("Ada").await, "198.51.100.66");
    for _ in 0..10 {
        join_all((0..9).map(|_| async { fails(&stack.stranger("Nobody").at(robot), 1).await })).await;
        ada.at(robot).signs_in().await;
    }
    join_all((0..10).map(|_| async { fails(&stack.stranger("Nobody").at(robot), 1).await })).await;
    assert_must_wait(&ada.at(robot).tries_to_sign_in().await, 600..=901);
    ada.signs_in().await;
    pass(&stack, 900).await;
    ada.at(robot).signs_in().await;
}

// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn an_account_guessed_at_from_everywhere_is_open_only_where_its_owner_is_signed_in(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let home = ada.at("192.0.2.10");
    home.signs_in().await;
    for ten in 0..10 {
        join_all((0..10).map(|n| {
            let robot = ada.at(&format!("198.51.{ten}.{n}"));
            async move { fails(&robot, 1).await }
        }))
        .await;
    }
    // A hundred in a row: the right password from a new place has to wait, from home it opens, and so clears.
    assert_closed(&ada.tries_to_sign_in().await);
    home.signs_in().await;
    ada.signs_in().await;
}

/// The account is closed to this source for a month, less what the test took. The refusal says what helps at once.
#[track_caller]
fn assert_closed(reply: &Reply) {
    let body = serde_json::json!({
        "message": "Too many attempts. Try again later.", "code": "too_many_attempts",
        "help": "Reset your password to sign in without waiting.",
    });
    assert_eq!((reply.status, reply.json()), (429, body));
    let wait: u64 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((29 * 24 * 3600..=30 * 24 * 3600).contains(&wait), "{wait} s");
}

/// A hundred wrong sign-ins, from twenty sources.
async fn is_guessed_at_from_everywhere(person: &Person<'_>) {
    join_all((0..20).map(|n| {
        let robot = person.at(&format!("198.51.100.{n}"));
        async move { fails(&robot, 5).await }
    }))
    .await;
}

// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn a_closed_account_is_opened_by_a_reset_or_by_time(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let (ada, bob) = (stack.user("Ada").await, stack.user("Bob").await);
    is_guessed_at_from_everywhere(&ada).await;
    assert_closed(&ada.tries_to_sign_in().await);
    let token = ada.receives_reset_mail(1).await.reset_token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    ada.with_password("another password").signs_in().await;

    is_guessed_at_from_everywhere(&bob.at("192.0.2.1")).await;
    pass(&stack, 29 * 24 * 3600).await;
    assert_eq!(bob.tries_to_sign_in().await.status, 429);
    pass(&stack, 24 * 3600).await;
    bob.signs_in().await;
}

/// Failures are counted for an address that nobody has, so that nobody can tell. Whoever signs up with it inherits none of them.
#[rstest]
#[tokio::test]
async fn a_new_account_starts_without_the_failures_at_its_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.stranger("Ada");
    fails(&ada, 5).await;
    assert_must_wait(&ada.tries_to_sign_in().await, 15..=31);
    ada.signs_up().await.assert_created();
    ada.signs_in().await;

    let bob = stack.stranger("Bob");
    is_guessed_at_from_everywhere(&bob).await;
    assert_closed(&bob.tries_to_sign_in().await);
    bob.signs_up().await.assert_created();
    bob.signs_in().await;
}

/// What a stranger can make the stores keep: the counters of guesses are gone within hours, known address or not.
#[tokio::test]
async fn guesses_at_any_address_leave_nothing_for_long() {
    let stack = Stack::builder().processes(4).start().await;
    let robot = "198.51.100.66";
    let (ada, nobody) = (stack.user("Ada").await.at(robot), stack.stranger("Nobody").at(robot));
    join_all((0..40).map(|_| async { fails(&stack.stranger("Nobody").at(robot), 1).await })).await;
    for person in [&ada, &nobody] {
        fails(person, 4).await;
    }
    let sweep_after = async |seconds| {
        pass(&stack, seconds).await;
        stack.sweep().await;
        stack.sql_number("SELECT count(*) FROM throttle WHERE NOT key = sha256('signup source 203.0.113.7')").await
    };
    assert_eq!(sweep_after(6 * 3600).await, 42, "one for each address");
    assert_eq!(sweep_after(2 * 3600).await, 2, "those of the two that were guessed at more than once");
    for person in [&ada, &nobody] {
        fails(person, 1).await;
    }
    assert_eq!(sweep_after(2 * 24 * 3600).await, 0);
}

// Requirement 35.
#[rstest]
#[tokio::test]
async fn sign_ups_and_resets_of_one_source_are_limited(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let crowd: Vec<_> = (0..61).map(|_| stack.stranger("Crowd").with_password("short")).collect();
    // What breaks a rule is not counted.
    join_all(crowd.iter().map(Person::signs_up)).await.iter().for_each(|reply| assert_eq!(reply.status, 400));
    let crowd: Vec<_> = crowd.iter().map(|person| person.with_password("password123")).collect();
    let replies = join_all(crowd.iter().map(Person::signs_up)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 60);
    assert_must_wait(replies.iter().find(|reply| reply.status != 201).unwrap(), 3500..=3601);
    stack.stranger("Ada").at("192.0.2.10").signs_up().await.assert_created();

    let token = "A".repeat(43);
    let replies = join_all(crowd.iter().map(|person| person.resets_password(&token, "another password"))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 400).count(), 60);
    assert_must_wait(replies.iter().find(|reply| reply.status != 400).unwrap(), 3500..=3601);
    pass(&stack, 3600).await;
    assert_eq!(crowd[0].resets_password(&token, "another password").await.status, 400);
}

// Requirement 35.
#[rstest]
#[tokio::test]
async fn forgotten_passwords_of_one_source_are_limited(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(8).with("FORGOT_PASSWORD_FLOOR_MS", "100").start().await;
    let crowd: Vec<_> = (0..61).map(|_| stack.stranger("Nobody")).collect();
    let replies = join_all(crowd.iter().map(Person::forgets_password)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 60);
    assert_must_wait(replies.iter().find(|reply| reply.status != 200).unwrap(), 3500..=3601);
}

// Requirement 32.
#[tokio::test]
async fn all_tags_of_a_mailbox_together_get_three_reset_mails_an_hour_and_leave_its_owner_hers() {
    let stack = Stack::builder().with("FORGOT_PASSWORD_FLOOR_MS", "600").start().await;
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
        mails += mailbox::mails_to(&person.email).await.len();
    }
    assert_eq!(mails, 3);
    assert_eq!(stack.sql_number("SELECT count(*) FROM password_resets").await, 3);
    // Whoever made these accounts has not used up the mails of the mailbox's owner.
    let link = kate.receives_reset_mail(1).await.reset_token();
    assert_eq!(kate.resets_password(&link, "another password").await.status, 200);
}

// Requirement 15.
#[tokio::test]
async fn a_source_that_asks_for_too_many_links_is_refused_at_once() {
    let stack = Stack::builder().processes(8).with("FORGOT_PASSWORD_FLOOR_MS", "2000").start().await;
    stack
        .sql(
            "INSERT INTO throttle (key, attempts, expires_at)
            VALUES (sha256('forgot-password source 203.0.113.7'), 60, now() + interval '1 hour')",
        )
        .await;
    let reply = stack.stranger("Nobody").forgets_password().await;
    assert_must_wait(&reply, 3500..=3601);
    assert!(reply.took < std::time::Duration::from_secs(1), "{:?}", reply.took);
}

// Requirement 32.
#[tokio::test]
async fn an_account_gets_three_reset_mails_an_hour_and_the_last_link_stays_good() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    for count in 1..=3 {
        ada.receives_reset_mail(count).await;
    }
    let last = ada.mails(3).await.pop().unwrap();
    for source in ["192.0.2.1", "192.0.2.2"] {
        let reply = ada.at(source).forgets_password().await;
        reply.assert_ok(&serde_json::json!({ "message": "Password reset email sent" }));
    }
    assert_eq!(mailbox::mails_to(&ada.email).await.len(), 3);
    assert_eq!(ada.resets_password(&last.reset_token(), "another password").await.status, 200);
}

// Requirement 35.
#[tokio::test]
async fn a_session_is_refreshed_sixty_times_a_minute_and_theft_is_noticed_all_the_same() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let mut tokens = first.clone();
    for _ in 0..60 {
        tokens = tests::Tokens::from(&ada.refreshes(&tokens.refresh).await);
    }
    assert_must_wait(&ada.refreshes(&tokens.refresh).await, 1..=60);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "the session lives");
    stack.sql("UPDATE sessions SET refreshes_since = refreshes_since - interval '1 minute'").await;
    tokens = tests::Tokens::from(&ada.refreshes(&tokens.refresh).await);

    stack.sql("UPDATE sessions SET refreshes = 60, refreshes_since = now()").await;
    assert_eq!(ada.refreshes(&first.refresh).await.status, 401);
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
}
