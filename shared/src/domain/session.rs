use std::time::Duration;

use serde::Serialize;

use super::{Methods, SessionId, Source, TokenId, TooMany, UnixMillis, UnixTime, User, UserId};

/// A live session, with the values from which its tokens are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The claim `sid`.
    pub id: SessionId,
    /// The claim `sub`.
    pub user_id: UserId,
    /// The `jti` of its current refresh token.
    pub refresh_id: TokenId,
    /// When that token was issued.
    pub refreshed_at: UnixTime,
    /// When the user last signed in or reauthenticated: the claim `auth_time`. A session that replaces another one inherits the time.
    pub auth_time: UnixTime,
    /// How the user has authenticated: the claims `amr` and `acr`.
    pub methods: Methods,
    /// Whether the address of its user is verified: the claim `email_verified`.
    pub email_verified: bool,
    /// When the session ends. A refresh does not change it. It is the `exp` of refresh tokens.
    pub expires_at: UnixTime,
    /// The time at which its access token is issued: by PostgreSQL's clock, or for sessions in DynamoDB by the function's clock.
    pub now: UnixTime,
}

/// A session to open.
pub struct NewSession<'a> {
    /// Its id.
    pub id: SessionId,
    /// The `jti` of its first refresh token.
    pub refresh_id: TokenId,
    /// Its user, with the credential version under which the user authenticated.
    pub user: &'a User,
    /// Where the request came from.
    pub source: &'a Source,
    /// The User-Agent header of the request.
    pub user_agent: Option<&'a str>,
    /// How the user has authenticated.
    pub methods: Methods,
    /// When the user signed in or reauthenticated. `None` means the current time. A session that replaces another one inherits its time. Only sessions in
    /// DynamoDB use this value. In PostgreSQL, statements set the time.
    pub auth_time: Option<UnixMillis>,
    /// How long it lives.
    pub lifetime: Duration,
}

/// A live session, as its owner sees it in a list. In JSON, its times are those of RFC 3339, and the source is the field `ip`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ListedSession {
    /// Its id.
    pub id: SessionId,
    /// When it was opened.
    #[serde(serialize_with = "UnixTime::serialize_as_rfc3339")]
    pub created_at: UnixTime,
    /// When it was opened or last refreshed, or when its user last reauthenticated.
    #[serde(serialize_with = "UnixTime::serialize_as_rfc3339")]
    pub last_used_at: UnixTime,
    /// When it ends.
    #[serde(serialize_with = "UnixTime::serialize_as_rfc3339")]
    pub expires_at: UnixTime,
    /// The source that opened it.
    #[serde(rename = "ip")]
    pub source: Option<String>,
    /// The User-Agent header of the request that opened it.
    pub user_agent: Option<String>,
}

/// The result of presenting a refresh token.
#[derive(Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It was the session's current token. The session now has a new one.
    Rotated(Session),
    /// It was the parent of the current token, within the grace. The current token stays.
    Repeated(Session),
    /// It was an older token, or the parent after the grace. The session has been revoked, because the token may have been stolen.
    Reused,
    /// The session is refreshed too often.
    TooMany(TooMany),
    /// The session has ended, or its user does not exist any more.
    Gone,
}

/// The result of ending a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was live and has ended now.
    Now,
    /// It had ended before.
    Before,
    /// Its user does not exist any more.
    UserGone,
}

/// The ids in a token whose signature and claims are valid. Only the store of the sessions shows whether its session is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The claim `sub`.
    pub user_id: UserId,
    /// The claim `sid`.
    pub session_id: SessionId,
    /// The claim `jti`.
    pub token_id: TokenId,
    /// The claim `auth_time`. Refresh tokens do not have it, nor do access tokens that were issued before this claim existed.
    pub auth_time: Option<UnixTime>,
}

/// The session that a request presents, for statements that require it to be live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedSession {
    /// The user.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    /// If sessions are in DynamoDB: the session, which was found live there. The statement then requires that the user's credential version is still
    /// the version of this session. `None` if sessions are in PostgreSQL. Then the statement requires that the session is live.
    pub in_table: Option<TableSession>,
}

impl PresentedSession {
    /// The session's credential version in DynamoDB.
    #[must_use]
    pub fn version(&self) -> Option<i32> {
        self.in_table.map(|session| session.version)
    }
}

/// A live session in DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSession {
    /// The user's credential version when it was opened, or when a change of second factors last gave it a new one.
    pub version: i32,
    /// When its user last signed in or reauthenticated.
    pub auth_time: UnixMillis,
    /// How its user has authenticated.
    pub methods: Methods,
    /// Whether the address of its user is verified.
    pub email_verified: bool,
}
