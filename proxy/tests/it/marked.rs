//! Containers that the operator starts himself, and images that would like to be taken for them.

use std::collections::HashMap;

use crate::Outcome;
use crate::sessions::{provenance_of, statuses};
use crate::whole::check;
use crate::world::{World, import, labels, role};

const RULE: &str = r#"
[[rule]]
name = "agent"
container = { label = "role=agent" }
role = "agent"
"#;

pub(crate) async fn count_labels_of_the_operator() -> Outcome {
    let world = World::start_in("containers", "", RULE, &role("agent")).await?;
    let agent = HashMap::from([("role".to_owned(), "agent".to_owned())]);
    let got = world.run_job(agent.clone(), &[]).await?;
    let provenance = provenance_of(&got)?;
    check(
        provenance.role_arn == "arn:aws:iam::123456789012:role/agent",
        &got,
        &world,
    )?;
    check(provenance.session_name.starts_with("agent-"), &provenance, &world)?;

    // Somebody's image brings the label along: started by hand, with the same label stated, and as a job.
    import(&world.docker, "labelled", &["LABEL role=agent"]).await?;
    for stated in [HashMap::new(), agent.clone()] {
        let refused = world.run_image_in("labelled:it", "default", stated, &[]).await?;
        check(statuses(&refused, "token") == [403, 403], &refused, &world)?;
    }
    let job = world.run_image_in("labelled:it", "default", labels(20), &[]).await?;
    check(
        provenance_of(&job)?.role_arn == "arn:aws:iam::123456789012:role/deploy",
        &job,
        &world,
    )?;
    // A job stays a job, even if the runner itself sets the label (`container_labels`) and no rule is for it.
    for project in [20, 21] {
        let mut both = labels(project);
        both.extend(agent.clone());
        let steps = world.run_job(both, &[]).await?;
        let got = provenance_of(&steps).ok().map(|provenance| provenance.role_arn);
        let expected = (project == 20).then(|| "arn:aws:iam::123456789012:role/deploy".to_owned());
        check(got == expected, &steps, &world)?;
    }
    world.end().await
}
