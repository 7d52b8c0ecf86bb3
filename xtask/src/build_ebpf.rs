//! `cargo xtask build-ebpf`: the kernel programs, from source to the committed object.
//!
//! Rust for the BPF target needs a `core` for it. Debian packages one (`rustc-web` with
//! `libstd-rust-web-dev-bpf`), so no nightly toolchain is needed; `RUSTC_BOOTSTRAP` opens the few
//! unstable features of `aya-ebpf`. With paths remapped and debug sections dropped (BTF stays),
//! the same tools make the same bytes in any directory.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::setup;

const TARGET: &str = "bpfel-unknown-none";
pub(crate) const RUSTC: &str = "/usr/bin/rustc";
const LLVM: &str = "/usr/lib/llvm-22";
const APT: [&str; 4] = ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "libpolly-22-dev"];
const LINKER_VERSION: &str = "0.13.0";
/// The objects: the program that cargo builds, the file in [`FOLDER`], the field of its hash.
const OBJECTS: [(&str, &str, &str); 2] = [
    ("jotwatch-bpf", "jotwatch.bpf.o", "sha256"),
    ("jotwatch-guard-bpf", "guard.bpf.o", "guard-sha256"),
];
const FOLDER: &str = "sensor/bpf";
const VERSIONS: &str = "sensor/bpf/versions.toml";

/// Options of `build-ebpf`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail if a committed object is not what the source gives.
    ///
    /// With other tools than the recorded ones the bytes may differ: then this says that the
    /// record is old and succeeds. The rebuilt object is at target/bpf/jotwatch.bpf.o either way;
    /// the live tests load that of capture with JOTWATCH_BPF_OBJECT set to its path.
    #[arg(long)]
    check: bool,
}

/// The tools that the bytes depend on.
#[derive(Debug, PartialEq, Eq)]
struct Versions {
    rustc: String,
    cargo: String,
    llvm: String,
    bpf_linker: String,
}

pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let linker = tools()?;
    let versions = versions(&linker)?;
    let (built, committed) = (root.join("target/bpf"), root.join(FOLDER));
    build(root, &linker, &built, None)?;
    let hashes = |folder: &Path| -> Result<Vec<String>> {
        OBJECTS.iter().map(|(_, file, _)| sha256(&folder.join(file))).collect()
    };
    let made = hashes(&built)?;
    if !args.check {
        fs::create_dir_all(&committed)?;
        for (_, file, _) in OBJECTS {
            fs::copy(built.join(file), committed.join(file))?;
        }
        fs::write(root.join(VERSIONS), record(&versions, &made))?;
        say(&format!("wrote {FOLDER} (sha256 {})", made.join(", ")));
        return Ok(());
    }
    let text = fs::read_to_string(root.join(VERSIONS)).context(VERSIONS)?;
    let there = hashes(&committed)?;
    for ((_, file, name), hash) in OBJECTS.iter().zip(&there) {
        ensure!(
            field(&text, name) == Some(hash),
            "{file} in {FOLDER} is not the object that {VERSIONS} records"
        );
    }
    if there == made {
        say(&format!("{FOLDER} is what the source gives (sha256 {})", made.join(", ")));
        return Ok(());
    }
    let recorded = Versions {
        rustc: field(&text, "rustc").unwrap_or_default().into(),
        cargo: field(&text, "cargo").unwrap_or_default().into(),
        llvm: field(&text, "llvm").unwrap_or_default().into(),
        bpf_linker: field(&text, "bpf-linker").unwrap_or_default().into(),
    };
    if recorded == versions {
        bail!(
            "{FOLDER} is not what the source gives with the recorded tools: \
             run cargo xtask build-ebpf and commit the result"
        );
    }
    say(&format!(
        "the record is old: {VERSIONS} has {recorded:?}, here are {versions:?}; \
         try the new object in the live tests: JOTWATCH_BPF_OBJECT={}/jotwatch.bpf.o",
        built.display()
    ));
    Ok(())
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "build-ebpf: {text}");
}

