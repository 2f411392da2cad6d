//! What an authorizer answers to API Gateway, and what API Gateway then tells the route's function about the request.

use serde::Serialize;

use crate::domain::{Methods, SessionId, UnixTime, UserId};

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
    amr: String,
    acr: &'static str,
    email_verified: bool,
}

impl Authorization {
    /// Lets a request of this user and session through. `auth_time` is the claim of its access token. `methods` says how the user has authenticated,
    /// and `email_verified` whether the address is verified now. Both may be newer than the access token.
    #[must_use]
    pub fn of(
        user: UserId,
        session: SessionId,
        auth_time: Option<UnixTime>,
        methods: Methods,
        email_verified: bool,
    ) -> Self {
        let context = AuthorizationContext {
            sub: user.to_string(),
            sid: session,
            auth_time,
            amr: methods.names().collect::<Vec<_>>().join(" "),
            acr: methods.level(),
            email_verified,
        };
        Self { is_authorized: true, context: Some(context) }
    }

    /// Refuses the request.
    #[must_use]
    pub fn denied() -> Self {
        Self { is_authorized: false, context: None }
    }
}
