//! Has the function built again when a migration is added: the macro that embeds them is a source file that does not change.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
