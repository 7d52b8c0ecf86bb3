//! Where the live daemon and its kernel programs spend their time under full load, as a flame graph.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Cursor},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use inferno::{
    collapse::{
        Collapse as _,
        perf::{Folder, Options as FoldOptions},
    },
    flamegraph::{self, Options},
};

use super::{
    note,
    sensor::Sensor,
    stand::{Stand, WATCHED},
    table::{Table, float, thousands},
};
use crate::setup;

/// Samples a second of each CPU: no multiple of what else ticks.
const FREQUENCY: &str = "997";
/// Bytes of a stack that are kept to be unwound: the release build keeps no frame pointers.
const STACK: &str = "dwarf,8192";
/// The picture is in the repository.
const MOST_BYTES: usize = 300_000;
/// What is narrower, in percent, is left out; more if the picture is too large.
const NARROW: f64 = 0.1;
/// The name of BPF programs in a kernel stack: this, a tag, and their own.
const BPF: &str = "bpf_prog_";
/// How many functions are named in the table.
const NAMED: usize = 10;

/// Nanoseconds of processor time in each stack, outermost first.
type Stacks = BTreeMap<Vec<String>, u64>;

/// Measures the part and draws `docs/flame.svg`; a quick run draws elsewhere.
///
/// # Errors
/// If perf cannot sample, or nginx, the load or the sensor fails.
pub(super) fn run(stand: &Stand, program: &Path, quick: bool) -> Result<Table> {
    let seconds = if quick { 3 } else { 15 };
    let bench = setup::target_dir().join("bench");
    fs::create_dir_all(&bench)?;
    let picture = match quick {
        true => bench.join("flame.svg"),
        false => setup::workspace().join("docs/flame.svg"),
    };
    let dir = tempfile::Builder::new().prefix("flame-").tempdir_in(&bench)?;
    let sensor = Sensor::start(program, stand)?;
    stand.full_load(WATCHED, 1)?;
    note("flame, sampling");
    let [daemon, host] = ["daemon", "host"].map(|name| dir.path().join(name));
    let id = sensor.id().to_string();
    let daemons = record(&daemon, seconds, &["-p", &id, "--call-graph", STACK])?;
    // The kernel programs run in everybody's time.
    let hosts = record(&host, seconds, &["-a", "--call-graph", "fp"])?;
    let load = stand.full_load(WATCHED, seconds)?;
    for recording in [daemons, hosts] {
        let output = recording.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "perf cannot sample: {said}");
    }
    note("flame, unwinding");
    let mut stacks = fold(&daemon)?;
    // What is folded of the rest of the host begins with the program itself.
    let kernel = fold(&host)?;
    sensor.stop()?;
    let sampled: u64 = stacks.values().sum();
    let programs = kernel.iter().filter_map(|(stack, nanos)| Some((of_program(stack)?, *nanos)));
    let mut in_kernel = 0;
    for (stack, nanos) in programs {
        *stacks.entry(stack).or_default() += nanos;
        in_kernel += nanos;
    }
    ensure!(sampled > 0 && in_kernel > 0, "{sampled} ns, {in_kernel} ns in kernel programs");
    let bytes = draw(&picture, &stacks)?;

    let all = float(sampled + in_kernel);
    let share = |nanos: u64| format!("{:.1} %", float(nanos) / all * 100.0);
    let mut table = Table::new(format!(
        "flame: {:.2} s of processor time, daemon and kernel programs, in {seconds} s at {} requests/s",
        all / 1e9,
        thousands(load.rate)
    ));
    table.figure("kernel programs", share(in_kernel));
    let mut own = BTreeMap::<&str, u64>::new();
    for (stack, nanos) in &stacks {
        *own.entry(stack.last().map_or("", String::as_str)).or_default() += nanos;
    }
    let mut own: Vec<(&str, u64)> = own.into_iter().collect();
    own.sort_by_key(|(_, nanos)| std::cmp::Reverse(*nanos));
    for (name, nanos) in own.into_iter().take(NAMED) {
        let short: String = name.chars().take(72).collect();
        table.figure(format!("  in {short} itself"), share(nanos));
    }
    table.judged(
        format!("{}", picture.display()),
        format!("{} bytes", thousands(float(bytes as u64))),
        format!("≤ {}", thousands(float(MOST_BYTES as u64))),
        bytes <= MOST_BYTES,
    );
    Ok(table)
}

