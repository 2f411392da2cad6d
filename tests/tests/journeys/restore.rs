//! What happens to sessions in DynamoDB when PostgreSQL is restored to an earlier state, and when the table is lost or used again.
//! `docs/operations.md` describes what to do.

use tests::{
    Person, Stack, StackBuilder,
    Store::{DynamoDb, PostgreSql},
    Tokens,
    database::TestDatabase,
};

use crate::support::get_example;

const NEW_PASSWORD: &str = "another password";
const NEW_SECRET: (&str, &str) = ("JWT_SECRET_KEY", "a-new-secret-of-the-tests-0123456789abcdef");

/// Starts a deployment on this database, which is already migrated.
async fn on(database: TestDatabase, builder: StackBuilder) -> Stack {
    database.grant().await;
    builder.with_unprepared_database(database).start().await
}

/// The person, as a user of another deployment.
fn at<'a>(stack: &'a Stack, person: &Person<'_>) -> Person<'a> {
    stack.stranger(&person.name).with_email(&person.email).with_password(&person.password)
}

async fn sets_new_password(person: &Person<'_>) {
    let token = person.receives_reset_mail(1).await.token();
    assert_eq!(person.resets_password(&token, NEW_PASSWORD).await.status, 200);
}

/// Makes the debts a day old. Then `sweep` deletes them, because this stack has its sessions in PostgreSQL.
async fn sweep_after_a_day(stack: &Stack) {
    stack.sql("UPDATE session_endings SET owed_since = owed_since - interval '1 day'").await;
    stack.sweep().await;
    assert_eq!(stack.sql_number("SELECT count(*) FROM session_endings").await, 0);
}

async fn assert_signed_out(person: &Person<'_>, tokens: &Tokens) {
    assert_eq!(person.dashboard(&tokens.access).await.status, 401);
    assert_eq!(person.refreshes(&tokens.refresh).await.status, 401);
}

/// A restored database assigns the same ids and credential versions a second time. A new table and a new secret make all earlier tokens invalid.
#[tokio::test]
async fn a_restored_database_needs_a_new_table_and_a_new_secret() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let ada = stack.user("Ada").await;
    let of_ada = ada.signs_in().await;
    let backup = stack.database.copy().await;
    // The restore loses these changes.
    sets_new_password(&ada).await;
    let linus = stack.user("Linus").await;
    let of_linus = linus.signs_in().await;

    // Grace gets the id that Linus had. With the earlier table, his token opens her account. Ada cannot sign in, because her minimum version in the
    // table is above her credential version in the restored database.
    let earlier = Stack::builder().state_in(DynamoDb).with_table_of(&stack);
    let careless = on(backup.copy().await, earlier).await;
    careless.user("Grace").await.signs_in().await;
    assert!(at(&careless, &linus).dashboard(&of_linus.access).await.text.contains("Grace"));
    assert_eq!(at(&careless, &ada).tries_to_sign_in().await.status, 503);
    assert!(careless.log_of("signin").contains("the state table is newer than the database"));

    let new = Stack::builder().state_in(DynamoDb).with(NEW_SECRET.0, NEW_SECRET.1);
    let careful = on(backup, new).await;
    let grace = careful.user("Grace").await;
    let of_grace = grace.signs_in().await;
    for (person, tokens) in [(&ada, &of_ada), (&linus, &of_linus)] {
        assert_signed_out(&at(&careful, person), tokens).await;
    }
    at(&careful, &ada).signs_in().await;
    assert_eq!(grace.dashboard(&of_grace.access).await.status, 200);
}

/// While sessions move to a table, some functions already use it. A function that does not use it yet may set a new password.
#[tokio::test]
async fn a_reset_in_postgresql_during_a_move_ends_the_sessions_in_the_table_with_the_next_sweep() {
    let old = Stack::with_state_in(PostgreSql).await;
    let new = Stack::builder().state_in(DynamoDb).with("DATABASE_URL", &old.database.functions_url());
    let new = new.with_unprepared_database(TestDatabase::empty().await).start().await;
    let ada = old.user("Ada").await;
    let tokens = at(&new, &ada).signs_in().await;
    sets_new_password(&ada).await;
    old.sweep().await;
    assert_eq!(get_example(&new, &tokens.access).await.status, 200, "the table still has the old minimum version");
    assert_eq!(new.sweep().await["sessions_owed"], 0);
    assert_eq!(get_example(&new, &tokens.access).await.status, 403);
    assert_eq!(at(&new, &ada).refreshes(&tokens.refresh).await.status, 401);
    at(&new, &ada).with_password(NEW_PASSWORD).signs_in().await;
}

/// Only the table is lost, so the secret need not be replaced.
#[tokio::test]
async fn a_lost_table_only_signs_everybody_out() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let ada = stack.user("Ada").await;
    let before = ada.signs_in().await;
    stack.state_table.as_ref().unwrap().delete().await;
    for reply in
        [ada.dashboard(&before.access).await, ada.refreshes(&before.refresh).await, ada.tries_to_sign_in().await]
    {
        assert_eq!(reply.status, 503, "{}", reply.text);
    }
    let after = on(stack.database.copy().await, Stack::builder().state_in(DynamoDb)).await;
    let ada = at(&after, &ada);
    assert_signed_out(&ada, &before).await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
}

/// While sessions are in PostgreSQL, nothing ends the sessions in the table. With the same table, they would be live again.
#[tokio::test]
async fn a_table_that_was_out_of_use_is_not_used_again() {
    let first = Stack::with_state_in(DynamoDb).await;
    let ada = first.user("Ada").await;
    let stolen = ada.signs_in().await;
    let second = on(first.database.copy().await, Stack::builder().state_in(PostgreSql)).await;
    let ada = at(&second, &ada);
    assert_signed_out(&ada, &stolen).await;
    sets_new_password(&ada).await;
    sweep_after_a_day(&second).await;

    // The earlier table still has the minimum version from before the reset.
    let earlier = Stack::builder().state_in(DynamoDb).with_table_of(&first);
    let careless = on(second.database.copy().await, earlier).await;
    assert_eq!(at(&careless, &ada).refreshes(&stolen.refresh).await.status, 200);

    let new = Stack::builder().state_in(DynamoDb).with(NEW_SECRET.0, NEW_SECRET.1);
    let careful = on(second.database.copy().await, new).await;
    let ada = at(&careful, &ada).with_password(NEW_PASSWORD);
    assert_signed_out(&ada, &stolen).await;
    ada.signs_in().await;
}
