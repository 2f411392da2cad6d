//! Rules for a template. Each rule has violations: deliberate errors that test whether the rule reports them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toolkit::endpoints::Endpoint;

use super::translation::Translation;

/// A rule for every translation of a template.
pub struct Rule {
    /// What must be true.
    pub says: &'static str,
    /// Lists what is wrong with a translation. Some rules compare it with the metadata of the functions.
    pub problems: fn(&Translation, &[Endpoint]) -> Vec<String>,
    /// Changes that break the rule. To test the rule, each one is made in a copy of a real translation, and the rule must report it. A rule that
    /// looks in the wrong place would otherwise pass for ever.
    pub violations: &'static [Violation],
}

/// A place in a translation, as a JSON pointer, and the JSON to write there. `null` deletes what is there.
pub struct Violation(pub &'static str, pub &'static str);

impl Rule {
    /// The problems of all translations. A problem of several translations is listed once, with the parameters of one of them.
    pub fn broken(&self, translations: &[Translation], endpoints: &[Endpoint]) -> Vec<String> {
        let mut found = BTreeMap::new();
        for translation in translations {
            for problem in (self.problems)(translation, endpoints) {
                found.entry(problem).or_insert(&translation.parameters);
            }
        }
        found.into_iter().map(|(problem, parameters)| format!("{problem} (with {parameters})")).collect()
    }

    /// The planted violations that the rule does not report.
    pub fn overlooked(&self, translations: &[Translation], endpoints: &[Endpoint]) -> Vec<String> {
        let problems = |translation: &Translation| -> BTreeSet<String> {
            (self.problems)(translation, endpoints).into_iter().collect()
        };
        let is_reported = |violation: &Violation| {
            let planted =
                translations.iter().find_map(|translation| Some((translation, violation.planted_in(translation)?)));
            planted.is_some_and(|(sound, broken)| !problems(&broken).is_subset(&problems(sound)))
        };
        let overlooked = self.violations.iter().filter(|violation| !is_reported(violation));
        overlooked.map(|Violation(place, value)| format!("{}: {value} at {place}", self.says)).collect()
    }
}

impl Violation {
    /// The translation with this violation. `None` if it does not have this place.
    fn planted_in(&self, translation: &Translation) -> Option<Translation> {
        let &Self(place, value) = self;
        let (parent, key) = place.rsplit_once('/')?;
        let key = key.replace("~1", "/");
        let mut translation = translation.clone();
        let parent = translation.template.pointer_mut(parent)?;
        match (serde_json::from_str(value).expect("a violation is JSON"), parent) {
            (Value::Null, Value::Object(fields)) => drop(fields.remove(&key)?),
            (value, Value::Object(fields)) => drop(fields.insert(key, value)),
            (value, Value::Array(items)) => *items.get_mut(key.parse::<usize>().ok()?)? = value,
            _ => return None,
        }
        Some(translation)
    }
}
