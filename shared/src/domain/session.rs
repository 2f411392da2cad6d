use std::time::Duration;

use super::{SessionId, Source, TokenId, TooMany, UnixTime, User, UserId};

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
    /// Its user, with the credential version under which the password was verified.
    pub user: &'a User,
    /// Where the request came from.
    pub source: &'a Source,
    /// How long it lives.
    pub lifetime: Duration,
}

/// A live session, as its owner sees it in a list.
#[derive(Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Its id.
    pub id: SessionId,
    /// When it was opened.
    pub created_at: UnixTime,
    /// When it was opened or last refreshed.
    pub last_used_at: UnixTime,
    /// When it ends.
    pub expires_at: UnixTime,
    /// The source that opened it.
    pub source: Option<String>,
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
}
