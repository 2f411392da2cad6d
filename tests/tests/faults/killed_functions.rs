//! A function is killed, by Lambda's timeout or with its machine, or its connection ends, at any moment of its work.

use rstest::rstest;
use tests::{
    Interruption::{self, AfterCommit, BeforeExecution},
    Person, PostgresProxy, Reply, Stack, Tokens, mailbox,
};

use crate::fault::{Fault, wait_for_blocked_statement};

/// What somebody is about when the function that serves it is killed.
#[derive(Debug, Clone, Copy)]
enum Operation {
    SignUp,
    SignIn,
    Refresh,
    LogOut,
    Forget,
    Reset,
}

/// Whoever is about it, with what it takes.
struct Preparation<'a> {
    ada: Person<'a>,
    tokens: Option<Tokens>,
    link: Option<String>,
}

const NEW: &str = "another password";

impl Operation {
    fn function(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::SignIn => "signin",
            Self::Refresh => "refresh",
            Self::LogOut => "logout",
            Self::Forget => "forgot-password",
            Self::Reset => "reset-password",
        }
    }

    async fn prepared(self, stack: &Stack) -> Preparation<'_> {
        let ada = match self {
            Self::SignUp => stack.stranger("Ada"),
            _ => stack.user("Ada").await,
        };
        let tokens = match self {
            Self::Refresh | Self::LogOut => Some(ada.signs_in().await),
            _ => None,
        };
        let link = match self {
            Self::Reset => Some(ada.receives_reset_mail(1).await.reset_token()),
            _ => None,
        };
        Preparation { ada, tokens, link }
    }

    async fn done(self, Preparation { ada, tokens, link }: &Preparation<'_>) -> Reply {
        match (self, tokens, link) {
            (Self::SignUp, ..) => ada.signs_up().await,
            (Self::SignIn, ..) => ada.tries_to_sign_in().await,
            (Self::Refresh, Some(tokens), _) => ada.refreshes(&tokens.refresh).await,
            (Self::LogOut, Some(tokens), _) => ada.logs_out(&tokens.access).await,
            (Self::Forget, ..) => ada.forgets_password().await,
            (Self::Reset, _, Some(link)) => ada.resets_password(link, NEW).await,
            _ => unreachable!("it was prepared"),
        }
    }

    /// Does it again, as a client does that got no answer. Where it had been done, the answer may say so; either way it is done now,
    /// whole, and once.
    async fn retried(self, stack: &Stack, preparation: &Preparation<'_>) -> Reply {
        let ada = &preparation.ada;
        let again = self.done(preparation).await;
        match (self, again.status) {
            (Self::SignUp, 201 | 400) => {
                assert!(again.status == 201 || again.text_at("code") == "user_already_exists");
                ada.signs_in().await;
            }
            (Self::SignIn, 200) => assert_eq!(ada.dashboard(&Tokens::from(&again).access).await.status, 200),
            (Self::Refresh, 200) => {
                let successor = Tokens::from(&again);
                assert_eq!(ada.dashboard(&successor.access).await.status, 200);
                assert_eq!(ada.refreshes(&successor.refresh).await.status, 200);
            }
            (Self::LogOut, 200 | 401) => {
                let tokens = preparation.tokens.as_ref().unwrap();
                let over = ada.dashboard(&tokens.access).await;
                over.assert_refused(401, "token_revoked", "Token has been revoked");
                assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
            }
            (Self::Forget, 200) => {
                swept(stack).await;
                let newest = mailbox::mails_to(&ada.email).await.pop().unwrap();
                assert_eq!(ada.resets_password(&newest.reset_token(), NEW).await.status, 200);
                ada.with_password(NEW).signs_in().await;
            }
            (Self::Reset, 200 | 400) => {
                ada.with_password(NEW).signs_in().await;
                assert_eq!(ada.tries_to_sign_in().await.status, 401, "the old password");
                swept(stack).await;
                let mails = mailbox::mails_to(&ada.email).await;
                assert!(mails.iter().any(|mail| mail.subject == "Your password was changed"), "the notice");
            }
            (_, status) => panic!("{self:?} again: {status} {}", again.text),
        }
        assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE due_at <= now()").await, 0);
        again
    }
}

