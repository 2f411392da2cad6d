//! A function is killed before or after each of its requests to PostgreSQL and DynamoDB, or its connection to PostgreSQL is closed at a statement.

use std::collections::BTreeSet;

use rstest::rstest;
use tests::{
    InterruptionPoint::{self, AfterCommit, BeforeExecution},
    PostgresProxy, Stack, StateTable,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
};

use crate::{
    fault::Fault,
    operation::{Client, NEW_PASSWORD, Operation},
    passkey_operation::PasskeyOperation,
};

/// A server that the functions use, behind a proxy that can hold a request to it.
#[derive(Clone, Copy)]
enum Server<'a> {
    PostgreSql(&'a PostgresProxy),
    DynamoDb(&'a StateTable),
}

impl<'a> Server<'a> {
    /// The servers that the functions of a stack use.
    fn of(stack: &'a Stack, proxy: &'a PostgresProxy) -> Vec<Self> {
        let table = stack.state_table.as_deref().map(Self::DynamoDb);
        [Self::PostgreSql(proxy)].into_iter().chain(table).collect()
    }

    /// Kills the function of an operation while the server holds the request with this number. Returns `false` if the function answered without
    /// sending a request with this number.
    async fn kill_at(
        self,
        stack: &Stack,
        operation: Operation,
        client: &Client<'_>,
        number: usize,
        point: InterruptionPoint,
    ) -> bool {
        let answered = self.kill_during(stack, operation.function(), operation.send(client), number, point).await;
        if let Some(reply) = &answered {
            assert!(reply.status < 300, "{}", reply.text);
        }
        answered.is_none()
    }

    /// Kills a function while the server holds the request with this number. Returns the function's answer if it answered without sending a request
    /// with this number.
    async fn kill_during<T>(
        self,
        stack: &Stack,
        function: &str,
        call: impl Future<Output = T>,
        number: usize,
        point: InterruptionPoint,
    ) -> Option<T> {
        match self {
            Self::PostgreSql(proxy) => proxy.hold_statement(number, point),
            Self::DynamoDb(table) => table.hold_request(number, point),
        }
        let held = async {
            match self {
                Self::PostgreSql(proxy) => proxy.wait_until_held().await,
                Self::DynamoDb(table) => table.wait_until_held().await,
            }
        };
        let answered = tokio::select! {
            answer = call => Some(answer),
            () = held => None,
        };
        if answered.is_none() {
            stack.kill(function).await;
        }
        match self {
            Self::PostgreSql(proxy) => proxy.stop_interrupting(),
            Self::DynamoDb(table) => table.stop_interrupting(),
        }
        answered
    }
}

// Fault 12.
#[rstest]
#[tokio::test]
async fn if_a_function_is_killed_at_any_request_to_a_server_a_retry_completes_the_operation(
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
        Operation::ReplaceRecoveryCodes,
        Operation::ShowTotp,
        Operation::ReauthenticateWithTotp,
        Operation::UndoFactor,
        Operation::Passkey(PasskeyOperation::Add),
        Operation::Passkey(PasskeyOperation::Remove),
        Operation::Passkey(PasskeyOperation::SignIn),
        Operation::Passkey(PasskeyOperation::Show),
        Operation::Passkey(PasskeyOperation::Reauthenticate)
    )]
    operation: Operation,
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = stack_for(operation, store, &proxy).await;
    let description = format!(
        "`{}` is killed before or after each request to a server; the client retries; sessions in {store:?}",
        operation.function()
    );
    let mut fault = Fault::new(12, description);
    let mut kills = 0;
    for server in Server::of(&stack, &proxy) {
        for point in [BeforeExecution, AfterCommit] {
            // The number of requests is not fixed here, so the test also covers requests that are added later.
            for number in 1.. {
                let client = operation.prepare(&stack).await;
                if !server.kill_at(&stack, operation, &client, number, point).await {
                    break;
                }
                kills += 1;
                fault.record(&operation.retry(&stack, &client).await);
            }
        }
    }
    assert!(kills >= 2, "the operation sends at least one request");
}

async fn stack_for(operation: Operation, store: Store, proxy: &PostgresProxy) -> Stack {
    let stack = Stack::builder().state_in(store).database_port(proxy.port).with("FORGOT_PASSWORD_FLOOR_MS", "0");
    // The other operations count the mails of a person.
    let stack = if matches!(operation, Operation::SignUp) { stack.with_verification() } else { stack };
    stack.start().await
}

/// The next sweep erases what the killed one has left.
// Fault 12.
// Requirement 56.
#[rstest]
#[tokio::test]
async fn the_next_sweep_completes_an_erasure_whose_sweep_was_killed(#[values(PostgreSql, DynamoDb)] store: Store) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let builder = Stack::builder().state_in(store).database_port(proxy.port).with("ACCOUNT_ERASE_AFTER", "0");
    let stack = builder.start().await;
    let description = format!(
        "`sweep` is killed before or after each request to a server; sessions in {store:?}; `sweep` runs again"
    );
    let mut fault = Fault::new(12, description);
    let mut kills = 0;
    for server in Server::of(&stack, &proxy) {
        for point in [BeforeExecution, AfterCommit] {
            for number in 1.. {
                let ada = stack.user("Ada Lovelace").await;
                ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
                let user = stack.sql_number("SELECT user_id FROM account_deletions").await;
                let swept = server.kill_during(&stack, "sweep", stack.sweep(), number, point).await;
                let was_killed = swept.is_none();
                if was_killed {
                    kills += 1;
                    stack.sweep().await;
                }
                let traces = stack.traces_of(user, &ada).await;
                assert!(traces.iter().all(|trace| *trace == format!("u#{user} account")), "{traces:?}");
                fault.record(&ada.tries_to_sign_in().await);
                if !was_killed {
                    break;
                }
            }
        }
    }
    assert!(kills > 10, "a sweep sends many statements");
}

