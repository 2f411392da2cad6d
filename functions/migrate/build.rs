//! Makes Cargo rebuild the function when a migration is added. Cargo does not see that the macro `embed_migrations!` reads that folder.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
