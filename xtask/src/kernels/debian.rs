//! Debian's kernels: downloaded by apt with lists and a cache of its own, so that the machine's
//! sources and packages stay as they are, and unpacked to `target/kernels/VERSION`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Kernel, MODULES};
use crate::setup;

/// Debian's keys, as its package brings them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The package that depends on a release's newest kernel.
const NEWEST: &str = "linux-image-amd64";

/// What a kernel's folder holds of its package.
const STAMP: &str = "package";

/// A kernel that can be booted.
pub(super) struct Unpacked {
    pub(super) folder: PathBuf,
    /// Name and version of the package.
    pub(super) package: String,
    pub(super) image: PathBuf,
    /// Those of [`MODULES`] that are not built in, in that order.
    pub(super) modules: Vec<PathBuf>,
}

/// The kernel, brought here if it is not yet. To have a newer one, remove its folder.
pub(super) fn unpacked(kernel: &Kernel) -> Result<Unpacked> {
    let folder = setup::target_dir().join("kernels").join(kernel.version);
    if !folder.join(STAMP).exists() {
        fetch(kernel, &folder).with_context(|| {
            format!("Linux {} of Debian {} is not to be had", kernel.version, kernel.release)
        })?;
    }
    let modules = MODULES.iter().map(|name| folder.join(format!("{name}.ko")));
    Ok(Unpacked {
        package: fs::read_to_string(folder.join(STAMP))?.trim().to_owned(),
        image: folder.join("vmlinuz"),
        modules: modules.filter(|path| path.exists()).collect(),
        folder,
    })
}

/// apt with lists and a cache of its own.
pub(crate) struct Apt {
    folder: PathBuf,
    architecture: Option<&'static str>,
}

impl Apt {
    /// Reads these sources' lists; what was in `folder` is lost.
    pub(crate) fn new(
        folder: &Path,
        sources: &str,
        architecture: Option<&'static str>,
    ) -> Result<Self> {
        let _ = fs::remove_dir_all(folder);
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(dir))?;
        }
        fs::write(folder.join("sources.list"), sources)?;
        let this = Self { folder: folder.to_owned(), architecture };
        setup::output(this.command("apt-get").arg("update"), &format!("reading\n{sources}"))?;
        Ok(this)
    }

    fn command(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.current_dir(&self.folder).env("DEBIAN_FRONTEND", "noninteractive");
        let set = |name: &str, path: &str| format!("{name}={}", self.folder.join(path).display());
        for option in [
            set("Dir::Etc::SourceList", "sources.list"),
            set("Dir::Etc::SourceParts", "/dev/null"),
            set("Dir::State::Lists", "lists"),
            set("Dir::Cache", "cache"),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            // An old release is signed, and not dated anew.
            "Acquire::Check-Valid-Until=false".into(),
        ] {
            apt.arg("-o").arg(option);
        }
        if let Some(architecture) = self.architecture {
            apt.arg("-o").arg(format!("APT::Architectures::={architecture}"));
        }
        apt
    }

    /// Brings a package's file.
    pub(crate) fn download(&self, package: &str) -> Result<PathBuf> {
        let mut get = self.command("apt-get");
        setup::output(get.args(["download", package]), &format!("downloading {package}"))?;
        files(&self.folder)?
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get brought no file of {package}"))
    }
}

fn fetch(kernel: &Kernel, folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    let part = folder.with_extension("part");
    let sources = sources("amd64", Some(kernel.release))?;
    let apt = Apt::new(&part, &sources, None)?;
    let depends = setup::output(apt.command("apt-cache").args(["depends", NEWEST]), NEWEST)?;
    let depends = String::from_utf8_lossy(&depends.stdout).into_owned();
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .with_context(|| format!("no {NEWEST} in\n{sources}"))?;
    ensure!(
        package.starts_with(&format!("linux-image-{}.", kernel.version)),
        "{NEWEST} is {package} in\n{sources}"
    );
    let archive = apt.download(package)?;
    let root = part.join("root");
    setup::output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root), "unpacking")?;
    let version =
        setup::output(Command::new("dpkg-deb").arg("-f").arg(&archive).arg("Version"), "reading")?;

    let kept = part.join("kept");
    fs::create_dir(&kept)?;
    let image = files(&root.join("boot"))?
        .into_iter()
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz")))
        .with_context(|| format!("no kernel in {package}"))?;
    fs::copy(image, kept.join("vmlinuz"))?;
    let drivers = root.join("lib/modules");
    let drivers = if drivers.exists() { drivers } else { root.join("usr/lib/modules") };
    modules(&drivers, &kept)?;
    let version = String::from_utf8_lossy(&version.stdout);
    fs::write(kept.join(STAMP), format!("{package} {}", version.trim()))?;
    // Last, so that what is there is whole.
    fs::rename(&kept, folder)?;
    fs::remove_dir_all(&part)?;
    Ok(())
}

