//! How the container engine is reached. What it says decides who gets which role: nobody but the engine may be able to answer there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Environment;
use super::table::Fields;

const DEFAULT: &str = "unix:///var/run/docker.sock";

/// The container engine. It must run on this host: its containers are looked up in this kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// `unix:///path`, `tcp://host:port` together with TLS, or `http://` with a loopback address and a port.
    pub socket: String,
    /// For `tcp://`: both sides prove who they are.
    pub tls: Option<Tls>,
}

/// Files in PEM, by their absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of whoever signed the engine's.
    pub ca: PathBuf,
    /// The proxy's own certificate.
    pub cert: PathBuf,
    /// The key of that.
    pub key: PathBuf,
}

impl Engine {
    /// What an operator should know of the way to the engine.
    pub(super) fn warn_of_transport(&self) -> Option<String> {
        self.socket.starts_with("http://").then(|| {
            format!(
                "engine.socket is {}: whatever takes that port first on this host, a host-network container for instance, is believed to be the \
                 engine; a unix socket has an owner",
                self.socket
            )
        })
    }
}

pub(super) fn read(mut fields: Fields<'_, '_>, environment: &Environment) -> Option<Engine> {
    let remedy = "write unix:///var/run/docker.sock, or tcp://HOST:PORT with tls_ca, tls_cert and tls_key, or http://127.0.0.1:PORT for a \
                  socket proxy";
    let socket = if fields.is_present("socket") {
        fields.parse("socket", parse_socket, remedy)
    } else {
        drop(fields.parse("socket", parse_socket, remedy));
        None
    };
    let is_stated = fields.is_present("socket");
    let mut file = |name| {
        let parse = |text: &str| match Path::new(text) {
            path if path.is_absolute() => Ok(path.to_owned()),
            _ => Err("not an absolute path"),
        };
        fields.parse(name, parse, "write the absolute path of a file in PEM")
    };
    let files = [file("tls_ca"), file("tls_cert"), file("tls_key")];
    let is_tcp = socket.as_ref().is_some_and(|found| found.value.starts_with("tcp://"));
    for (name, found) in ["tls_ca", "tls_cert", "tls_key"].into_iter().zip(&files) {
        match found {
            None if is_tcp && !fields.is_present(name) => {
                fields.missing(name, "tcp:// needs tls_ca, tls_cert and tls_key: whoever can answer in the engine's name hands out roles");
            }
            Some(found) if !is_tcp && (socket.is_some() || !is_stated) => {
                fields.fault(found, "is for a socket that begins with tcp://", "remove it");
            }
            Some(_) | None => {}
        }
    }
    fields.close();
    let tls = match files {
        [Some(ca), Some(cert), Some(key)] if is_tcp => Some(Tls {
            ca: ca.value,
            cert: cert.value,
            key: key.value,
        }),
        _ => None,
    };
    let from_environment = || {
        let stated = environment
            .docker_host
            .as_deref()
            .filter(|host| host.starts_with("unix://"));
        stated.and_then(|host| parse_socket(host).ok())
    };
    let socket = match socket {
        Some(found) => found.value,
        None if is_stated => return None,
        None => from_environment().unwrap_or_else(|| DEFAULT.to_owned()),
    };
    Some(Engine { socket, tls })
}

fn parse_socket(text: &str) -> Result<String, &'static str> {
    if let Some(path) = text.strip_prefix("unix://") {
        return if Path::new(path).is_absolute() {
            Ok(text.to_owned())
        } else {
            Err("the path is not absolute")
        };
    }
    if let Some(address) = text.strip_prefix("http://") {
        return match address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() && address.port() != 0 => Ok(text.to_owned()),
            Ok(_) => Err("without TLS only a loopback address will do"),
            Err(_) => Err("not a loopback address with a port"),
        };
    }
    let address = text
        .strip_prefix("tcp://")
        .ok_or("neither unix://, nor tcp://, nor http:// on a loopback address")?;
    let authority: http::uri::Authority = address.parse().map_err(|_| "not a host with a port")?;
    let is_plain = !authority.as_str().contains('@') && authority.port_u16().is_some_and(|port| port != 0);
    if is_plain {
        Ok(text.to_owned())
    } else {
        Err("not a host with a port")
    }
}

