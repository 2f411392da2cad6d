//! The files in `migrations/`.

use std::fmt;

/// A file, `V<version>__<name>.sql`.
pub struct Migration {
    pub version: i32,
    pub name: &'static str,
    pub sql: &'static str,
    /// Identifies the file. SipHash-1-3 of name, version and content, as the crate refinery computes it, which earlier versions used.
    pub checksum: u64,
}

macro_rules! migrations {
    ($($version:literal $name:literal $checksum:literal,)*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../../migrations/V", $version, "__", $name, ".sql")),
            checksum: $checksum,
        }),*]
    };
}

/// All migrations, in order. `migrate` refuses a database to which a file with another checksum was applied. So a checksum may change only until the
/// migration is released.
pub static MIGRATIONS: &[Migration] = migrations! {
    1 "accounts_and_sessions" 11_947_927_417_301_250_443,
    2 "outbox" 13_324_980_697_033_482_583,
    3 "addresses_compared_by_ascii" 8_315_144_725_602_351_685,
    4 "sessions_by_source" 17_781_134_353_428_299_169,
    5 "user_ids_of_64_bits" 17_587_521_830_349_355_758,
    6 "session_endings" 17_415_420_618_493_127_548,
    7 "accounts" 12_524_581_799_598_599_913,
    8 "verified_addresses_changes_and_deletion" 1_794_611_891_716_732_140,
    9 "reset_tokens_of_one_address" 60_522_656_140_668_656,
    10 "second_factors" 13_730_241_733_254_750_285,
    11 "passkeys" 9_281_595_300_191_837_261,
    12 "indexes_of_earlier_code" 2_558_344_918_324_024_453,
};

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V{}__{}", self.version, self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        hash::{Hash as _, Hasher as _},
    };

    use siphasher::sip::SipHasher13;

    use super::*;
    use crate::takeover;

    #[test]
    fn each_migration_has_its_checksum() {
        for migration in MIGRATIONS {
            let mut hasher = SipHasher13::new();
            (migration.name, migration.version, migration.sql).hash(&mut hasher);
            assert_eq!(migration.checksum, hasher.finish(), "{migration}");
        }
    }

    #[test]
    fn each_file_is_listed_and_the_versions_have_no_gap() {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations")).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<_> = files.filter_map(|file| Some(file.strip_suffix(".sql")?.to_owned())).collect();
        let listed = MIGRATIONS.iter().map(ToString::to_string).chain(["grants".to_owned()]);
        assert_eq!(listed.collect::<BTreeSet<_>>(), files);
        assert!(MIGRATIONS.iter().zip(1..).all(|(migration, version)| migration.version == version));
    }

    #[test]
    fn each_table_that_a_migration_creates_is_listed() {
        let lines = MIGRATIONS.iter().flat_map(|migration| migration.sql.lines());
        let created = lines.filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split(' ').next());
        // V1 creates `users` with IF NOT EXISTS.
        let created: BTreeSet<_> = created.filter(|name| *name != "IF").collect();
        assert_eq!(created, BTreeSet::from(takeover::NEW_TABLES));
    }
}
