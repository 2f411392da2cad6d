//! Reads the string fields of a JSON object. Everything else in the object is checked to be JSON and skipped, so that no body needs more memory
//! than its own size.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// It is missing or null.
    Absent,
    /// It is this string, which is not empty.
    Text(String),
    /// It is anything else.
    Other,
}

impl Field {
    /// The string.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Other => None,
        }
    }
}

/// The fields with these names in one JSON object. If two fields have the same name, the last one counts.
///
/// # Errors
/// If the bytes are not exactly one JSON object in UTF-8, or contain a string or a number that Rust cannot represent.
pub(super) fn fields<const N: usize>(json: &[u8], names: [&str; N]) -> Result<[Field; N], serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let fields = Names(names).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(fields)
}

struct Names<'a, const N: usize>([&'a str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Names<'_, N> {
    type Value = [Field; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Names<'_, N> {
    type Value = [Field; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut fields = [const { Field::Absent }; N];
        while let Some((name, value)) = object.next_entry::<String, Field>()? {
            if let Some(field) = self.0.iter().position(|wanted| *wanted == name) {
                fields[field] = value;
            }
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(if text.is_empty() { Field::Other } else { Field::Text(text.to_owned()) })
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<Field>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        while fields.next_entry::<Field, Field>()?.is_some() {}
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::btree_map, prelude::*, property_test};
    use serde_json::Value;

    use super::*;
    use crate::arbitrary;

    fn text(json: impl AsRef<[u8]>, name: &str) -> Result<Option<String>, ()> {
        fields(json.as_ref(), [name]).map(|[field]| field.text()).map_err(drop)
    }

    #[test]
    fn only_one_json_object_is_a_body() {
        for json in
            ["", "[]", "1", "null", "\"a\"", "{} {}", "{}x", "\u{feff}{}", r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#, "{"]
        {
            assert_eq!(text(json, "a"), Err(()), "{json}");
            assert_eq!(text(json, "b"), Err(()), "{json}");
        }
        assert_eq!(text(b"{\"a\":\"\xff\"}", "b"), Err(()));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(text(deep, "b"), Err(()));
    }

    #[test]
    fn a_missing_field_differs_from_one_that_is_not_a_text() {
        let json = br#"{"a":"x","b":"","c":1,"d":null}"#;
        let expected = [Field::Text("x".to_owned()), Field::Other, Field::Other, Field::Absent, Field::Absent];
        assert_eq!(fields(json, ["a", "b", "c", "d", "e"]).unwrap(), expected);
    }

    #[test]
    fn a_field_is_a_string_that_is_not_empty() {
        let json = r#"{"a":"x","b":"","c":1,"d":null,"e":["x"],"f":{"a":"y"},"g":true,"h":-1.5}"#;
        assert_eq!(text(json, "a").unwrap().as_deref(), Some("x"));
        for absent in ["b", "c", "d", "e", "f", "g", "h", "i"] {
            assert_eq!(text(json, absent), Ok(None), "{absent}");
        }
    }

    #[test]
    fn of_two_fields_with_one_name_the_last_one_counts() {
        assert_eq!(text(r#"{"a":"x","a":"y"}"#, "a").unwrap().as_deref(), Some("y"));
        assert_eq!(text(r#"{"a":"x","a":1}"#, "a"), Ok(None));
    }

    #[property_test]
    fn a_text_is_read_as_it_was_written(
        #[strategy = btree_map(arbitrary::text(), arbitrary::text(), 0..5)] fields: BTreeMap<String, String>,
    ) {
        let json = serde_json::to_string(&fields).unwrap();
        for (name, value) in &fields {
            assert_eq!(text(&json, name).unwrap().as_ref(), Some(value).filter(|text| !text.is_empty()));
        }
    }

    #[property_test]
    fn texts_are_read_only_from_objects(#[strategy = arbitrary::json()] json: Value) {
        match json.as_object() {
            Some(fields) => {
                for (name, value) in fields {
                    let expected = value.as_str().filter(|text| !text.is_empty());
                    assert_eq!(text(json.to_string(), name).unwrap().as_deref(), expected);
                }
            }
            None => assert_eq!(text(json.to_string(), "a"), Err(())),
        }
    }

    #[property_test]
    fn other_bytes_than_one_json_object_are_refused(
        #[strategy = prop_oneof![any::<Vec<u8>>(), arbitrary::damaged(r#"{"a": "\u00e9"}"#).prop_map_into()]] json: Vec<
            u8,
        >,
    ) {
        let object = serde_json::from_slice::<Value>(&json).is_ok_and(|value| value.is_object());
        assert_eq!(text(&json, "a").is_ok(), object);
    }
}
