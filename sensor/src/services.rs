//! What the configuration says of the watched services, with the documents that it names read.

use std::{
    collections::HashMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use toml::Spanned;

use crate::{
    capture::FlowKey,
    config::{Place, ServiceConfig},
    memory::routes::{MAX_DOCUMENT, RouteScopes},
    policy::Mode,
    whole_file,
};

/// One watched service.
#[derive(Debug)]
pub struct Service {
    /// Where it is.
    pub place: Place,
    /// Its name in the configuration.
    pub name: Option<String>,
    /// Audiences that it belongs to; empty where they are to be learned.
    pub audiences: Vec<String>,
    /// Addresses under which clients know it.
    pub public_urls: Vec<String>,
    /// Whether tokens that are bound to a key come with a proof of it.
    pub dpop: bool,
    /// Whether credentials for it may be encrypted, where it says so itself.
    pub encrypted: Option<bool>,
    /// What its routes ask for.
    pub routes: RouteScopes,
    /// What is done about bad requests to it, where it has a mode of its own.
    pub mode: Option<Mode>,
    /// Whether that is only told, where it says so itself.
    pub dry_run: Option<bool>,
}

/// The ids of the cgroups that services name, and of all below them.
pub type CgroupIds = HashMap<PathBuf, Vec<u64>>;

/// The services of which the configuration says something.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// The one that says most of its place first.
    services: Vec<Arc<Service>>,
    cgroups: CgroupIds,
}

impl Services {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// An OpenAPI document can't be read or is none, or a route stands there twice; the error
    /// names the service and the file or route.
    pub fn load(configs: &[Spanned<ServiceConfig>]) -> anyhow::Result<Self> {
        let services = configs.iter().map(|config| Ok(Arc::new(load(config.get_ref())?)));
        let mut services: Vec<Arc<Service>> = services.collect::<anyhow::Result<_>>()?;
        services.sort_by_key(|service| std::cmp::Reverse(service.place.weight()));
        Ok(Self { services, cgroups: CgroupIds::new() })
    }

    /// The same, where the cgroups have these ids.
    #[must_use]
    pub fn with_cgroups(&self, cgroups: CgroupIds) -> Self {
        Self { services: self.services.clone(), cgroups }
    }

    /// The service that a connection is to.
    #[must_use]
    pub fn of(&self, flow: &FlowKey) -> Option<&Service> {
        let (address, port) = (flow.server.ip().to_canonical(), flow.server.port());
        let fits = |service: &&Arc<Service>| {
            let Place { ports, address: own, cgroup } = &service.place;
            (ports.is_empty() || ports.contains(&port))
                && own.is_none_or(|own| own == address)
                && cgroup.as_ref().is_none_or(|path| {
                    self.cgroups.get(path).is_some_and(|ids| ids.contains(&flow.scope))
                })
        };
        self.services.iter().find(fits).map(|service| &**service)
    }

    /// All of them, the one that says most of its place first.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(|service| &**service)
    }

    /// The ids of its cgroup and those below, where that is there.
    #[must_use]
    pub fn cgroup_ids(&self, path: &Path) -> &[u64] {
        self.cgroups.get(path).map_or(&[], Vec::as_slice)
    }

    /// The cgroups that are named.
    #[must_use]
    pub fn cgroups(&self) -> Vec<PathBuf> {
        self.iter().filter_map(|service| service.place.cgroup.clone()).collect()
    }
}

fn load(config: &ServiceConfig) -> anyhow::Result<Service> {
    let place = || format!("service at {}", config.place());
    let mut routes = match &config.openapi {
        Some(path) => {
            let named = || format!("{}: {}", place(), path.display());
            let mut document = Vec::new();
            let file = whole_file::open(path).with_context(named)?;
            file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut document).with_context(named)?;
            RouteScopes::from_openapi(&document).with_context(named)?
        }
        None => RouteScopes::new(),
    };
    for route in &config.routes {
        let added = if route.public {
            routes.add_public(&route.method, &route.path)
        } else {
            routes.add(&route.method, &route.path, &route.scopes)
        };
        added.with_context(|| format!("{}: route {} {}", place(), route.method, route.path))?;
    }
    let (name, audiences) = (config.name.clone(), config.audiences.clone());
    let public_urls = config.public_urls.iter().map(|url| url.get_ref().clone()).collect();
    let (dpop, mode, dry_run) = (config.dpop, config.mode, config.dry_run);
    let encrypted = config.encrypted;
    Ok(Service {
        place: config.place(),
        name,
        audiences,
        public_urls,
        dpop,
        encrypted,
        routes,
        mode,
        dry_run,
    })
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, path::Path};

    use super::*;
    use crate::config::parse;

    #[test]
    fn the_service_that_says_most_of_its_place_counts() {
        let text = r#"
            service = [
                { name = "port", port = 80 },
                { name = "cgroup", cgroup = "/a" },
                { name = "address", listen = "127.0.0.1:80" },
                { name = "both", ports = [80, 81], cgroup = "/a" },
                { name = "all", listen = "[::1]:80", cgroup = "/a" },
                { name = "second", port = 80 },
            ]
        "#;
        let config = parse(text, Path::new("c.toml")).unwrap();
        let services = Services::load(&config.services).unwrap();
        let of = |services: &Services, server: &str, scope: u64| {
            let server: SocketAddr = server.parse().unwrap();
            let client = "192.0.2.1:1".parse().unwrap();
            services.of(&FlowKey { client, server, scope })?.name.clone()
        };
        assert_eq!(of(&services, "192.0.2.9:80", 7).as_deref(), Some("port"));
        assert_eq!(of(&services, "192.0.2.9:82", 7), None);
        let services = services.with_cgroups([(PathBuf::from("/a"), vec![7, 9])].into());
        for (server, scope, due) in [
            ("192.0.2.9:80", 7, Some("both")),
            ("192.0.2.9:82", 9, Some("cgroup")),
            ("192.0.2.9:80", 8, Some("port")),
            ("192.0.2.9:82", 8, None),
            ("127.0.0.1:80", 7, Some("address")),
            ("[::ffff:127.0.0.1]:80", 8, Some("address")),
            ("[::1]:80", 7, Some("all")),
            ("[::1]:80", 8, Some("port")),
        ] {
            assert_eq!(of(&services, server, scope).as_deref(), due, "{server} {scope}");
        }
        let shown: Vec<String> = services.iter().map(|s| s.place.to_string()).collect();
        assert_eq!(
            shown,
            [
                "[::1]:80 in cgroup /a",
                "127.0.0.1:80",
                "port 80, 81 in cgroup /a",
                "cgroup /a",
                "port 80",
                "port 80"
            ]
        );
    }
}
