//! `cargo xtask profile`: how often each piece of the sensor runs, recorded for the compiler.
//!
//! The sensor that `cargo xtask build`, `package`, `bench` and `soak` make is optimised by a recording that
//! is in the repository, as the kernel programs are: what runs with each request is laid out for speed and
//! kept together, what hardly ever runs stands aside (rustc's `-C profile-use`). Functions are known by names
//! that hold the compiler's version and the dependencies', so the recording is to be made anew with these; a
//! function that has changed since is compiled without, and the compiler says which.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{bench, build_ebpf, setup};

const RECORDING: &str = "sensor/profile/jotwatch.profdata";
const VERSIONS: &str = "sensor/profile/versions.toml";
/// What decides, with the compiler, by which names functions are known.
const MANIFESTS: [&str; 5] =
    ["Cargo.lock", "Cargo.toml", "common/Cargo.toml", "models/Cargo.toml", "sensor/Cargo.toml"];

/// How the sensor is built to be packaged. Alone: with other crates beside it the features of some
/// dependencies are others, and so are the names of all that stands on them.
const SENSOR: [&str; 3] = ["--release", "--package=jotwatch", "--bin=jotwatch"];

/// What a recording belongs to.
#[derive(Debug, PartialEq, Eq)]
struct Versions {
    /// As `rustc --version` says it.
    rustc: String,
    /// SHA-256 over the [`MANIFESTS`].
    manifests: String,
}

impl Versions {
    fn current() -> Result<Self> {
        let mut hash = Sha256::new();
        for name in MANIFESTS {
            hash.update(fs::read(setup::workspace().join(name)).context(name)?);
        }
        let manifests = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { rustc: rustc("--version")?.trim().to_owned(), manifests })
    }

    fn recorded() -> Result<Self> {
        let text = fs::read_to_string(setup::workspace().join(VERSIONS)).context(VERSIONS)?;
        Self::read(&text).with_context(|| format!("{VERSIONS} is not as it was written"))
    }

    fn read(text: &str) -> Option<Self> {
        let field = |name| build_ebpf::field(text, name).map(str::to_owned);
        Some(Self { rustc: field("rustc")?, manifests: field("manifests-sha256")? })
    }

    fn write(&self) -> String {
        format!(
            "# Written by `cargo xtask profile`: what the recording belongs to.\n\
             rustc = \"{}\"\nmanifests-sha256 = \"{}\"\n",
            self.rustc, self.manifests
        )
    }
}

/// Builds the sensor as it is packaged, by the recording, and gives the directory that it is in.
///
/// # Errors
/// A file of the repository is missing, there is no compiler, or the build fails.
pub(crate) fn build_sensor() -> Result<PathBuf> {
    setup::build_in(&setup::target_dir(), &SENSOR, option()?.as_deref())
}

/// The compiler's option; `None`, and why on standard error, where the recording is of another compiler,
/// which might not even be able to read it.
fn option() -> Result<Option<String>> {
    let (recorded, current) = (Versions::recorded()?, Versions::current()?);
    if recorded.rustc != current.rustc {
        say(&format!(
            "built without the recorded profile, and slower for it: that is of {}, here is {}; \
             `cargo xtask profile` makes it anew",
            recorded.rustc, current.rustc
        ));
        return Ok(None);
    }
    if recorded.manifests != current.manifests {
        say(
            "the recorded profile is of other manifests and may fit no more; `cargo xtask profile` makes it anew",
        );
    }
    Ok(Some(format!("-Cprofile-use={}", setup::workspace().join(RECORDING).display())))
}

/// Makes the recording anew: builds a sensor that counts, gives it work, and gathers what it counted.
///
/// # Errors
/// It takes root, a tool is not to be had, the build fails, or the sensor does.
pub(crate) fn run() -> Result<()> {
    ensure!(setup::is_root(), "it takes root, for eBPF and for a network namespace of its own");
    let merge = profdata()?;
    setup::ensure_tools(&["ip", "wrk"], "the load that is recorded")?;
    let root = setup::target_dir().join("profile");
    let counts = root.join("counts");
    let counting = format!("-Cprofile-generate={}", counts.display());
    let binaries = setup::build_in(&root, &SENSOR, Some(&counting))?;
    let tools =
        setup::build(&["--release", "--package=jotwatch-tests", "--bin=make-bench-capture"])?;
    setup::remove(&counts)?;
    bench::exercise(&binaries.join("jotwatch"), &tools.join("make-bench-capture"))?;
    let merged = root.join("merged.profdata");
    let mut merging = Command::new(merge);
    // Functions that never ran are as good as left out.
    merging.args(["merge", "--sparse", "-o"]).arg(&merged).arg(&counts);
    setup::output(&mut merging, "gathering the counts")?;
    let (recording, versions) = (setup::workspace().join(RECORDING), Versions::current()?.write());
    fs::create_dir_all(recording.parent().context("no folder")?)?;
    let bytes = fs::copy(&merged, recording)?;
    fs::write(setup::workspace().join(VERSIONS), versions)?;
    say(&format!("{RECORDING} is written ({bytes} bytes)"));
    Ok(())
}

/// The `llvm-profdata` of the compiler's LLVM: rustup's, or Debian's package.
fn profdata() -> Result<PathBuf> {
    let sysroot = rustc("--print=sysroot")?;
    let verbose = rustc("-vV")?;
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name));
    let host = field("host: ").context("rustc names no host")?;
    let llvm = field("LLVM version: ").context("rustc names no LLVM")?;
    let llvm = llvm.split('.').next().unwrap_or(llvm);
    let rustups =
        Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if rustups.exists() {
        return Ok(rustups);
    }
    let debians = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin/llvm-profdata"));
    if !debians.exists() {
        setup::ensure_apt(&[&format!("llvm-{llvm}")], "llvm-profdata, which gathers counts")
            .context("or bring it with rustup component add llvm-tools")?;
    }
    Ok(debians)
}

/// What the compiler that cargo takes says of itself.
fn rustc(question: &str) -> Result<String> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let said = setup::output(rustc.arg(question).current_dir(setup::workspace()), "rustc")?;
    Ok(String::from_utf8(said.stdout)?)
}

fn say(text: &str) {
    eprintln!("profile: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_recording_belongs_to_is_read_as_it_was_written() {
        let versions = Versions { rustc: "rustc 1.2.3 (a b)".into(), manifests: "0a".into() };
        assert_eq!(Versions::read(&versions.write()), Some(versions));
        for broken in ["", "rustc = 1", "rustc = \"a\"\n", "rustc = \"a"] {
            assert_eq!(Versions::read(broken), None, "{broken}");
        }
    }

    /// The magic of an indexed profile, and a record beside it.
    #[test]
    fn the_repository_has_a_recording() {
        let recording = fs::read(setup::workspace().join(RECORDING)).unwrap();
        assert_eq!(recording.get(..8), Some(&b"\xfflprofi\x81"[..]));
        assert!(Versions::recorded().unwrap().rustc.starts_with("rustc 1."));
        assert_eq!(Versions::current().unwrap().manifests.len(), 64);
    }
}
