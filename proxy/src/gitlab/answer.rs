//! GitLab's answers, held against what the labels say. Nothing is good but what is equal in every part. Pure.
//!
//! `GET /api/v4/job` names the job, its status, its ref, whether that is a tag, its pipeline with the project, and the runner's machine. It does not
//! say whether the ref is protected: that is said of a single branch or tag, to a token of the operator's.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Unverified;
use crate::config::{Ref, RefType, Verification};
use crate::policy::Job;

/// The status of a job that runs. A token is good while the job is being cancelled, too.
const RUNNING: &str = "running";
/// The source of a pipeline for a merge request, also where its ref is the branch of one (GitLab before 12).
const OF_MERGE_REQUEST: &str = "merge_request_event";

/// Parts by their names. Of a list serde would take them by their places.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Named(PhantomData))
    }
}

/// Whatever is absent or null is not told.
#[derive(Deserialize)]
struct Told {
    id: Option<u64>,
    status: Option<String>,
    r#ref: Option<String>,
    tag: Option<bool>,
    pipeline: Option<Object<Pipeline>>,
    runner_manager: Option<Object<Manager>>,
}

#[derive(Deserialize)]
struct Pipeline {
    id: Option<u64>,
    project_id: Option<u64>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Manager {
    system_id: Option<String>,
}

/// Reads the answer about the job of a token. If it is a yes, it gives what the ref is; None if it is of no type that a rule can want.
///
/// # Errors
/// It is not about the very job of the labels, or not what the rule wants.
pub fn read(answer: &[u8], job: &Job, wanted: &Verification) -> Result<Option<RefType>, Unverified> {
    let told: Told = parse(answer)?;
    let Object(pipeline) = told.pipeline.ok_or(Unverified::Untold("pipeline"))?;
    equal("job", told.id.as_ref(), &job.job)?;
    equal("project", pipeline.project_id.as_ref(), &job.project)?;
    equal("pipeline", pipeline.id.as_ref(), &job.pipeline)?;
    equal("ref", told.r#ref.as_deref(), job.r#ref.as_str())?;
    // Told since GitLab 16. The runner's own id there is another number than that of the labels, which is part of its token.
    if let Some(system_id) = told.runner_manager.and_then(|Object(manager)| manager.system_id) {
        equal("machine", Some(system_id.as_str()), job.system_id.as_str())?;
    }
    if told.status.as_deref().ok_or(Unverified::Untold("status"))? != RUNNING {
        return Err(Unverified::NotRunning);
    }
    if !wanted.protected && wanted.ref_types.is_empty() {
        return Ok(None);
    }
    let tag = told.tag.ok_or(Unverified::Untold("type of the ref"))?;
    let kind = type_of(job.r#ref.as_str(), tag, pipeline.source.as_deref());
    let is_wanted = |kind| wanted.ref_types.is_empty() || wanted.ref_types.contains(&kind);
    match kind {
        Some(kind) if is_wanted(kind) => {}
        None if wanted.ref_types.is_empty() => {}
        Some(_) | None => return Err(Unverified::OtherRefType),
    }
    if wanted.protected && !matches!(kind, Some(RefType::Branch | RefType::Tag)) {
        return Err(Unverified::NotProtected);
    }
    Ok(kind)
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Unverified> {
    // All of it is text: the parser looks at no bytes of texts that nobody wants.
    let text = std::str::from_utf8(answer).map_err(|_| Unverified::Broken)?;
    let Object(told) = serde_json::from_str(text).map_err(|_| Unverified::Broken)?;
    Ok(told)
}

fn equal<T: PartialEq + ?Sized>(part: &'static str, told: Option<&T>, label: &T) -> Result<(), Unverified> {
    match told {
        Some(told) if told == label => Ok(()),
        Some(_) => Err(Unverified::Differs(part)),
        None => Err(Unverified::Untold(part)),
    }
}

/// What a ref is, if nothing in the answer contradicts it.
fn type_of(reference: &str, tag: bool, source: Option<&str>) -> Option<RefType> {
    let is_of_request = reference.starts_with("refs/merge-requests/") || source == Some(OF_MERGE_REQUEST);
    match (tag, is_of_request) {
        (true, true) => None,
        (false, true) => Some(RefType::MergeRequest),
        _ if reference.starts_with("refs/") => None,
        (true, false) => Some(RefType::Tag),
        (false, false) => Some(RefType::Branch),
    }
}

#[derive(Deserialize)]
struct Reference {
    name: Option<String>,
    protected: Option<bool>,
}

/// Reads the answer about a branch or a tag.
///
/// # Errors
/// It is not about that one, or does not say that it is protected.
pub fn read_protection(answer: &[u8], reference: &Ref) -> Result<(), Unverified> {
    let told: Reference = parse(answer)?;
    equal("ref", told.name.as_deref(), reference.as_str())?;
    match told.protected {
        Some(true) => Ok(()),
        Some(false) => Err(Unverified::NotProtected),
        None => Err(Unverified::Untold("protection of the ref")),
    }
}

#[cfg(test)]
mod tests;
