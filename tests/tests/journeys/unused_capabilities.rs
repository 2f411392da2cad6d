//! Calls functions of the crate `shared` directly. Some of them are used by no endpoint. Endpoints use the others only in
//! combination. For example, a sign-in always opens a session and clears its counters.

use shared::{
    db::{Database, throttle},
    domain::{EmailLookup, Source, UnixMillis},
    environment::Environment,
    error::ApiError,
    http::Request,
    security::SignInAttempt,
    sessions::{SessionEndings, Sessions},
};
use tests::{Stack, stack::SECRET};

fn environment(stack: &Stack) -> Environment {
    let variables = [
        ("DATABASE_URL", stack.database.functions_url()),
        ("JWT_SECRET_KEY", SECRET.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let table = stack
        .state_table
        .iter()
        .flat_map(|table| [("STATE_TABLE", table.name.clone()), ("AWS_ENDPOINT_URL_DYNAMODB", table.endpoint.clone())]);
    variables.into_iter().chain(table).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn request(access_token: &str) -> Request {
    let event = serde_json::json!({
        "headers": { "authorization": format!("Bearer {access_token}") },
        "requestContext": { "http": { "method": "GET", "sourceIp": "192.0.2.1" } },
    });
    #[expect(clippy::disallowed_methods, reason = "`Request::new` needs the time as an argument")]
    let now = UnixMillis::from(std::time::SystemTime::now());
    Request::new(serde_json::from_value(event).unwrap(), now)
}

#[tokio::test]
async fn a_user_lists_sessions_and_ends_all_of_them() {
    let stack = Stack::start().await;
    let (ada, linus) = (stack.user("Ada").await, stack.user("Linus").await);
    let (first, second, of_linus) = (ada.signs_in().await, ada.signs_in().await, linus.signs_in().await);
    let first = ada.refreshes(&first.refresh).await.json()["access_token"].as_str().unwrap().to_owned();
    ada.logs_out(&ada.signs_in().await.access).await;

    let env = environment(&stack);
    let database = Database::from_env(&env).unwrap();
    let sessions = Sessions::from_env(&env, Some(&database)).unwrap();
    let endings = SessionEndings::from_env(&env, &database).unwrap();
    let (caller, user) = sessions.authenticate_user(&request(&first), &database).await.unwrap();
    let (_, listed) = sessions.list(&request(&first)).await.unwrap();
    assert_eq!(listed.len(), 2, "the third one has ended: {listed:?}");
    assert_eq!(listed[0].id, caller.session_id, "the one that was refreshed last comes first");
    assert!(listed[0].last_used_at >= listed[1].last_used_at && listed[0].expires_at > listed[0].created_at);

    // The second call finds sessions that have already ended.
    for _ in 0..2 {
        endings.end_all(&user).await.unwrap();
        for token in [&first, &second.access] {
            assert!(matches!(sessions.authenticate(&request(token)).await, Err(ApiError::TokenRevoked)));
        }
        assert!(matches!(sessions.list(&request(&first)).await, Err(ApiError::TokenRevoked)));
    }
    assert_eq!(linus.dashboard(&of_linus.access).await.status, 200);
    assert_eq!(ada.dashboard(&ada.signs_in().await.access).await.status, 200, "she can sign in again");
}

/// An endpoint may require a second factor after the right password. So it must be able to open a session without clearing the counters, and to clear
/// the counters without opening a session.
#[tokio::test]
async fn a_session_opens_without_clearing_counters_and_counters_clear_without_a_session() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let env = environment(&stack);
    let database = Database::from_env(&env).unwrap();
    let sessions = Sessions::from_env(&env, Some(&database)).unwrap();
    let (email, source) = (EmailLookup::new(&ada.email), Source::of(Some("192.0.2.1")));
    let attempt = SignInAttempt { email: &email, source: &source, only_verified: false };
    let counted = throttle::count_sign_in(&database, attempt).await.unwrap();
    let account = counted.account.unwrap();
    let attempts = "SELECT coalesce(sum(attempts), 0)::bigint FROM throttle WHERE octet_length(key) = 32";
    let before = stack.sql_number(attempts).await;

    let tokens = sessions.open(&request(""), &database, &account, None).await.unwrap();
    assert_eq!(stack.sql_number(attempts).await, before, "the failures are still counted");
    assert!(sessions.authenticate(&request(&tokens.access_token)).await.is_ok());

    throttle::record_success(&database, &counted.counters).await.unwrap();
    assert_eq!(stack.sql_number(attempts).await, before - 3);
    assert_eq!(stack.sessions().live().await.len(), 1);
}

// Requirement 20.
#[tokio::test]
async fn accounts_addresses_and_sources_have_counters_of_their_own() {
    let stack = Stack::start().await;
    let (ada, linus) = (stack.user("Ada").await, stack.user("Linus").await);
    let database = Database::from_env(&environment(&stack)).unwrap();
    let mut seen = Vec::new();
    for address in [ada.email.as_str(), linus.email.as_str(), "nobody@example.com", "somebody@example.com"] {
        for source in ["192.0.2.1", "192.0.2.11"] {
            for spelling in [address.to_owned(), address.to_uppercase()] {
                let (email, from) = (EmailLookup::new(&spelling), Source::of(Some(source)));
                let attempt = SignInAttempt { email: &email, source: &from, only_verified: false };
                let found = throttle::find_account(&database, attempt).await.unwrap();
                seen.push(((address, source), found.counters));
            }
        }
    }
    for (one, counters) in &seen {
        for (other, others) in &seen {
            assert_eq!(counters.account == others.account, one.0 == other.0, "{one:?} {other:?}");
            assert_eq!(counters.source == others.source, one.1 == other.1, "{one:?} {other:?}");
            assert_eq!(counters.both == others.both, one == other, "{one:?} {other:?}");
        }
    }
    // A reset starts new counters.
    let before = &seen[0].1;
    stack.sql("UPDATE users SET credential_version = 2").await;
    let (email, source) = (EmailLookup::new(&ada.email), Source::of(Some("192.0.2.1")));
    let attempt = SignInAttempt { email: &email, source: &source, only_verified: false };
    let after = throttle::find_account(&database, attempt).await.unwrap().counters;
    assert!(after.account != before.account && after.both != before.both && after.source == before.source);
}
