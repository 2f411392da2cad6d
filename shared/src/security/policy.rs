//! Every number of the security policy, each with its reason. Where the environment can set one, this is its default.

use std::time::Duration;

/// Least characters of a new password. NIST SP 800-63B-4 §3.1.1.2: 15 where the password is the only factor.
pub const PASSWORD_MIN_LENGTH: usize = 15;
/// The lowest value that `PASSWORD_MIN_LENGTH` may be set to. OWASP ASVS 6.2.1: eight.
pub const PASSWORD_MIN_LENGTH_LOWEST: usize = 8;
/// Most characters of a new password. NIST and ASVS 6.2.9 want at least 64 allowed; twice that fits every passphrase.
pub const PASSWORD_MAX_LENGTH: usize = 128;
/// Most bytes of a password that is tried at sign-in. An account that was taken over may have a longer password than one
/// may set here, but no person types a page.
pub const PASSWORD_MAX_TRIED_BYTES: usize = 4096;
/// So many characters in a row of the account's own name or address make a password guessable (ASVS 6.2.11). Three would
/// refuse half the dictionary.
pub const PASSWORD_CONTEXT_LENGTH: usize = 4;
/// Mail services that anybody can have an address at, by the first label of their domains, whatever country they are in. Their names are no
/// part of an account that an attacker could guess from its address.
pub const PUBLIC_MAIL_SERVICES: [&str; 32] = [
    "aol",
    "comcast",
    "fastmail",
    "free",
    "freenet",
    "gmail",
    "gmx",
    "googlemail",
    "hey",
    "hotmail",
    "icloud",
    "laposte",
    "libero",
    "live",
    "mail",
    "me",
    "msn",
    "naver",
    "orange",
    "outlook",
    "pm",
    "proton",
    "protonmail",
    "qq",
    "sfr",
    "t-online",
    "tuta",
    "tutanota",
    "web",
    "yahoo",
    "yandex",
    "zoho",
];

/// argon2id memory in KiB, passes and lanes: OWASP Password Storage cheat sheet's second choice, which needs least memory of
/// those that need one lane. Lambda gives a function one processor, so a second lane would only add time.
pub const ARGON2_MEMORY_KIB: u32 = 19_456;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_PASSES: u32 = 2;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_LANES: u32 = 1;
/// Bytes of a password's salt. RFC 9106 §3.1 recommends 16; NIST wants at least 4.
pub const SALT_BYTES: usize = 16;

/// Most work a stored hash may ask for, so that a row somebody planted cannot hold a function for minutes: argon2 memory,
/// passes and lanes (OWASP's heaviest choice has 47104 KiB).
pub const ARGON2_MAX: (u32, u32, u32) = (65_536, 10, 4);
/// The same for PBKDF2: Werkzeug 3 makes 1 000 000 rounds.
pub const PBKDF2_MAX_ROUNDS: u32 = 2_000_000;
/// The same for scrypt, as log2 N, r and p: Werkzeug 3 makes 15, 8 and 1, which takes 32 MiB.
pub const SCRYPT_MAX: (u8, u32, u32) = (16, 8, 4);

/// Least bytes of the secret that signs tokens. RFC 7518 §3.2: as long as the hash.
pub const MIN_SECRET_BYTES: usize = 32;
/// Least bytes of an RSA modulus. RFC 7518 §3.3: 2048 bits.
pub const MIN_RSA_BYTES: usize = 256;
/// How long an access token lives. Logout bites at once all the same, because a token is good only while its session lives.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// How long a session lives, from sign-in, however often it is refreshed. NIST SP 800-63B-4 §2.1.3 allows 30 days.
pub const SESSION_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// How long a client that lost an answer may present the parent of an unused refresh token again. Long enough for a
/// retry, too short for a thief who is not already listening. RFC 9700 §4.14.2 knows no grace; see docs/security.md.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);
/// How long others may keep our public keys before they look again. API Gateway keeps them for up to two hours, whatever we say.
pub const PUBLIC_KEYS_CACHED: Duration = Duration::from_mins(5);
/// How far the clock that issued a token may run ahead of the one that checks it, in seconds. None is given to `exp`.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Bytes of a reset token: OWASP ASVS 11.5.1 wants 128 bits, and twice as many cost nothing.
pub const RESET_TOKEN_BYTES: usize = 32;
/// How long a reset token lives: time to find the mail, not to forget it.
pub const RESET_TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// The minimum duration of every answer of forgot-password. SES usually needs less, so the time reveals nothing.
pub const FORGOT_PASSWORD_MINIMUM_DURATION: Duration = Duration::from_secs(1);
/// How long before the minimum duration ends an attempt to send a mail is given up. The rest is for recording in the database that it was sent.
pub const MINIMUM_DURATION_MARGIN: Duration = Duration::from_millis(300);

