use super::{Factors, PresentedSession, SignInCounters, User};

/// A proof of the password by a signed-in user.
pub struct Proof {
    /// The session that the request presents.
    pub session: PresentedSession,
    /// The account, as it was when the attempt began. The password was verified against the hash that was read with it.
    pub user: User,
    /// Which kinds of second factors it had then.
    pub factors: Factors,
    /// The counters of the attempt. Whoever uses the proof undoes its counting.
    pub counters: SignInCounters,
}