/// The client does not repeat the request. After one sweep, either the reset is complete, or the old password still works.
// Fault 12.
#[tokio::test]
async fn one_sweep_completes_a_reset_whose_function_was_killed() {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = stack_for(Operation::ResetPassword, DynamoDb, &proxy).await;
    let mut fault = Fault::new(12, "`reset-password` is killed before or after each request to a server; `sweep` runs");
    let reset = Operation::ResetPassword;
    let mut outcomes = BTreeSet::new();
    for server in Server::of(&stack, &proxy) {
        for point in [BeforeExecution, AfterCommit] {
            for number in 1.. {
                let client = reset.prepare(&stack).await;
                if !server.kill_at(&stack, reset, &client, number, point).await {
                    break;
                }
                let report = stack.sweep().await;
                assert_eq!(report["sessions_owed"], 0, "{report}");
                let (ada, tokens) = (&client.ada, client.tokens.as_ref().unwrap());
                let refreshed = ada.refreshes(&tokens.refresh).await;
                let is_reset = refreshed.status == 401;
                let current = if is_reset { ada.with_password(NEW_PASSWORD) } else { ada.clone() };
                fault.record_served(&current.tries_to_sign_in().await);
                if !is_reset {
                    fault.record_served(&refreshed);
                }
                outcomes.insert(is_reset);
            }
        }
    }
    assert_eq!(outcomes.len(), 2, "some resets were complete, and after others the old password worked");
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
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = stack_for(operation, PostgreSql, &proxy).await;
    let mut fault =
        Fault::new(7, format!("The connection of `{}` is closed before or after each statement", operation.function()));
    for point in [BeforeExecution, AfterCommit] {
        for number in 1.. {
            let client = operation.prepare(&stack).await;
            // After 59 refreshes, the limit allows one more. So if the repeated statement counted the client's refresh twice, the refresh would be
            // refused.
            stack.sessions().set_refresh_count(59).await;
            proxy.close_connection_at(number, point);
            let reply = operation.send(&client).await;
            if proxy.statement_count() < number {
                break;
            }
            proxy.stop_interrupting();
            fault.record_served(&reply);
            assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0, "every mail was sent");
        }
    }
}

// Fault 7.
#[tokio::test]
async fn sweep_sends_every_mail_once_although_its_connection_is_closed_at_any_statement() {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().state_in(PostgreSql).database_port(proxy.port).start().await;
    for point in [BeforeExecution, AfterCommit] {
        for number in 1.. {
            stack.sql("DELETE FROM throttle").await;
            let (ada, grace) = (stack.user("Ada").await, stack.user("Grace").await);
            // Two notices of one user follow each other, then links of the same kind of two users.
            let owed = format!(
                "INSERT INTO password_resets (user_id, email, credential_version, token_hash, created_at, expires_at)
                SELECT id, email, credential_version, sha256(email::bytea), now(), now() + interval '1 hour' FROM users
                WHERE email IN ('{ada}', '{grace}');
                INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
                SELECT id, kind, gen_random_uuid(), page, now() - age * interval '1 second', now() + interval '1 hour'
                FROM users JOIN (VALUES ('{ada}', 'password_changed', NULL, 4), ('{ada}', 'sign_up_attempted', NULL, 3),
                    ('{ada}', 'password_reset', 'https://auth.example.com/page', 2),
                    ('{grace}', 'password_reset', 'https://auth.example.com/page', 1)) AS mails (address, kind, page, age) ON email = address",
                ada = ada.email,
                grace = grace.email
            );
            stack.sql(&owed).await;
            proxy.close_connection_at(number, point);
            stack.sweep().await;
            let was_closed = proxy.statement_count() >= number;
            proxy.stop_interrupting();
            stack.send_owed_mails().await;
            assert_eq!(ada.mails(3).await.len(), 3, "at statement {number}");
            assert_eq!(grace.mails(1).await.len(), 1, "at statement {number}");
            if !was_closed {
                break;
            }
        }
    }
}

// Fault 7.
#[tokio::test]
async fn the_last_reset_mail_that_the_limit_allows_is_sent_at_once_although_the_connection_is_closed() {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().state_in(PostgreSql).database_port(proxy.port).start().await;
    for number in 1.. {
        let ada = stack.user("Ada").await;
        ada.receives_reset_mail(1).await;
        stack.sql("UPDATE throttle SET attempts = 2 WHERE attempts = 1").await;
        proxy.close_connection_at(number, AfterCommit);
        assert_eq!(ada.forgets_password().await.status, 200);
        let was_closed = proxy.statement_count() >= number;
        proxy.stop_interrupting();
        assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0, "at statement {number}");
        assert_eq!(ada.mails(2).await.len(), 2);
        if !was_closed {
            break;
        }
    }
}

// Fault 12.
#[tokio::test]
async fn a_statement_of_a_killed_function_does_not_block_the_retry() {
    let mut fault = Fault::new(12, "`refresh` is killed while its statement waits for a lock");
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let mut other_connection = stack.database.connect().await;
    let locking_transaction = other_connection.transaction().await.unwrap();
    locking_transaction.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    tokio::select! {
        reply = ada.refreshes(&tokens.refresh) => panic!("{}", reply.text),
        () = stack.wait_for_blocked_statement() => {}
    }
    stack.kill("refresh").await;
    locking_transaction.rollback().await.unwrap();
    // The statement of the killed function commits now. So the client's refresh token has been used, but the client did not
    // receive the new one.
    let retried = ada.refreshes(&tokens.refresh).await;
    fault.record_served(&retried);
    fault.record_served(&ada.refreshes(&Tokens::from(&retried).refresh).await);
}
