//! `cargo xtask package`: the Debian package, and a test of it with dpkg.
//!
//! cargo-deb packs what `[package.metadata.deb]` of the sensor lists. The test installs into a root
//! of its own below `target/`, where dpkg runs the maintainer scripts by chroot(2), and once more under
//! a systemd of its own ([`boot`]); nothing of the machine itself is touched.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{boot, profile, setup};

/// The highest exposure of the unit that is let pass, in tenths, as systemd-analyze rates it.
const EXPOSURE: &str = "30";

/// The version of the package that the test upgrades to.
const LATER: &str = "99.0.0";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pack the debug build: quick to make, for tests
    #[arg(long)]
    pub(crate) debug: bool,
    /// Install, upgrade, remove and purge it with dpkg, and run the unit under systemd, in roots of their own (as root)
    #[arg(long)]
    pub(crate) test: bool,
}

/// Builds the package into `target/package/`, and tests it where that is asked for.
///
/// # Errors
/// It does not build, or a step of the test is not as it should be.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tool = cargo_deb()?;
    let folder = if args.debug {
        setup::build(&["--quiet", "--package", "jotwatch"])?
    } else {
        profile::build_sensor()?
    };
    let out = setup::target_dir().join("package");
    generate(&folder.join("jotwatch"), &out)?;
    let package = pack(&tool, args.debug, &out.join("jotwatch.deb"), None)?;
    eprintln!("package: {}", package.display());
    if args.test {
        unit(&setup::workspace().join("packaging/jotwatch.service"))?;
        let later = pack(&tool, args.debug, &out.join("later.deb"), Some(LATER))?;
        install(&package, &later, &out.join("root"))?;
        boot::test(&package, &out.join("boot"))?;
        eprintln!("package: installed, upgraded, removed and purged as it should be");
    }
    Ok(())
}

/// cargo-deb: the one on the PATH, or one of our own below `target/`.
fn cargo_deb() -> Result<PathBuf> {
    if let Some(tool) = setup::find("cargo-deb") {
        return Ok(tool);
    }
    let root = setup::target_dir().join("tools");
    let tool = root.join("bin/cargo-deb");
    if !tool.is_file() {
        eprintln!("package: installing cargo-deb into target/tools (cargo install --locked)");
        let mut install = setup::cargo();
        // Version 3 packs the debug build, too.
        install.args(["install", "--quiet", "--locked", "cargo-deb@^3", "--root"]).arg(&root);
        said(&mut install)?;
    }
    Ok(tool)
}

/// Manual pages and completions, as the program itself makes them.
fn generate(program: &Path, out: &Path) -> Result<()> {
    let man = out.join("man");
    if man.exists() {
        fs::remove_dir_all(&man)?;
    }
    said(Command::new(program).arg("man").arg(&man))?;
    let completions = out.join("completions");
    fs::create_dir_all(&completions)?;
    for (shell, name) in
        [("bash", "jotwatch.bash"), ("zsh", "_jotwatch"), ("fish", "jotwatch.fish")]
    {
        let script = said(Command::new(program).args(["completions", shell]))?;
        fs::write(completions.join(name), script.stdout)?;
    }
    Ok(())
}

fn pack(tool: &Path, debug: bool, to: &Path, version: Option<&str>) -> Result<PathBuf> {
    let mut pack = Command::new(tool);
    pack.current_dir(setup::workspace());
    pack.args([
        "deb",
        "--quiet",
        "--no-build",
        "--package",
        "jotwatch",
        "--strip",
        "--no-dbgsym",
        "--output",
    ])
    .arg(to);
    if debug {
        pack.args(["--profile", "dev", "--fast"]);
    }
    pack.args(version.map(|version| ["--deb-version", version]).into_iter().flatten());
    said(&mut pack)?;
    Ok(to.to_owned())
}

