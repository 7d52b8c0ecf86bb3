//! What the administrator writes, what other people's lists say, and what local callers ask.

use std::path::Path;

use super::script::Script;
use crate::{
    clients::Networks,
    config,
    control::Request,
    enforce::{entry::Written, file_list::FileList},
    event::{Filter, Head},
    features::SubjectLimits,
    feeds::{self, Column, FeedTable, Format, Indicator, Kind, Meaning},
    memory::routes::RouteScopes,
    networks,
    revocation::RevocationList,
    score::input::Described,
    time::Time,
};

/// Texts of the configuration: the file itself and the small languages in it.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::parse(text, Path::new("c.toml")) {
        Ok(config) => {
            let _subjects: SubjectLimits = config.scoring.subject_limits();
            drop((config.memory.resolve(), config.enforcement.resolve()));
            drop(crate::trust::policy(&config.issuers));
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
    let _filter = toml::from_str::<Filter>(text);
    let _time = Time::parse(text);
    let _network = networks::parse(text);
    crate::sinks::fuzz::texts(text);
    crate::keyring::fuzz::url(text);
}

const NOW: Time = Time::from_unix_secs(1_750_000_000);

/// Lists: feeds, what is denied, what is revoked, routes, networks. The first byte says which.
pub fn lists(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 9 {
        0 => feed(data, &Format::Plain(Kind::Host)),
        1 => feed(data, &Format::Plain(Kind::UserAgent)),
        2 => feed(data, &Format::Csv(Column::Number(2), Kind::Host)),
        3 => feed(data, &Format::Csv(Column::Name("indicator".into()), Kind::UserAgent)),
        4 => feed(data, &Format::Stix),
        5 => {
            let Ok(list) = FileList::parse(data, Path::new("denied"), NOW) else { return };
            assert!(list.networks().iter().all(|network| list.has_network(*network)));
            assert!(list.tokens().iter().all(|token| list.has_token(*token)));
        }
        6 => {
            let _list = RevocationList::parse(data);
        }
        7 => {
            let Ok(routes) = RouteScopes::from_openapi(data) else { return };
            let target = std::str::from_utf8(data.get(..32).unwrap_or(data)).unwrap_or("/a/b?c");
            let _coverage = routes.check("GET", target, &["read"]);
        }
        _ => {
            if let Ok(networks) = Networks::parse(data.to_vec()) {
                let _v4 = networks.asn([192, 0, 2, 1].into());
                let _v6 = networks.asn("2001:db8::1".parse().unwrap());
            }
        }
    }
}

/// What a feed names is found in its table.
fn feed(data: &[u8], format: &Format) {
    let Ok(feed) = feeds::parse(data, format, NOW) else { return };
    let items = feed.items.clone();
    let list = FileList::of_feed("f", &feed, NOW);
    let table = FeedTable::new("f", Meaning::Threat, feed);
    for item in items {
        match &item.indicator {
            Indicator::Address(address) => assert!(table.address(*address).is_some()),
            Indicator::Network(network) => {
                assert!(table.address(network.addr()).is_some());
                assert!(list.has_network(*network));
            }
            Indicator::Domain(name) => assert!(table.domain(name).is_some(), "{name:?}"),
            Indicator::UserAgent(agent) => assert!(table.agent(agent).is_some(), "{agent:?}"),
        }
    }
}

/// What local callers send: to the control socket, to the scoring service, for metrics; and lines
/// of events that are read again. The first byte says which.
pub fn local(data: &[u8]) {
    let mut script = Script(data);
    let kind = script.byte();
    let data = script.0;
    match kind % 6 {
        0 => {
            if let Ok(request) = serde_json::from_slice::<Request>(data) {
                let line = serde_json::to_string(&request).unwrap();
                assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
            }
        }
        1 => {
            let Ok(value) = serde_json::from_slice(data) else { return };
            crate::rest::fuzz::described(&value, NOW);
        }
        2 => {
            let Ok(value) = serde_json::from_slice(data) else { return };
            let _described = Described::from_json(&value, NOW);
        }
        3 => crate::metrics::fuzz::head(data),
        4 => {
            // The journal's lines end at the first line feed.
            let line = data.split(|&b| b == b'\n').next().unwrap_or_default();
            if let Some(event) = Head::of(line) {
                assert!(Filter::default().passes(&event));
            }
            crate::sinks::fuzz::line(line);
        }
        _ => {
            if let Ok(written) = serde_json::from_slice::<Written>(data) {
                let (_denied, _allowed) = (written.denied(), written.allowed());
            }
        }
    }
}
