//! Forged header parameters and claims.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tests::stack::SECRET;

use super::unsigned_token::{ForgedToken, Key, UnsignedToken, encoded, with_signature};

/// Tokens with a wrong `alg` value.
pub fn forged_algorithms(valid_token: &UnsignedToken) -> Vec<ForgedToken> {
    let names = [
        "none",
        "None",
        "NONE",
        "noNE",
        "nOnE",
        "none ",
        "",
        " HS256",
        "hs256",
        "Hs256",
        "HS256\0",
        "HS1",
        "HS384",
        "HS512",
        "RS256",
        "RS512",
        "PS256",
        "ES256",
        "ES256K",
        "ES384",
        "EdDSA",
        "dir",
        "A128KW",
        "PBES2-HS256+A128KW",
    ];
    let values = [json!(null), json!(256), json!(0), json!(true), json!(["HS256"]), json!({ "HS256": null })];
    let unsigned_tokens = names.map(Value::from).into_iter().chain(values).map(|alg| valid_token.header("alg", alg));
    let mut forgeries: Vec<_> = unsigned_tokens
        .chain([valid_token.without_header("alg")])
        .flat_map(|unsigned| {
            let message = format!("{}.{}", encoded(unsigned.header_text()), encoded(unsigned.claims_text()));
            let name = unsigned.header_text();
            [
                ForgedToken::new(name.clone(), with_signature(&message, &Key::of_the_service())),
                ForgedToken::new(format!("{name}, unsigned"), format!("{message}.")),
            ]
        })
        .collect();
    for (name, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let key = Key::of_the_service().with_algorithm(algorithm);
        forgeries.push(ForgedToken::new(
            format!("alg {name}, signed with {name}"),
            valid_token.header("alg", name).signed_by(&key),
        ));
        forgeries.push(ForgedToken::new(format!("alg HS256, signed with {name}"), valid_token.signed_by(&key)));
    }
    forgeries
}

/// Tokens with registered header parameters (RFC 7515 §4.1, RFC 7516 §4.1, RFC 7797) and with unregistered ones.
pub fn forged_headers(valid_token: &UnsignedToken, key_server_url: &str) -> Vec<ForgedToken> {
    let kid = valid_token.kid().as_str().unwrap().to_owned();
    let long = "k".repeat(4000);
    let kids = [
        "",
        "0",
        "null",
        "../../../../dev/null",
        "/dev/null",
        "file:///dev/null",
        "' OR '1'='1",
        "' UNION SELECT 'x' --",
        "x;sleep 9",
        "$(sleep 9)",
        "__proto__",
        "constructor",
        "\0",
        "\u{202e}",
        "{{7*7}}",
        key_server_url,
        &long,
        &kid[1..],
        &kid.to_uppercase(),
        &format!("{kid} "),
        &format!("{kid}\0"),
        &format!("./{kid}"),
        &format!("{kid},{kid}"),
    ];
    let mut forged: Vec<(&str, Value)> = kids.into_iter().map(|kid| ("kid", json!(kid))).collect();
    let values_by_header = json!({
        "kid": [null, 0, 1.5, true, [kid], { "kid": kid }],
        "typ": [null, "", "jwt", "Jwt", "JWS", "at+jwt", "JOSE", "JWT ", "application/jwt", 1, ["JWT"]],
        "crit": [null, [], ["exp"], ["crit"], ["b64"], ["unknown"], "exp", true],
        "b64": [null, false, true, "false"],
        "jku": [null, "", key_server_url],
        "x5u": [null, "", key_server_url],
        "jwk": [null, {}, { "kty": "oct", "kid": kid, "k": encoded(SECRET) }, { "kty": "oct", "k": "" }],
        "x5c": [null, [], ["MIIB"]],
        "x5t": [null, "", encoded([0; 20])],
        "x5t#S256": [null, "", encoded([0; 32])],
        "cty": [null, "JWT", "json"],
        "zip": [null, "DEF", "GZIP"],
        "enc": [null, "A128GCM", "none"],
        "epk": [null, {}],
        "iv": [null, "AA"],
        "url": [null, key_server_url],
        "nonce": [null, "AA"],
        "ppt": [null, "shaken"],
        "iss": [null, "jwt-auth"],
        "Alg": ["HS256"],
        "": [null],
        "\u{0}": [1],
        "anything": [null, 0, {}],
    });
    for (name, values) in values_by_header.as_object().unwrap() {
        forged.extend(values.as_array().unwrap().iter().map(|value| (name.as_str(), value.clone())));
    }
    let mut forgeries: Vec<_> = forged
        .iter()
        .map(|(name, value)| {
            ForgedToken::new(format!("{name}: {value}"), valid_token.header(name, value.clone()).signed())
        })
        .collect();
    for name in ["typ", "kid"] {
        forgeries.push(ForgedToken::new(format!("no {name}"), valid_token.without_header(name).signed()));
    }
    // The attacker puts their own key into the token.
    let jwk = json!({ "kty": "oct", "alg": "HS256", "kid": "mine", "k": encoded("my own secret") });
    let with_own_key = valid_token.header("jwk", jwk).header("kid", "mine");
    forgeries.push(ForgedToken::new(
        "signed with the key that the token contains",
        with_own_key.signed_by(&Key::secret("my own secret")),
    ));
    forgeries
}

