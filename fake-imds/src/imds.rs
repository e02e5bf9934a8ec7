//! One instance's metadata service: what is there at which time, and which tokens open it. It must not know how requests are answered.

use std::collections::BTreeSet;

use bytes::Bytes;
use fake_kit::seed::{Canaries, Canary, Seed};
use jiff::Timestamp;

use crate::aemm::Aemm;
use crate::canonical::Profile;
use crate::identity::{Form, Identity};
use crate::instance::{self, Marker};
use crate::options::{Changes, HttpTokens, MetadataOptions, TagsInMetadata};
use crate::timeline::{self, Attachment, MOST_MOMENTS};
use crate::token::{Mint, TTL_SECONDS};
use crate::tree::{Found, Tree};
use crate::version::{self, Version};
use crate::world::{Moment, Switches, World};

/// Single tokens that can be revoked.
const MOST_REVOKED: usize = 10_000;
/// Where tags stand.
const TAGS: &str = "meta-data/tags";

/// One instance's metadata service.
#[derive(Debug, Clone)]
pub struct Imds {
    profile: Profile,
    world: World,
    aemm: Option<Aemm>,
    seed: Seed,
    marker: Marker,
    mint: Mint,
    identity: Identity,
    started: Timestamp,
    launched: Timestamp,
    versions: Bytes,
    moments: Vec<(Timestamp, Moment)>,
    epochs: Vec<Epoch>,
    changes: Changes,
    announced: BTreeSet<String>,
    revoked: BTreeSet<Vec<u8>>,
}

/// What is so from a time on.
#[derive(Debug, Clone)]
struct Epoch {
    from: Timestamp,
    tree: Tree,
    rotated: Option<Timestamp>,
    attachment: Attachment,
}

/// More was ordered than is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_MOMENTS} orders are kept; reset first")]
pub struct TooMany;

impl Imds {
    /// The service of the world's instance, which is the `number`th; plants its canaries.
    pub fn new(
        world: &World,
        number: usize,
        profile: Profile,
        seed: &Seed,
        canaries: &Canaries,
        started: Timestamp,
    ) -> Self {
        let marker = Marker::of(canaries, world, number);
        let launched = world.instance.launched.unwrap_or(started);
        let mark = marker.show("identity-document");
        let identity = Identity::of(world, seed, mark.as_ref().map(Canary::as_str), launched);
        let mint = Mint::new(seed, &world.instance.id, marker.plant("host-token"));
        let mut imds = Self {
            profile,
            world: world.clone(),
            aemm: None,
            seed: seed.clone(),
            marker,
            mint,
            identity,
            started,
            launched,
            versions: versions(&world.instance.switches),
            moments: Vec::new(),
            epochs: Vec::new(),
            changes: Changes::new(),
            announced: BTreeSet::new(),
            revoked: BTreeSet::new(),
        };
        imds.begin();
        imds
    }

    /// The same instance as amazon-ec2-metadata-mock shows it: its values instead of the world's.
    #[must_use]
    pub fn as_aemm(mut self, aemm: Aemm) -> Self {
        self.versions = "latest\n".into();
        if aemm.config.imdsv2 {
            self.world.instance.http_tokens = HttpTokens::Required;
        }
        self.aemm = Some(aemm);
        self.begin();
        self
    }

    /// The mock that it shows, if it shows one.
    pub fn aemm(&self) -> Option<&Aemm> {
        self.aemm.as_ref()
    }

    /// Whether it shows the mock.
    pub fn is_aemm(&self) -> bool {
        self.aemm.is_some()
    }

    /// The world's own timeline, and nothing that was ordered.
    pub fn begin(&mut self) {
        let timeline = self.world.instance.timeline.iter();
        self.moments = timeline
            .map(|moment| (timeline::time_of(moment, self.started), moment.clone()))
            .collect();
        self.revoked.clear();
        self.mint.begin();
        self.unfold();
    }

