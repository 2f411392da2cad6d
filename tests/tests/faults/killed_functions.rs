//! A function is killed, or its database connection is closed, before or after each of its SQL statements.

use rstest::rstest;
use tests::{
    InterruptionPoint::{self, AfterCommit, BeforeExecution},
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
    ForgotPassword,
    ResetPassword,
}

/// A person with the tokens that an operation needs.
struct Client<'a> {
    ada: Person<'a>,
    tokens: Option<Tokens>,
    /// The token in the link of the reset mail.
    reset_token: Option<String>,
}

const NEW_PASSWORD: &str = "another password";

impl Operation {
    fn function(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::SignIn => "signin",
            Self::Refresh => "refresh",
            Self::LogOut => "logout",
            Self::ForgotPassword => "forgot-password",
            Self::ResetPassword => "reset-password",
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
        let reset_token = match self {
            Self::ResetPassword => Some(ada.receives_reset_mail(1).await.reset_token()),
            _ => None,
        };
        Client { ada, tokens, reset_token }
    }

    async fn send(self, Client { ada, tokens, reset_token }: &Client<'_>) -> Reply {
        match (self, tokens, reset_token) {
            (Self::SignUp, ..) => ada.signs_up().await,
            (Self::SignIn, ..) => ada.tries_to_sign_in().await,
            (Self::Refresh, Some(tokens), _) => ada.refreshes(&tokens.refresh).await,
            (Self::LogOut, Some(tokens), _) => ada.logs_out(&tokens.access).await,
            (Self::ForgotPassword, ..) => ada.forgets_password().await,
            (Self::ResetPassword, _, Some(token)) => ada.resets_password(token, NEW_PASSWORD).await,
            _ => unreachable!("`prepare` sets the fields that the operation needs"),
        }
    }

    /// Sends the request again, like a client that got no answer. Asserts that the operation has then been done completely and
    /// exactly once. If the first request already completed the operation, the retry may be refused (for example
    /// `user_already_exists`).
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
            (Self::ForgotPassword, 200) => {
                send_pending_mails(stack).await;
                let newest = mailbox::mails_to(&ada.email).await.pop().unwrap();
                assert_eq!(ada.resets_password(&newest.reset_token(), NEW_PASSWORD).await.status, 200);
                ada.with_password(NEW_PASSWORD).signs_in().await;
            }
            (Self::ResetPassword, 200 | 400) => {
                ada.with_password(NEW_PASSWORD).signs_in().await;
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
async fn if_a_function_is_killed_at_any_statement_a_retry_completes_the_operation(
    #[values(
        Operation::SignUp,
        Operation::SignIn,
        Operation::Refresh,
        Operation::LogOut,
        Operation::ForgotPassword,
        Operation::ResetPassword
    )]
    operation: Operation,
) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let description =
        format!("`{}` is killed before or after each statement; the client retries", operation.function());
    let mut fault = Fault::new(12, description);
    for point in [BeforeExecution, AfterCommit] {
        // The number of statements is not fixed here, so the test also covers statements that are added later.
        for number in 1.. {
            let client = operation.prepare(&stack).await;
            if !kill_at_statement(&proxy, &stack, operation, &client, number, point).await {
                assert!(number > 1, "the operation has at least one statement");
                break;
            }
            fault.record(&operation.retry(&stack, &client).await);
        }
    }
}

/// Kills the function at one of its statements. Returns `false` if the function answered without executing a statement with this
/// number.
async fn kill_at_statement(
    proxy: &PostgresProxy,
    stack: &Stack,
    operation: Operation,
    client: &Client<'_>,
    number: usize,
    point: InterruptionPoint,
) -> bool {
    proxy.hold_statement(number, point);
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
        Operation::ForgotPassword,
        Operation::ResetPassword
    )]
    operation: Operation,
) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let mut fault =
        Fault::new(7, format!("The connection of `{}` is closed before or after each statement", operation.function()));
    for point in [BeforeExecution, AfterCommit] {
        for number in 1.. {
            let client = operation.prepare(&stack).await;
            proxy.close_connection_at(number, point);
            let reply = operation.send(&client).await;
            if proxy.statements().len() < number {
                break;
            }
            proxy.stop_interrupting();
            match (operation, point) {
                // The logout statement is repeated on a new connection, and the session has already ended, so the answer is a
                // refusal (docs/decisions/0002-every-statement-may-run-twice.md).
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
    let mut other_connection = stack.database.connect().await;
    let locking_transaction = other_connection.transaction().await.unwrap();
    locking_transaction.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    tokio::select! {
        reply = ada.refreshes(&tokens.refresh) => panic!("{}", reply.text),
        () = wait_for_blocked_statement(&stack) => {}
    }
    stack.kill("refresh").await;
    locking_transaction.rollback().await.unwrap();
    // The statement of the killed function commits now. So the client's refresh token has been used, but the client did not
    // receive the new one.
    let retried = ada.refreshes(&tokens.refresh).await;
    fault.record_served(&retried);
    fault.record_served(&ada.refreshes(&Tokens::from(&retried).refresh).await);
}
