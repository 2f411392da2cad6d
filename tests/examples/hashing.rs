//! Measures whether argon2 is faster when it reuses its memory. Compares new memory, reused memory, and reused memory that is overwritten
//! after each hash. The hashes run on a thread for blocking work, as in the functions. `cargo xtask measure` runs this program. Results and
//! conclusions are in docs/measurements.md.
#![expect(clippy::print_stdout, reason = "the program prints its results")]

use std::time::Instant;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use shared::security::policy;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    tokio::task::spawn_blocking(measure).await.expect("no panic");
}

fn measure() {
    let samples = std::env::args().nth(1).map_or(200, |samples| samples.parse().expect("a number of samples"));
    let params = Params::new(policy::ARGON2_MEMORY_KIB, policy::ARGON2_PASSES, policy::ARGON2_LANES, None);
    let params = params.expect("the policy's parameters");
    let mut reused = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; 32];
    let mut times = [const { Vec::new() }; 3];
    for round in 0..samples {
        for variant in 0..3 {
            // Each variant comes first, second and last equally often.
            let variant = (round + variant) % 3;
            let began = Instant::now();
            match variant {
                0 => argon2.hash_password_into(b"password123", &[0; 16], &mut hash),
                1 => argon2.hash_password_into_with_memory(b"password123", &[0; 16], &mut hash, &mut reused),
                _ => {
                    let done = argon2.hash_password_into_with_memory(b"password123", &[0; 16], &mut hash, &mut reused);
                    reused.fill(Block::default());
                    done
                }
            }
            .expect("a hash");
            times[variant].push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        (times[0], times[samples / 2])
    });
    println!("| memory | minimum, ms | median of {samples}, ms | relative to new |\n| --- | --- | --- | --- |");
    for (what, (least, median)) in ["new", "reused", "reused and overwritten"].into_iter().zip(medians) {
        println!("| {what} | {least:.2} | {median:.2} | {:.3} |", median / medians[0].1);
    }
}
