//! The runner's feature flags and who decides them. Pure.

use std::collections::BTreeMap;

use super::expansion::last_value;
use super::job::Variable;

/// Every `FF_*` that version 19 knows, with its default.
const FLAGS: [(&str, bool); 54] = [
    ("FF_CLEAN_UP_FAILED_CACHE_EXTRACT", false),
    ("FF_CONCRETE", false),
    ("FF_DISABLE_AUTOMATIC_TOKEN_ROTATION", false),
    ("FF_DISABLE_POWERSHELL_STDIN", false),
    ("FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR", false),
    ("FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR", false),
    ("FF_ENABLE_BASH_EXIT_CODE_CHECK", false),
    ("FF_ENABLE_JOB_CLEANUP", false),
    ("FF_ENABLE_JOB_INPUTS_INTERPOLATION", true),
    ("FF_EXPORT_HIGH_CARDINALITY_METRICS", false),
    ("FF_GIT_URLS_WITHOUT_TOKENS", false),
    ("FF_HASH_CACHE_KEYS", true),
    ("FF_KUBERNETES_HONOR_ENTRYPOINT", false),
    ("FF_LOG_IMAGES_CONFIGURED_FOR_JOB", false),
    ("FF_MASK_ALL_DEFAULT_TOKENS", true),
    ("FF_NETWORK_PER_BUILD", false),
    ("FF_POSIXLY_CORRECT_ESCAPES", false),
    ("FF_PRINT_POD_EVENTS", false),
    ("FF_RESOLVE_FULL_TLS_CHAIN", false),
    ("FF_SCRIPT_SECTIONS", false),
    ("FF_SCRIPT_TO_STEP_MIGRATION", false),
    ("FF_SECRET_RESOLVING_FAILS_IF_MISSING", true),
    ("FF_SET_PERMISSIONS_BEFORE_CLEANUP", true),
    ("FF_SKIP_NOOP_BUILD_STAGES", true),
    ("FF_SUSPENDABLE_ENVIRONMENTS", false),
    ("FF_TEST_FEATURE", false),
    ("FF_TIMESTAMPS", true),
    ("FF_USE_ADAPTIVE_REQUEST_CONCURRENCY", true),
    ("FF_USE_ADVANCED_POD_SPEC_CONFIGURATION", false),
    ("FF_USE_DIRECT_DOWNLOAD", true),
    ("FF_USE_DOCKER_AUTOSCALER_DIAL_STDIO", true),
    ("FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR", false),
    ("FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL", false),
    ("FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY", true),
    ("FF_USE_FASTZIP", false),
    ("FF_USE_FLEETING_ACQUIRE_HEARTBEATS", false),
    ("FF_USE_GITALY_CORRELATION_ID", true),
    ("FF_USE_GIT_BUNDLE_URIS", true),
    ("FF_USE_GIT_NATIVE_CLONE", false),
    ("FF_USE_GIT_PROACTIVE_AUTH", true),
    ("FF_USE_INIT_WITH_DOCKER_EXECUTOR", false),
    ("FF_USE_JOB_ROUTER", false),
    ("FF_USE_LEGACY_BASH_EVAL", false),
    ("FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY", false),
    ("FF_USE_LEGACY_S3_CACHE_ADAPTER", false),
    ("FF_USE_NATIVE_CONTAINER_STOP", false),
    ("FF_USE_NEW_BASH_EVAL_STRATEGY", false),
    ("FF_USE_PARALLEL_ARTIFACT_TRANSFER", false),
    ("FF_USE_PARALLEL_CACHE_TRANSFER", false),
    ("FF_USE_POD_ACTIVE_DEADLINE_SECONDS", true),
    ("FF_USE_POWERSHELL_PATH_RESOLVER", false),
    ("FF_USE_WINDOWS_JOB_OBJECT", false),
    ("FF_USE_WINDOWS_LEGACY_PROCESS_STRATEGY", false),
    ("FF_WAIT_FOR_POD_TO_BE_REACHABLE", false),
];

/// The flags as resolved for one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FeatureFlags(BTreeMap<&'static str, bool>);

impl FeatureFlags {
    /// `[runners.feature_flags]` decides; else the job's last variable of that name; else the runner's `environment`; else the default
    /// (common/build_settings.go:258-299).
    pub(super) fn resolve(pinned: &BTreeMap<String, bool>, environment: &[Variable], payload: &[Variable]) -> Self {
        let resolved = FLAGS.iter().map(|&(name, default)| {
            let stated = |variables| last_value(variables, name).and_then(|variable| go_bool(&variable.value));
            let value = pinned
                .get(name)
                .copied()
                .or_else(|| stated(payload))
                .or_else(|| stated(environment))
                .unwrap_or(default);
            (name, value)
        });
        Self(resolved.collect())
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.0.get(name).copied().unwrap_or(false)
    }

    /// The first block of the job's variables.
    pub(super) fn variables(&self) -> Vec<Variable> {
        self.0
            .iter()
            .map(|(name, value)| Variable {
                public: true,
                ..Variable::internal(name, if *value { "true" } else { "false" })
            })
            .collect()
    }
}

/// Whether a name is a flag that the runner knows: such variables of a job do not reach its containers a second time.
pub(super) fn is_known(name: &str) -> bool {
    FLAGS.iter().any(|(flag, _)| *flag == name)
}

/// What Go's `strconv.ParseBool` takes.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = "FF_NETWORK_PER_BUILD";

    fn on(pinned: Option<bool>, environment: &str, payload: &[&str]) -> bool {
        let pinned = pinned.map(|value| (NETWORK.to_owned(), value)).into_iter().collect();
        let payload: Vec<Variable> = payload.iter().map(|value| Variable::new(NETWORK, value)).collect();
        FeatureFlags::resolve(&pinned, &[Variable::internal(NETWORK, environment)], &payload).is_on(NETWORK)
    }

    #[test]
    fn the_author_decides_a_flag_that_the_operator_has_not_pinned() {
        assert!(on(None, "false", &["1"]));
        assert!(!on(None, "true", &["true", "false"]));
        assert!(on(None, "true", &[]));
        assert!(!on(None, "nonsense", &[]));
    }

    #[test]
    fn a_pinned_flag_stays() {
        assert!(!on(Some(false), "true", &["true"]));
    }
}
