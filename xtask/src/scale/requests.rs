//! The requests to the functions. They belong to accounts and sessions all over the tables, and each comes from a source of its own, so that none is
//! throttled.

use anyhow::{Result, ensure};
use postgres::Client;
use serde_json::{Value, json};
use toolkit::workspace::Workspace;

use super::{
    databases::{Databases, Which, sign_in_body},
    tokens::GeneratedSession,
};
use crate::bench::requests;

/// The functions that are compared.
pub const COMPARED: [&str; 4] = ["signin", "refresh", "dashboard", "forgot-password"];

/// Makes this number of requests to a function. No two of them have the same session.
pub fn prepare(
    workspace: &Workspace,
    databases: &Databases,
    which: Which,
    function: &str,
    count: u32,
) -> Result<Vec<Value>> {
    let mut sql = databases.sql(which)?;
    let mut event = requests::sample_event(workspace, function)?;
    let mut events = Vec::new();
    let mut add = |event: &mut Value| {
        event["requestContext"]["http"]["sourceIp"] = source(events.len()).into();
        events.push(event.clone());
    };
    match function {
        "signin" | "forgot-password" => {
            for email in sample_addresses(&mut sql, count)? {
                event["body"] = if function == "signin" {
                    sign_in_body(&email)
                } else {
                    json!({ "email": email }).to_string().into()
                };
                add(&mut event);
            }
        }
        _ => {
            for session in sample_sessions(&mut sql, count)? {
                let tokens = &databases.tokens;
                let token = if function == "refresh" { tokens.refresh(&session)? } else { tokens.access(&session)? };
                event["headers"]["authorization"] = format!("Bearer {token}").into();
                add(&mut event);
            }
        }
    }
    let enough = usize::try_from(count)?;
    ensure!(
        events.len() == enough,
        "{count} calls need as many users and live sessions. Increase --users, --sessions and --live"
    );
    Ok(events)
}

/// The address of the client of a request. 198.18.0.0/15 is reserved for measurements (RFC 2544).
fn source(number: usize) -> String {
    format!("198.{}.{}.{}", 18 + number / 65536 % 2, number / 256 % 256, number % 256)
}

fn sample_addresses(sql: &mut Client, count: u32) -> Result<Vec<String>> {
    let rows = sql.query("SELECT email FROM users ORDER BY random() LIMIT $1", &[&i64::from(count)])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Live sessions that do not expire soon.
fn sample_sessions(sql: &mut Client, count: u32) -> Result<Vec<GeneratedSession>> {
    let rows = sql.query(
        "SELECT s.id::text, s.user_id::text, s.refresh_id::text
         FROM sessions s JOIN users u ON u.id = s.user_id AND u.credential_version = s.credential_version
         WHERE s.revoked_at IS NULL AND s.expires_at > now() + interval '1 hour'
         ORDER BY random() LIMIT $1",
        &[&i64::from(count)],
    )?;
    let session = |row: &postgres::Row| GeneratedSession { id: row.get(0), user: row.get(1), refresh_id: row.get(2) };
    Ok(rows.iter().map(session).collect())
}

/// Returns an error if the answer is not a success.
pub fn ensure_success(function: &str, answer: &Value) -> Result<()> {
    ensure!(is_success(answer), "{function} refused a request: {answer}");
    Ok(())
}

/// Whether a request was successful.
pub fn is_success(answer: &Value) -> bool {
    answer["statusCode"] == 200
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_request_has_a_source_of_its_own() {
        let sources: BTreeSet<_> = (0..100_000).map(source).collect();
        assert_eq!(sources.len(), 100_000);
        assert!(sources.iter().all(|source| source.parse::<std::net::Ipv4Addr>().is_ok()));
    }
}
