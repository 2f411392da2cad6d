use super::{SessionId, TokenId, UnixTime, UserId};

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
    /// PostgreSQL's time when it returned this session.
    pub now: UnixTime,
}

/// The ids in a token whose signature and claims are valid. Only the database knows whether its session is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The claim `sub`.
    pub user_id: UserId,
    /// The claim `sid`.
    pub session_id: SessionId,
    /// The claim `jti`.
    pub token_id: TokenId,
}
