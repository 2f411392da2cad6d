//! What a client knows about its sessions and its requests. Some answers may have been lost.

use std::time::Instant;

use crate::{Reply, Tokens};

/// Whether something is true, as far as a client knows. If an answer was lost, the client may not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    No,
    Unknown,
    Yes,
}

impl Certainty {
    /// Records that an unanswered request may have made this true.
    pub(super) fn may_become_true(&mut self) {
        if *self == Self::No {
            *self = Self::Unknown;
        }
    }

    /// Records that an unanswered request may have made this false.
    pub(super) fn may_become_false(&mut self) {
        if *self == Self::Yes {
            *self = Self::Unknown;
        }
    }
}

/// The result of a request.
pub(super) enum RequestResult {
    Done(Reply),
    Refused(u16),
    /// The answer was 5xx. The request may have taken effect, or may still take effect until the faults have ended.
    Unknown,
}

/// A session, as its client knows it.
pub(super) struct Session {
    pub(super) alive: Certainty,
    pub(super) tokens: Tokens,
    /// The refresh tokens before the current one, oldest first.
    pub(super) used_refresh_tokens: Vec<String>,
    /// When the request was sent that returned the current refresh token.
    pub(super) refresh_sent: Instant,
    /// When the current refresh token was first sent without receiving an answer.
    pub(super) first_unanswered: Option<Instant>,
}

impl Session {
    /// A session. The sign-in that opened it was sent at this time.
    pub(super) fn new(alive: Certainty, tokens: Tokens, sent: Instant) -> Self {
        Self { alive, tokens, used_refresh_tokens: Vec::new(), refresh_sent: sent, first_unanswered: None }
    }
}

/// The requests of one kind that changed something or may have changed something.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) acknowledged: usize,
    pub(super) unanswered: usize,
    /// When the last acknowledged request was sent.
    pub(super) last_sent: Option<Instant>,
}

impl Changes {
    pub(super) fn acknowledge(&mut self, sent: Instant) {
        self.acknowledged += 1;
        self.last_sent = Some(sent);
    }
}
