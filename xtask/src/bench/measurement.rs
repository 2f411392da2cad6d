//! Measures the programs.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde::Serialize;
use toolkit::{console::step, workspace::Workspace};

use super::{
    counts::{self, Counts},
    proc,
    requests::{self, Requests},
    samples::{Percentiles, milliseconds},
    service::Service,
    subject::{self, Subject},
};

/// The number of calls at the beginning of a process whose times are not measured.
const WARM_UP: u32 = 10;

/// The figures of one program. Times are in milliseconds, sizes in KiB.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// From the start of the process to its first answer.
    pub start: Percentiles,
    /// From an event to its answer, in a process that has answered others.
    pub call: Percentiles,
    /// Processor time of such a call.
    pub processor: f64,
    /// The peak memory of a process after 1 call, 10 calls, and all of them.
    pub memory: [u64; 3],
    pub program: u64,
    /// The size of the program after `gzip`, which compresses as a zip file does.
    pub compressed: u64,
    pub counts: Counts,
}

/// A program, and its figures.
pub type Measurement = (Subject, Figures);

/// Measures all programs. The starts and the calls of a bare program alternate with those of the functions that are compared with it. So other
/// work of the machine affects all of them.
pub fn measure(
    workspace: &Workspace,
    service: &Service,
    subjects: &[Subject],
    starts: u32,
    calls: u32,
) -> Result<Vec<Measurement>> {
    let count = usize::try_from(starts + calls + counts::CALLS + 1)?;
    requests::create_accounts(workspace, service, count)?;
    let mut measurements = Vec::new();
    for group in subject::groups(subjects) {
        let prepare = |subject: &Subject| {
            let requests = Requests::prepare(workspace, service, *subject, count)?;
            Ok(Program { subject: *subject, name: subject.name(), requests })
        };
        let mut programs = group.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        let names = programs.iter().map(|program| program.name.as_str()).collect::<Vec<_>>().join(", ");
        step(format_args!("Starting {names}: {starts} times each"));
        let start = measure_starts(service, &mut programs, starts)?;
        step(format_args!("Calling {names}: {calls} times each"));
        let warm = measure_calls(service, &mut programs, calls)?;
        for ((program, start), Warm { call, processor, memory }) in programs.iter_mut().zip(start).zip(warm) {
            let counts = counts::count(service, program.subject, &mut program.requests)?;
            let path = workspace.release_binary(&program.subject.binary());
            let (size, compressed) = (fs::metadata(&path)?.len() / 1024, compressed_size(&path)? / 1024);
            let figures = Figures { start, call, processor, memory, program: size, compressed, counts };
            measurements.push((program.subject, figures));
        }
    }
    Ok(measurements)
}

struct Program {
    subject: Subject,
    name: String,
    requests: Requests,
}

/// The pause before a start. Meanwhile, the servers close the connections of the process that was killed before, on the same core.
const PAUSE: Duration = Duration::from_millis(20);

fn measure_starts(service: &Service, programs: &mut [Program], starts: u32) -> Result<Vec<Percentiles>> {
    let mut times = vec![Vec::new(); programs.len()];
    for _ in 0..starts {
        for (program, times) in programs.iter_mut().zip(&mut times) {
            service.kill(&program.name)?;
            thread::sleep(PAUSE);
            times.push(program.requests.send(service)?.1);
            service.kill(&program.name)?;
        }
    }
    Ok(times.into_iter().map(Percentiles::of).collect())
}

/// The figures of one process.
struct Warm {
    call: Percentiles,
    processor: f64,
    memory: [u64; 3],
}

/// What was seen of one process so far.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    memory: [u64; 2],
    processor_before: Duration,
}

fn measure_calls(service: &Service, programs: &mut [Program], calls: u32) -> Result<Vec<Warm>> {
    let mut seen: Vec<_> = programs.iter().map(|_| Seen::default()).collect();
    for call in 1..=calls {
        for (program, seen) in programs.iter_mut().zip(&mut seen) {
            let took = program.requests.send(service)?.1;
            if call > WARM_UP {
                seen.times.push(took);
                continue;
            }
            let process = service.process(&program.name)?;
            let peak = proc::peak_memory(process)?;
            seen.memory = [if call == 1 { peak } else { seen.memory[0] }, peak];
            seen.processor_before = proc::processor_time(process)?;
        }
    }
    let finish = |(program, seen): (&mut Program, Seen)| {
        let process = service.process(&program.name)?;
        let used = proc::processor_time(process)?.saturating_sub(seen.processor_before);
        let processor = milliseconds(used) / f64::from(calls - WARM_UP);
        let memory = [seen.memory[0], seen.memory[1], proc::peak_memory(process)?];
        service.kill(&program.name)?;
        Ok(Warm { call: Percentiles::of(seen.times), processor, memory })
    };
    programs.iter_mut().zip(seen).map(finish).collect()
}

/// The size of a file after `gzip`, in bytes.
fn compressed_size(path: &Path) -> Result<u64> {
    let mut gzip = Command::new("gzip").arg("--stdout").arg(path).stdout(Stdio::piped()).spawn()?;
    let size = gzip.stdout.take().map(|mut output| io::copy(&mut output, &mut io::sink())).transpose()?;
    ensure!(gzip.wait()?.success(), "gzip failed");
    Ok(size.unwrap_or_default())
}
