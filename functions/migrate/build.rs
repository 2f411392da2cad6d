//! Lists the files in `migrations/` with their checksums.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    hash::{Hash as _, Hasher as _},
    path::Path,
};

use siphasher::sip::SipHasher13;

const FOLDER: &str = "../../migrations";

#[expect(clippy::disallowed_methods, reason = "Cargo sets a variable for build scripts")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let mut migrations = BTreeMap::new();
    for file in fs::read_dir(FOLDER)? {
        let path = file?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sql")) else { continue };
        if name != "grants" {
            let (version, name) =
                version_and_name(name).ok_or_else(|| format!("{name}.sql must be V<number>__<name>.sql"))?;
            let sql = fs::read_to_string(&path).map_err(|problem| format!("{}: {problem}", path.display()))?;
            let checksum = checksum(version, name, &sql);
            let source =
                format!("Migration {{ version: {version}, name: {name:?}, sql: {sql:?}, checksum: {checksum} }},\n");
            if migrations.insert(version, source).is_some() {
                return Err(format!("two files in migrations/ have the number {version}").into());
            }
        }
    }
    if let Some((_, missing)) = migrations.keys().zip(1..).find(|(version, expected)| *version != expected) {
        return Err(format!("migrations/ has no file with the number {missing}, but others after it").into());
    }
    let list = migrations.into_values().collect::<String>();
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("migrations.rs"), format!("&[\n{list}]"))?;
    Ok(())
}

fn version_and_name(file: &str) -> Option<(i32, &str)> {
    let (version, name) = file.strip_prefix('V')?.split_once("__")?;
    Some((version.parse().ok().filter(|version| *version > 0)?, name))
}

/// SipHash-1-3 with the key 0. Earlier releases of `migrate` used the crate refinery, which computes it in this way.
fn checksum(version: i32, name: &str, sql: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    (name, version, sql).hash(&mut hasher);
    hasher.finish()
}
