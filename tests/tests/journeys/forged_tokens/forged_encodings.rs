//! Valid contents in wrong encodings, and forged signatures.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tests::stack::SECRET;

use super::unsigned_token::{ForgedToken, Key, UnsignedToken, decoded, encoded, signed, with_signature};

/// Tokens made from the parts of a valid token, in other encodings and combinations.
pub fn forged_encodings(valid_token: &UnsignedToken) -> Vec<ForgedToken> {
    let token = token_with_special_characters(valid_token);
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let message = format!("{header}.{claims}");
    let forged = |text: String| ForgedToken::new(text.clone(), text);
    let mut forgeries: Vec<ForgedToken> = [
        message.clone(),
        format!("{message}."),
        format!("{message}.."),
        header.to_owned(),
        format!("{header}."),
        format!("{header}.."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("..{signature}"),
        format!("{claims}.{signature}"),
        format!("{claims}.{header}.{signature}"),
        format!("{signature}.{claims}.{header}"),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}.{token}"),
        format!("{header}.AA.AA.{claims}.{signature}"),
        token[1..].to_owned(),
        token[..token.len() - 1].to_owned(),
        format!("{token}{}", &token[token.len() - 1..]),
        format!("{token}{token}"),
        format!("{token} {token}"),
        format!("{token}, Bearer {token}"),
        format!("Bearer {token}"),
        format!("{message} .{signature}"),
        format!("{message}. {signature}"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}.\t{claims}.{signature}"),
        format!("\"{token}\""),
        format!("<{token}>"),
        format!("{token}="),
        format!("{token}%3D"),
        format!("{header}==.{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        token.replace('.', ","),
        token.replace('.', "%2E"),
        token.replace('.', "\u{ff0e}"),
        format!("{token}\u{a0}"),
        format!("\u{a0}{token}"),
        format!("{token}\u{200b}"),
        format!("\u{feff}{token}"),
        format!("\u{ff45}{}", &token[1..]),
        token.to_lowercase(),
        token.to_uppercase(),
        token.chars().rev().collect(),
        format!("{message}.{}", signature.replace('-', "+").replace('_', "/")),
        format!("{message}.{}", hex::encode(decoded(signature))),
        format!("{message}.{}", decoded(signature).len()),
        hex::encode(&token),
        encoded(&token),
        STANDARD.encode(&token),
        json!({ "protected": header, "payload": claims, "signature": signature }).to_string(),
        json!({ "payload": claims, "signatures": [{ "protected": header, "signature": signature }] }).to_string(),
        "null".to_owned(),
        "undefined".to_owned(),
        "a.b.c".to_owned(),
        "é.é.é".to_owned(),
        "🐎.🐎.🐎".to_owned(),
        "A".repeat(8192),
        ".".repeat(8192),
        format!("{token}{}", "A".repeat(8192)),
        format!("{message}.{}", "A".repeat(8192)),
    ]
    .map(forged)
    .into();
    // The signatures of these tokens are correct, but the encoding of header or claims is wrong.
    let bits_unused = |part: &str| {
        let last = part.chars().next_back().unwrap();
        format!("{}{}", &part[..part.len() - 1], char::from(u8::try_from(last).unwrap() + 1))
    };
    for (name, message) in [
        ("unused bits set in the header", format!("{}.{claims}", bits_unused(header))),
        ("unused bits set in the claims", format!("{header}.{}", bits_unused(claims))),
        ("a padded header", format!("{header}==.{claims}")),
        ("padded claims", format!("{header}.{claims}==")),
        ("a space in the claims", format!("{header}.{claims} ")),
        ("no header", format!(".{claims}")),
        ("no claims", format!("{header}.")),
        ("two headers", format!("{header}.{header}.{claims}")),
        ("claims that are not base64", format!("{header}.{}", valid_token.claims_text().replace('"', "'"))),
    ] {
        forgeries.push(ForgedToken::new(name.to_owned(), with_signature(&message, &Key::of_the_service())));
    }
    forgeries.push(ForgedToken::new(
        "unused bits set in the signature".to_owned(),
        format!("{message}.{}", bits_unused(signature)),
    ));
    forgeries
}

/// Correctly signed headers and claims that are not JSON objects, or have a duplicate member.
pub fn forged_json(valid_token: &UnsignedToken) -> Vec<ForgedToken> {
    let (header, claims) = (valid_token.header_text(), valid_token.claims_text());
    let header_value: Value = serde_json::from_str(&header).unwrap();
    let claims_value: Value = serde_json::from_str(&claims).unwrap();
    let array = |object: &Value| json!(object.as_object().unwrap().values().collect::<Vec<_>>()).to_string();
    let with_member = |object: &str, member: &str| {
        [format!("{{{member},{}", &object[1..]), format!("{},{member}}}", &object[..object.len() - 1])]
    };
    let odd = |object: &str| {
        [
            String::new(),
            "null".to_owned(),
            "1".to_owned(),
            "\"x\"".to_owned(),
            "{}".to_owned(),
            "[]".to_owned(),
            format!("[{object}]"),
            format!("{object}{object}"),
            format!("{object}x"),
            format!("{object}\0"),
            format!("\u{feff}{object}"),
            format!("{object}//"),
            object.replace('"', "'"),
            object.replace("\":", "\"="),
            format!("{},}}", &object[..object.len() - 1]),
            object[..object.len() - 1].to_owned(),
            json!(object).to_string(),
            encoded(object),
            format!("{{\"a\":{}", "[".repeat(4000)),
            format!("{{\"a\":{}1{},{}", "[".repeat(500), "]".repeat(500), &object[1..]),
            format!("{},\"a\":1e999}}", &object[..object.len() - 1]),
            format!("{},\"a\":\"\\ud800\"}}", &object[..object.len() - 1]),
            format!("{},\"a\":NaN}}", &object[..object.len() - 1]),
        ]
    };
    let mut forgeries: Vec<ForgedToken> = Vec::new();
    let mut add = |header: &str, claims: &str| {
        forgeries
            .push(ForgedToken::new(format!("{header} . {claims}"), signed(header, claims, &Key::of_the_service())));
    };
    for odd in odd(&header).iter().chain([&array(&header_value)]) {
        add(odd, &claims);
    }
    for odd in odd(&claims).iter().chain([&array(&claims_value)]) {
        add(&header, odd);
    }
    for twice in [
        r#""alg":"none""#,
        r#""alg":"HS256""#,
        r#""kid":"x""#,
        r#""typ":"JWT""#,
        r#""\u0061lg":"none""#,
        r#""crit":[]"#,
    ] {
        for header in &with_member(&header, twice) {
            add(header, &claims);
        }
    }
    for twice in [
        r#""sub":"1""#,
        r#""sub":"2""#,
        r#""\u0073ub":"2""#,
        r#""exp":4000000000"#,
        r#""exp":1"#,
        r#""aud":"jwt-auth""#,
        r#""iss":"jwt-auth""#,
        r#""type":"access""#,
        r#""type":"refresh""#,
        r#""sid":"00000000-0000-0000-0000-000000000000""#,
        r#""fresh":true"#,
    ] {
        for claims in &with_member(&claims, twice) {
            add(&header, claims);
        }
    }
    let utf16: Vec<u8> = claims.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin1 = [&claims.as_bytes()[..claims.len() - 1], b",\"a\":\"\xe9\"}"].concat();
    for (name, bytes) in [("UTF-16", utf16), ("bad UTF-8", latin1)] {
        forgeries.push(ForgedToken::new(format!("claims in {name}"), signed(&header, &bytes, &Key::of_the_service())));
        forgeries
            .push(ForgedToken::new(format!("a header in {name}"), signed(&bytes, &claims, &Key::of_the_service())));
    }
    let nested = valid_token.header("cty", "JWT").header_text();
    forgeries.push(ForgedToken::new(
        "a token in a token".to_owned(),
        signed(nested, valid_token.signed(), &Key::of_the_service()),
    ));
    forgeries.push(ForgedToken::new(
        "a token instead of claims".to_owned(),
        signed(header, valid_token.signed(), &Key::of_the_service()),
    ));
    forgeries
}

/// Wrong signatures.
pub fn forged_signatures(valid_token: &UnsignedToken) -> Vec<ForgedToken> {
    let token = valid_token.signed();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let bytes = decoded(signature);
    let mut forgeries: Vec<ForgedToken> = Vec::new();
    let mut add = |name: String, signature: &[u8]| {
        forgeries.push(ForgedToken::new(name, format!("{message}.{}", encoded(signature))));
    };
    for bit in (0..8 * bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        add(format!("bit {bit} of the signature"), &flipped);
    }
    for length in [0, 1, 16, 31] {
        add(format!("{length} bytes of the signature"), &bytes[..length]);
    }
    add("a longer signature".to_owned(), &[&bytes[..], &[0]].concat());
    add("the signature twice".to_owned(), &bytes.repeat(2));
    add("a reversed signature".to_owned(), &bytes.iter().rev().copied().collect::<Vec<_>>());
    add("zeros".to_owned(), &[0; 32]);
    add("ones".to_owned(), &[255; 32]);
    add("text".to_owned(), SECRET.as_bytes());
    add(
        "a signature of the claims without the header".to_owned(),
        &decoded(&Key::of_the_service().sign(message.split_once('.').unwrap().1)),
    );
    add(
        "the signature of other claims".to_owned(),
        &decoded(valid_token.claim("n", 1).signed().rsplit_once('.').unwrap().1),
    );
    for secret in [
        "",
        "secret",
        "password",
        "changeme",
        "your-256-bit-secret",
        "your-secret-key",
        "jwt-secret",
        "super-secret",
        "secret_key",
        "key",
        "test",
        "development",
        "default",
        "jwt-auth",
        "0123456789abcdef0123456789abcdef",
        &SECRET[1..],
        &SECRET.to_uppercase(),
        &format!("{SECRET}\n"),
        &format!(" {SECRET}"),
        &encoded(SECRET),
        &STANDARD.encode(SECRET),
        &hex::encode(SECRET),
        &valid_token.header_text(),
    ] {
        forgeries
            .push(ForgedToken::new(format!("signed with {secret:?}"), valid_token.signed_by(&Key::secret(secret))));
    }
    for bit in [0, 7, 100, 300] {
        // The claims are changed, but the signature is not.
        let (header, claims) = message.split_once('.').unwrap();
        let mut changed = decoded(claims);
        changed[bit / 8] ^= 1 << (bit % 8);
        forgeries.push(ForgedToken::new(
            format!("bit {bit} of the claims"),
            format!("{header}.{}.{signature}", encoded(changed)),
        ));
    }
    forgeries
}

/// A token whose signature contains a character that differs between base64 and base64url, and whose claims have unused bits in their
/// last character.
fn token_with_special_characters(valid_token: &UnsignedToken) -> String {
    (0..100)
        .map(|n| valid_token.claim("n", "n".repeat(n)).signed())
        .find(|token| {
            let parts: Vec<_> = token.split('.').collect();
            parts[2].contains(['-', '_']) && !parts[1].len().is_multiple_of(4)
        })
        .unwrap()
}
