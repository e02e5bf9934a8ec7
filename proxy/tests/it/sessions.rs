//! What STS is told of a session, judged by the trust policies of the roles.

use std::collections::HashMap;

use fake_sts::provenance;

use crate::Outcome;
use crate::job::Step;
use crate::whole::check;
use crate::world::{SOON, World, labels};

const RULES: &str = r#"
[[rule]]
name = "told"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 30
ref = "release/*"
role = "told"
session_name = "{rule},{ref},{job}"
tags = { project = "{project}", ref = "{ref}" }
transitive = "project"
source_identity = "{project}-{job}"
[[rule]]
name = "untagged"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 31
role = "deploy"
tags = { project = "{project}" }
[[rule]]
name = "unidentified"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 32
role = "deploy"
source_identity = "{project}-{job}"
"#;

/// A role that nobody gets without exactly these words.
const TOLD: &str = r#"
[[role]]
name = "told"
trust = '''{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/lab-host"},
"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"],"Condition":{
"StringEquals":{"aws:RequestTag/project":"30","aws:RequestTag/ref":"release/1.0","sts:SourceIdentity":"30-302","sts:RoleSessionName":"told,release=2F1.0,302"},
"ForAnyValue:StringEquals":{"sts:TransitiveTagKeys":["project"]}}}]}'''
"#;

fn labels_on(project: u32, name: &str) -> HashMap<String, String> {
    let mut labels = labels(project);
    labels.insert("com.gitlab.gitlab-runner.job.ref".to_owned(), name.to_owned());
    labels
}

pub(crate) async fn tell_sts() -> Outcome {
    let world = World::start_in("sessions", "", RULES, TOLD).await?;
    let told = world.run_job(labels_on(30, "release/1.0"), &[]).await?;
    let provenance = provenance_of(&told)?;
    check(provenance.source_identity.as_deref() == Some("30-302"), &told, &world)?;
    check(provenance.session_name == "told,release=2F1.0,302", &told, &world)?;
    // The same job of another release is told apart by STS, of a merge request already by the rule.
    let other = world.run_job(labels_on(30, "release/2.0"), &[]).await?;
    check(statuses(&other, "credentials") == [403, 403], &other, &world)?;
    for name in ["refs/merge-requests/7/head", "main"] {
        let refused = world.run_job(labels_on(30, name), &[]).await?;
        check(statuses(&refused, "token") == [403, 403], &refused, &world)?;
    }
    // A trust policy without the permission: the operator reads which rule and what to add.
    for project in [31, 32] {
        let refused = world.run_job(labels(project), &[]).await?;
        check(statuses(&refused, "credentials") == [403, 403], &refused, &world)?;
    }
    world.proxy.stop(SOON).await?;
    let records = world.proxy.stdout();
    for (rule, reason, permission) in [
        (
            "untagged",
            "sts-tags-denied",
            "allow sts:TagSession beside sts:AssumeRole",
        ),
        (
            "unidentified",
            "sts-source-identity-denied",
            "allow sts:SetSourceIdentity beside sts:AssumeRole",
        ),
    ] {
        let record = records.lines().find(|line| line.contains(reason)).unwrap_or_default();
        check(
            record.contains(&format!(r#""rule":"{rule}""#)) && record.contains(permission),
            &rule,
            &world,
        )?;
    }
    world.end().await
}

pub(crate) async fn reach_other_accounts() -> Outcome {
    let rule = r#"
[[rule]]
name = "elsewhere"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 33
role = "arn:aws:iam::222222222222:role/deploy"
selectable = ["deploy"]
"#;
    let role = r#"
[[role]]
name = "deploy"
account = "222222222222"
trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/lab-host"},"Action":"sts:AssumeRole"}]}'
"#;
    let world = World::start_in("accounts", "accounts = [\"222222222222\"]", rule, role).await?;
    for (selected, arn) in [
        (&[][..], "arn:aws:iam::222222222222:role/deploy"),
        (&["IAM_ROLE=deploy"], "arn:aws:iam::123456789012:role/deploy"),
        (
            &["IAM_ROLE=arn:aws:iam::222222222222:role/deploy"],
            "arn:aws:iam::222222222222:role/deploy",
        ),
    ] {
        let got = world.run_job(labels(33), selected).await?;
        check(provenance_of(&got)?.role_arn == arn, &got, &world)?;
    }
    let refused = world
        .run_job(labels(33), &["IAM_ROLE=arn:aws:iam::333333333333:role/deploy"])
        .await?;
    check(statuses(&refused, "token") == [403, 403], &refused, &world)?;
    world.end().await
}

/// The statuses of the steps of that name.
pub(crate) fn statuses(steps: &[Step], name: &str) -> Vec<u16> {
    let named = steps.iter().filter(|step| step.name == name);
    named.map(|step| step.status).collect()
}

/// What the first credentials say of themselves.
pub(crate) fn provenance_of(steps: &[Step]) -> Result<provenance::Provenance, libtest_mimic::Failed> {
    let step = steps
        .iter()
        .find(|step| step.name == "credentials" && step.status == 200);
    let step = step.ok_or_else(|| format!("no credentials: {steps:#?}"))?;
    let document: serde_json::Value = serde_json::from_str(&step.body)?;
    let token = document.get("Token").and_then(serde_json::Value::as_str);
    Ok(provenance::decode(token.unwrap_or_default())?)
}