/// Most bytes of a body that is read. The longest password that is tried has 4096 bytes, which leaves room for escapes. API Gateway passes
/// on megabytes, and no attempt has been counted when they arrive.
pub const BODY_MAX_BYTES: usize = 16 * 1024;

/// So many attempts within so much time, counted from the first. See [`super::throttle`].
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Attempts that are let through.
    pub attempts: i32,
    /// The time they are counted in.
    pub window: Duration,
}

/// Failed sign-ins to one account from one source before it has to wait: room for a person's typing errors.
pub const SIGNIN_FAILURES: i32 = 5;
/// The first wait, which doubles with every further failure. OWASP ASVS 6.3.1; NIST SP 800-63B-4 §3.2.2 suggests 30 s to an hour.
pub const SIGNIN_FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait: 96 guesses a day for whoever sits out every wait, and a person who mistyped has not gone home yet.
pub const SIGNIN_LONGEST_WAIT: Duration = Duration::from_mins(15);
/// The wait after so many failures in a row; none while there are few.
#[must_use]
pub fn signin_wait(failures: i32) -> Option<Duration> {
    let doublings = u32::try_from(failures - SIGNIN_FAILURES).ok()?;
    let wait = SIGNIN_FIRST_WAIT.checked_mul(2_u32.saturating_pow(doublings)).unwrap_or(SIGNIN_LONGEST_WAIT);
    Some(wait.min(SIGNIN_LONGEST_WAIT))
}
/// How long the failures of one account from one source are remembered after the last one. So long that resting until they are forgotten
/// gives fewer guesses (nine in six hours) than sitting out every wait. Not longer, because anybody can cause such a counter for any address.
pub const SIGNIN_MEMORY: Duration = Duration::from_hours(6);
/// Failed sign-ins from one source, over all accounts: a stuffed list of credentials, not an office behind one address.
pub const SIGNIN_FAILURES_OF_SOURCE: Limit = Limit { attempts: 100, window: Duration::from_mins(15) };
/// Failed sign-ins in a row to one account, over all sources. NIST SP 800-63B-4 §3.2.2: at most 100. After that only sources with a live
/// session of the account may try, until a sign-in or a reset succeeds.
pub const SIGNIN_FAILURES_OF_ACCOUNT: i32 = 100;
/// How much longer each failure keeps the counter of an account. A hundred at once close it for a month, so a month allows a hundred
/// guesses, fast or slow. A single failure at an address that nobody has leaves a counter for hours, not for a month.
pub const SIGNIN_MEMORY_OF_ACCOUNT: Duration = Duration::from_mins(30 * 24 * 60 / 100);
/// Most live sessions of one account. A person has a few devices; a program that signs in for every call has thousands.
pub const SESSIONS_OF_ACCOUNT: i64 = 50;
/// Most sessions that opening one deletes. One at a time is enough; more clear what was there before there was a limit.
pub const SESSIONS_EVICTED: i64 = 1_000;
/// New accounts from one source: a class of students on their first day.
pub const SIGNUPS_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Forgotten passwords from one source.
pub const FORGOTTEN_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Reset mails to one address, and to all addresses together that differ from it only after a `+`: more would be a way to annoy the owner of
/// the mailbox.
pub const RESET_MAILS_OF_MAILBOX: Limit = Limit { attempts: 3, window: Duration::from_hours(1) };
/// Tries of a reset token from one source. No number of tries finds 256 bits; this bounds the hashing they pay for.
pub const RESETS_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Refreshes of one session: fifty at once from one page are fine, a loop is not.
pub const REFRESHES_OF_SESSION: Limit = Limit { attempts: 60, window: Duration::from_mins(1) };