/// For each claim: tokens without it, with a value of the wrong type, and with a wrong or differently written value.
pub fn forged_claims(valid_token: &UnsignedToken) -> Vec<ForgedToken> {
    let mut forgeries = Vec::new();
    let mut add = |name: &str, value: Value| {
        forgeries.push(ForgedToken::new(format!("{name}: {value}"), valid_token.claim(name, value).signed()));
    };
    for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "type", "fresh"] {
        let value = valid_token.claim_value(name);
        for wrong in [json!(null), json!([value]), json!([]), json!({}), json!({ "$ne": null }), json!(""), json!("x")]
        {
            add(name, wrong);
        }
        add(name, if value.is_number() { json!(value.to_string()) } else { json!(1) });
        add(name, if value.is_boolean() { json!("true") } else { json!(true) });
        add(name, json!({ value.to_string().trim_matches('"'): null }));
    }
    for name in ["iat", "nbf", "exp"] {
        for wrong in ["1e9", "4e9", "1.5", "-0.0", "1e300", "-1e300", "9223372036854775808", "-9223372036854775809"] {
            add(name, serde_json::from_str(wrong).unwrap());
        }
    }
    for name in ["iss", "aud"] {
        let value = valid_token.claim_value(name).as_str().unwrap();
        for wrong in [
            "jwt-auth2",
            "jwt",
            "JWT-AUTH",
            "jwt-auth/",
            "jwt-auth/refresh/",
            "*",
            &format!("{value} "),
            &format!("{value}\0"),
        ] {
            add(name, json!(wrong));
        }
    }
    for wrong in [
        "+1",
        "01",
        "1 ",
        " 1",
        "1.0",
        "1e0",
        "0x1",
        "-0",
        "1\0",
        "1,2",
        "1 OR 1=1",
        "\u{661}",
        "9223372036854775808",
        "99999999999999999999",
    ] {
        add("sub", json!(wrong));
    }
    for name in ["sid", "jti"] {
        let id = valid_token.claim_value(name).as_str().unwrap();
        let other_notations = [
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            id.replace('-', ""),
            id.to_uppercase(),
            format!("{id} "),
            id[1..].to_owned(),
        ];
        for wrong in other_notations.iter().map(String::as_str).chain(["null", "0", "' OR '1'='1"]) {
            add(name, json!(wrong));
        }
    }
    for wrong in ["Access", "ACCESS", "Refresh", "refresh ", "id", "reset"] {
        add("type", json!(wrong));
    }
    for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "type", "fresh"] {
        forgeries.push(ForgedToken::new(format!("no {name}"), valid_token.without_claim(name).signed()));
    }
    forgeries
}