/// The unit is understood, and hardened as it says.
fn unit(unit: &Path) -> Result<()> {
    setup::ensure_tools(&["systemd-analyze"], "the rating of the unit")?;
    let mut rate = Command::new("systemd-analyze");
    rate.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE]).arg(unit);
    said(&mut rate).context("the unit is more exposed than it should be")?;
    Ok(())
}

/// A root in which packages can be installed.
struct Root(PathBuf);

impl Root {
    /// An empty root with what the maintainer scripts and the program want: a shell, `rm`, and the
    /// shared libraries, which dpkg knows as installed.
    fn make(at: &Path) -> Result<Self> {
        if at.exists() {
            fs::remove_dir_all(at)?;
        }
        for folder in [
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib",
            "var/log",
            "run",
            "tmp",
            "proc",
        ] {
            fs::create_dir_all(at.join(folder))?;
        }
        // What the scripts write there is nothing that has to be kept.
        fs::create_dir_all(at.join("dev"))?;
        fs::write(at.join("dev/null"), "")?;
        for program in ["/bin/sh", "/bin/rm"] {
            copy(Path::new(program), at)?;
            libraries(Path::new(program), at)?;
        }
        Ok(Self(at.to_owned()))
    }

    fn dpkg(&self, args: &[&str]) -> Result<Output> {
        let mut dpkg = Command::new("dpkg");
        // The log and the lock are the root's, too.
        dpkg.arg(format!("--root={}", self.0.display())).arg("--force-not-root").args(args);
        said(&mut dpkg)
    }

    fn state(&self) -> Result<String> {
        let out = Command::new("dpkg-query")
            .arg(format!("--admindir={}", self.0.join("var/lib/dpkg").display()))
            .args(["-W", "-f", "${db:Status-Abbrev} ${Version}", "jotwatch"])
            .output()?;
        Ok(String::from_utf8(out.stdout)?.trim().to_owned())
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).symlink_metadata().is_ok()
    }
}

fn copy(from: &Path, root: &Path) -> Result<()> {
    let to = root.join(from.strip_prefix("/")?);
    fs::create_dir_all(to.parent().context("no folder")?)?;
    fs::copy(from, &to).with_context(|| from.display().to_string())?;
    Ok(())
}

/// Copies what a program is linked to.
fn libraries(program: &Path, root: &Path) -> Result<()> {
    let ldd = said(Command::new("ldd").arg(program))?;
    for word in
        String::from_utf8(ldd.stdout)?.split_whitespace().filter(|word| word.starts_with('/'))
    {
        copy(Path::new(word), root)?;
    }
    Ok(())
}

/// Tells dpkg of the root that what the package depends on is installed, as it is on this machine.
fn provide(package: &Path, root: &Root) -> Result<()> {
    let depends = said(Command::new("dpkg-deb").arg("-f").arg(package).arg("Depends"))?;
    let depends = String::from_utf8(depends.stdout)?;
    ensure!(depends.contains("libc6"), "the package names no C library: {depends}");
    let mut status = String::new();
    for name in depends.split(',').filter_map(|one| one.split_whitespace().next()) {
        let mut query = Command::new("dpkg-query");
        query.args([
            "-W",
            "-f",
            "Package: ${Package}\nStatus: install ok installed\nPriority: optional\n\
            Section: libs\nMaintainer: nobody\nArchitecture: ${Architecture}\nMulti-Arch: same\n\
            Version: ${Version}\nDescription: as on this machine\n\n",
            name,
        ]);
        status.push_str(&String::from_utf8(said(&mut query)?.stdout)?);
    }
    fs::write(root.0.join("var/lib/dpkg/status"), status)?;
    Ok(())
}

