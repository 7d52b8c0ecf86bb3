//! The object of the kernel programs: loading it, its programs and its maps.

use std::net::IpAddr;

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, LpmTrie, MapData, MapError, lpm_trie::Key},
    programs::{CgroupSkb, ProgramError, RawTracePoint},
};
use jotwatch_common::{BUDGET_LIMIT, Offset, PORT_WORDS, Settings};

use super::{Config, Error, WAKE, probe};

/// [`Settings`] as the map holds them.
pub(super) type SettingsWords = [u32; size_of::<Settings>() / 4];

pub(super) fn load_object(
    object: &[u8],
    ring_bytes: u32,
    offsets: [u32; Offset::COUNT],
) -> Result<Ebpf, Error> {
    EbpfLoader::new()
        .map_max_entries("RECORDS", ring_bytes)
        .override_global("OFFSETS", &offsets, true)
        .load(object)
        .map_err(|e| match e {
            EbpfError::MapError(MapError::CreateError { name, .. }) => Error::Object(format!(
                "map {name} cannot be created: is CAP_BPF there, and memory?"
            )),
            e => Error::Object(one_line(&e.to_string())),
        })
}

pub(super) fn program<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut T, Error>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or_else(|| Error::Object(format!("has no program {name}")))
}

/// Loads one program.
pub(super) fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), Error> {
    let result = if name == probe::STATE {
        program::<RawTracePoint>(ebpf, name)?.load()
    } else {
        program::<CgroupSkb>(ebpf, name)?.load()
    };
    result.map_err(|e| Error::Load { program: name, reason: reason(&e) })
}

pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
}

/// A program error in one line: the verifier's last words where it spoke.
pub(crate) fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let last = log.lines().rev().find(|l| {
                !l.trim().is_empty()
                    && !l.starts_with("processed ")
                    && !l.starts_with("verification time")
                    && !l.starts_with("stack depth")
            });
            match last {
                Some(line) => format!("{io_error}: {}", line.trim()),
                None => io_error.to_string(),
            }
        }
        ProgramError::SyscallError(e) => format!("{}: {}", e.call, e.io_error),
        e => one_line(&e.to_string()),
    }
}

pub(super) fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<aya::maps::Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or_else(|| Error::Object(format!("has no map {name}")))?;
    T::try_from(map).map_err(|e| Error::Map { name, reason: e.to_string() })
}

pub(super) fn borrow<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<&'a mut aya::maps::Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| Error::Object(format!("has no map {name}")))?;
    T::try_from(map).map_err(|e| Error::Map { name, reason: e.to_string() })
}

/// Writes ports and addresses; gives the settings.
pub(super) fn set_up(ebpf: &mut Ebpf, config: &Config, ring_bytes: u32) -> Result<Settings, Error> {
    let fail = |name| move |e: MapError| Error::Map { name, reason: e.to_string() };
    let mut bits = vec![0u64; PORT_WORDS as usize];
    for port in &config.ports {
        if let Some(word) = bits.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }
    let mut ports: Array<&mut MapData, u64> = borrow(ebpf, "PORTS")?;
    for (i, word) in (0..).zip(&bits) {
        if *word != 0 {
            ports.set(i, word, 0).map_err(fail("PORTS"))?;
        }
    }
    for net in &config.addresses {
        let prefix = u32::from(net.prefix_len());
        match net.addr() {
            IpAddr::V4(a) => borrow::<LpmTrie<&mut MapData, [u8; 4], u32>>(ebpf, "NETWORKS4")?
                .insert(&Key::new(prefix, a.octets()), 1, 0),
            IpAddr::V6(a) => borrow::<LpmTrie<&mut MapData, [u8; 16], u32>>(ebpf, "NETWORKS6")?
                .insert(&Key::new(prefix, a.octets()), 1, 0),
        }
        .map_err(fail("NETWORKS"))?;
    }
    Ok(Settings {
        request_budget: config.request_body_budget.min(BUDGET_LIMIT),
        response_budget: config.response_body_budget.min(BUDGET_LIMIT),
        by_address: u32::from(!config.addresses.is_empty()),
        pressure_at: ring_bytes / 4 * 3,
        wake_at: ring_bytes / 16,
        wake_every: u32::try_from(WAKE.as_nanos()).unwrap_or(u32::MAX),
        stops: 0,
        whole_budget: BUDGET_LIMIT,
    })
}

/// Hands the settings to the programs.
pub(super) fn hand_over(
    map: &mut Array<MapData, SettingsWords>,
    settings: Settings,
) -> Result<(), Error> {
    let words = bytemuck::cast::<Settings, SettingsWords>(settings);
    map.set(0, words, 0).map_err(|e| Error::Map { name: "SETTINGS", reason: e.to_string() })
}
