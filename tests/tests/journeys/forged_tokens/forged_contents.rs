//! Forged header parameters and claims.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tests::stack::SECRET;

use super::draft::{Draft, Forgery, Key, encoded, with_signature};

/// Every `alg` except the key's own.
pub fn algorithms(genuine: &Draft) -> Vec<Forgery> {
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
    let drafts = names.map(Value::from).into_iter().chain(values).map(|alg| genuine.header("alg", alg));
    let mut forgeries: Vec<_> = drafts
        .chain([genuine.without_header("alg")])
        .flat_map(|draft| {
            let message = format!("{}.{}", encoded(draft.header_text()), encoded(draft.claims_text()));
            let name = draft.header_text();
            [
                (name.clone(), with_signature(&message, &Key::of_the_service())),
                (format!("{name}, unsigned"), format!("{message}.")),
            ]
        })
        .collect();
    for (name, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let key = Key::of_the_service().with_algorithm(algorithm);
        forgeries.push((format!("correctly signed with {name}"), genuine.header("alg", name).signed_by(&key)));
        forgeries.push((format!("alg HS256, signed with {name}"), genuine.signed_by(&key)));
    }
    forgeries
}

/// Registered header parameters (RFC 7515 §4.1, RFC 7516 §4.1, RFC 7797) and unregistered ones.
pub fn headers(genuine: &Draft, url: &str) -> Vec<Forgery> {
    let kid = genuine.kid().as_str().unwrap().to_owned();
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
        url,
        &long,
        &kid[1..],
        &kid.to_uppercase(),
        &format!("{kid} "),
        &format!("{kid}\0"),
        &format!("./{kid}"),
        &format!("{kid},{kid}"),
    ];
    let mut forged: Vec<(&str, Value)> = kids.into_iter().map(|kid| ("kid", json!(kid))).collect();
    let others = json!({
        "kid": [null, 0, 1.5, true, [kid], { "kid": kid }],
        "typ": [null, "", "jwt", "Jwt", "JWS", "at+jwt", "JOSE", "JWT ", "application/jwt", 1, ["JWT"]],
        "crit": [null, [], ["exp"], ["crit"], ["b64"], ["unheard-of"], "exp", true],
        "b64": [null, false, true, "false"],
        "jku": [null, "", url],
        "x5u": [null, "", url],
        "jwk": [null, {}, { "kty": "oct", "kid": kid, "k": encoded(SECRET) }, { "kty": "oct", "k": "" }],
        "x5c": [null, [], ["MIIB"]],
        "x5t": [null, "", encoded([0; 20])],
        "x5t#S256": [null, "", encoded([0; 32])],
        "cty": [null, "JWT", "json"],
        "zip": [null, "DEF", "GZIP"],
        "enc": [null, "A128GCM", "none"],
        "epk": [null, {}],
        "iv": [null, "AA"],
        "url": [null, url],
        "nonce": [null, "AA"],
        "ppt": [null, "shaken"],
        "iss": [null, "jwt-auth"],
        "Alg": ["HS256"],
        "": [null],
        "\u{0}": [1],
        "anything": [null, 0, {}],
    });
    for (name, values) in others.as_object().unwrap() {
        forged.extend(values.as_array().unwrap().iter().map(|value| (name.as_str(), value.clone())));
    }
    let mut forgeries: Vec<_> = forged
        .iter()
        .map(|(name, value)| (format!("{name}: {value}"), genuine.header(name, value.clone()).signed()))
        .collect();
    for name in ["typ", "kid"] {
        forgeries.push((format!("no {name}"), genuine.without_header(name).signed()));
    }
    // The token contains the forger's own key.
    let jwk = json!({ "kty": "oct", "alg": "HS256", "kid": "mine", "k": encoded("my own secret") });
    let brought = genuine.header("jwk", jwk).header("kid", "mine");
    forgeries.push(("signed with the key it contains".to_owned(), brought.signed_by(&Key::secret("my own secret"))));
    forgeries
}

/// Each claim missing, of another type, and in another spelling.
pub fn claims(genuine: &Draft) -> Vec<Forgery> {
    let mut forgeries = Vec::new();
    let mut add = |name: &str, value: Value| {
        forgeries.push((format!("{name}: {value}"), genuine.claim(name, value).signed()));
    };
    for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "type", "fresh"] {
        let value = genuine.claim_value(name);
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
        let value = genuine.claim_value(name).as_str().unwrap();
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
        let id = genuine.claim_value(name).as_str().unwrap();
        let spelt = [
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            id.replace('-', ""),
            id.to_uppercase(),
            format!("{id} "),
            id[1..].to_owned(),
        ];
        for wrong in spelt.iter().map(String::as_str).chain(["null", "0", "' OR '1'='1"]) {
            add(name, json!(wrong));
        }
    }
    for wrong in ["Access", "ACCESS", "Refresh", "refresh ", "id", "reset"] {
        add("type", json!(wrong));
    }
    for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "type", "fresh"] {
        forgeries.push((format!("no {name}"), genuine.without_claim(name).signed()));
    }
    forgeries
}
