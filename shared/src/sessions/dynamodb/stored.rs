//! The items of a user's partition: the keys, and a session as it is stored.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::{
    domain::{ListedSession, Methods, NewSession, Session, SessionId, TokenId, TooMany, UnixMillis, UnixTime, UserId},
    security::policy,
    state_table::{Item, Key, number, text},
};

/// The sort key of the item about the account.
const ACCOUNT: &str = "account";

/// The beginning of the sort key of a session.
const SESSION: &str = "s#";

pub(super) fn partition(user: UserId) -> String {
    format!("u#{user}")
}

pub(super) fn account_key(user: UserId) -> Key {
    Key { partition: partition(user), sort: ACCOUNT.to_owned() }
}

pub(super) fn session_key(user: UserId, session: SessionId) -> Key {
    Key { partition: partition(user), sort: format!("{SESSION}{}", session.0) }
}

/// What the item `account` says. The default is an account without such an item.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AccountItem {
    /// The lowest credential version whose sessions are live.
    pub(super) minimum_version: i32,
    /// The credential version under which the address was verified, if that was after the account's first session.
    verified_version: Option<i32>,
}

impl AccountItem {
    pub(super) fn read(item: Option<&Item>) -> Self {
        let version = |name| item.and_then(|item| item.number(name)?.try_into().ok());
        Self { minimum_version: version("minimum_version").unwrap_or(0), verified_version: version("verified_version") }
    }
}

/// What a user's partition contains.
pub(super) struct PartitionContent {
    pub(super) account: AccountItem,
    /// The live sessions. The one that was used last comes first.
    pub(super) live: Vec<StoredSession>,
    /// The sessions that have ended and were not deleted yet.
    pub(super) ended: Vec<SessionId>,
}

impl PartitionContent {
    pub(super) fn of(items: &[Item], now: UnixMillis) -> Self {
        let account = AccountItem::read(items.iter().find(|item| item.text("sk") == Some(ACCOUNT)));
        let sessions = items.iter().filter_map(StoredSession::read);
        let (mut live, ended): (Vec<_>, Vec<_>) = sessions.partition(|session| session.is_live(account, now));
        live.sort_by_key(|session| (std::cmp::Reverse(session.last_used()), session.id.0));
        Self { account, live, ended: ended.into_iter().map(|session| session.id).collect() }
    }
}

/// A session in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredSession {
    pub(super) id: SessionId,
    /// The user's credential version when the session was opened, or when a change of second factors last gave the session a new one.
    pub(super) version: i32,
    pub(super) refresh_id: TokenId,
    pub(super) previous_refresh_id: Option<TokenId>,
    pub(super) refreshed_at: UnixMillis,
    created_at: UnixMillis,
    expires_at: UnixTime,
    pub(super) source: Option<String>,
    /// When the user last proved the password or a second factor.
    pub(super) auth_time: UnixMillis,
    /// How the user has authenticated.
    pub(super) methods: Methods,
    /// Whether the address was verified when the session was opened, or when the user last reauthenticated.
    email_verified: bool,
    user_agent: Option<String>,
    refreshes: i64,
    refreshes_since: UnixMillis,
}

impl StoredSession {
    /// A session that is opened now. It ends on a whole second, so that a token can contain the exact time.
    pub(super) fn open(new: &NewSession<'_>, now: UnixMillis) -> Self {
        Self {
            id: new.id,
            version: new.user.credential_version,
            refresh_id: new.refresh_id,
            previous_refresh_id: None,
            refreshed_at: now,
            created_at: now,
            expires_at: now.seconds().plus(new.lifetime),
            source: Some(new.source.as_str().to_owned()),
            auth_time: new.auth_time.unwrap_or(now),
            methods: new.methods,
            email_verified: new.user.email_verified,
            user_agent: new.user_agent.map(str::to_owned),
            refreshes: 0,
            refreshes_since: now,
        }
    }