/// A list of this machine's own sources of Debian's, for another architecture.
pub(crate) fn own_sources(architecture: &str) -> Result<String> {
    sources(architecture, None)
}

/// A list of sources, from the mirrors that this machine uses: of another release, or of its own.
fn sources(architecture: &str, release: Option<&str>) -> Result<String> {
    let targets = || {
        let mut apt = Command::new("apt-get");
        let format = "$(LABEL) $(CODENAME) $(REPO_URI)";
        apt.args(["indextargets", "--format", format, "Created-By: Packages"]);
        let out = setup::output(&mut apt, "apt-get indextargets")?;
        Ok::<_, anyhow::Error>(list(&String::from_utf8_lossy(&out.stdout), architecture, release))
    };
    let found = targets()?;
    if !found.is_empty() {
        return Ok(found);
    }
    // Without package lists, as on a fresh machine, apt does not know whose its mirrors are.
    setup::apt_update();
    let found = targets()?;
    ensure!(!found.is_empty(), "apt has no source of Debian's here");
    Ok(found)
}

/// From lines of a label, a release's name and an address.
fn list(targets: &str, architecture: &str, release: Option<&str>) -> String {
    let mut lines = Vec::new();
    for target in targets.lines() {
        let mut words = target.split(' ');
        let (Some(label), Some(own), Some(address)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let suite = match (label, release) {
            ("Debian" | "Debian-Security", None) => own.to_owned(),
            ("Debian", Some(release)) => release.to_owned(),
            ("Debian-Security", Some(release)) => format!("{release}-security"),
            _ => continue,
        };
        let options = format!("arch={architecture} target=Packages signed-by={KEYRING}");
        let line = format!("deb [{options}] {address} {suite} main\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

/// Copies those of [`MODULES`] that are there, decompressed.
fn modules(from: &Path, to: &Path) -> Result<()> {
    let mut folders = vec![from.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in files(&folder)? {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((stem, kind)) = name.split_once(".ko") else { continue };
            if !MODULES.contains(&stem) {
                continue;
            }
            let module = match kind {
                "" => fs::read(&path)?,
                ".xz" => setup::output(Command::new("xz").arg("-dc").arg(&path), "xz")?.stdout,
                other => bail!("{name}: a module in a form that is not known: {other}"),
            };
            fs::write(to.join(format!("{stem}.ko")), module)?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::{KEYRING, list};

    #[test]
    fn sources_are_the_mirrors_of_debian_once_each() {
        let targets = "Debian twelve http://a.example/debian/\nDebian twelve-updates http://a.example/debian/\n\
                       Debian-Security twelve-security http://s.example/\n\
                       Elsewhere x http://else.example/\n  http://nothing.example/\n";
        let option = |arch| format!("[arch={arch} target=Packages signed-by={KEYRING}]");
        let (amd, arm) = (option("amd64"), option("arm64"));
        assert_eq!(
            list(targets, "amd64", Some("eleven")),
            format!(
                "deb {amd} http://a.example/debian/ eleven main\n\
                 deb {amd} http://s.example/ eleven-security main\n"
            )
        );
        assert_eq!(
            list(targets, "arm64", None),
            format!(
                "deb {arm} http://a.example/debian/ twelve main\n\
                 deb {arm} http://a.example/debian/ twelve-updates main\n\
                 deb {arm} http://s.example/ twelve-security main\n"
            )
        );
        assert_eq!(list("Ubuntu u http://u.example/\n", "amd64", None), "");
    }
}
