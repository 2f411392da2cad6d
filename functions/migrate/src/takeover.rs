//! Checks of a database without applied migrations. It must be empty or have the old service's tables. Any other database is
//! refused.

use std::iter;

use crate::{
    catalog::{self, Column, text_width},
    error::{DatabaseError, Error},
    transaction::Transaction,
};

/// Whether there is a relation `users`, although no migration was applied. It may be empty. [`check`] checks whether it is the table of the old service.
pub async fn has_users_table(transaction: &Transaction<'_>) -> Result<bool, Error> {
    Ok(catalog::kind(transaction, "users").await?.is_some())
}

/// Marks the addresses of all accounts as verified.
pub const VERIFY_ADDRESSES: &str = "UPDATE users SET email_verified_at = now()";

/// Refuses a database to which the first migration cannot or must not be applied.
///
/// # Errors
/// If another table or index has a name that the migrations need, if `users` is not the old service's table, or if two addresses
/// in it differ only in case.
pub async fn check(transaction: &Transaction<'_>) -> Result<(), Error> {
    refuse_taken_names(transaction).await?;
    match catalog::kind(transaction, "users").await?.as_deref() {
        None => return Ok(()),
        Some("r") => {}
        Some(kind) => return Err(Error::UsersNotRecognised(vec![format!("it is {}", catalog::kind_in_words(kind))])),
    }
    let differences = differences(&catalog::columns(transaction, "users").await?);
    if !differences.is_empty() {
        return Err(Error::UsersNotRecognised(differences));
    }
    refuse_shared_addresses(transaction).await
}

/// The migration that creates the unique index on addresses in which ASCII letters are changed to lower case.
pub const ADDRESSES_BY_ASCII: i32 = 3;

/// The tables that the migrations create, without `users`, which the old service has too.
pub const NEW_TABLES: [&str; 18] = [
    "sessions",
    "session_endings",
    "password_resets",
    "throttle",
    "outbox",
    "email_verifications",
    "email_changes",
    "email_undos",
    "reserved_addresses",
    "account_deletions",
    "totp",
    "recovery_codes",
    "mfa_tokens",
    "factor_undos",
    "factor_changes",
    "user_handles",
    "passkeys",
    "used_challenges",
];

/// `users` and the tables that the migrations create.
pub fn tables() -> impl Iterator<Item = &'static str> {
    iter::once("users").chain(NEW_TABLES)
}

/// The columns that the migrations add to `users`.
const NEW_COLUMNS: [&str; 3] = ["credential_version", "locale", "email_verified_at"];
/// Indexes that the migrations create and whose names another program may have used.
const NEW_INDEXES: [&str; 2] = ["users_email_lower_key", "users_email_ascii_key"];

async fn refuse_taken_names(transaction: &Transaction<'_>) -> Result<(), Error> {
    for name in NEW_TABLES.into_iter().chain(NEW_INDEXES) {
        if let Some(kind) = catalog::kind(transaction, name).await? {
            return Err(Error::NameTaken { name, kind: catalog::kind_in_words(&kind) });
        }
    }
    Ok(())
}

/// Describes how a `users` table differs from the old service's. Empty if it does not differ in a way that matters.
///
/// A column may be wider than in the old service, because our values fit into it too. The address is an exception: the migration
/// changes its type to 254 characters. A shorter type can become longer at once. For a longer type, PostgreSQL would rewrite the
/// table, and would fail at a longer address. An additional column is accepted if an INSERT may omit it.
fn differences(columns: &[Column]) -> Vec<String> {
    let expected =
        |name: &'static str, check: &dyn Fn(&Column) -> Vec<String>| match columns.iter().find(|c| c.name == name) {
            Some(column) => check(column),
            None => vec![format!("the column {name} is missing")],
        };
    let mut differences = [
        expected("id", &id),
        expected("name", &|column| text(column, 100..=u32::MAX, "character varying(100) or wider")),
        expected("email", &|column| text(column, 1..=254, "character varying(120), or up to 254")),
        expected("password", &|column| text(column, 255..=u32::MAX, "character varying(255) or wider, to hold a hash")),
        expected("created_at", &created_at),
    ]
    .concat();
    let additional =
        columns.iter().filter(|c| !["id", "name", "email", "password", "created_at"].contains(&c.name.as_str()));
    differences.extend(additional.filter_map(additional_column));
    differences
}

fn id(column: &Column) -> Vec<String> {
    let mut differences = Vec::new();
    if column.data_type != "integer" {
        differences.push(wrong_type(column, "integer"));
    }
    if !column.is_primary_key {
        differences.push("id is not the primary key".to_owned());
    }
    if !column.has_default {
        differences.push(
            "id has no default (a sequence) and is not an identity column, so a new account would get no id".to_owned(),
        );
    }
    differences
}

fn text(column: &Column, widths: std::ops::RangeInclusive<u32>, expected: &str) -> Vec<String> {
    let mut differences = Vec::new();
    if !text_width(&column.data_type).is_some_and(|width| widths.contains(&width)) {
        differences.push(wrong_type(column, expected));
    }
    if !column.not_null {
        differences.push(format!("{} may be NULL", column.name));
    }
    differences
}

fn created_at(column: &Column) -> Vec<String> {
    let expected = "timestamp without time zone";
    if column.data_type == expected { Vec::new() } else { vec![wrong_type(column, expected)] }
}

