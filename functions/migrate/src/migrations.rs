//! The files in `migrations/`.

use std::fmt;

/// A file, `V<version>__<name>.sql`.
pub struct Migration {
    pub version: i32,
    pub name: &'static str,
    pub sql: &'static str,
    /// Identifies the version, the name and the content.
    pub checksum: u64,
}

/// All migrations, in order. Their versions are 1, 2, 3 and so on. `build.rs` lists them.
#[expect(clippy::unreadable_literal, reason = "nobody reads the generated list")]
pub static MIGRATIONS: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V{}__{}", self.version, self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::takeover;

    /// `migrate` refuses a database to which a file was applied that has another checksum now. So only the checksum of a migration that is not released yet
    /// may change here.
    #[test]
    fn each_migration_has_its_checksum() {
        let expected = [
            11_947_927_417_301_250_443,
            13_324_980_697_033_482_583,
            8_315_144_725_602_351_685,
            17_781_134_353_428_299_169,
            17_587_521_830_349_355_758,
            17_415_420_618_493_127_548,
            12_524_581_799_598_599_913,
            1_794_611_891_716_732_140,
            60_522_656_140_668_656,
            13_730_241_733_254_750_285,
            9_281_595_300_191_837_261,
            2_558_344_918_324_024_453,
        ];
        assert_eq!(MIGRATIONS.iter().map(|migration| migration.checksum).collect::<Vec<_>>(), expected);
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
