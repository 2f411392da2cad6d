//! Sign-ins with a passkey: the accounts, and what their authenticators sign. Openssl signs, so that this command needs no library for it.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use toolkit::{process, run_folder::RunFolder, workspace::Workspace};

use super::service::Service;

/// The domain and the origin that `lambdas::environment` configures.
const RP_ID: &str = "example.com";
const ORIGIN: &str = "https://example.com";
/// The flags of an authenticator that has verified the user (WebAuthn §6.1).
const FLAGS: u8 = 0x05;

/// Creates accounts with a passkey each. All passkeys have the same key.
pub fn create_accounts(service: &Service, key: &Key, count: i32) -> Result<()> {
    service.sql()?.execute(
        "WITH created AS (
            INSERT INTO users (name, email, password) SELECT n::text, 'passkey' || n || '@example.com', '' FROM generate_series(0, $1 - 1) AS n
            RETURNING id, name::integer AS n
        ), named AS (
            INSERT INTO user_handles (user_id, handle) SELECT id, sha256(int4send(n)) FROM created
        )
        INSERT INTO passkeys (factor_id, user_id, name, credential_id, public_key, rp_id, sign_count, backup_eligible, backed_up, transports)
        SELECT gen_random_uuid(), id, 'Phone', sha256(int4send(n)), $2, $3, 0, false, false, '{}' FROM created",
        &[&count, &key.cose, &RP_ID],
    )?;
    Ok(())
}

/// The key of the passkeys.
pub struct Key {
    folder: RunFolder,
    /// The public key, as a COSE key (RFC 9053 §7.1).
    cose: Vec<u8>,
}

impl Key {
    /// A new key on P-256.
    pub fn create(workspace: &Workspace) -> Result<Self> {
        let folder = RunFolder::ephemeral(workspace)?;
        let openssl = |arguments: &[&str]| {
            process::output("openssl", Command::new("openssl").current_dir(folder.path()).args(arguments))
        };
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "passkey.key"])?;
        openssl(&["ec", "-in", "passkey.key", "-pubout", "-outform", "DER", "-out", "passkey.der"])?;
        let public = fs::read(folder.path().join("passkey.der"))?;
        // The public key ends with the two coordinates of the point, of 32 bytes each.
        let (x, y) = public.split_last_chunk::<64>().context("a public key is too short")?.1.split_at(32);
        let cose = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..], x, &[0x22, 0x58, 32], y].concat();
        Ok(Self { folder, cose })
    }

    /// What a browser returns when the authenticator of this account has answered the challenge.
    pub fn sign(&self, account: i32, challenge: &str) -> Result<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let client_data = json!({ "type": "webauthn.get", "challenge": challenge, "origin": ORIGIN }).to_string();
        let data = [&Sha256::digest(RP_ID)[..], &[FLAGS, 0, 0, 0, 0]].concat();
        let message = self.folder.path().join("message");
        fs::write(&message, [&data[..], &Sha256::digest(&client_data)].concat())?;
        let mut sign = Command::new("openssl");
        sign.current_dir(self.folder.path()).args([
            "dgst",
            "-sha256",
            "-sign",
            "passkey.key",
            "-out",
            "signature",
            "message",
        ]);
        process::output("openssl", &mut sign)?;
        let id = text(&Sha256::digest(account.to_be_bytes()));
        Ok(json!({
            "id": id, "rawId": id, "type": "public-key",
            "response": {
                "clientDataJSON": text(client_data.as_bytes()),
                "authenticatorData": text(&data),
                "signature": text(&fs::read(self.folder.path().join("signature"))?),
                "userHandle": id,
            },
        }))
    }
}
