//! The major versions of PostgreSQL that the service supports. The folder `xtask/tools/postgres` pins the programs of each.

/// All versions, the oldest first.
pub const VERSIONS: [u32; 4] = [15, 16, 17, 18];
/// The oldest version.
pub const OLDEST: u32 = VERSIONS[0];
/// The newest version, for new databases.
pub const NEWEST: u32 = VERSIONS[VERSIONS.len() - 1];
