//! `junit.xml`: a suite for each defence, a test case for each scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{RunReport, ScenarioReport};
use crate::case::model::Defence;
use crate::verdict::Judgement;

/// Renders the report.
///
/// # Errors
/// What the XML writer says.
pub fn render(run: &RunReport) -> Result<String, quick_junit::SerializeError> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for scenario in &run.scenarios {
        let suite = suites
            .entry(&scenario.defence)
            .or_insert_with(|| TestSuite::new(scenario.defence.clone()));
        suite.add_test_case(test_case(scenario, run.matrix));
    }
    for left_out in &run.not_run {
        let mut status = TestCaseStatus::skipped();
        status.set_message(left_out.reason.clone());
        let mut case = TestCase::new(format!("{} {}", left_out.id, left_out.title), status);
        case.set_classname(left_out.id.clone());
        let suite = suites
            .entry(&left_out.defence)
            .or_insert_with(|| TestSuite::new(left_out.defence.clone()));
        suite.add_test_case(case);
    }
    if let (Some(proxy), Some(suite)) = (&run.proxy, suites.get_mut(Defence::External.as_str())) {
        suite.add_property(("proxy", proxy.describe().as_str()));
    }
    if !run.findings.is_empty() {
        let mut suite = TestSuite::new("run");
        for finding in &run.findings {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_message(finding.what.clone())
                .set_type(finding.verdict.to_string());
            suite.add_test_case(TestCase::new(format!("oracle {}", finding.oracle), status));
        }
        suites.insert("~run", suite);
    }
    let mut report = Report::new("scenarios");
    report.set_time(seconds(run.seconds));
    report.add_test_suites(suites.into_values());
    report.to_string()
}

fn test_case(scenario: &ScenarioReport, matrix: bool) -> TestCase {
    let status = if scenario.judgement.fails(matrix) {
        // A failed control is the lab's error, not the defence's failure.
        let kind = if scenario.judgement == Judgement::Void {
            NonSuccessKind::Error
        } else {
            NonSuccessKind::Failure
        };
        let mut status = TestCaseStatus::non_success(kind);
        status
            .set_type(scenario.judgement.as_str())
            .set_message(scenario.verdicts())
            .set_description(scenario.reasons().join("\n"));
        status
    } else {
        TestCaseStatus::success()
    };
    let mut case = TestCase::new(format!("{} {}", scenario.id, scenario.title), status);
    case.set_classname(scenario.id.clone())
        .set_time(seconds(scenario.seconds));
    case.add_property(("judgement", scenario.judgement.as_str()));
    case
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
