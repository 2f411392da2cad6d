use super::{PresentedSession, SignInCounters, User};

/// A proof of the password by a signed-in user.
pub struct Proof {
    /// The session that the request presents.
    pub session: PresentedSession,
    /// The account, as it was when the password was verified.
    pub user: User,
    /// The counters of the attempt, which the statement that uses the proof clears.
    pub counters: SignInCounters,
}
