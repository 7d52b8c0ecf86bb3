//! `cargo xtask test`: every test of the workspace, with the services that live tests want.

use std::{env, ffi::OsString};

use anyhow::{Result, ensure};

use crate::{
    package,
    setup::{self, Part},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to `cargo test --workspace`; what follows `--`, to the test programs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    _cargo: Vec<OsString>,
}

/// Sets up the services, builds the sensor that end-to-end tests run, and runs the tests.
///
/// Live tests skip what is not there. Where everything can be had, as root and in CI, nothing
/// may be skipped: a set-up that fails is an error, and `JOTWATCH_REQUIRE_SERVICES` tells the
/// tests so.
///
/// # Errors
/// That a service is not to be had, the sensor does not build, or a test fails.
pub(crate) fn run(_: &Args) -> Result<()> {
    let missing = setup::ensure_all(&Part::ALL);
    let strict = setup::is_root() || env::var_os("CI").is_some();
    ensure!(missing.is_empty() || !strict, "not tested: {missing:?} cannot be set up");
    let left_out = match (setup::is_root(), missing.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "; left out without root: the live kernel tests".to_owned(),
        (false, false) => {
            format!("; left out without root: the live kernel tests, and those with {missing:?}")
        }
    };

    let sensor = setup::build(&["--quiet", "--package", "jotwatch"])?.join("jotwatch");
    let mut tests = setup::cargo();
    tests.args(["test", "--workspace"]).env("JOTWATCH_BIN", sensor);
    // As they were given: the parser takes a leading `--` for itself.
    tests.args(env::args_os().skip(2));
    if missing.is_empty() {
        tests.env("JOTWATCH_REQUIRE_SERVICES", "1");
    } else {
        tests.env_remove("JOTWATCH_REQUIRE_SERVICES");
    }
    let status = tests.status()?;
    ensure!(status.success(), "tests failed (cargo test: {status}){left_out}");
    // Whoever asks for certain tests means those.
    if env::args_os().len() == 2 && setup::is_root() {
        package::run(&package::Args { debug: true, test: true })?;
    }
    eprintln!("test: all passed{left_out}");
    Ok(())
}