    fn unfold(&mut self) {
        if let Some(aemm) = &self.aemm {
            let trees = aemm.trees(self.started).into_iter();
            let epoch = |(from, tree)| Epoch {
                from,
                tree,
                rotated: None,
                attachment: Attachment::first(&self.world.instance),
            };
            self.epochs = trees.map(epoch).collect();
            return;
        }
        self.changes = timeline::changes(&self.moments);
        let states = timeline::states(&self.world, self.started, &self.moments);
        let last = states.last().map(|(_, state)| state.maintenance.as_slice());
        self.announced = last.unwrap_or_default().iter().map(|event| event.id.clone()).collect();
        self.epochs = states
            .into_iter()
            .map(|(from, state)| Epoch {
                from,
                tree: instance::tree(
                    &self.world,
                    &state,
                    &self.seed,
                    &self.marker,
                    &self.identity,
                    self.launched,
                ),
                rotated: state.rotated,
                attachment: state.attachment,
            })
            .collect();
    }

    /// Something is to happen at that time.
    ///
    /// # Errors
    /// Too much was ordered already.
    pub fn order(&mut self, at: Timestamp, moment: Moment) -> Result<(), TooMany> {
        if self.moments.len() >= MOST_MOMENTS {
            return Err(TooMany);
        }
        self.moments.push((at, moment));
        self.unfold();
        Ok(())
    }

    /// Everything that has happened and will, in its order.
    pub fn moments(&self) -> Vec<(Timestamp, Moment)> {
        let mut moments = self.moments.clone();
        moments.sort_by_key(|(at, _)| *at);
        moments
    }

    /// Whether there is, or will be, a maintenance event of that id.
    pub fn announces(&self, id: &str) -> bool {
        self.announced.contains(id)
    }

    /// No token that was given until now is valid, or that one is not.
    pub fn revoke(&mut self, token: Option<&str>) {
        match token {
            Some(token) => {
                // Whoever revokes so many has revoked all.
                if self.revoked.len() >= MOST_REVOKED {
                    self.mint.renew();
                    self.revoked.clear();
                }
                self.revoked.insert(token.as_bytes().to_vec());
            }
            None => self.mint.renew(),
        }
    }

    /// The seconds that a token has left; none if it is not valid here.
    pub fn seconds_left(&self, token: &[u8], now: Timestamp) -> Option<u64> {
        if !self.revoked.is_empty() && self.revoked.contains(token) {
            return None;
        }
        let stated = self.world.instance.tokens.iter().any(|known| known.as_bytes() == token);
        if stated {
            return Some(u64::from(*TTL_SECONDS.end()));
        }
        self.mint.seconds_left(token, now)
    }

    /// A new token.
    pub fn issue(&self, now: Timestamp, ttl_seconds: u32, number: u64) -> String {
        self.mint.issue(now, ttl_seconds, number)
    }

    /// What is at a place now.
    pub fn find(&self, options: &MetadataOptions, now: Timestamp, version: Version, path: &str) -> Option<Found> {
        let hidden = (options.instance_metadata_tags == TagsInMetadata::Disabled).then_some(TAGS);
        self.epoch(now)?.tree.find(version, path, hidden)
    }

    /// Credentials from before are not given any more.
    pub fn rotated(&self, now: Timestamp) -> Option<Timestamp> {
        self.epoch(now)?.rotated
    }

    /// The instance profile now.
    pub fn attachment(&self, now: Timestamp) -> Attachment {
        self.epoch(now)
            .map_or_else(Attachment::default, |epoch| epoch.attachment.clone())
    }

    /// The changes of metadata options that are planned.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    fn epoch(&self, now: Timestamp) -> Option<&Epoch> {
        let next = self.epochs.partition_point(|epoch| epoch.from <= now);
        self.epochs.get(next.saturating_sub(1))
    }

    /// A signature of the identity document.
    pub fn signature(&self, form: Form) -> Bytes {
        self.identity.signature(form)
    }

    /// How much is tolerated.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What nobody knows for sure.
    pub fn switches(&self) -> &Switches {
        &self.world.instance.switches
    }

    /// The world it shows.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// When it began.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The list of versions.
    pub fn versions(&self) -> Bytes {
        self.versions.clone()
    }

    /// The paths that have a leaf at the start, below a version.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.epochs.first().into_iter().flat_map(|epoch| epoch.tree.paths())
    }
}

/// All versions, those of the switch before `latest`.
fn versions(switches: &Switches) -> Bytes {
    let mut names: Vec<&str> = version::ALL.to_vec();
    let latest = names.len().saturating_sub(1);
    let later = switches.later_versions.iter().map(String::as_str);
    names.splice(latest..latest, later);
    names.join("\n").into()
}
