//! The payload of an invocation.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Error;

/// What the caller wants `migrate` to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payload {
    /// Whether to drop the old service's token tables. The old service cannot work without them.
    pub finish: bool,
    /// Whether the addresses of accounts that are taken over from the old service count as verified.
    pub verified: bool,
}

impl Payload {
    /// Reads `{}`, `{"verified": true}` or `{"finish": true}`. A field may also be `false`.
    ///
    /// # Errors
    /// For any other JSON. Unknown fields are errors, because a payload with a misspelt `finish` must not start a migration
    /// without it.
    pub fn parse(payload: &RawValue) -> Result<Self, Error> {
        // serde would also accept the array `[true]` for this struct.
        if !payload.get().starts_with('{') {
            return Err(Error::Payload("it is not an object".to_owned()));
        }
        match serde_json::from_str(payload.get()) {
            Ok(Self { finish: true, verified: true }) => Err(Error::Payload("it has both fields".to_owned())),
            Ok(payload) => Ok(payload),
            Err(problem) => Err(Error::Payload(problem.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    fn parse(payload: &Value) -> Result<Payload, Error> {
        Payload::parse(&to_raw_value(payload).unwrap())
    }

    #[test]
    fn a_field_is_false_unless_the_payload_sets_it() {
        let none = Payload { finish: false, verified: false };
        assert_eq!(parse(&json!({})).unwrap(), none);
        assert_eq!(parse(&json!({"finish": false, "verified": false})).unwrap(), none);
        assert_eq!(parse(&json!({"finish": true})).unwrap(), Payload { finish: true, ..none });
        assert_eq!(parse(&json!({"verified": true})).unwrap(), Payload { verified: true, ..none });
    }

    #[test]
    fn any_other_json_is_refused() {
        for payload in [
            json!(null),
            json!(true),
            json!("finish"),
            json!([]),
            json!([true]),
            json!({"finsh": true}),
            json!({"finish": true, "force": true}),
            json!({"finish": true, "verified": true}),
            json!({"finish": "true"}),
            json!({"verified": "true"}),
            json!({"finish": 1}),
            json!({"finish": null}),
        ] {
            let refusal = parse(&payload).expect_err(&payload.to_string()).to_string();
            assert!(refusal.contains(r#"{"finish": true}"#), "{refusal}");
        }
        let twice = RawValue::from_string(r#"{"finish": true, "finish": false}"#.to_owned()).unwrap();
        assert!(Payload::parse(&twice).is_err());
        assert!(parse(&json!({"finsh": true})).unwrap_err().to_string().contains("unknown field `finsh`"));
    }
}
