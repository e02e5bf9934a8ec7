//! One instance that runs: what of it changes while it does. It must not know how requests come in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;

use crate::aemm::Aemm;
use crate::credentials::{Delivery, Issued, Kind};
use crate::imds::{Imds, TooMany};
use crate::issuer::IssueError;
use crate::options::{self, Change, Changes, MetadataOptions};
use crate::purse::{Purse, Wish};
use crate::throttle::Bucket;
use crate::world::Moment;

/// One instance that runs.
#[derive(Debug)]
pub struct Machine {
    imds: RwLock<Arc<Imds>>,
    /// The changes of metadata options that were ordered.
    ordered: RwLock<Changes>,
    purse: Purse,
    bucket: Option<Mutex<Bucket>>,
    /// The clients that see notices.
    audience: Mutex<BTreeSet<String>>,
}

impl Machine {
    /// The instance, with nothing asked yet.
    pub fn new(imds: Imds, purse: Purse) -> Self {
        let instance = &imds.world().instance;
        Self {
            ordered: RwLock::default(),
            bucket: instance.throttle.map(|limit| Mutex::new(Bucket::full(limit))),
            imds: RwLock::new(Arc::new(imds)),
            audience: Mutex::default(),
            purse,
        }
    }

    /// What it answers from.
    pub fn imds(&self) -> Arc<Imds> {
        Arc::clone(&self.imds.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.imds().world().instance.id.clone()
    }

    /// The metadata options in force.
    pub fn options(&self, now: Timestamp) -> MetadataOptions {
        self.options_of(&self.imds(), now)
    }

    /// The metadata options in force, of what it answers from.
    pub fn options_of(&self, imds: &Imds, now: Timestamp) -> MetadataOptions {
        let ordered = self.ordered.read().unwrap_or_else(PoisonError::into_inner);
        options::in_force(imds.world().instance.options(), imds.changes(), &ordered, now)
    }

    /// Changes some of them, unless the hop limit is out of range.
    pub fn change(&self, now: Timestamp, change: Change) -> Option<MetadataOptions> {
        if !change.is_possible() {
            return None;
        }
        options::order(
            &mut self.ordered.write().unwrap_or_else(PoisonError::into_inner),
            now,
            change,
        );
        Some(self.options(now))
    }

    /// Something is to happen at that time.
    ///
    /// # Errors
    /// Too much was ordered already.
    pub fn order(&self, at: Timestamp, moment: Moment) -> Result<(), TooMany> {
        Arc::make_mut(&mut *self.imds.write().unwrap_or_else(PoisonError::into_inner)).order(at, moment)
    }

    /// No token that was given until now is valid, or that one is not.
    pub fn revoke(&self, token: Option<&str>) {
        Arc::make_mut(&mut *self.imds.write().unwrap_or_else(PoisonError::into_inner)).revoke(token);
    }

    /// Whether one more request may come now.
    pub fn admits(&self, now: Timestamp) -> bool {
        let Some(bucket) = &self.bucket else { return true };
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    /// Whether that client sees notices, of which it asks for one: with amazon-ec2-metadata-mock, those that asked first.
    pub fn notifies(&self, imds: &Imds, source: &str, path: &str) -> bool {
        let Some(aemm) = imds.aemm() else { return true };
        let inner = path.strip_prefix("/latest/").unwrap_or(path);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let Some(most) = aemm.audience().filter(|_| Aemm::is_notice(inner)) else {
            return true;
        };
        let client = source.rsplit_once(':').map_or(source, |(client, _)| client);
        let mut audience = self.audience.lock().unwrap_or_else(PoisonError::into_inner);
        if audience.len() < most && !audience.contains(client) {
            audience.insert(client.to_owned());
        }
        audience.contains(client)
    }

    /// The current credentials.
    ///
    /// # Errors
    /// There are none, and none could be issued.
    pub async fn credentials(
        &self,
        kind: Kind,
        delivery: Delivery,
        now: Timestamp,
        lifetime: Option<u64>,
    ) -> Result<Issued, IssueError> {
        let imds = self.imds();
        let wish = Wish {
            kind,
            delivery,
            now,
            rotated: imds.rotated(now),
            lifetime,
            attachment: imds.attachment(now),
        };
        self.purse.current(&wish).await
    }

    /// As at the start: the world's options and timeline, and no credentials issued yet.
    pub fn reset(&self) {
        let mut imds = self.imds.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut *imds).begin();
        let instance = &imds.world().instance;
        self.ordered.write().unwrap_or_else(PoisonError::into_inner).clear();
        if let (Some(bucket), Some(limit)) = (&self.bucket, instance.throttle) {
            *bucket.lock().unwrap_or_else(PoisonError::into_inner) = Bucket::full(limit);
        }
        self.audience.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.purse.clear();
    }
}