#[cfg(test)]
mod tests {
    use super::{Engine, Tls};
    use crate::config::{Config, Environment};
    use crate::fixture::HEADER;

    fn read(text: &str) -> Result<Config, String> {
        let text = format!("{HEADER}[engine]\n{text}\n");
        Config::read("m.toml", &text, &Environment::default()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn an_engine_is_reached_over_a_socket_over_tls_or_on_the_loopback_interface() {
        let plain = |socket: &str| Engine {
            socket: socket.to_owned(),
            tls: None,
        };
        for socket in ["unix:///run/docker.sock", "http://127.0.0.1:2375", "http://[::1]:2375"] {
            assert_eq!(read(&format!("socket = \"{socket}\"")).unwrap().engine, plain(socket));
        }
        let tls = "tls_ca = \"/c/ca.pem\"\ntls_cert = \"/c/cert.pem\"\ntls_key = \"/c/key.pem\"";
        assert_eq!(
            read(&format!("socket = \"tcp://engine.example:2376\"\n{tls}"))
                .unwrap()
                .engine,
            Engine {
                socket: "tcp://engine.example:2376".to_owned(),
                tls: Some(Tls {
                    ca: "/c/ca.pem".into(),
                    cert: "/c/cert.pem".into(),
                    key: "/c/key.pem".into(),
                }),
            }
        );
        let warned = |socket: &str| {
            let warnings = read(&format!("socket = \"{socket}\"")).unwrap().warnings();
            warnings.iter().any(|warning| warning.contains("engine.socket"))
        };
        assert!(warned("http://127.0.0.1:2375") && !warned("unix:///run/docker.sock"));
    }

    #[test]
    fn nobody_else_may_answer_for_the_engine() {
        for bad in [
            "http://10.0.0.1:2375",
            "http://localhost:2375",
            "http://127.0.0.1",
            "http://127.0.0.1:0",
            "http://user@127.0.0.1:2375",
            "https://127.0.0.1:2376",
            "tcp://engine",
            "tcp://a@engine:2376",
            "tcp://engine:0",
            "ssh://engine",
            "unix://docker.sock",
            "",
        ] {
            let told = read(&format!("socket = \"{bad}\"")).unwrap_err();
            assert!(told.starts_with("m.toml:8: engine.socket: "), "{bad}: {told}");
        }
        insta::assert_snapshot!(read("socket = \"tcp://127.0.0.1:2376\"\ntls_ca = \"ca.pem\"\ntls_key = \"/k\"").unwrap_err(), @r###"
        m.toml:7: engine.tls_cert: is missing
          remedy: tcp:// needs tls_ca, tls_cert and tls_key: whoever can answer in the engine's name hands out roles
        m.toml:9: engine.tls_ca: "ca.pem": not an absolute path
          remedy: write the absolute path of a file in PEM
        "###);
        let told = read("tls_ca = \"/ca.pem\"").unwrap_err();
        assert!(told.contains("is for a socket that begins with tcp://"), "{told}");
    }

    #[test]
    fn the_environment_names_no_engine_but_a_socket() {
        for (host, expected) in [
            ("unix:///other.sock", "unix:///other.sock"),
            ("tcp://10.0.0.1:2375", super::DEFAULT),
            ("http://127.0.0.1:2375", super::DEFAULT),
        ] {
            let environment = Environment {
                docker_host: Some(host.to_owned()),
                ..Environment::default()
            };
            let config = Config::read("x", HEADER, &environment).unwrap();
            assert_eq!(config.engine.socket, expected);
        }
    }
}
