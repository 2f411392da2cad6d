//! How much memory is free for files.

use std::{fs, path::Path};

use nix::sys::statvfs::statvfs;

/// The folder whose files Linux keeps in memory.
pub(crate) const FOLDER: &str = "/dev/shm";

/// The bytes that files in [`FOLDER`] may still use: the space that is left in it, but not more than the memory that is available. `None` on other
/// systems than Linux.
pub(crate) fn free() -> Option<u64> {
    let folder = statvfs(Path::new(FOLDER)).ok()?;
    let left = u128::from(folder.blocks_available()) * u128::from(folder.fragment_size());
    Some(available(&fs::read_to_string("/proc/meminfo").ok()?)?.min(u64::try_from(left).unwrap_or(u64::MAX)))
}

/// The memory that programs may still use without swapping, in bytes, from the text of `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let kibibytes = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.strip_suffix("kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::available;

    #[test]
    fn the_available_memory_is_read() {
        let meminfo =
            "MemTotal:       24617612 kB\nMemFree:         9482268 kB\nMemAvailable:   22817336 kB\nBuffers: 1 kB\n";
        assert_eq!(available(meminfo), Some(22_817_336 * 1024));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
