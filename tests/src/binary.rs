//! The program under test.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The `jotwatch` binary: the one that `JOTWATCH_BIN` names, or the workspace's own, built with the
/// profile of the tests the first time that it is asked for.
pub fn jotwatch() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = env::var_os("JOTWATCH_BIN") {
            return path.into();
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "jotwatch", "--bin", "jotwatch"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().expect("cargo runs").success(), "jotwatch does not build");
        // The test program is target/PROFILE/deps/NAME.
        let test = env::current_exe().expect("a test program has a path");
        test.ancestors().nth(2).expect("the target folder").join("jotwatch")
    })
}
