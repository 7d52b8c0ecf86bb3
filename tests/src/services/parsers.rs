//! Services that write down what they serve, to hold the sensor's HTTP stage against: Node's own
//! server, nginx, and of Python `http.server` and h11 (of gns3-server's virtual environment).

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use serde_json::Value;

use super::{NotInstalled, Place, Service, Stop, configure, free_loopback, program, service_dir};

/// Whose parser it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parser {
    /// Node's `http`.
    Node,
    /// nginx.
    Nginx,
    /// Python's `http.server`.
    HttpServer,
    /// h11, which uvicorn and others use.
    H11,
}

impl Parser {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Node, Self::Nginx, Self::HttpServer, Self::H11];

    /// Its name in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Nginx => "nginx",
            Self::HttpServer => "http.server",
            Self::H11 => "h11",
        }
    }

    /// Starts a service on a free loopback address.
    ///
    /// # Errors
    /// [`NotInstalled`], or that it does not come up.
    pub fn start(self) -> Result<Service> {
        let addr = free_loopback()?;
        let dir = service_dir(self.name())?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/parsers");
        let port = addr.port().to_string();
        let command = match self {
            Self::Node => {
                let mut command = Command::new(program("node/bin/node", "node")?);
                command.arg(scripts.join("node.js")).arg(port);
                command
            }
            Self::Nginx => return nginx(dir, addr),
            Self::HttpServer | Self::H11 => {
                let python = super::services_dir().join("gns3/bin/python");
                if !python.is_file() {
                    return Err(NotInstalled { program: "h11".into() }.into());
                }
                let mut command = Command::new(python);
                command.arg(scripts.join("served.py")).arg(self.name()).arg(port);
                command
            }
        };
        Service::start(command, dir, addr, &Place::HERE, Stop::Kill)
    }

    fn log(self, service: &Service) -> PathBuf {
        service.dir().join(if self == Self::Nginx { "access.log" } else { "log" })
    }
}

fn nginx(dir: tempfile::TempDir, addr: SocketAddr) -> Result<Service> {
    let nginx = program("nginx/usr/sbin/nginx", "nginx")?;
    let config = include_str!("../../services/parsers/nginx.conf");
    let config = configure(dir.path(), "nginx.conf", config, addr, "")?;
    let mut command = Command::new(nginx);
    command.arg("-e").arg("stderr").arg("-p").arg(dir.path()).arg("-c").arg(config);
    Service::start(command, dir, addr, &Place::HERE, Stop::Ask)
}

/// A request that a service served. Bytes are characters of Latin-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The port of the client.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// The value of `Authorization`, where there is one.
    pub authorization: Option<String>,
    /// Bytes of the body, where it came whole and the service tells.
    pub body: Option<u64>,
}

/// What a service has served so far, in order.
///
/// # Errors
/// Its log can't be read, or a line of it is none of ours.
pub fn served(parser: Parser, service: &Service) -> Result<Vec<Served>> {
    let bytes = fs::read(parser.log(service))?;
    let text: String = bytes.into_iter().map(char::from).collect();
    let mut all: Vec<(u64, Served)> = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)
            .map_err(|error| anyhow::anyhow!("{}: {line:?}: {error}", parser.name()))?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        // nginx logs what it refuses, too.
        if parser == Parser::Nginx && number("status") != 200 {
            continue;
        }
        match (text("method"), text("target")) {
            (Some(method), Some(target)) => {
                let port = number("port") as u16;
                let authorization = text("authorization").filter(|value| !value.is_empty());
                all.push((
                    number("id"),
                    Served { port, method, target, authorization, body: None },
                ));
            }
            _ => {
                if let Some((_, served)) = all.iter_mut().find(|(id, _)| *id == number("id")) {
                    served.body = line["body"].as_u64();
                }
            }
        }
    }
    Ok(all.into_iter().map(|(_, served)| served).collect())
}
