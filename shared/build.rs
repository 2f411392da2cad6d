//! Turns the certificates of Amazon RDS into trust anchors (RFC 5280 §6.1.1), so that functions need not parse them at each start.

use std::{error::Error, fs, path::Path};

use rustls_pki_types::{CertificateDer, Der, pem::PemObject as _};
use webpki::anchor_from_trusted_cert;

/// `cargo xtask rds-certificates` renews this file.
const CERTIFICATES: &str = "certificates/rds.pem";

#[expect(clippy::disallowed_methods, reason = "Cargo sets a variable for build scripts")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={CERTIFICATES}");
    let anchors = trust_anchors().map_err(|problem| format!("{CERTIFICATES}: {problem}"))?;
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("rds.rs"), format!("[\n{anchors}]"))?;
    Ok(())
}

/// The trust anchors of all certificates. Returns an error if one cannot be parsed.
fn trust_anchors() -> Result<String, Box<dyn Error>> {
    CertificateDer::pem_file_iter(CERTIFICATES)?.map(|certificate| anchor(&certificate?)).collect()
}

/// A Rust expression for the trust anchor of a certificate, and a comma.
fn anchor(certificate: &CertificateDer) -> Result<String, Box<dyn Error>> {
    let anchor = anchor_from_trusted_cert(certificate)?;
    let (subject, key) = (der(&anchor.subject), der(&anchor.subject_public_key_info));
    let constraints =
        anchor.name_constraints.map_or("None".to_owned(), |constraints| format!("Some({})", der(&constraints)));
    Ok(format!(
        "TrustAnchor {{ subject: {subject}, subject_public_key_info: {key}, name_constraints: {constraints} }},\n"
    ))
}

fn der(value: &Der) -> String {
    format!("Der::from_slice(b\"{}\")", value.escape_ascii())
}
