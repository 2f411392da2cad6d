//! A function is killed, or its database connection is closed, before or after any of its statements.

use rstest::rstest;
use tests::{
    Interruption::{self, AfterCommit, BeforeExecution},
    Person, PostgresProxy, Reply, Stack, Tokens, mailbox,
};

use crate::fault::{Fault, wait_for_blocked_statement};

/// The request that is interrupted.
#[derive(Debug, Clone, Copy)]
enum Operation {
    SignUp,
    SignIn,
    Refresh,
    LogOut,
    Forget,
    Reset,
}

/// A person with the tokens and the link that an operation needs.
struct Client<'a> {
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

    async fn prepare(self, stack: &Stack) -> Client<'_> {
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
        Client { ada, tokens, link }
    }

    async fn send(self, Client { ada, tokens, link }: &Client<'_>) -> Reply {
        match (self, tokens, link) {
            (Self::SignUp, ..) => ada.signs_up().await,
            (Self::SignIn, ..) => ada.tries_to_sign_in().await,
            (Self::Refresh, Some(tokens), _) => ada.refreshes(&tokens.refresh).await,
            (Self::LogOut, Some(tokens), _) => ada.logs_out(&tokens.access).await,
            (Self::Forget, ..) => ada.forgets_password().await,
            (Self::Reset, _, Some(link)) => ada.resets_password(link, NEW).await,
            _ => unreachable!("`prepare` fills what the operation needs"),
        }
    }

    /// Sends the request again, as a client does that got no answer. Asserts that afterwards the operation has been done completely and once. If
    /// the first request had done it, the answer may be a refusal that says so.
    async fn retry(self, stack: &Stack, client: &Client<'_>) -> Reply {
        let ada = &client.ada;
        let reply = self.send(client).await;
        match (self, reply.status) {
            (Self::SignUp, 201 | 400) => {
                assert!(reply.status == 201 || reply.text_at("code") == "user_already_exists");
                ada.signs_in().await;
            }
            (Self::SignIn, 200) => assert_eq!(ada.dashboard(&Tokens::from(&reply).access).await.status, 200),
            (Self::Refresh, 200) => {
                let successor = Tokens::from(&reply);
                assert_eq!(ada.dashboard(&successor.access).await.status, 200);
                assert_eq!(ada.refreshes(&successor.refresh).await.status, 200);
            }
            (Self::LogOut, 200 | 401) => {
                let tokens = client.tokens.as_ref().unwrap();
                let revoked = ada.dashboard(&tokens.access).await;
                revoked.assert_refused(401, "token_revoked", "Token has been revoked");
                assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
            }
            (Self::Forget, 200) => {
                send_pending_mails(stack).await;
                let newest = mailbox::mails_to(&ada.email).await.pop().unwrap();
                assert_eq!(ada.resets_password(&newest.reset_token(), NEW).await.status, 200);
                ada.with_password(NEW).signs_in().await;
            }
            (Self::Reset, 200 | 400) => {
                ada.with_password(NEW).signs_in().await;
                assert_eq!(ada.tries_to_sign_in().await.status, 401, "the old password is refused");
                send_pending_mails(stack).await;
                let mails = mailbox::mails_to(&ada.email).await;
                assert!(mails.iter().any(|mail| mail.subject == "Your password was changed"), "the notice was sent");
            }
            (_, status) => panic!("{self:?}: the retry was answered with {status} {}", reply.text),
        }
        assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE due_at <= now()").await, 0);
        reply
    }
}

/// Sends all pending mails.
async fn send_pending_mails(stack: &Stack) {
    stack.make_mails_due().await;
    assert_eq!(stack.sweep().await["mails_owed"], 0);
}

// Fault 12.
#[rstest]
#[tokio::test]
async fn a_retry_completes_what_a_function_killed_at_any_statement_began(
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
    let what = format!("`{}` is killed before or after each statement; the client retries", operation.function());
    let mut fault = Fault::new(12, what);
    for interruption in [BeforeExecution, AfterCommit] {
        // Continues until the operation has no statement with this number, so that the test covers statements that are added later.
        for number in 1.. {
            let client = operation.prepare(&stack).await;
            if !kill_at_statement(&proxy, &stack, operation, &client, number, interruption).await {
                assert!(number > 1, "the operation has at least one statement");
                break;
            }
            fault.record(&operation.retry(&stack, &client).await);
        }
    }
}

/// Kills the function at one of its statements. Returns `false` if it answered before it came to that statement.
async fn kill_at_statement(
    proxy: &PostgresProxy,
    stack: &Stack,
    operation: Operation,
    client: &Client<'_>,
    number: usize,
    interruption: Interruption,
) -> bool {
    proxy.hold(number, interruption);
    let answered = tokio::select! {
        reply = operation.send(client) => Some(reply),
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
async fn clients_do_not_notice_a_connection_closed_at_any_statement(
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
        Fault::new(7, format!("The connection of `{}` is closed before or after each statement", operation.function()));
    for interruption in [BeforeExecution, AfterCommit] {
        for number in 1.. {
            let client = operation.prepare(&stack).await;
            proxy.close_connection_at(number, interruption);
            let reply = operation.send(&client).await;
            if proxy.statements().len() < number {
                break;
            }
            proxy.stop_interrupting();
            match (operation, interruption) {
                // The repeated logout finds the session ended (docs/decisions/0002-every-statement-may-run-twice.md).
                (Operation::LogOut, AfterCommit) => {
                    reply.assert_refused(401, "token_revoked", "Token has been revoked");
                }
                _ => fault.record_served(&reply),
            }
            assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0, "every mail was sent");
        }
    }
}

// Fault 12.
#[tokio::test]
async fn a_statement_of_a_killed_function_does_not_block_the_retry() {
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
    // The statement of the killed function commits now. So the client's token is already used, and the client does not have its successor.
    let again = ada.refreshes(&tokens.refresh).await;
    fault.record_served(&again);
    fault.record_served(&ada.refreshes(&Tokens::from(&again).refresh).await);
}
