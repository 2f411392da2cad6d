//! What an authorizer answers to API Gateway, and what API Gateway then tells the route's function about the request.

use serde::Serialize;

use crate::{
    domain::{SessionId, UnixTime, UserId},
    security::token::PASSWORD,
};

/// The user and the session of a request that an authorizer let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub sub: UserId,
    /// The user's session.
    pub sid: SessionId,
}

/// The answer of an authorizer: payload format 2.0, simple response. API Gateway passes the context on to the route's function.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<AuthorizationContext>,
}

#[derive(Debug, Serialize)]
struct AuthorizationContext {
    sub: String,
    sid: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amr: Option<&'static str>,
    email_verified: bool,
}

impl Authorization {
    /// Lets a request of this user and session through. `auth_time` is the claim of its access token. `email_verified` says whether the address is
    /// verified now, which the access token may not know yet.
    #[must_use]
    pub fn of(user: UserId, session: SessionId, auth_time: Option<UnixTime>, email_verified: bool) -> Self {
        let amr = auth_time.map(|_| PASSWORD);
        let context = AuthorizationContext { sub: user.to_string(), sid: session, auth_time, amr, email_verified };
        Self { is_authorized: true, context: Some(context) }
    }

    /// Refuses the request.
    #[must_use]
    pub fn denied() -> Self {
        Self { is_authorized: false, context: None }
    }
}
