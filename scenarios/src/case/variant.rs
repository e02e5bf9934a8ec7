//! Spreads a job with `variants` into one job for each value, and its steps with it. A function of the case alone; what the values mean is not its business.

use super::model::{Case, Defence, Image, Job, Service, Step, Variable};

/// The case with every variant a job of its own: the first under the job's own name, the next as `a-2` and so on, all of one project. What the container is
/// made of matters to the proxy alone, so that only the first is launched where there is none.
pub(super) fn spread(mut case: Case) -> Case {
    let of: Vec<Job> = case
        .jobs
        .iter()
        .filter(|job| !job.variants.is_empty())
        .cloned()
        .collect();
    if of.is_empty() {
        return case;
    }
    case.jobs = case.jobs.iter().flat_map(jobs).collect();
    let mut steps: Vec<Step> = Vec::new();
    let mut rest = case.steps.as_slice();
    while let Some(first) = rest.first() {
        let job = of.iter().find(|job| job.name == job_of(first));
        // Steps of one job that follow each other belong together: what one saves, the next uses.
        let length = rest
            .iter()
            .take_while(|step| job_of(step) == job_of(first))
            .count()
            .max(1);
        let (run, behind) = rest.split_at(length);
        match job {
            None => steps.extend_from_slice(run),
            Some(job) => {
                for (index, variant) in job.variants.iter().enumerate() {
                    steps.extend(run.iter().filter_map(|step| step_of(step, job, index, variant)));
                }
            }
        }
        rest = behind;
    }
    case.steps = steps;
    case
}

fn job_of(step: &Step) -> &str {
    step.place.split('.').next().unwrap_or_default()
}

fn name_of(job: &Job, index: usize) -> String {
    if index == 0 {
        job.name.clone()
    } else {
        format!("{}-{}", job.name, index + 1)
    }
}

fn jobs(job: &Job) -> Vec<Job> {
    if job.variants.is_empty() {
        return vec![job.clone()];
    }
    let project = job.project_of.as_ref().unwrap_or(&job.name);
    let each = job.variants.iter().enumerate().map(|(index, variant)| {
        let put = |text: &String| text.replace("${variant}", variant);
        let image = |image: &Image| Image {
            name: image.name.as_ref().map(put),
            env: image.env.iter().map(|(key, value)| (put(key), put(value))).collect(),
            labels: image.labels.iter().map(|(key, value)| (put(key), put(value))).collect(),
            asks_at_once: image.asks_at_once,
        };
        let variables = |variables: &[Variable]| -> Vec<Variable> {
            let put = |variable: &Variable| Variable {
                key: put(&variable.key),
                value: put(&variable.value),
                ..variable.clone()
            };
            variables.iter().map(put).collect()
        };
        let service = |service: &Service| Service {
            variables: variables(&service.variables),
            image: image(&service.image),
            ..service.clone()
        };
        Job {
            name: name_of(job, index),
            image: image(&job.image),
            variables: variables(&job.variables),
            secrets: variables(&job.secrets),
            services: job.services.iter().map(service).collect(),
            raw_env: job.raw_env.iter().map(put).collect(),
            raw_labels: job
                .raw_labels
                .as_ref()
                .map(|labels| labels.iter().map(|(key, value)| (put(key), put(value))).collect()),
            runner: job.runner.as_ref().map(put),
            gitlab: job.gitlab.as_ref().map(put),
            git_ref: job.git_ref.as_ref().map(put),
            project_of: (index > 0 || job.project_of.is_some()).then(|| project.clone()),
            variants: Vec::new(),
            only: if index == 0 {
                job.only.clone()
            } else {
                vec![Defence::Proxy]
            },
            ..job.clone()
        }
    });
    each.collect()
}

/// The step for one variant; none where that variant is not launched.
fn step_of(step: &Step, job: &Job, index: usize, variant: &str) -> Option<Step> {
    let is_first = index == 0;
    if !is_first && !step.only.is_empty() && !step.only.contains(&Defence::Proxy) {
        return None;
    }
    let shown: String = variant.escape_debug().take(60).collect();
    Some(Step {
        place: match step.place.split_once('.') {
            Some((_, kind)) => format!("{}.{kind}", name_of(job, index)),
            None => name_of(job, index),
        },
        only: if is_first {
            step.only.clone()
        } else {
            vec![Defence::Proxy]
        },
        note: if step.note.is_empty() {
            format!("variant `{shown}`")
        } else {
            format!("{} (variant `{shown}`)", step.note)
        },
        ..step.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        let text = r#"
        id = "ROLE-99"
        name = "x"
        title = "x"
        doc = "x"
        job = [{ name = "a", variants = ["one", "two"], variables = [{ key = "IAM_ROLE", value = "<${variant}>" }] }, { name = "b" }]
        step = [
            { in = "a.build", do = "token", save = "t" },
            { in = "a.build", do = "get", path = "/" },
            { in = "b.build", do = "token" },
            { in = "a.build", do = "token", only = ["none"] },
        ]
        hole = {}
        expect = {}
        "#;
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_variant_is_a_job_of_one_project() {
        let jobs: Vec<_> = spread(case())
            .jobs
            .into_iter()
            .map(|job| {
                let value = job.variables.first().map(|variable| variable.value.clone());
                (job.name, value, job.project_of, job.only)
            })
            .collect();
        let of = |name: &str, value: Option<&str>, project: Option<&str>, only: Vec<Defence>| {
            (
                name.to_owned(),
                value.map(str::to_owned),
                project.map(str::to_owned),
                only,
            )
        };
        let expected = [
            of("a", Some("<one>"), None, vec![]),
            of("a-2", Some("<two>"), Some("a"), vec![Defence::Proxy]),
            of("b", None, None, vec![]),
        ];
        assert_eq!(jobs, expected);
    }

    #[test]
    fn steps_that_follow_each_other_stay_together() {
        let steps: Vec<_> = spread(case())
            .steps
            .into_iter()
            .map(|step| format!("{} {:?} {:?}", step.place, step.action, step.only))
            .collect();
        assert_eq!(
            steps,
            [
                "a.build Token []",
                "a.build Get []",
                "a-2.build Token [Proxy]",
                "a-2.build Get [Proxy]",
                "b.build Token []",
                "a.build Token [None]",
            ]
        );
    }

    #[test]
    fn a_case_without_variants_stays_as_it_is() {
        let mut plain = case();
        for job in &mut plain.jobs {
            job.variants.clear();
        }
        assert_eq!(format!("{:?}", spread(plain.clone())), format!("{plain:?}"));
    }
}
