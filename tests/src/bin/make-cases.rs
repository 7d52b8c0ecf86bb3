//! Writes the captures and configurations of all cases, and their README. Expected output is left
//! alone: `JOTWATCH_BLESS=1 cargo test -p jotwatch-tests --test cases` writes that.

use std::{fs, io};

use jotwatch_tests::cases;

fn main() -> io::Result<()> {
    for case in cases::all() {
        let folder = cases::folder().join(case.name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("input.pcap"), (case.input)())?;
        if let Some(config) = case.config {
            fs::write(folder.join("config.toml"), config)?;
        }
        for (name, content) in cases::files(case.name) {
            fs::write(folder.join(name), content)?;
        }
    }
    fs::write(cases::folder().join("README.md"), cases::readme())
}