    /// Reads an item. `None` if it is not a session.
    pub(super) fn read(item: &Item) -> Option<Self> {
        let id = |name| item.text(name)?.parse().ok().map(TokenId);
        let millis = |name| item.number(name).map(UnixMillis);
        let number_of = |name| item.number(name).and_then(|number| i32::try_from(number).ok());
        Some(Self {
            id: SessionId(item.text("sk")?.strip_prefix(SESSION)?.parse().ok()?),
            version: number_of("version")?,
            refresh_id: id("refresh_id")?,
            previous_refresh_id: id("previous_refresh_id"),
            refreshed_at: millis("refreshed_at")?,
            created_at: millis("created_at")?,
            expires_at: UnixTime(item.number("expires_at")?),
            source: item.text("source").map(str::to_owned),
            // Sessions that were opened before this attribute existed do not have it.
            auth_time: millis("auth_time").or_else(|| millis("created_at"))?,
            // Sessions that were opened before there were second factors do not have it.
            methods: number_of("amr").map_or(Methods::PASSWORD, Methods::from_stored),
            email_verified: item.number("email_verified") == Some(1),
            user_agent: item.text("user_agent").map(str::to_owned),
            refreshes: item.number("refreshes")?,
            refreshes_since: millis("refreshes_since")?,
        })
    }

    /// The item of a session that was just opened.
    pub(super) fn to_item(&self, user: UserId) -> Item {
        let attributes = [
            ("version", number(self.version.into())),
            ("refresh_id", id(self.refresh_id.0)),
            ("refreshed_at", number(self.refreshed_at.0)),
            ("created_at", number(self.created_at.0)),
            ("expires_at", number(self.expires_at.0)),
            ("source", text(self.source.as_deref().unwrap_or_default())),
            ("auth_time", number(self.auth_time.0)),
            ("amr", number(self.methods.to_stored().into())),
            ("email_verified", number(self.email_verified.into())),
            ("refreshes", number(self.refreshes)),
            ("refreshes_since", number(self.refreshes_since.0)),
        ];
        let user_agent = self.user_agent.as_deref().map(|user_agent| ("user_agent", text(user_agent)));
        Item::new(&session_key(user, self.id), attributes.into_iter().chain(user_agent))
    }

    pub(super) fn is_live(&self, account: AccountItem, now: UnixMillis) -> bool {
        self.version >= account.minimum_version && self.expires_at > now.seconds()
    }

    /// Whether the address of its user is verified.
    pub(super) fn is_verified(&self, account: AccountItem) -> bool {
        self.email_verified || account.verified_version == Some(self.version)
    }

    /// The values from which its tokens are created. The time is never before the last use, which another function's clock may have set.
    pub(super) fn session(&self, user_id: UserId, account: AccountItem, now: UnixMillis) -> Session {
        Session {
            id: self.id,
            user_id,
            refresh_id: self.refresh_id,
            refreshed_at: self.refreshed_at.seconds(),
            auth_time: self.auth_time.seconds(),
            methods: self.methods,
            email_verified: self.is_verified(account),
            expires_at: self.expires_at,
            now: now.max(self.last_used()).seconds(),
        }
    }

    /// When it was last used: opened or refreshed, or when its user last reauthenticated.
    fn last_used(&self) -> UnixMillis {
        self.refreshed_at.max(self.auth_time)
    }

    /// The session, as its owner sees it in a list.
    pub(super) fn listed(self) -> ListedSession {
        ListedSession {
            id: self.id,
            created_at: self.created_at.seconds(),
            last_used_at: self.last_used().seconds(),
            expires_at: self.expires_at,
            source: self.source,
            user_agent: self.user_agent,
        }
    }
}

/// How a refresh is counted. A session may be refreshed [`policy::REFRESHES_OF_SESSION`] times within a window.
pub(super) struct Counting {
    /// The part of the update expression that counts.
    pub(super) change: &'static str,
    /// What must still be true when the refresh is counted.
    pub(super) condition: &'static str,
    pub(super) values: Vec<(&'static str, AttributeValue)>,
}

impl Counting {
    /// Continues the running window, or begins a new one. Refuses the refresh if there were too many.
    pub(super) fn of(session: &StoredSession, now: UnixMillis) -> Result<Self, TooMany> {
        let limit = policy::REFRESHES_OF_SESSION;
        let mut values = vec![(":one", number(1)), (":since", number(session.refreshes_since.0))];
        let window_ends = session.refreshes_since.plus(limit.window);
        if window_ends <= now {
            values.push((":now", number(now.0)));
            let change = "refreshes = :one, refreshes_since = :now";
            return Ok(Self { change, condition: "refreshes_since = :since", values });
        }
        if session.refreshes >= limit.attempts.into() {
            return Err(TooMany::wait(window_ends.since(now).as_secs_f64()));
        }
        values.push((":limit", number(limit.attempts.into())));
        let condition = "refreshes_since = :since AND refreshes < :limit";
        Ok(Self { change: "refreshes = refreshes + :one", condition, values })
    }
}

/// An id as the value of an attribute.
pub(super) fn id(id: Uuid) -> AttributeValue {
    text(&id.to_string())
}