/// Longest time an endpoint waits for others, all its calls together. A quarter of a second is added at the very most, to call off what
/// nobody waits for any more: so a refresh is answered within 4 seconds, and a client that lost the answer still has half of
/// [`REFRESH_GRACE`] to ask again.
pub const REQUEST_BUDGET: Duration = Duration::from_millis(3_500);
/// Longest time `sweep` takes. It runs every minute.
pub const SWEEP_BUDGET: Duration = Duration::from_secs(50);
/// How long before Lambda would end an invocation it ends by itself; Lambda's own clock and ours count whole seconds here.
pub const LAMBDA_MARGIN: Duration = Duration::from_secs(1);
/// The longest time Lambda grants an invocation.
pub const LAMBDA_LONGEST: Duration = Duration::from_mins(15);
/// Longest wait for a new connection to PostgreSQL.
pub const DATABASE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait until PostgreSQL's machine has acknowledged what was sent to it, however busy PostgreSQL itself is. A network forgets
/// connections that were idle while Lambda froze the process (AWS: after 350 seconds), and says nothing; a statement sent by
/// such a connection is run again on a new one.
pub const DATABASE_ACKNOWLEDGED: Duration = Duration::from_secs(1);
/// Longest time for one statement, a connection and retries included.
pub const DATABASE_DEADLINE: Duration = Duration::from_secs(3);
/// Longest pause before a statement is run again that another transaction undid (SQLSTATE 40001, 40P01), the first time. It doubles with each
/// conflict. A statement takes a millisecond or two, so those who met are through by then.
pub const CONFLICT_FIRST_PAUSE: Duration = Duration::from_millis(4);
/// The longest such pause. Fifty at one row need some fifty turns, and a request has three seconds.
pub const CONFLICT_LONGEST_PAUSE: Duration = Duration::from_millis(128);
/// Longest time to tell PostgreSQL that nobody waits for a statement any more.
pub const DATABASE_CANCEL: Duration = Duration::from_millis(250);
/// Longest time for what is asked of DynamoDB at once, retries included: twice in a sign-in.
pub const STATE_DEADLINE: Duration = Duration::from_secs(2);
/// Longest time for one attempt at it, a connection included. DynamoDB answers in a few milliseconds, or something is wrong.
pub const STATE_ATTEMPT: Duration = Duration::from_secs(1);
/// When `sweep` attempts a mail again that a request could not send, and how long it waits before the next attempt but one: more than a
/// request lives, so that the two are never at it together. Doubles with each attempt.
pub const MAIL_FIRST_RETRY: Duration = Duration::from_secs(30);
/// The longest wait between two attempts. SES drops what it throttles, and asks to wait up to ten minutes.
pub const MAIL_LONGEST_RETRY: Duration = Duration::from_mins(10);
/// How long the notice of a changed password is worth sending. A link for a new password is not, once its token would have expired.
pub const NOTICE_LIFETIME: Duration = Duration::from_hours(3 * 24);
/// Expired rows that one statement deletes: some 10 ms of work.
pub const SWEEP_BATCH: i64 = 1_000;
/// What `sweep` keeps of its time for everything but mails: their attempts end there.
pub const SWEEP_RESERVE: Duration = Duration::from_secs(15);

/// What is kept of an attempt's time to write down that it succeeded.
pub const MAIL_SETTLING: Duration = Duration::from_millis(100);
/// Longest time for a mail that no floor hides. One that is late is mailed again by `sweep`.
pub const MAIL_DEADLINE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_from_thirty_seconds_to_a_quarter_of_an_hour() {
        let waits = (0..12).map(|failures| signin_wait(failures).map_or(0, |wait| wait.as_secs())).collect::<Vec<_>>();
        assert_eq!(waits, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(signin_wait(i32::MAX), Some(SIGNIN_LONGEST_WAIT));
    }

    #[proptest::property_test]
    fn a_further_failure_never_makes_a_wait_shorter(#[strategy = 0..i32::MAX] failures: i32) {
        let (wait, next) = (signin_wait(failures), signin_wait(failures + 1));
        assert!(wait <= next && next <= Some(SIGNIN_LONGEST_WAIT));
        assert_eq!(wait.is_none(), failures < SIGNIN_FAILURES);
    }
}
