//! The login tokens of RDS, written from AWS's description of Signature Version 4. The functions sign their tokens with AWS's own library.

use aws_lc_rs::{digest, hmac};
use time::{Duration, OffsetDateTime, PrimitiveDateTime, format_description};

use crate::stack::{ACCESS_KEY, REGION, SECRET_KEY};

/// What a token is made of. The text of a token is the URL of a request, without its scheme.
#[derive(Debug, Clone)]
pub struct LoginToken {
    /// Host and port of the server.
    pub address: String,
    /// The user who logs in.
    pub user: String,
    /// When the token was signed. It is valid for 15 minutes.
    pub signed_at: OffsetDateTime,
    /// The secret key that signs the token.
    pub secret_key: String,
}

impl LoginToken {
    /// A token that a function of a [`crate::Stack`] would sign now.
    pub(crate) fn new(address: &str, user: &str) -> Self {
        let (address, user, secret_key) = (address.to_owned(), user.to_owned(), SECRET_KEY.to_owned());
        Self { address, user, signed_at: OffsetDateTime::now_utc(), secret_key }
    }

    /// The text of the token.
    #[must_use]
    pub fn sign(&self) -> String {
        let time = self.signed_at.format(&format()).expect("a time");
        let (day, _) = time.split_once('T').expect("a time");
        let scope = [day, REGION, "rds-db", "aws4_request"];
        let query = format!(
            "Action=connect&DBUser={}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ACCESS_KEY}%2F{}&X-Amz-Date={time}\
             &X-Amz-Expires=900&X-Amz-SignedHeaders=host",
            self.user,
            scope.join("%2F")
        );
        let request = format!("GET\n/\n{query}\nhost:{}\n\nhost\n{}", self.address, sha256(""));
        let signed = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{}", scope.join("/"), sha256(&request));
        let key = scope.iter().fold(format!("AWS4{}", self.secret_key).into_bytes(), |key, part| mac(&key, part));
        format!("{}/?{query}&X-Amz-Signature={}", self.address, hex::encode(mac(&key, &signed)))
    }

    /// Whether this text is a token with the same address, user and key that was signed in the last 15 minutes.
    pub(crate) fn accepts(&self, text: &str) -> bool {
        let time = text.split_once("&X-Amz-Date=").and_then(|(_, rest)| rest.split('&').next());
        let Some(Ok(time)) = time.map(|time| PrimitiveDateTime::parse(time, &format())) else { return false };
        let signed_at = time.assume_utc();
        let age = self.signed_at - signed_at;
        // The text contains the time in whole seconds, rounded down. So the age of a new token is not negative.
        (Duration::ZERO..Duration::minutes(15)).contains(&age) && Self { signed_at, ..self.clone() }.sign() == text
    }
}

fn format() -> impl time::formatting::Formattable + time::parsing::Parsable {
    format_description::parse_borrowed::<2>("[year][month][day]T[hour][minute][second]Z").expect("a format")
}

fn sha256(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}
