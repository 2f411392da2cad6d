//! The payload of an invocation.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// What an invocation asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Invocation {
    /// Whether the old service's token tables shall be dropped: it will not come back.
    pub finish: bool,
}

impl Invocation {
    /// Reads `{}` or `{"finish": true}`. Anything else is refused, unknown fields included: a misspelt `finish` shall not pass
    /// for a plain migration.
    pub fn parse(payload: Value) -> Result<Self, Error> {
        // Only an object: serde would take `[true]` for this struct as well.
        if !payload.is_object() {
            return Err(Error::Payload("it is not an object".to_owned()));
        }
        serde_json::from_value(payload).map_err(|problem| Error::Payload(problem.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_payload_migrates_and_finish_is_asked_for() {
        assert_eq!(Invocation::parse(json!({})).unwrap(), Invocation { finish: false });
        assert_eq!(Invocation::parse(json!({"finish": false})).unwrap(), Invocation { finish: false });
        assert_eq!(Invocation::parse(json!({"finish": true})).unwrap(), Invocation { finish: true });
    }

    #[test]
    fn anything_else_is_refused() {
        for payload in [
            json!(null),
            json!(true),
            json!("finish"),
            json!([]),
            json!([true]),
            json!({"finsh": true}),
            json!({"finish": true, "force": true}),
            json!({"finish": "true"}),
            json!({"finish": 1}),
            json!({"finish": null}),
        ] {
            let refusal = Invocation::parse(payload.clone()).expect_err(&payload.to_string()).to_string();
            assert!(refusal.contains(r#"{"finish": true}"#), "{refusal}");
        }
        assert!(Invocation::parse(json!({"finsh": true})).unwrap_err().to_string().contains("unknown field `finsh`"));
    }
}
