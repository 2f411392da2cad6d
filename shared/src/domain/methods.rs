use serde::{Serialize, Serializer};

/// How a user has authenticated in a session: the claims `amr` (RFC 8176 §2) and `acr` (OpenID Connect Core §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(i32);

impl Methods {
    /// The password.
    pub const PASSWORD: Self = Self(1);
    /// A code of an authenticator, or a recovery code that stands in for it.
    pub const ONE_TIME_CODE: Self = Self(2);
    /// A passkey, besides another method.
    pub const PASSKEY: Self = Self(4);
    /// A passkey alone. Its authenticator has verified the user, so it is two factors in one.
    pub const PASSKEY_ALONE: Self = Self(4 | 8);
    /// `user` in RFC 8176 says that the user was present. This service uses it only if the authenticator has also verified the user.
    const USER_VERIFICATION: Self = Self(8);

    /// Every value of the claim `acr`: without and with a second factor.
    pub const LEVELS: [&str; 2] = ["aal1", "aal2"];

    /// The methods, by the names of RFC 8176.
    const NAMES: [(Self, &str); 4] = [
        (Self::PASSWORD, "pwd"),
        (Self::ONE_TIME_CODE, "otp"),
        (Self::PASSKEY, "pop"),
        (Self::USER_VERIFICATION, "user"),
    ];

    /// Reads what [`Self::to_stored`] has written.
    #[must_use]
    pub fn from_stored(stored: i32) -> Self {
        Self(stored)
    }

    /// The number that the stores have: the sum of the methods.
    #[must_use]
    pub fn to_stored(self) -> i32 {
        self.0
    }

    /// These methods together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a second factor is among them.
    #[must_use]
    pub fn have_second_factor(self) -> bool {
        self.contain(Self::ONE_TIME_CODE) || self.contain(Self::PASSKEY)
    }

    /// Their names in RFC 8176: the claim `amr`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(method, _)| self.contain(*method)).map(|(_, name)| name)
    }

    /// The claim `acr`: the assurance level of NIST SP 800-63B-4 §2.
    #[must_use]
    pub fn level(self) -> &'static str {
        Self::LEVELS[usize::from(self.have_second_factor())]
    }

    fn contain(self, method: Self) -> bool {
        self.0 & method.0 != 0
    }
}

impl Serialize for Methods {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 76.
    #[test]
    fn the_claims_name_what_was_shown() {
        for (methods, names, level) in [
            (Methods::PASSWORD, r#"["pwd"]"#, "aal1"),
            (Methods::ONE_TIME_CODE, r#"["otp"]"#, "aal2"),
            (Methods::ONE_TIME_CODE.and(Methods::PASSWORD), r#"["pwd","otp"]"#, "aal2"),
            (Methods::PASSWORD.and(Methods::PASSKEY), r#"["pwd","pop"]"#, "aal2"),
            (Methods::PASSKEY_ALONE, r#"["pop","user"]"#, "aal2"),
            (Methods::PASSKEY_ALONE.and(Methods::PASSKEY), r#"["pop","user"]"#, "aal2"),
        ] {
            assert_eq!((serde_json::to_string(&methods).unwrap().as_str(), methods.level()), (names, level));
            assert_eq!(Methods::from_stored(methods.to_stored()), methods);
        }
    }
}
