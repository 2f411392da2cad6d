//! Looking at a database that no migration has seen: empty, or the old service's. Anything else is refused.

use crate::{
    catalog::{self, Column, text_width},
    error::{DatabaseError, Error},
    transaction::Transaction,
};

/// Refuses what the first migration would trip over, or would build upon and should not.
///
/// # Errors
/// Where a name we need is taken, `users` is not the old service's, or two of its addresses differ only in case.
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

/// The migration that makes the index by which addresses are compared.
pub const ADDRESSES_BY_ASCII: i32 = 3;

/// What the migrations make under names that others like too.
const NEW_NAMES: [&str; 6] =
    ["sessions", "password_resets", "throttle", "outbox", "users_email_lower_key", "users_email_ascii_key"];

async fn refuse_taken_names(transaction: &Transaction<'_>) -> Result<(), Error> {
    for name in NEW_NAMES {
        if let Some(kind) = catalog::kind(transaction, name).await? {
            return Err(Error::NameTaken { name, kind: catalog::kind_in_words(&kind) });
        }
    }
    Ok(())
}

/// How a `users` table differs from the old service's, for a person to read; empty where it does not.
///
/// Wider is fine where our own values fit, but for the address: the migration widens it to 254, which is instant from any
/// shorter length and would rewrite, or truncate, a longer one. A column that the old service did not have is fine where an
/// INSERT may leave it out.
fn differences(columns: &[Column]) -> Vec<String> {
    let known =
        |name: &'static str, check: &dyn Fn(&Column) -> Vec<String>| match columns.iter().find(|c| c.name == name) {
            Some(column) => check(column),
            None => vec![format!("the column {name} is missing")],
        };
    let mut differences = [
        known("id", &id),
        known("name", &|column| text(column, 100..=u32::MAX, "character varying(100) or wider")),
        known("email", &|column| text(column, 1..=254, "character varying(120), or up to 254")),
        known("password", &|column| text(column, 255..=u32::MAX, "character varying(255) or wider, to hold a hash")),
        known("created_at", &created_at),
    ]
    .concat();
    let others =
        columns.iter().filter(|c| !["id", "name", "email", "password", "created_at"].contains(&c.name.as_str()));
    differences.extend(others.filter_map(other));
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
        differences.push("id has no default (a sequence) and is no identity: a new account would get no id".to_owned());
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

fn other(column: &Column) -> Option<String> {
    if column.name == "credential_version" {
        Some("it has a column credential_version already, though no migration was ever applied".to_owned())
    } else if column.not_null && !column.has_default {
        Some(format!("the column {} is NOT NULL and has no default: a new account would not fill it", column.name))
    } else {
        None
    }
}

fn wrong_type(column: &Column, expected: &str) -> String {
    format!("{} is {}; expected {expected}", column.name, column.data_type)
}

/// How many groups of accounts a message names. Whoever has more needs a query, not a message.
const NAMED: i64 = 20;

/// The first groups, and how many there are in all: addresses that are one by ASCII, and those that the database folds into one, which the
/// index of V1 refuses.
const SHARED_ADDRESSES: &str = "
    WITH shared AS (
        SELECT array_agg(id::bigint ORDER BY id) AS ids FROM users GROUP BY lower(email COLLATE \"C\") HAVING count(*) > 1
        UNION
        SELECT array_agg(id::bigint ORDER BY id) FROM users GROUP BY lower(email) HAVING count(*) > 1
    )
    SELECT ids, count(*) OVER () AS groups FROM shared ORDER BY ids LIMIT $1";

/// Refuses accounts whose addresses differ only in case: in that of ASCII letters, or in what the database's own collation folds.
///
/// # Errors
/// Where there are some. The error names their ids.
pub async fn refuse_shared_addresses(transaction: &Transaction<'_>) -> Result<(), Error> {
    let rows = transaction.query(SHARED_ADDRESSES, &[(&NAMED, tokio_postgres::types::Type::INT8)]).await?;
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

    fn the_old_services() -> Vec<Column> {
        vec![
            Column { has_default: true, is_primary_key: true, ..column("id", "integer") },
            column("name", "character varying(100)"),
            column("email", "character varying(120)"),
            column("password", "character varying(255)"),
            Column { not_null: false, ..column("created_at", "timestamp without time zone") },
        ]
    }

    fn with(name: &str, change: impl Fn(&mut Column)) -> Vec<Column> {
        let mut columns = the_old_services();
        columns.iter_mut().filter(|column| column.name == name).for_each(change);
        columns
    }

    #[test]
    fn the_old_services_table_is_recognised() {
        assert_eq!(differences(&the_old_services()), [""; 0]);
    }

    #[test]
    fn a_table_that_differs_harmlessly_is_recognised() {
        for columns in [
            with("name", |column| column.data_type = "text".to_owned()),
            with("password", |column| column.data_type = "character varying".to_owned()),
            with("email", |column| column.data_type = "character varying(254)".to_owned()),
            with("created_at", |column| column.not_null = true),
            [the_old_services(), vec![Column { not_null: false, ..column("phone", "text") }]].concat(),
            [the_old_services(), vec![Column { has_default: true, ..column("admin", "boolean") }]].concat(),
        ] {
            assert_eq!(differences(&columns), [""; 0]);
        }
    }

    #[test]
    fn each_difference_is_named() {
        for (columns, difference) in [
            (with("id", |column| column.data_type = "uuid".to_owned()), "id is uuid; expected integer"),
            (with("id", |column| column.is_primary_key = false), "id is not the primary key"),
            (with("id", |column| column.has_default = false), "id has no default"),
            (
                with("name", |column| column.data_type = "character varying(50)".to_owned()),
                "name is character varying(50)",
            ),
            (with("name", |column| column.not_null = false), "name may be NULL"),
            (with("email", |column| column.data_type = "text".to_owned()), "email is text"),
            (
                with("email", |column| column.data_type = "character varying(255)".to_owned()),
                "email is character varying(255)",
            ),
            (with("email", |column| column.data_type = "citext".to_owned()), "email is citext"),
            (with("email", |column| column.name = "mail".to_owned()), "the column email is missing"),
            (with("password", |column| column.data_type = "character varying(60)".to_owned()), "to hold a hash"),
            (
                with("created_at", |column| column.data_type = "timestamp with time zone".to_owned()),
                "created_at is timestamp with",
            ),
            ([the_old_services(), vec![column("tenant", "integer")]].concat(), "the column tenant is NOT NULL"),
            (
                [the_old_services(), vec![Column { has_default: true, ..column("credential_version", "integer") }]]
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