fn install(package: &Path, later: &Path, at: &Path) -> Result<()> {
    ensure!(setup::is_root(), "dpkg runs the package's scripts by chroot, which takes root");
    let root = Root::make(at)?;
    provide(package, &root)?;
    let arg = |path: &Path| path.to_string_lossy().into_owned();

    let said_first = root.dpkg(&["-i", &arg(package)])?;
    ensure!(root.state()?.starts_with("ii "), "not installed: {}", root.state()?);
    ensure!(
        String::from_utf8_lossy(&said_first.stdout).contains("not started"),
        "it does not say what is next"
    );
    for path in [
        "usr/bin/jotwatch",
        "etc/jotwatch/config.toml",
        "usr/lib/systemd/system/jotwatch.service",
        "usr/share/man/man1/jotwatch.1.gz",
        "usr/share/man/man1/jotwatch-run.1.gz",
        "usr/share/bash-completion/completions/jotwatch",
        "usr/share/zsh/vendor-completions/_jotwatch",
        "usr/share/fish/vendor_completions.d/jotwatch.fish",
        "usr/share/doc/jotwatch/configuration.md",
    ] {
        ensure!(root.has(path) || root.has(&format!("{path}.gz")), "{path} is not installed");
    }
    for enabled in ["etc/systemd/system", "var/lib/jotwatch", "run/jotwatch"] {
        ensure!(!root.has(enabled), "installing made {enabled}");
    }
    let unit = fs::read_to_string(root.0.join("usr/lib/systemd/system/jotwatch.service"))?;
    ensure!(unit.contains("ExecStart=/usr/bin/jotwatch run"), "the unit starts something else");
    // The program runs there, on the libraries that it names, and takes its own configuration.
    libraries(&root.0.join("usr/bin/jotwatch"), &root.0)?;
    let inside = |arguments: &[&str]| {
        Command::new("chroot").arg(&root.0).arg("/usr/bin/jotwatch").args(arguments).output()
    };
    let checked = inside(&["check-config"])?;
    ensure!(checked.status.success(), "check-config: {}", String::from_utf8_lossy(&checked.stderr));
    // Without a port it ends with 2, at which the unit does not restart.
    let ran = inside(&["run"])?;
    ensure!(ran.status.code() == Some(2), "run without a port: {:?}", ran.status);

    // An administrator's changes, and what a daemon leaves behind.
    let config = root.0.join("etc/jotwatch/config.toml");
    let changed = "[capture]\nports = [8080]\n";
    fs::write(&config, changed)?;
    let included = root.0.join("etc/jotwatch/conf.d/services.toml");
    fs::create_dir_all(included.parent().context("no folder")?)?;
    fs::write(&included, "[[service]]\nport = 8080\n")?;
    for kept in ["var/lib/jotwatch/fingerprint.key", "var/log/jotwatch/events.jsonl"] {
        let path = root.0.join(kept);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, "kept")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    let keeps = |when: &str| -> Result<()> {
        ensure!(fs::read_to_string(&config)? == changed, "{when} changed the configuration");
        ensure!(included.exists(), "{when} took an included file");
        ensure!(root.has("var/lib/jotwatch/fingerprint.key"), "{when} took the state");
        Ok(())
    };

    root.dpkg(&["--force-confdef", "--force-confold", "-i", &arg(later)])?;
    ensure!(root.state()?.contains(LATER), "not upgraded: {}", root.state()?);
    keeps("the upgrade")?;

    root.dpkg(&["-r", "jotwatch"])?;
    ensure!(root.state()?.starts_with("rc "), "not removed: {}", root.state()?);
    ensure!(!root.has("usr/bin/jotwatch"), "the program is still there");
    ensure!(!root.has("usr/lib/systemd/system/jotwatch.service"), "the unit is still there");
    keeps("the removal")?;

    root.dpkg(&["-P", "jotwatch"])?;
    // The folder itself, too: nothing of the administrator's is left in it.
    for gone in ["var/lib/jotwatch", "var/log/jotwatch", "etc/jotwatch"] {
        ensure!(!root.has(gone), "purging left {gone}");
    }
    fs::remove_dir_all(at)?;
    Ok(())
}

/// Runs a command; what it said is the error's explanation.
fn said(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let said = [&*output.stdout, &*output.stderr].concat();
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(output)
}
