//! Networks beside the runner's own: shared ones, with a chosen bridge name and subnets, as an operator would have made.

use std::collections::HashMap;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};

/// A user-defined bridge network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// The bridge's name, at most 15 characters; the engine's own choice where absent.
    pub bridge: Option<String>,
    /// Subnets, IPv4 and IPv6. An IPv6 one switches IPv6 on: Docker 20.10 does not choose one itself.
    pub subnets: Vec<String>,
    /// Without a way out.
    pub internal: bool,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Further driver options.
    pub options: Vec<(String, String)>,
}

impl NetworkSpec {
    /// A network of this name and nothing else.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The request that creates it.
    pub fn request(&self) -> NetworkCreateRequest {
        self.shape(NetworkCreateRequest {
            name: self.name.clone(),
            labels: Some(self.labels.iter().cloned().collect()),
            ..NetworkCreateRequest::default()
        })
    }

    /// Another request with this bridge, these subnets and options; name and labels stay.
    pub(super) fn shape(&self, mut request: NetworkCreateRequest) -> NetworkCreateRequest {
        let mut options: HashMap<String, String> = request.options.take().unwrap_or_default();
        options.extend(self.options.iter().cloned());
        if let Some(bridge) = &self.bridge {
            options.insert("com.docker.network.bridge.name".to_owned(), bridge.clone());
        }
        request.options = Some(options);
        request.internal = Some(self.internal);
        if self.subnets.iter().any(|subnet| subnet.contains(':')) {
            request.enable_ipv6 = Some(true);
        }
        if !self.subnets.is_empty() {
            let config = self.subnets.iter().map(|subnet| IpamConfig {
                subnet: Some(subnet.clone()),
                ..IpamConfig::default()
            });
            request.ipam = Some(Ipam {
                config: Some(config.collect()),
                ..Ipam::default()
            });
        }
        request
    }
}

/// Creates a network and gives its id.
pub async fn create_network(docker: &Docker, spec: &NetworkSpec) -> Result<String, Error> {
    Ok(docker.create_network(spec.request()).await?.id)
}

/// Removes a network; one that is gone already is as good.
pub async fn remove_network(docker: &Docker, name: &str) -> Result<(), Error> {
    match docker.remove_network(name).await {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        outcome => outcome,
    }
}
