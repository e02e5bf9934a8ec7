//! What the open hole believes of the engine's lists beyond who has which address now. Without a hole it believes nothing.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerSummary, EndpointSettings};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptions};

use crate::hole::Hole;

/// The engine, asked in the ways of careless proxies.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    docker: Docker,
    hole: Option<Hole>,
    /// [`Hole::ImageNameMatches`]: the last segment of an image's name → ids that ever bore it.
    namesakes: Arc<Mutex<HashMap<String, BTreeSet<String>>>>,
}

impl Claims {
    pub(super) fn new(docker: Docker, hole: Option<Hole>) -> Self {
        Self {
            docker,
            hole,
            namesakes: Arc::default(),
        }
    }

    /// The open hole.
    pub(super) const fn hole(&self) -> Option<Hole> {
        self.hole
    }

    /// The containers that claim the address, the oldest first.
    pub(super) async fn find(&self, address: IpAddr) -> Result<Vec<String>, Error> {
        let (all, claims): (bool, fn(&ContainerSummary, IpAddr) -> bool) = match self.hole {
            Some(Hole::AddressFromLabel) => (false, claims_by_label),
            Some(Hole::PrefersFirstMatch) => (true, claims_by_settings),
            _ => return Ok(Vec::new()),
        };
        let options = ListContainersOptionsBuilder::default().all(all).build();
        let listed = self.docker.list_containers(Some(options)).await?;
        let claiming = listed.into_iter().rev().filter(|container| claims(container, address));
        Ok(claiming.filter_map(|container| container.id).collect())
    }

    /// Adds the ids of all images that are or were called like `name`.
    pub(super) async fn add_namesakes(&self, name: &str, ids: &mut Vec<String>) {
        if self.hole != Some(Hole::ImageNameMatches) {
            return;
        }
        let listed = self
            .docker
            .list_images(None::<ListImagesOptions>)
            .await
            .unwrap_or_default();
        let mut namesakes = self.namesakes.lock().unwrap_or_else(PoisonError::into_inner);
        for image in listed {
            for tag in image.repo_tags {
                namesakes
                    .entry(short(&tag).to_owned())
                    .or_default()
                    .insert(image.id.clone());
            }
        }
        let alike = namesakes.entry(short(name).to_owned()).or_default();
        alike.extend(ids.iter().cloned());
        ids.extend(alike.iter().cloned());
    }
}

fn claims_by_label(container: &ContainerSummary, address: IpAddr) -> bool {
    let labels = container.labels.as_ref();
    let claimed = labels.and_then(|labels| labels.get("io.rancher.container.ip"));
    claimed.and_then(|text| plain(text)) == Some(address)
}

fn claims_by_settings(container: &ContainerSummary, address: IpAddr) -> bool {
    let networks = container
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let has = |endpoint: &EndpointSettings| {
        let wanted = endpoint.ipam_config.as_ref();
        [
            endpoint.ip_address.as_deref(),
            endpoint.global_ipv6_address.as_deref(),
            wanted.and_then(|wanted| wanted.ipv4_address.as_deref()),
            wanted.and_then(|wanted| wanted.ipv6_address.as_deref()),
        ]
        .into_iter()
        .flatten()
        .any(|text| plain(text) == Some(address))
    };
    networks.is_some_and(|networks| networks.values().any(has))
}

fn plain(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

/// `registry.example/allowed/ruby:3@sha256:…` → `ruby`
fn short(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerSummaryNetworkSettings, EndpointIpamConfig};

    use super::*;

    #[test]
    fn a_label_and_a_fixed_address_are_claims() {
        let address = "10.66.5.20".parse().unwrap();
        let labelled = ContainerSummary {
            labels: Some([("io.rancher.container.ip".to_owned(), "10.66.5.20/16".to_owned())].into()),
            ..ContainerSummary::default()
        };
        let endpoint = EndpointSettings {
            ip_address: Some(String::new()),
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some("10.66.5.20".to_owned()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        let stopped = ContainerSummary {
            network_settings: Some(ContainerSummaryNetworkSettings {
                networks: Some([("shared".to_owned(), endpoint)].into()),
            }),
            ..ContainerSummary::default()
        };
        assert!(claims_by_label(&labelled, address) && !claims_by_settings(&labelled, address));
        assert!(claims_by_settings(&stopped, address) && !claims_by_label(&stopped, address));
    }

    #[test]
    fn the_short_name_of_an_image_is_without_registry_tag_and_digest() {
        for name in [
            "ruby",
            "ruby:3",
            "localhost:5000/allowed/ruby",
            "registry.example/ruby:3@sha256:beef",
        ] {
            assert_eq!(short(name), "ruby", "{name}");
        }
    }
}
