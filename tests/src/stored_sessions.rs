//! The sessions of a stack as they are stored, in either store. Tests use them to simulate that time passes, and to count sessions.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::db::SESSION_IS_LIVE;
use uuid::Uuid;

use crate::{Stack, StateTable};

/// All sessions of a stack.
pub struct StoredSessions<'a> {
    stack: &'a Stack,
}

impl<'a> StoredSessions<'a> {
    pub(crate) fn of(stack: &'a Stack) -> Self {
        Self { stack }
    }

    /// The ids of the live sessions.
    pub async fn live(&self) -> Vec<String> {
        self.live_by_user().await.into_values().flatten().collect()
    }

    /// The ids of the live sessions, by the id of their user.
    pub async fn live_by_user(&self) -> BTreeMap<i64, Vec<String>> {
        let mut live = BTreeMap::<i64, Vec<String>>::new();
        let Some(table) = &self.stack.state_table else {
            let query = format!("SELECT u.id, s.id::text FROM sessions s JOIN users u ON {SESSION_IS_LIVE}");
            for row in self.stack.database.connect().await.query(&query, &[]).await.expect("the sessions") {
                live.entry(row.get(0)).or_default().push(row.get(1));
            }
            return live;
        };
        let items = table.items().await;
        let accounts = items.iter().filter(|item| item["sk"]["S"] == "account");
        let minimum_versions: BTreeMap<_, _> =
            accounts.map(|account| (user_id(account), number(account, "minimum_version"))).collect();
        let now = now_in_millis() / 1000;
        for session in &items {
            let (Some(id), user) = (session_id(session), user_id(session)) else { continue };
            let minimum_version = minimum_versions.get(&user).copied().unwrap_or(0);
            if number(session, "expires_at") > now && number(session, "version") >= minimum_version {
                live.entry(user).or_default().push(id.to_owned());
            }
        }
        live
    }

    /// Everything that is stored about sessions, as text.
    pub async fn as_text(&self) -> String {
        match &self.stack.state_table {
            Some(table) => Value::from(table.items().await).to_string(),
            None => self.stack.sql_text("SELECT string_agg(s::text, ' ') FROM sessions s").await,
        }
    }

    /// Moves the time of the last refresh of every session back by this number of seconds.
    pub async fn move_refresh_back(&self, seconds: i64) {
        match &self.stack.state_table {
            Some(table) => change(table, |item| add_to(item, "refreshed_at", -1000 * seconds)).await,
            None => self.update(&format!("refreshed_at = refreshed_at - interval '{seconds} seconds'")).await,
        }
    }

    /// Moves the time at which the user of every session last signed in or reauthenticated back by this number of seconds.
    pub async fn move_auth_time_back(&self, seconds: i64) {
        match &self.stack.state_table {
            Some(table) => change(table, |item| add_to(item, "auth_time", -1000 * seconds)).await,
            None => self.update(&format!("auth_time = auth_time - interval '{seconds} seconds'")).await,
        }
    }

    /// Makes every session like one that was opened before `auth_time` and `user_agent` existed.
    pub async fn forget_columns_of_version_7(&self) {
        match &self.stack.state_table {
            Some(table) => {
                change(table, |item| {
                    for attribute in ["auth_time", "user_agent"] {
                        item.as_object_mut().map(|item| item.remove(attribute));
                    }
                })
                .await;
            }
            None => self.update("auth_time = NULL, user_agent = NULL").await,
        }
    }

    /// Moves the time at which the count of refreshes of every session began back by this number of seconds.
    pub async fn move_refresh_count_back(&self, seconds: i64) {
        match &self.stack.state_table {
            Some(table) => change(table, |item| add_to(item, "refreshes_since", -1000 * seconds)).await,
            None => self.update(&format!("refreshes_since = refreshes_since - interval '{seconds} seconds'")).await,
        }
    }

    /// Sets the count of refreshes of every session, as if the count had begun at this moment.
    pub async fn set_refresh_count(&self, count: i64) {
        let Some(table) = &self.stack.state_table else {
            return self.update(&format!("refreshes = {count}, refreshes_since = now()")).await;
        };
        change(table, |item| {
            item["refreshes"]["N"] = count.to_string().into();
            item["refreshes_since"]["N"] = now_in_millis().to_string().into();
        })
        .await;
    }

    /// Makes every session expire in this number of seconds. With a negative number, it has already expired.
    pub async fn end_in(&self, seconds: i64) {
        let Some(table) = &self.stack.state_table else {
            return self
                .update(&format!("expires_at = date_trunc('second', now()) + interval '{seconds} seconds'"))
                .await;
        };
        let end = now_in_millis() / 1000 + seconds;
        change(table, |item| item["expires_at"]["N"] = end.to_string().into()).await;
    }

    /// Adds live sessions to the only account.
    pub async fn add(&self, count: usize) {
        let Some(table) = &self.stack.state_table else {
            let sessions =
                "INSERT INTO sessions (id, user_id, credential_version, refresh_id, expires_at)
                SELECT gen_random_uuid(), id, credential_version, gen_random_uuid(), now() + interval '1 day' FROM users, generate_series";
            return self.stack.sql(&format!("{sessions}(1, {count})")).await;
        };
        let user = self.stack.sql_number("SELECT id FROM users").await;
        let now = now_in_millis();
        for _ in 0..count {
            let session = json!({
                "pk": { "S": format!("u#{user}") },
                "sk": { "S": format!("s#{}", Uuid::new_v4()) },
                "version": { "N": "1" },
                "refresh_id": { "S": Uuid::new_v4().to_string() },
                "refreshed_at": { "N": now.to_string() },
                "created_at": { "N": now.to_string() },
                "expires_at": { "N": (now / 1000 + 86_400).to_string() },
                "source": { "S": "192.0.2.1" },
                "refreshes": { "N": "0" },
                "refreshes_since": { "N": now.to_string() },
            });
            table.put(&session).await;
        }
    }

    async fn update(&self, change: &str) {
        self.stack.sql(&format!("UPDATE sessions SET {change}")).await;
    }
}

async fn change(table: &StateTable, change: impl Fn(&mut Value)) {
    table.rewrite(|item| session_id(item).is_some(), change).await;
}

/// The id of an item that is a session.
fn session_id(item: &Value) -> Option<&str> {
    item["sk"]["S"].as_str()?.strip_prefix("s#")
}

/// The id of the user in whose partition an item is.
fn user_id(item: &Value) -> i64 {
    item["pk"]["S"].as_str().and_then(|partition| partition.strip_prefix("u#")?.parse().ok()).unwrap_or(0)
}

fn number(item: &Value, attribute: &str) -> i64 {
    item[attribute]["N"].as_str().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Adds to a number of an item.
pub(crate) fn add_to(item: &mut Value, attribute: &str, difference: i64) {
    if item[attribute].is_object() {
        item[attribute]["N"] = (number(item, attribute) + difference).to_string().into();
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness writes what a function with the same clock would write")]
pub(crate) fn now_in_millis() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since_1970.as_millis()).expect("it is before the year 292 million")
}
