//! The change of a password: it ends every session of the user, and opens a session that replaces the one of the request.

use super::{Sessions, Store, dynamodb::Opened, endings};
use crate::{
    audit::{self, Event},
    db::{
        Database,
        password_changes::{self, PasswordChange, Replacement},
        session_endings,
    },
    domain::{MailId, Methods, NewSession, PresentedSession, Proof, Session, SessionId, Source, TokenId, User},
    error::ApiError,
    http::Request,
    security::{PasswordHash, token::TokenReply},
};

/// What the answer to a change of the password needs.
pub struct PasswordChangeReply {
    /// The tokens of the new session.
    pub tokens: TokenReply,
    /// Whether the notice is in the outbox.
    pub notice_is_owed: bool,
}

impl Sessions {
    /// Sets the password of the user who gave this proof, ends all sessions of the user, and writes the notice into the outbox. Opens a session that
    /// inherits the `auth_time` of the presented one, and returns its tokens.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the presented session has ended since the proof (if sessions are in DynamoDB: if the credentials have changed
    /// since). If DynamoDB fails, the password is set, and the client may repeat the request ([`Self::complete_password_change`]).
    pub async fn change_password(
        &self,
        request: &Request,
        database: &Database,
        proof: &Proof,
        hash: &PasswordHash,
        notice: MailId,
    ) -> Result<PasswordChangeReply, ApiError> {
        let source = request.source();
        let replacement = self.replacement(request, &source);
        let Proof { session, user, counters, .. } = proof;
        let change = PasswordChange { session: *session, hash, notice, replacement, counters_to_clear: counters };
        let changed = password_changes::change(database, change).await?.ok_or(ApiError::TokenRevoked)?;
        audit::record(Event::PasswordChanged, Some(user.id));
        let tokens = if let Some(session) = changed.session {
            self.mint_fresh(request, &session)?
        } else {
            let user = User { credential_version: changed.version, ..user.clone() };
            self.replace_in_table(request, database, *session, &user, Methods::PASSWORD).await?
        };
        Ok(PasswordChangeReply { tokens, notice_is_owed: changed.notice_is_owed })
    }

    /// A new session, which replaces the one of a request from this source.
    pub(super) fn replacement<'a>(&self, request: &'a Request, source: &'a Source) -> Replacement<'a> {
        let mut rng = request.rng();
        Replacement {
            id: SessionId::random(&mut rng),
            refresh_id: TokenId::random(&mut rng),
            lifetime: self.lifetime,
            source,
            user_agent: request.user_agent(),
        }
    }

    /// Completes a change that set the password in this session, but did not end the sessions in DynamoDB. `user` has the new credential version. Until
    /// the minimum version is raised, each repetition of the request may open a session of its own, which the user sees in the list of sessions. After
    /// that, a repetition is refused with 401.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the last change of the credentials was not a change of the password in this session.
    pub async fn complete_password_change(
        &self,
        request: &Request,
        database: &Database,
        presented: PresentedSession,
        user: &User,
    ) -> Result<TokenReply, ApiError> {
        if !session_endings::password_was_changed_in(database, user, presented.session_id).await? {
            return Err(ApiError::TokenRevoked);
        }
        self.replace_in_table(request, database, presented, user, Methods::PASSWORD).await
    }

    /// Opens the session in DynamoDB that replaces the presented one after a change of the credentials, and so ends all earlier sessions. It inherits the
    /// `auth_time` and the methods of the presented one. `user` has the new credential version, and has shown `shown`.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the credentials have changed again.
    pub(super) async fn replace_in_table(
        &self,
        request: &Request,
        database: &Database,
        presented: PresentedSession,
        user: &User,
        shown: Methods,
    ) -> Result<TokenReply, ApiError> {
        let (Store::DynamoDb(table), Some(in_table)) = (&self.store, presented.in_table) else {
            return Err(ApiError::TokenRevoked);
        };
        let mut rng = request.rng();
        let new = NewSession {
            id: SessionId::random(&mut rng),
            refresh_id: TokenId::random(&mut rng),
            user,
            source: &request.source(),
            user_agent: request.user_agent(),
            methods: in_table.methods.and(shown),
            auth_time: Some(in_table.auth_time),
            lifetime: self.lifetime,
        };
        // This also raises the account's minimum version, which ends the other sessions.
        let session: Session = match table.open(new, request.arrived_at()).await? {
            Opened::Open(session) => session,
            Opened::Outdated { .. } => return Err(ApiError::TokenRevoked),
        };
        endings::record_settled(database, user.id, user.credential_version).await;
        self.mint_fresh(request, &session)
    }
}
