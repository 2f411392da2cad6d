use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents},
};

use super::{Rejected, cbor::Map};

/// The algorithms that this service offers, by their numbers in COSE (RFC 9053, RFC 8812): ES256, `EdDSA` and RS256. Nearly all authenticators have the
/// first one, and some of Windows only the last one (WebAuthn §5.4).
pub(super) const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];

const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

/// Labels of a COSE key (RFC 9052 §7.1, RFC 9053 §7, RFC 8230 §4).
const KEY_TYPE: i64 = 1;
const ALGORITHM: i64 = 3;
const CURVE: i64 = -1;
const X: i64 = -2;
const Y: i64 = -3;
const MODULUS: i64 = -1;
const EXPONENT: i64 = -2;

/// Key types.
const OCTET_KEY_PAIR: i64 = 1;
const ELLIPTIC_CURVE: i64 = 2;
const RSA: i64 = 3;

/// Curves.
const P_256: i64 = 1;
const CURVE_25519: i64 = 6;

/// The number of bytes of an RSA modulus: 2048 to 4096 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// A public key of one of the algorithms.
pub(super) enum PublicKey {
    Point(ParsedPublicKey),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

impl PublicKey {
    /// Reads a COSE key.
    pub(super) fn parse(cose: &[u8]) -> Result<Self, Rejected> {
        let malformed = || Rejected::Malformed("public key");
        let map = Map::parse(cose).ok_or_else(malformed)?;
        let algorithm = map.integer(ALGORITHM).ok_or_else(malformed)?;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(Rejected::Algorithm);
        }
        Self::of(algorithm, &map).ok_or_else(malformed)
    }

    fn of(algorithm: i64, map: &Map) -> Option<Self> {
        let key_type = map.integer(KEY_TYPE)?;
        let is_on = |curve| map.integer(CURVE) == Some(curve);
        match (algorithm, key_type) {
            (ES256, ELLIPTIC_CURVE) if is_on(P_256) => {
                let (x, y) = (map.bytes(X)?, map.bytes(Y)?);
                let has_length = x.len() == 32 && y.len() == 32;
                // An uncompressed point (SEC 1 §2.3.3).
                let point = [&[4], x, y].concat();
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok()?;
                has_length.then_some(Self::Point(key))
            }
            (EDDSA, OCTET_KEY_PAIR) if is_on(CURVE_25519) => {
                let point = map.bytes(X)?;
                let has_length = point.len() == 32;
                has_length.then(|| ParsedPublicKey::new(&ED25519, point).ok())?.map(Self::Point)
            }
            (RS256, RSA) => {
                let (n, e) = (map.bytes(MODULUS)?.to_vec(), map.bytes(EXPONENT)?.to_vec());
                // Both are odd, and the modulus has all bits of its length.
                let is_modulus = RSA_BYTES.contains(&n.len()) && n[0] >= 0x80 && n[n.len() - 1] % 2 == 1;
                let is_exponent = (1..=4).contains(&e.len()) && e[0] != 0 && e[e.len() - 1] % 2 == 1 && e != [1];
                (is_modulus && is_exponent).then_some(Self::Rsa(RsaPublicKeyComponents { n, e }))
            }
            _ => None,
        }
    }

    /// Verifies the signature over the authenticator data and the hash of the client data (WebAuthn §7.2).
    pub(super) fn verify(&self, data: &[u8], client_data: &[u8], signature: &[u8]) -> Result<(), Rejected> {
        let signed = [data, digest(&SHA256, client_data).as_ref()].concat();
        let verified = match self {
            Self::Point(key) => key.verify_sig(&signed, signature),
            Self::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, &signed, signature),
        };
        verified.map_err(|_| Rejected::Signature)
    }
}
