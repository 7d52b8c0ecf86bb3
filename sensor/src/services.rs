//! What the configuration says of the watched services, with the documents that it names read.

use std::{fs, io::Read as _};

use anyhow::Context as _;

use crate::{
    config::ServiceConfig,
    memory::routes::{MAX_DOCUMENT, RouteScopes},
    policy::Mode,
};

/// One watched service.
#[derive(Debug)]
pub struct Service {
    port: u16,
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

/// The services of which the configuration says something.
#[derive(Debug, Default)]
pub struct Services(Vec<Service>);

impl Services {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// An OpenAPI document can't be read or is none, or a route stands there twice; the error
    /// names the service and the file or route.
    pub fn load(configs: &[ServiceConfig]) -> anyhow::Result<Self> {
        configs.iter().map(load).collect::<anyhow::Result<_>>().map(Self)
    }

    /// The service on a port.
    #[must_use]
    pub fn on(&self, port: u16) -> Option<&Service> {
        self.0.iter().find(|service| service.port == port)
    }
}

fn load(config: &ServiceConfig) -> anyhow::Result<Service> {
    let place = || format!("service on port {}", config.port);
    let mut routes = match &config.openapi {
        Some(path) => {
            let named = || format!("{}: {}", place(), path.display());
            let mut document = Vec::new();
            let file = fs::File::open(path).with_context(named)?;
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
    Ok(Service {
        port: config.port,
        name,
        audiences,
        public_urls,
        dpop: config.dpop,
        encrypted: config.encrypted,
        routes,
        mode: config.mode,
        dry_run: config.dry_run,
    })
}
