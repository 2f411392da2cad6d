//! Proptest strategies that generate input as a client may send it.

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::Value;

/// Any text, including control characters, line breaks and characters that are not Latin.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof!["(?s).{0,40}", "[ -~]{0,40}"]
}

/// JSON of limited depth and size.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((text(), inner), 0..3).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// This text with up to three characters replaced by up to three others, at one place.
pub fn damaged(text: &str) -> impl Strategy<Value = String> + use<> {
    let text = text.to_owned();
    let new = prop_oneof!["[A-Za-z0-9._-]{0,3}", "(?s).{0,3}"];
    (any::<Index>(), 0..4_usize, new).prop_filter_map("the text is unchanged", move |(at, gone, new)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        chars.splice(at..chars.len().min(at + gone), new.chars());
        Some(chars.into_iter().collect::<String>()).filter(|damaged| *damaged != text)
    })
}
