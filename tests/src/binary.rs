//! The program under test.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

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

/// What a command prints for these lines on its standard input, a JSON object a line, and its exit
/// code.
///
/// # Panics
/// The command can't be run, or prints something else.
#[must_use]
pub fn answers(arguments: &[&str], lines: &[String]) -> (Vec<Value>, i32) {
    let mut child = Command::new(jotwatch())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("jotwatch runs");
    let mut input = child.stdin.take().expect("a pipe");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // It may end before it has read all of them.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("jotwatch ends");
    let _ = writer.join().expect("the writer ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let answers = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (answers, output.status.code().expect("an exit code"))
}