fn output(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(
        out.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(String::from_utf8(out.stdout)?)
}

fn succeed(command: &mut Command) -> Result<()> {
    say(&format!("{command:?}"));
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

fn cargo_home() -> Result<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|h| PathBuf::from(h).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")
}

/// Installs what is missing; gives the linker's path.
fn tools() -> Result<PathBuf> {
    let core = output(Command::new(RUSTC).args(["--print", "sysroot"]))
        .map(|s| Path::new(s.trim()).join("lib/rustlib").join(TARGET))
        .is_ok_and(|p| p.exists());
    if !core || !Path::new(LLVM).join("bin/llvm-objcopy").exists() {
        setup::ensure_apt(&APT, "the compiler and LLVM of the kernel programs")
            .context("install them by hand, or on a Debian that has them")?;
    }
    let linker = cargo_home()?.join("bin/bpf-linker");
    let version = output(Command::new(&linker).arg("--version")).unwrap_or_default();
    if version.trim().rsplit(' ').next() != Some(LINKER_VERSION) {
        say(&format!("installing bpf-linker {LINKER_VERSION}"));
        succeed(
            Command::new("cargo")
                .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--force"])
                .args(["--no-default-features", "--features", "llvm-22"])
                .env("LLVM_PREFIX", LLVM),
        )?;
    }
    Ok(linker)
}

fn versions(linker: &Path) -> Result<Versions> {
    let first = |s: String| s.lines().next().unwrap_or_default().trim().to_owned();
    Ok(Versions {
        rustc: first(output(Command::new(RUSTC).arg("--version"))?),
        cargo: first(output(Command::new("cargo").arg("--version"))?),
        llvm: first(output(Command::new(format!("{LLVM}/bin/llvm-config")).arg("--version"))?),
        bpf_linker: first(output(Command::new(linker).arg("--version"))?),
    })
}

/// Builds the objects for hosts of an architecture, and holds them to those that are built for this
/// machine's: the kernel programs see nothing of the processor. Only the name of a source folder would
/// differ, and is made the same.
///
/// # Errors
/// A tool is not to be had, or the objects differ.
pub(crate) fn same_for(architecture: &str) -> Result<()> {
    let (root, linker) = (setup::workspace(), tools()?);
    let (own, other) = (root.join("target/bpf"), root.join("target/bpf").join(architecture));
    build(root, &linker, &own, None)?;
    build(root, &linker, &other, Some(architecture))?;
    for (_, file, _) in OBJECTS {
        let hash = sha256(&other.join(file))?;
        ensure!(hash == sha256(&own.join(file))?, "{file} is another one for {architecture}");
        say(&format!("{file} for {architecture} is the same object (sha256 {hash})"));
    }
    Ok(())
}

/// Builds the objects into a folder, for hosts of this machine's architecture or of another one.
fn build(root: &Path, linker: &Path, dir: &Path, architecture: Option<&str>) -> Result<()> {
    let mut flags = vec![
        format!("-Clinker={}", linker.display()),
        "-Clink-arg=--btf".into(),
        "-Cdebuginfo=2".into(),
        format!("--remap-path-prefix={}=/jotwatch", root.display()),
        format!("--remap-path-prefix={}=/cargo", cargo_home()?.display()),
    ];
    if let Some(architecture) = architecture {
        flags.extend(named_as_own(&cargo_home()?, architecture)?);
    }
    let mut cargo = Command::new("cargo");
    if let Some(architecture) = architecture {
        // As aya-build reads it; else it takes the machine's.
        cargo.env("AYA_BPF_TARGET_ARCH", architecture);
    }
    // `-p` alone: features of the other members do not count. The lock file fixes the rest.
    succeed(
        cargo
            .args(["build", "--quiet", "--locked", "--profile", "bpf", "--target", TARGET])
            .args(["-p", "jotwatch-ebpf", "--bins", "--target-dir"])
            .arg(dir)
            .current_dir(root)
            .env("RUSTC", RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            // Of the outer cargo's toolchain, which is another.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("RUSTFLAGS"),
    )?;
    for (program, file, _) in OBJECTS {
        succeed(
            Command::new(format!("{LLVM}/bin/llvm-objcopy"))
                .arg("--strip-debug")
                .arg(dir.join(TARGET).join("bpf").join(program))
                .arg(dir.join(file)),
        )?;
    }
    Ok(())
}

/// The bindings to the kernel's helpers lie in a folder for each architecture, and its name is in the
/// object's line information. With these flags the folder has the name of this machine's, so that
/// nothing else may differ. The last flag that fits a path counts.
fn named_as_own(cargo_home: &Path, architecture: &str) -> Result<Vec<String>> {
    let folders = |path: &Path| -> Result<Vec<String>> {
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let registry = "registry/src";
    let mut flags = Vec::new();
    for index in folders(&cargo_home.join(registry))? {
        for package in folders(&cargo_home.join(registry).join(&index))? {
            if package.starts_with("aya-ebpf-bindings-") {
                let source = format!("{registry}/{index}/{package}/src");
                flags.push(format!(
                    "--remap-path-prefix={}/{source}/{architecture}=/cargo/{source}/{}",
                    cargo_home.display(),
                    env::consts::ARCH
                ));
            }
        }
    }
    Ok(flags)
}

fn sha256(path: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg(path))?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

fn record(v: &Versions, hashes: &[String]) -> String {
    let mut text = format!(
        "# Written by `cargo xtask build-ebpf`: what made the objects.\n\
         rustc = \"{}\"\ncargo = \"{}\"\nllvm = \"{}\"\nbpf-linker = \"{}\"\n",
        v.rustc, v.cargo, v.llvm, v.bpf_linker
    );
    for ((_, _, name), hash) in OBJECTS.iter().zip(hashes) {
        text.push_str(&format!("{name} = \"{hash}\"\n"));
    }
    text
}

/// A field of the record; it holds nothing but strings.
/// The value of a line `name = "value"`, as records of tools have them.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| {
        l.strip_prefix(name)?
            .trim_start()
            .strip_prefix('=')?
            .trim()
            .strip_prefix('"')?
            .strip_suffix('"')
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Versions, field, named_as_own, record};

    #[test]
    fn the_bindings_of_another_architecture_are_named_as_our_own() {
        let home = tempfile::tempdir().unwrap();
        for package in ["index-1/aya-ebpf-bindings-0.2.0", "index-1/aya-0.1.0"] {
            fs::create_dir_all(home.path().join("registry/src").join(package)).unwrap();
        }
        let source = "registry/src/index-1/aya-ebpf-bindings-0.2.0/src";
        let (from, own) = (home.path().display(), std::env::consts::ARCH);
        assert_eq!(
            named_as_own(home.path(), "other").unwrap(),
            [format!("--remap-path-prefix={from}/{source}/other=/cargo/{source}/{own}")]
        );
        assert!(named_as_own(&home.path().join("nowhere"), "other").is_err());
    }

    #[test]
    fn the_record_reads_back() {
        let versions = Versions {
            rustc: "a 1".into(),
            cargo: "c 4".into(),
            llvm: "2".into(),
            bpf_linker: "b 3".into(),
        };
        let text = record(&versions, &["ff".into(), "ee".into()]);
        assert_eq!(field(&text, "rustc"), Some("a 1"));
        assert_eq!(field(&text, "cargo"), Some("c 4"));
        assert_eq!(field(&text, "llvm"), Some("2"));
        assert_eq!(field(&text, "bpf-linker"), Some("b 3"));
        assert_eq!(field(&text, "sha256"), Some("ff"));
        assert_eq!(field(&text, "guard-sha256"), Some("ee"));
        assert_eq!(field(&text, "none"), None);
    }
}
