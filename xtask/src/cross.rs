//! `cargo xtask cross`: the sensor for 64-bit ARM, built on x86-64 and tried there.
//!
//! Debian packages what it takes: a C cross compiler with its libraries, and the standard library of
//! the same `rustc-web` that builds the kernel programs, which is unpacked below `target/cross`. What
//! is built runs under qemu's emulation of the processor: every capture case has to give the bytes
//! that it gives on x86-64.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{build_ebpf, kernels::debian, setup};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// As cargo names the target in its environment variables.
const VARIABLE: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
const COMPILER: &str = "aarch64-linux-gnu-gcc";
/// Where Debian's packages put the target's C library.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
const EMULATOR: &str = "qemu-aarch64-static";
/// The standard library, and the compiler's package, which has to be of the same version.
const STD: &str = "libstd-rust-web-dev";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build as for a release; else it is quick to make, for tests
    #[arg(long)]
    release: bool,
}

/// Builds, and holds what was built to the capture cases.
///
/// # Errors
/// A tool is not to be had, the build fails, or the output differs from x86-64's.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure_tools(&["dpkg-deb"], "unpacking the standard library")?;
    setup::ensure_apt(
        &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static"],
        "building for aarch64 and trying it",
    )?;
    build_ebpf::same_for("aarch64")?;
    let root = setup::target_dir().join("cross");
    let sysroot = standard_library(&root)?;
    let binary = build(&root, &sysroot, args.release)?;
    let wrapper = wrapper(&root, &binary)?;

    let version = setup::output(Command::new(&wrapper).arg("--version"), "jotwatch --version")?;
    say(&format!("{}: {}", binary.display(), String::from_utf8_lossy(&version.stdout).trim()));
    let here = setup::build(&["--quiet", "--package=jotwatch"])?.join("jotwatch");
    let demo = setup::workspace().join("docs/demo.pcap");
    let replay = |program: &Path| {
        let mut replay = Command::new(program);
        replay.arg("replay").arg(&demo);
        setup::output(&mut replay, &format!("replay by {}", program.display()))
    };
    let (ours, theirs) = (replay(&here)?.stdout, replay(&wrapper)?.stdout);
    ensure!(!ours.is_empty() && ours == theirs, "docs/demo.pcap gives other bytes on aarch64");
    say(&format!("docs/demo.pcap gives the same {} bytes", ours.len()));
    let status = setup::cargo()
        .args(["test", "--quiet", "--package=jotwatch-tests", "--test=cases"])
        .env("JOTWATCH_BIN", &wrapper)
        .env_remove("JOTWATCH_BLESS")
        .status()?;
    ensure!(status.success(), "the capture cases differ on aarch64");
    say("every capture case gives the bytes of x86-64");
    Ok(())
}

fn say(line: &str) {
    eprintln!("cross: {line}");
}

/// A sysroot with the target's standard library, of the version of the installed compiler.
fn standard_library(root: &Path) -> Result<PathBuf> {
    let version = setup::output(
        Command::new("dpkg-query").args(["-W", "-f", "${Version}", "rustc-web"]),
        "asking for the version of rustc-web",
    )?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let sysroot = root.join(format!("std-{version}"));
    if !sysroot.exists() {
        say(&format!("bringing {STD}:arm64 {version} to {}", sysroot.display()));
        let part = root.join("std.part");
        let sources = debian::own_sources("arm64")?;
        let apt = debian::Apt::new(&part, &sources, Some("arm64"))?;
        let archive = apt.download(&format!("{STD}:arm64={version}"))?;
        let unpacked = part.join("root");
        setup::output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&unpacked), "unpacking")?;
        // Last, so that what is there is whole.
        fs::rename(&unpacked, &sysroot)?;
        fs::remove_dir_all(&part)?;
    }
    Ok(sysroot.join("usr"))
}

fn build(root: &Path, sysroot: &Path, release: bool) -> Result<PathBuf> {
    let mut cargo = setup::cargo();
    cargo
        .args(["build", "--quiet", "--locked", "--package=jotwatch", "--bin=jotwatch"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(root)
        .env("RUSTC", build_ebpf::RUSTC)
        .env(format!("{VARIABLE}_LINKER"), COMPILER)
        .env(format!("{VARIABLE}_RUSTFLAGS"), format!("--sysroot={}", sysroot.display()))
        .env("CC_aarch64_unknown_linux_gnu", COMPILER)
        // Of the outer cargo's toolchain, which is another.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS");
    if release {
        cargo.arg("--release");
    }
    ensure!(cargo.status()?.success(), "the sensor does not build for {TARGET}");
    let profile = if release { "release" } else { "debug" };
    Ok(root.join(TARGET).join(profile).join("jotwatch"))
}

/// A program that runs `binary` under emulation, as if it were of this machine.
fn wrapper(root: &Path, binary: &Path) -> Result<PathBuf> {
    let emulator = setup::find(EMULATOR).with_context(|| format!("no {EMULATOR}"))?;
    let path = root.join("jotwatch-emulated");
    let script = format!(
        "#!/bin/sh\nexec '{}' -L {LIBRARIES} '{}' \"$@\"\n",
        emulator.display(),
        binary.display()
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
