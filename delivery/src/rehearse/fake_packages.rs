//! Packages without a real program. The stand-in for AWS does not run functions: it reads a function's answer from its package.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::Result;
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

/// Machines, as numbers in an ELF header.
pub const ARM64: u8 = 0xb7;
pub const X86_64: u8 = 0x3e;

/// The content of a package that answers 200. `build` names the build in the answer, so that answers show which build they came from.
pub fn healthy(build: &str) -> Value {
    json!({ "answer": { "statusCode": 200, "build": build } })
}

/// Writes a package: the header of a 64-bit ELF program without sections, followed by the content. The content is an object with an
/// `answer` or an `error`. If it also has `"stuck": true`, the stand-in for AWS refuses to point the function's alias `live` to this version.
pub fn write(zip: &Path, machine: u8, content: &Value) -> Result<()> {
    let mut program = [0; 64];
    program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    program[16..24].copy_from_slice(&[3, 0, machine, 0, 1, 0, 0, 0]);
    program[52..60].copy_from_slice(&[64, 0, 56, 0, 0, 0, 64, 0]);
    let program = [&program[..], content.to_string().as_bytes()].concat();

    fs::create_dir_all(zip.with_file_name(""))?;
    fs::write(zip.with_file_name("bootstrap"), &program)?;
    let mut zip = ZipWriter::new(File::create(zip)?);
    zip.start_file("bootstrap", SimpleFileOptions::default())?;
    zip.write_all(&program)?;
    zip.finish()?;
    Ok(())
}