/// What is owed is due, and mailed.
async fn swept(stack: &Stack) {
    stack.make_mails_due().await;
    assert_eq!(stack.sweep().await["mails_owed"], 0);
}

// Fault 12.
#[rstest]
#[tokio::test]
async fn a_function_that_is_killed_around_any_statement_leaves_what_a_retry_completes(
    #[values(
        Operation::SignUp,
        Operation::SignIn,
        Operation::Refresh,
        Operation::LogOut,
        Operation::Forget,
        Operation::Reset
    )]
    operation: Operation,
) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let what = format!("`{}` is killed before, or after, each statement; the client asks again", operation.function());
    let mut fault = Fault::new(12, what);
    for interruption in [BeforeExecution, AfterCommit] {
        // Until there is no statement of that number: one that is added later is killed by itself.
        for number in 1.. {
            let preparation = operation.prepared(&stack).await;
            if !killed(&proxy, &stack, operation, &preparation, number, interruption).await {
                assert!(number > 1, "there is a statement to be killed at");
                break;
            }
            fault.saw(&operation.retried(&stack, &preparation).await);
        }
    }
}

/// Whether it was, before it could answer.
async fn killed(
    proxy: &PostgresProxy,
    stack: &Stack,
    operation: Operation,
    preparation: &Preparation<'_>,
    number: usize,
    interruption: Interruption,
) -> bool {
    proxy.hold(number, interruption);
    let answered = tokio::select! {
        reply = operation.done(preparation) => Some(reply),
        () = proxy.wait_until_held() => None,
    };
    proxy.stop_interrupting();
    if let Some(reply) = answered {
        assert!(reply.status < 300, "{}", reply.text);
        return false;
    }
    stack.kill(operation.function()).await;
    true
}

// Fault 7.
#[rstest]
#[tokio::test]
async fn a_connection_that_ends_around_any_statement_is_noticed_by_nobody(
    #[values(
        Operation::SignUp,
        Operation::SignIn,
        Operation::Refresh,
        Operation::LogOut,
        Operation::Forget,
        Operation::Reset
    )]
    operation: Operation,
) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let mut fault =
        Fault::new(7, format!("The connection of `{}` ends before, or after, each statement", operation.function()));
    for interruption in [BeforeExecution, AfterCommit] {
        for number in 1.. {
            let preparation = operation.prepared(&stack).await;
            proxy.close_connection_at(number, interruption);
            let reply = operation.done(&preparation).await;
            if proxy.statements().len() < number {
                break;
            }
            proxy.stop_interrupting();
            match (operation, interruption) {
                // docs/decisions/0002: the session is over, as its owner wished.
                (Operation::LogOut, AfterCommit) => {
                    reply.assert_refused(401, "token_revoked", "Token has been revoked");
                }
                _ => fault.saw_served(&reply),
            }
            assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0, "every mail was sent");
        }
    }
}

// Fault 12.
#[tokio::test]
async fn a_statement_whose_function_was_killed_holds_nobody_up() {
    let mut fault = Fault::new(12, "`refresh` is killed while its statement waits for a lock");
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let mut rival = stack.database.connect().await;
    let held = rival.transaction().await.unwrap();
    held.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    tokio::select! {
        reply = ada.refreshes(&tokens.refresh) => panic!("{}", reply.text),
        () = wait_for_blocked_statement(&stack) => {}
    }
    stack.kill("refresh").await;
    held.rollback().await.unwrap();
    // Now it commits, though nobody waits for it: the token the client has is the parent of one that nobody has.
    let again = ada.refreshes(&tokens.refresh).await;
    fault.saw_served(&again);
    fault.saw_served(&ada.refreshes(&Tokens::from(&again).refresh).await);
}