/// Samples by the clock: a virtual machine may have no counter of cycles.
fn record(to: &Path, seconds: u32, what: &[&str]) -> Result<Child> {
    let mut command = Command::new(setup::find("perf").context("perf is not installed")?);
    command.args(["record", "-q", "-e", "cpu-clock", "-F", FREQUENCY, "-o"]).arg(to).args(what);
    command.args(["--", "sleep", &seconds.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().context("cannot start perf")
}

/// The stacks of a recording.
fn fold(recording: &Path) -> Result<Stacks> {
    let text = recording.with_extension("script");
    let mut command = Command::new(setup::find("perf").context("perf is not installed")?);
    // Inlined functions would take a process of their own for each address.
    command.args(["script", "--no-inline", "-i"]).arg(recording);
    command.stdin(Stdio::null()).stdout(File::create(&text)?).stderr(Stdio::null());
    let status = command.status()?;
    ensure!(status.success(), "perf script ended with {status}");
    let mut folded = Vec::new();
    let mut folder = Folder::from(FoldOptions::default());
    folder.collapse(BufReader::new(File::open(&text)?), &mut folded)?;
    let mut stacks = Stacks::new();
    for line in String::from_utf8_lossy(&folded).lines() {
        let (stack, nanos) = line.rsplit_once(' ').context("a stack without a time")?;
        let stack = stack.split(';').map(plain).collect();
        *stacks.entry(stack).or_default() += nanos.parse::<u64>()?;
    }
    Ok(stacks)
}

/// A function's name without the compiler's additions.
fn plain(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    match name.rsplit_once("::h") {
        Some((front, hash)) if hash.len() == 16 => front.to_owned(),
        _ => name,
    }
}

/// The part of a stack that is in a kernel program, below a common root.
fn of_program(stack: &[String]) -> Option<Vec<String>> {
    let begin = stack.iter().position(|name| name.starts_with(BPF))?;
    let inside = stack.get(begin..)?.iter().map(|name| {
        let own = name.strip_prefix(BPF).and_then(|rest| rest.split_once('_'));
        own.map_or_else(|| name.clone(), |(_, own)| format!("{own} (BPF)"))
    });
    Some(["kernel programs".to_owned()].into_iter().chain(inside).collect())
}

/// Draws what is wide enough, and gives the picture's size.
fn draw(to: &Path, stacks: &Stacks) -> Result<usize> {
    let lines: Vec<String> =
        stacks.iter().map(|(stack, nanos)| format!("{} {nanos}", stack.join(";"))).collect();
    let mut narrow = NARROW;
    loop {
        let mut options = Options::default();
        "jotwatch at full load".clone_into(&mut options.title);
        "ns".clone_into(&mut options.count_name);
        options.deterministic = true;
        options.min_width = narrow;
        let mut svg = Cursor::new(Vec::new());
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
        let svg = svg.into_inner();
        if svg.len() <= MOST_BYTES || narrow > 10.0 {
            fs::write(to, &svg)?;
            return Ok(svg.len());
        }
        narrow *= 1.5;
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, Stacks, draw, of_program, plain};

    fn stack(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(plain("_ZN8jotwatch4flow4push17h0123456789abcdefE"), "jotwatch::flow::push");
        assert_eq!(plain("jotwatch::flow::push::h0123456789abcdef"), "jotwatch::flow::push");
        assert_eq!(plain("tcp_sendmsg"), "tcp_sendmsg");
    }

    #[test]
    fn a_stack_is_cut_where_a_kernel_program_begins() {
        let of = of_program(&stack(&["nginx", "write", "bpf_prog_0011223344556677_egress", "f"]));
        assert_eq!(of.unwrap(), ["kernel programs", "egress (BPF)", "f"]);
        assert_eq!(of_program(&stack(&["nginx", "write"])), None);
    }

    #[test]
    fn a_picture_is_small_enough() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = |k: usize| format!("a_function_with_a_long_name_{k}");
        // The last of them is wide, the others are left out until the picture fits.
        let nanos = |k: usize| if k == 2_999 { 100_000_000 } else { 100_000 + k as u64 };
        let stacks: Stacks =
            (0..3_000).map(|k| (stack(&["jotwatch", &name(k), &name(k / 2)]), nanos(k))).collect();
        let bytes = draw(file.path(), &stacks).unwrap();
        assert!(bytes <= MOST_BYTES && bytes > 10_000, "{bytes}");
        let svg = std::fs::read_to_string(file.path()).unwrap();
        assert!(svg.contains("a_function_with_a_long_name_2999"));
    }
}
