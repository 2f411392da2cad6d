//! Many things at once: what one person is told must be true for everybody, whatever else happens in the same moment.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream};
use reqwest::Method;
use rstest::rstest;
use tests::{
    CounterStore::{self, DynamoDb, PostgreSql},
    Person, Stack, Tokens,
};

/// Enough that the rare orders of events come up.
const ROUNDS: u64 = 200;

/// Whether a session serves: at a function, at the authorizer, and for a refresh. It must be the same everywhere.
async fn serves(stack: &Stack, person: &Person<'_>, tokens: &Tokens) -> bool {
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

/// One person's round: signed in twice before it, they sign in, mistype, log one session out, ask for links and use one, all at once and
/// each after a delay that differs from round to round. In every fourth round the new password breaks a rule, or a lock makes the reset
/// fail: it commits nothing.
async fn round(stack: &Stack, number: u64) {
    const NEW: &str = "the new password";
    let ada = stack.stranger("Ada").from_source(&format!("192.0.2.{number}"));
    ada.signs_up().await.assert_created();
    let (stays, leaves) = (ada.signs_in().await, ada.signs_in().await);
    let link = ada.receives_reset_mail(1).await.reset_token();
    let after = async |step: u64| tokio::time::sleep(Duration::from_millis(number * step % 90)).await;
    let signs_in = |step: u64, password: &'static str| {
        let person = ada.with_password(password);
        async move {
            after(step).await;
            person.tries_to_sign_in().await
        }
    };
    let resets = async {
        after(7).await;
        ada.resets_password(&link, if number.is_multiple_of(4) { "short" } else { NEW }).await
    };
    let leaving = async {
        after(11).await;
        ada.logs_out(&leaves.access).await
    };
    let forgets = async {
        after(13).await;
        ada.forgets_password().await
    };
    let (reset, left, forgot, wrong, sign_ins) = tokio::join!(
        resets,
        leaving,
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
            let lives = serves(stack, &ada, &Tokens::from(reply)).await;
            assert_eq!(lives, *password == current, "a sign-in with {password} while {current} became the password");
        }
    }
    assert!(left.status == 200 || (left.status == 401 && current == NEW), "{}", left.text);
    assert!(!serves(stack, &ada, &leaves).await, "a session that was logged out");
    assert_eq!(serves(stack, &ada, &stays).await, current != NEW, "a session from before");
    ada.with_password(current).signs_in().await;
}

// Fault 11.
// Requirements 5, 6.
#[rstest]
#[tokio::test]
async fn only_sessions_opened_with_the_current_password_survive_concurrent_requests(
    #[values(PostgreSql, DynamoDb)] store: CounterStore,
) {
    let stack = Stack::builder().counters_in(store).processes(6).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    stream::iter(0..ROUNDS).for_each_concurrent(2, async |number| round(&stack, number).await).await;
    let logs = stack.logs();
    assert!(!logs.contains("internal_error") && !logs.contains("service_unavailable"));
}

/// Where every transaction sees one snapshot, what changes the same row conflicts (40001) instead of waiting for its turn.
const ISOLATIONS: [&str; 2] = ["read committed", "repeatable read"];

// Faults 8, 10.
#[tokio::test]
async fn fifty_concurrent_requests_get_no_503_at_any_isolation_level() {
    for isolation in ISOLATIONS {
        let stack = Stack::builder().isolation(isolation).processes(50).start().await;
        let ada = stack.user("Ada").await;
        // Fifty processes of each function, up and connected, or the requests would come one after the other.
        let wrong = ada.with_password("");
        join_all((0..50).map(|_| async {
            ada.refreshes("x").await;
            wrong.tries_to_sign_in().await;
            ada.resets_password("x", "").await;
        }))
        .await;

        let parent = ada.signs_in().await;
        let replies = join_all((0..50).map(|_| ada.refreshes(&parent.refresh))).await;
        let successors: Vec<_> = replies.iter().map(|reply| Tokens::from(reply).refresh).collect();
        assert!(successors.iter().all(|successor| *successor == successors[0]), "one successor");
        assert_eq!(stack.log_of("refresh").contains("40001"), isolation == "repeatable read", "there were conflicts");

        let crowd = join_all((0..10).map(|_| stack.user("Crowd"))).await;
        let replies = join_all(crowd.iter().cycle().take(50).map(Person::tries_to_sign_in)).await;
        for reply in &replies {
            assert!([200, 429].contains(&reply.status), "{isolation}: {}", reply.text);
        }
        assert!(replies.iter().filter(|reply| reply.status == 200).count() >= 10);

        let link = ada.receives_reset_mail(1).await.reset_token();
        let replies = join_all((0..50).map(|_| ada.resets_password(&link, "another password"))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{isolation}");
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            reply.assert_refused(400, "invalid_or_expired_token", "Invalid or expired token");
        }
    }
}