fn additional_column(column: &Column) -> Option<String> {
    if NEW_COLUMNS.contains(&column.name.as_str()) {
        Some(format!("it has a column {} already, although no migration was ever applied", column.name))
    } else if column.not_null && !column.has_default {
        Some(format!("the column {} is NOT NULL and has no default, and this service would not set it", column.name))
    } else {
        None
    }
}

fn wrong_type(column: &Column, expected: &str) -> String {
    format!("{} is {}; expected {expected}", column.name, column.data_type)
}

/// How many groups of accounts an error message names at most.
const MAX_NAMED_GROUPS: i64 = 20;

/// The first groups of accounts with equal addresses, and the number of all groups. The first SELECT changes ASCII letters to lower case
/// and then compares the addresses. The second one compares them with the database's own collation, as the unique index of V1 does.
const SHARED_ADDRESSES: &str = "
    WITH shared AS (
        SELECT array_agg(id::bigint ORDER BY id) AS ids FROM users GROUP BY lower(email COLLATE \"C\") HAVING count(*) > 1
        UNION
        SELECT array_agg(id::bigint ORDER BY id) FROM users GROUP BY lower(email) HAVING count(*) > 1
    )
    SELECT ids, count(*) OVER () AS groups FROM shared ORDER BY ids LIMIT $1";

/// Refuses accounts whose addresses differ only in upper and lower case, by either of the two comparisons in `SHARED_ADDRESSES`.
///
/// # Errors
/// If there are such accounts. The error names their ids.
pub async fn refuse_shared_addresses(transaction: &Transaction<'_>) -> Result<(), Error> {
    let rows = transaction.query(SHARED_ADDRESSES, &[(&MAX_NAMED_GROUPS, tokio_postgres::types::Type::INT8)]).await?;
    let Some(first) = rows.first() else { return Ok(()) };
    let groups: i64 = first.get("groups");
    let named: Vec<Vec<i64>> =
        rows.iter().map(|row| row.try_get("ids")).collect::<Result<_, _>>().map_err(DatabaseError::from)?;
    let unnamed = usize::try_from(groups).unwrap_or(usize::MAX).saturating_sub(named.len());
    Err(Error::SharedAddresses { named, unnamed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: &str) -> Column {
        Column {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            not_null: true,
            has_default: false,
            is_primary_key: false,
        }
    }

    fn old_service_columns() -> Vec<Column> {
        vec![
            Column { has_default: true, is_primary_key: true, ..column("id", "integer") },
            column("name", "character varying(100)"),
            column("email", "character varying(120)"),
            column("password", "character varying(255)"),
            Column { not_null: false, ..column("created_at", "timestamp without time zone") },
        ]
    }

    fn with_change(name: &str, change: impl Fn(&mut Column)) -> Vec<Column> {
        let mut columns = old_service_columns();
        columns.iter_mut().filter(|column| column.name == name).for_each(change);
        columns
    }

    #[test]
    fn the_old_services_table_is_recognised() {
        assert_eq!(differences(&old_service_columns()), [""; 0]);
    }

    #[test]
    fn a_table_that_differs_harmlessly_is_recognised() {
        for columns in [
            with_change("name", |column| column.data_type = "text".to_owned()),
            with_change("password", |column| column.data_type = "character varying".to_owned()),
            with_change("email", |column| column.data_type = "character varying(254)".to_owned()),
            with_change("created_at", |column| column.not_null = true),
            [old_service_columns(), vec![Column { not_null: false, ..column("phone", "text") }]].concat(),
            [old_service_columns(), vec![Column { has_default: true, ..column("admin", "boolean") }]].concat(),
        ] {
            assert_eq!(differences(&columns), [""; 0]);
        }
    }

    #[test]
    fn each_difference_is_named() {
        for (columns, difference) in [
            (with_change("id", |column| column.data_type = "uuid".to_owned()), "id is uuid; expected integer"),
            (with_change("id", |column| column.is_primary_key = false), "id is not the primary key"),
            (with_change("id", |column| column.has_default = false), "id has no default"),
            (
                with_change("name", |column| column.data_type = "character varying(50)".to_owned()),
                "name is character varying(50)",
            ),
            (with_change("name", |column| column.not_null = false), "name may be NULL"),
            (with_change("email", |column| column.data_type = "text".to_owned()), "email is text"),
            (
                with_change("email", |column| column.data_type = "character varying(255)".to_owned()),
                "email is character varying(255)",
            ),
            (with_change("email", |column| column.data_type = "citext".to_owned()), "email is citext"),
            (with_change("email", |column| column.name = "mail".to_owned()), "the column email is missing"),
            (with_change("password", |column| column.data_type = "character varying(60)".to_owned()), "to hold a hash"),
            (
                with_change("created_at", |column| column.data_type = "timestamp with time zone".to_owned()),
                "created_at is timestamp with",
            ),
            ([old_service_columns(), vec![column("tenant", "integer")]].concat(), "the column tenant is NOT NULL"),
            (
                [old_service_columns(), vec![Column { has_default: true, ..column("credential_version", "integer") }]]
                    .concat(),
                "credential_version already",
            ),
        ] {
            let found = differences(&columns);
            assert!(found.iter().any(|found| found.contains(difference)), "{difference}: {found:?}");
        }
    }

    #[test]
    fn all_differences_are_named_at_once() {
        assert_eq!(differences(&[]).len(), 5);
    }
}
