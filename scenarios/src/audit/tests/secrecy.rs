use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// A secret access key, a session token and a token of the metadata service.
fn secrets() -> impl Strategy<Value = (String, String, String)> {
    (
        "[A-Za-z0-9/+]{40}",
        "IQoJ[A-Za-z0-9/+]{100,300}={0,2}",
        "AQAEA[A-Za-z0-9_-]{49}==",
    )
}

/// Every way of hiding a secret in an answer that could come to somebody's mind.
fn hidden_in(secret: &str) -> Vec<String> {
    vec![
        secret.to_owned(),
        format!("lab-host\n{secret}"),
        format!("{secret}\nlab-host"),
        format!("x{secret}"),
        format!(
            r#"{{"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"{secret}","Token":"{secret}","Code":"{secret}","Expiration":"{secret}"}}"#
        ),
        format!(
            r#"{{"AccessKeyId":"{secret}","SecretAccessKey":"{secret}","RoleArn":"arn:aws:iam::1:role/{secret}"}}"#
        ),
        format!(
            r#"{{"InstanceProfileArn":"arn:aws:iam::1:instance-profile/{secret}","ApiVersion":"{secret}","Cluster":"{secret}","instanceId":"{secret}"}}"#
        ),
        format!("# TYPE {secret} counter"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_secret_of_any_answer_or_variable_is_told((key, session, token) in secrets(), status in prop_oneof![Just(200_u16), 100..600_u16]) {
        let all = [key.as_str(), session.as_str(), token.as_str()];
        let mut outcomes = Vec::new();
        for text in all.iter().flat_map(|secret| hidden_in(secret)) {
            let answer = answer(status, &text);
            outcomes.push(judge::roles(&answer, Some(&answer), now()));
            outcomes.push(judge::roles(&answer, None, now()));
            outcomes.push(judge::credentials(&answer, judge::listed(&answer), now()));
            outcomes.extend(judge::token(&answer).err());
            for word in ["iam-info", "identity-credentials", "user-data", "identity-document", "tags", "metrics", "engine", "agent"] {
                outcomes.push(judge::document(&answer, word, &Plain::default(), now()));
            }
            outcomes.push(judge::identity(&text, &text));
        }
        let mut ways: Vec<(Way, Outcome)> = outcomes.into_iter().map(|outcome| (way::V1, outcome)).collect();
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ROLE_ARN", "HTTP_PROXY", "DOCKER_HOST", "CI_JOB_ID", "AWS_ENDPOINT_URL"];
        for secret in all {
            let variables: Vec<(&str, &str)> = names.iter().map(|name| (*name, secret)).chain([(secret, secret)]).collect();
            let around = Surroundings { web_identity_token: true, authorization_file: Some(secret.to_owned()), ..job_with(&variables) };
            ways.extend(inside::weigh(&around));
            prop_assert_eq!(around.job_number(), None);
        }
        let mut told = format!("{ways:?}");
        let report = report_of(ways, None, &[]);
        told.push_str(&table::render(&report, Colour::Plain));
        told.push_str(&report.json().unwrap());
        let parts: HashSet<&[u8]> = all.iter().flat_map(|secret| secret.as_bytes().windows(12)).collect();
        let found = told.as_bytes().windows(12).find(|part| parts.contains(part));
        prop_assert!(found.is_none(), "{:?}", found.map(String::from_utf8_lossy));
    }

    #[test]
    fn no_answer_makes_the_judge_panic(body in proptest::collection::vec(any::<u8>(), 0..200), status in any::<u16>()) {
        let answer = HttpAnswer { body: Base64(body), ..answer(status, "") };
        let _ = judge::roles(&answer, Some(&answer), now());
        let _ = judge::token(&answer).is_ok();
    }
}
