//! Why a container gets nothing. The words go to audit records, metrics and explanations; never to the container.

use std::fmt;

/// Why policy refuses a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A label that GitLab Runner always sets is absent.
    LabelMissing(&'static str),
    /// A label does not read as GitLab Runner writes it.
    LabelMalformed(&'static str),
    /// A label may be the image's, so that nothing says that the runner set it.
    LabelFromImage(&'static str),
    /// The engine's `StartedAt` is no time.
    StartUnknown,
    /// The container runs for longer than its job may take.
    TooOld,
    /// The job id at the end of `job.url` is not `job.id`.
    JobUrlOfAnotherJob,
    /// No rule names this runner on this GitLab server.
    NoRuleForRunner,
    /// Rules name the runner, but not on this machine.
    NoRuleForSystemId,
    /// Rules name the runner, but not with this project.
    NoRuleForProject,
    /// Rules name the project, but not this kind of container.
    NoRuleForKind,
    /// Rules name the kind, but not with this ref.
    NoRuleForRef,
    /// Rules name the kind, but the job is of neither branch nor tag (of a merge request, for instance), and none spells that out.
    NoRuleForMergeRequest,
    /// Rules name the ref, but not with this image.
    NoRuleForImage,
    /// The container carries no label of the runner's, and none that a rule names.
    NoRuleForContainer,
    /// The label that a rule names may be the image's, so that nothing says that the operator set it.
    MarkerFromImage,
    /// Rules name the container's label, but not with this image.
    NoRuleForContainerImage,
    /// More than one rule matches, with different outcomes.
    SeveralRules,
    /// The rule has no role of its own and the container selects none.
    NoRoleSelected,
    /// `IAM_ROLE` stands in the container's environment with different values.
    SelectorConflicting,
    /// `IAM_ROLE` comes from the image, or cannot be told from what the image says.
    SelectorFromImage,
    /// `IAM_ROLE` has no `=`.
    SelectorWithoutValue,
    /// `IAM_ROLE` is empty.
    SelectorEmpty,
    /// `IAM_ROLE` is not a role of the configured partition and account.
    SelectorMalformed,
    /// `IAM_ROLE` selects a role that the rule does not list.
    SelectorNotAllowed,
    /// An operator took away what the rules give.
    Revoked,
}

impl Reason {
    /// A short fixed word for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LabelMissing(_) => "label-missing",
            Self::LabelMalformed(_) => "label-malformed",
            Self::LabelFromImage(_) => "label-from-image",
            Self::StartUnknown => "start-unknown",
            Self::TooOld => "too-old",
            Self::JobUrlOfAnotherJob => "job-url-of-another-job",
            Self::NoRuleForRunner => "no-rule-for-runner",
            Self::NoRuleForSystemId => "no-rule-for-system-id",
            Self::NoRuleForProject => "no-rule-for-project",
            Self::NoRuleForKind => "no-rule-for-kind",
            Self::NoRuleForRef => "no-rule-for-ref",
            Self::NoRuleForMergeRequest => "no-rule-for-merge-request",
            Self::NoRuleForImage => "no-rule-for-image",
            Self::NoRuleForContainer => "no-rule-for-container",
            Self::MarkerFromImage => "marker-from-image",
            Self::NoRuleForContainerImage => "no-rule-for-container-image",
            Self::SeveralRules => "several-rules",
            Self::NoRoleSelected => "no-role-selected",
            Self::SelectorConflicting => "selector-conflicting",
            Self::SelectorFromImage => "selector-from-image",
            Self::SelectorWithoutValue => "selector-without-value",
            Self::SelectorEmpty => "selector-empty",
            Self::SelectorMalformed => "selector-malformed",
            Self::SelectorNotAllowed => "selector-not-allowed",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LabelMissing(label) => {
                write!(
                    f,
                    "the container lacks the label {label}, which GitLab Runner always sets"
                )
            }
            Self::LabelMalformed(label) => {
                write!(f, "the label {label} does not read as GitLab Runner writes it")
            }
            Self::LabelFromImage(label) => {
                write!(
                    f,
                    "the image has the label {label} with the same value, so that nothing says that GitLab Runner set it"
                )
            }
            Self::StartUnknown => f.write_str("the engine does not say when the container started"),
            Self::TooOld => {
                f.write_str("the container runs for longer than its job may take: the runner left it behind")
            }
            Self::JobUrlOfAnotherJob => f.write_str("the labels job.url and job.id name different jobs"),
            Self::NoRuleForRunner => f.write_str("no rule names this runner on this GitLab server"),
            Self::NoRuleForSystemId => f.write_str("no rule of this runner names the machine it runs on (system_id)"),
            Self::NoRuleForProject => f.write_str("no rule of this runner names the project"),
            Self::NoRuleForKind => f.write_str("no rule of this runner and project names this kind of container"),
            Self::NoRuleForRef => f.write_str("no rule of this runner, project and kind names the ref"),
            Self::NoRuleForMergeRequest => f.write_str(
                "the job is of a merge request, or of another ref that is neither branch nor tag, and no rule of this runner, project and \
                 kind has a ref that begins so",
            ),
            Self::NoRuleForImage => f.write_str("no rule of this runner, project, kind and ref names the image"),
            Self::NoRuleForContainer => {
                f.write_str("the container carries no label of GitLab Runner's, and no rule names one of its own labels")
            }
            Self::MarkerFromImage => f.write_str(
                "the image has the label that a rule names with the same value, so that nothing says that the operator set it",
            ),
            Self::NoRuleForContainerImage => f.write_str("no rule that names the container's label names its image"),
            Self::SeveralRules => f.write_str("several rules match, and they give different roles or sessions"),
            Self::NoRoleSelected => {
                f.write_str("the rule has no role of its own, and the container selects none with IAM_ROLE")
            }
            Self::SelectorConflicting => f.write_str("IAM_ROLE is set more than once, with different values"),
            Self::SelectorFromImage => f.write_str("IAM_ROLE may come from the image, which its author chose"),
            Self::SelectorWithoutValue => f.write_str("IAM_ROLE is named without a value"),
            Self::SelectorEmpty => f.write_str("IAM_ROLE is empty"),
            Self::SelectorMalformed => {
                f.write_str("IAM_ROLE is not a role name, /path/name or ARN of the configured partition and account")
            }
            Self::SelectorNotAllowed => f.write_str("IAM_ROLE selects a role that the rule does not list"),
            Self::Revoked => {
                f.write_str("an operator revoked the job, its project, its role or the container, until that is lifted")
            }
        }
    }
}

impl std::error::Error for Reason {}
