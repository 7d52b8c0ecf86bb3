//! Jotwatch's developer commands.

mod bench;
mod boot;
mod build_ebpf;
mod cross;
mod demo;
mod deny;
mod evaluate;
mod fuzz;
mod ground;
mod kernels;
mod package;
mod profile;
mod progress;
mod setup;
mod soak;
mod test;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Measure the sensor: replay, live load, kernel programs, memory
    Bench(bench::Args),
    /// Build the sensor as it is packaged
    Build,
    /// Build the kernel programs into sensor/bpf/, installing what that needs
    BuildEbpf(build_ebpf::Args),
    /// Build the sensor for aarch64, and hold it to the capture cases under emulation
    Cross(cross::Args),
    /// Watch a real service that checks its tokens badly, under good and forged traffic
    Demo(demo::Args),
    /// Check licences, sources and versions of what this depends on
    Deny(deny::Args),
    /// The demo's service; started by it
    #[command(hide = true)]
    DemoService { addr: std::net::SocketAddr },
    /// Measure the models on public data that they have not seen
    Evaluate(evaluate::Args),
    /// Run the fuzz targets; with what one finds, it fails and names the input
    Fuzz(fuzz::Args),
    /// Prove the sensor on older kernels, Debian's own, in virtual machines
    Kernels(kernels::Args),
    /// Build the Debian package; with --test, install, upgrade, remove and purge it in a root of its own
    Package(package::Args),
    /// Record what the sensor does most, by which release builds are optimised
    Profile,
    /// Bring what the live tests, the demo and the benchmarks need to this machine
    Setup {
        /// Only these parts
        parts: Vec<setup::Part>,
    },
    /// Kill the sensor a thousand times under load, or leave it to itself for hours
    Soak(soak::Args),
    /// Run every test, live ones with real services included
    Test(test::Args),
    /// Rebuild the models' artifacts from public data
    Train(train::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Cmd::Bench(args) => bench::run(&args),
        Cmd::Build => build(),
        Cmd::BuildEbpf(args) => build_ebpf::run(setup::workspace(), &args),
        Cmd::Cross(args) => cross::run(&args),
        Cmd::Demo(args) => demo::run(&args),
        Cmd::Deny(args) => deny::run(&args),
        Cmd::DemoService { addr } => demo::run_service(addr),
        Cmd::Evaluate(args) => evaluate::run(&args),
        Cmd::Fuzz(args) => fuzz::run(&args),
        Cmd::Kernels(args) => kernels::run(&args),
        Cmd::Package(args) => package::run(&args),
        Cmd::Profile => profile::run(),
        Cmd::Setup { parts } => setup::run(&parts),
        Cmd::Soak(args) => soak::run(&args),
        Cmd::Test(args) => test::run(&args),
        Cmd::Train(args) => train::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> anyhow::Result<()> {
    let folder = profile::build_sensor()?;
    eprintln!("build: {}", folder.join("jotwatch").display());
    Ok(())
}
