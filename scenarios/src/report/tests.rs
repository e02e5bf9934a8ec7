//! Reports are read by people and pipelines: their whole text is pinned.

use super::*;

fn attempt(verdict: &str, expected: &str) -> Attempt {
    Attempt {
        step: 1,
        place: "a.build".to_owned(),
        what: "IMDSv2 flow".to_owned(),
        note: String::new(),
        verdict: verdict.parse().unwrap(),
        expected: Expected(vec![expected.parse().unwrap()]),
        exchanges: vec![Shown {
            request: "GET /latest/meta-data/ HTTP/1.1".to_owned(),
            connect: "ok".to_owned(),
            answer: "HTTP/1.1 200 OK\n\n<canary host-role>".to_owned(),
            end: "eof".to_owned(),
        }],
    }
}

fn scenario(id: &str, defence: &str, attempts: Vec<Attempt>) -> ScenarioReport {
    ScenarioReport {
        id: id.to_owned(),
        name: "x".to_owned(),
        title: format!("What {id} is about, told in a line that is longer than it should be"),
        defence: defence.to_owned(),
        judgement: ScenarioReport::judge(&attempts, &[]),
        attempts,
        findings: Vec::new(),
        seconds: 0.5,
    }
}

fn run(matrix: bool) -> RunReport {
    RunReport {
        format: 1,
        started: "2026-11-21T00:00:00Z".to_owned(),
        seed: "lab".to_owned(),
        matrix,
        proxy: None,
        not_run: Vec::new(),
        scenarios: vec![
            scenario("NET-01", "none", vec![attempt("LEAK(host-role)", "LEAK")]),
            scenario("NET-01", "proxy", vec![attempt("DENY", "DENY")]),
            scenario(
                "ROLE-02",
                "proxy",
                vec![attempt("LEAK(role:role-02-admin)", "DENY"), attempt("VOID", "DENY")],
            ),
            scenario("ROLE-04", "proxy", vec![attempt("LEAK(role:role-04-admin)", "DENY")]),
        ],
        findings: Vec::new(),
        seconds: 12.3,
        containers: 9,
    }
}

#[test]
fn a_matrix_fits_a_hundred_columns() {
    let text = table::render(&run(true), table::Colour::Plain);
    assert!(text.lines().all(|line| line.chars().count() <= table::WIDTH), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_single_defence_shows_its_verdicts() {
    let mut run = run(false);
    run.scenarios.retain(|scenario| scenario.defence == "proxy");
    let text = table::render(&run, table::Colour::Plain);
    assert!(text.lines().all(|line| line.chars().count() <= table::WIDTH), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_documented_leak_fails_a_run_only_without_matrix() {
    let mut report = run(true);
    report.scenarios.truncate(2);
    assert!(!report.fails());
    report.matrix = false;
    assert!(report.fails());
}

#[test]
fn junit_tells_failures_from_errors() {
    let text = junit::render(&run(false)).unwrap();
    let stable: String = text
        .lines()
        .filter(|line| !line.contains("uuid"))
        .map(|line| format!("{line}\n"))
        .collect();
    insta::assert_snapshot!(stable);
}

#[test]
fn what_is_written_is_whole_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    run(true).write(directory.path()).unwrap();
    let read: RunReport =
        serde_json::from_slice(&std::fs::read(directory.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(read.scenarios.len(), 4);
    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["junit.xml", "report.html", "report.json"]);
}

#[test]
fn a_page_shows_every_scenario_with_its_evidence() {
    let page = html::render(&run(true));
    let body = page.split_once("<body>").unwrap().1.split_once("<script>").unwrap().0;
    insta::assert_snapshot!(body);
}

#[test]
fn a_page_needs_no_other_and_runs_no_script_but_its_own() {
    let mut hostile = run(true);
    let markup = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\" onmouseover='x'";
    hostile.seed = markup.to_owned();
    for scenario in &mut hostile.scenarios {
        for text in [&mut scenario.id, &mut scenario.title, &mut scenario.defence] {
            *text = markup.to_owned();
        }
        for attempt in &mut scenario.attempts {
            for text in [&mut attempt.place, &mut attempt.what, &mut attempt.note] {
                *text = markup.to_owned();
            }
            for exchange in &mut attempt.exchanges {
                let Shown {
                    request,
                    connect,
                    answer,
                    end,
                } = exchange;
                for text in [request, connect, answer, end] {
                    *text = markup.to_owned();
                }
            }
        }
        scenario.findings.push(Finding {
            oracle: markup.to_owned(),
            verdict: Verdict::Other(markup.to_owned()),
            what: markup.to_owned(),
        });
    }
    let page = html::render(&hostile);
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(!page.contains("<img") && !page.contains("\" onmouseover"));
    for outside in ["http://", "https://", "src=\"", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
}
