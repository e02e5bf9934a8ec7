//! boto3 and the AWS CLI, from their packages and unmodified, against the fake: which version they speak, what they fall back to, and every class of fault
//! that they document a behaviour for.
//!
//! The packages are installed once into a virtual environment below the target directory. Where that cannot be had the tests are listed as ignored, with the
//! reason as their kind; with `REQUIRE_LAB=1` they fail.

mod environment;
#[path = "../../../support/fake-kit/tests/clients/python.rs"]
mod python;

use std::process::ExitCode;
use std::sync::Arc;

use fake_imds::FakeImds;
use fake_kit::question::{Assertion, matches};
use libtest_mimic::{Arguments, Failed, Trial};

use environment::Environment;

/// What a client makes of a world with a fault in it.
struct Case {
    name: &'static str,
    world: &'static str,
    faults: &'static [&'static str],
    settings: &'static [(&'static str, &'static str)],
    /// Whether it gets credentials.
    gets: bool,
    /// What must be so of its requests, as the control API takes it.
    claims: &'static str,
}

const REFUSED: &str = r#"{"match":{"method":"PUT"},"effect":{"error":{"status":403}}}"#;

const CASES: &[Case] = &[
    Case {
        name: "speaks v2 where it can",
        world: "",
        faults: &[],
        settings: &[],
        gets: true,
        claims: r#"[{"match":{"version":"v1"},"exactly":0},
            {"in_order":[{"method":"PUT","path":"/latest/api/token"},{"path":"/latest/meta-data/iam/security-credentials/","token":"valid"},{"path":"*/lab-host"}]}]"#,
    },
    Case {
        name: "speaks v2 where it must",
        world: "[instance]\nhttp_tokens = \"required\"\nhop_limit = 1\n",
        faults: &[],
        settings: &[],
        gets: true,
        claims: r#"{"match":{"status":"401"},"exactly":0}"#,
    },
    Case {
        name: "falls back to v1 where tokens are forbidden",
        world: "",
        faults: &[REFUSED],
        settings: &[],
        gets: true,
        claims: r#"{"match":{"version":"v1","status":"200"},"at_least":2}"#,
    },
    Case {
        name: "falls back to v1 where there are no tokens",
        world: "",
        faults: &[r#"{"match":{"method":"PUT"},"effect":{"error":{"status":404}}}"#],
        settings: &[],
        gets: true,
        claims: r#"{"match":{"version":"v1","status":"200"},"at_least":2}"#,
    },
    Case {
        name: "falls back to v1 where the token never comes",
        world: "",
        faults: &[r#"{"match":{"method":"PUT"},"effect":{"hang":true}}"#],
        settings: &[],
        gets: true,
        claims: r#"{"match":{"version":"v1","status":"200"},"at_least":2}"#,
    },
    Case {
        name: "does not fall back where that is forbidden",
        world: "",
        faults: &[REFUSED],
        settings: &[("AWS_EC2_METADATA_V1_DISABLED", "true")],
        gets: false,
        claims: r#"{"match":{"version":"v1"},"exactly":0}"#,
    },
    Case {
        name: "gives up where its token request is bad",
        world: "",
        faults: &[r#"{"match":{"method":"PUT"},"effect":{"error":{"status":400}}}"#],
        settings: &[],
        gets: false,
        claims: r#"{"match":{"method":"GET"},"exactly":0}"#,
    },
    Case {
        name: "finds nothing where v1 is refused and tokens too",
        world: "[instance]\nhttp_tokens = \"required\"\n",
        faults: &[REFUSED],
        settings: &[],
        gets: false,
        claims: r#"{"match":{"status":"401"},"at_least":1}"#,
    },
    Case {
        name: "finds nothing where the endpoint is off",
        world: "[instance]\nendpoint = \"disabled\"\n",
        faults: &[],
        settings: &[],
        gets: false,
        claims: r#"{"match":{"status":"403"},"at_least":1}"#,
    },
    Case {
        name: "finds nothing on an instance without a role",
        world: "[instance]\nprofile = \"\"\nrole = \"\"\n",
        faults: &[],
        settings: &[],
        gets: false,
        claims: r#"{"match":{"status":"404"},"at_least":1}"#,
    },
    Case {
        name: "finds nothing where EC2 may not assume the role",
        world: "[instance]\nprofile_state = \"untrusted\"\n",
        faults: &[],
        settings: &[],
        gets: false,
        claims: r#"{"match":{"path":"*/lab-host","status":"200"},"exactly":1}"#,
    },
    Case {
        name: "asks again after a 500",
        world: "",
        faults: &[
            r#"{"match":{"path":"*/security-credentials/lab-host"},"times":1,"effect":{"error":{"status":500}}}"#,
        ],
        settings: &[("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "2")],
        gets: true,
        claims: r#"{"in_order":[{"status":"500"},{"status":"200","path":"*/lab-host"}]}"#,
    },
    Case {
        name: "asks again after a body of nothing",
        world: "",
        faults: &[r#"{"match":{"path":"*/security-credentials/lab-host"},"times":1,"effect":{"rewrite":{"body":""}}}"#],
        settings: &[("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "2")],
        gets: true,
        claims: r#"{"match":{"path":"*/lab-host"},"exactly":2}"#,
    },
    Case {
        name: "asks again after half a document",
        world: "",
        faults: &[
            r#"{"match":{"path":"*/security-credentials/lab-host"},"times":1,"effect":{"rewrite":{"truncate":"60"}}}"#,
        ],
        settings: &[("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "2")],
        gets: true,
        claims: r#"{"match":{"path":"*/lab-host"},"exactly":2}"#,
    },
    Case {
        name: "asks again after a reset",
        world: "",
        faults: &[r#"{"match":{"path":"*/security-credentials/lab-host"},"times":1,"effect":{"reset":true}}"#],
        settings: &[("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "2")],
        gets: true,
        claims: r#"{"match":{"path":"*/lab-host"},"exactly":2}"#,
    },
    Case {
        name: "takes no credentials without a session token",
        world: "",
        faults: &[r#"{"effect":{"rewrite":{"credentials:Token":""}}}"#],
        settings: &[],
        gets: false,
        claims: "{}",
    },
    Case {
        name: "uses expired credentials rather than none",
        world: "",
        faults: &[r#"{"effect":{"rewrite":{"expires-in":"-60"}}}"#],
        settings: &[],
        gets: true,
        claims: "{}",
    },
    Case {
        name: "does not mind the code where the fields are there",
        world: "",
        faults: &[r#"{"effect":{"rewrite":{"credentials:Code":"Failed"}}}"#],
        settings: &[],
        gets: true,
        claims: "{}",
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Listing tests installs nothing.
    let environment = if arguments.list {
        Err("not prepared to list".to_owned())
    } else {
        Environment::prepare()
    };
    let lacks = environment.as_ref().err().cloned();
    let is_ignored = lacks.is_some() && !python::is_required();
    let environment = environment.ok().map(Arc::new);
    let mut plays: Vec<(String, Play)> = Vec::new();
    for case in CASES {
        plays.push((
            format!("boto3 {}", case.name),
            Box::new(|environment| on_boto3(environment, case)),
        ));
    }
    plays.push(("boto3 reads the region from the zone".to_owned(), Box::new(region)));
    plays.push(("boto3 reaches the IPv6 endpoint".to_owned(), Box::new(over_ipv6)));
    plays.push((
        "boto3 finds the endpoint for containers".to_owned(),
        Box::new(in_a_container),
    ));
    for case in CASES.iter().filter(|case| case.settings.is_empty()) {
        plays.push((
            format!("the AWS CLI {}", case.name),
            Box::new(|environment| on_cli(environment, case)),
        ));
    }
    let trials = plays
        .into_iter()
        .map(|(name, play)| {
            let (environment, why) = (environment.clone(), lacks.clone());
            let trial = Trial::test(name.replace(' ', "_"), move || match environment {
                Some(environment) => play(&environment),
                None => Err(Failed::from(why.unwrap_or_default())),
            });
            match &lacks {
                Some(why) => trial.with_kind(why).with_ignored_flag(is_ignored),
                None => trial,
            }
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Play = Box<dyn FnOnce(&Environment) -> Result<(), Failed> + Send>;

/// Serves a case's world with its faults while something asks.
fn serve<T>(
    case: &Case,
    listen: &str,
    ask: impl FnOnce(&FakeImds) -> Result<T, String>,
) -> Result<(FakeImds, T), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let builder = FakeImds::builder().world(case.world).listen(listen.parse()?);
    let imds = runtime.block_on(builder.start())?;
    for fault in case.faults {
        imds.plant(fault)?;
    }
    let asked = ask(&imds)?;
    // Nothing is answered any more; the ledger stays.
    runtime.shutdown_background();
    Ok((imds, asked))
}

fn judge(imds: &FakeImds, case: &Case, got: bool, said: &str) -> Result<(), Failed> {
    if got != case.gets {
        return Err(format!("credentials: {got}, not {}\n{said}", case.gets).into());
    }
    let claims: serde_json::Value = serde_json::from_str(case.claims)?;
    let claims = match claims {
        serde_json::Value::Array(claims) => claims,
        claim => vec![claim],
    };
    for claim in claims {
        let claim: Assertion = serde_json::from_value(claim)?;
        imds.check(&claim)
            .map_err(|unmet| format!("{unmet}: {:#?}", imds.requests(matches([]))))?;
    }
    Ok(())
}

/// What the script prints; nothing of it where there are no credentials.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Found {
    key: String,
    secret: String,
    token: String,
    method: String,
}

fn on_boto3(environment: &Environment, case: &Case) -> Result<(), Failed> {
    let (imds, said) = serve(case, "127.0.0.1:0", |imds| {
        environment.python(&["credentials"], &imds.url(), case.settings)
    })?;
    let found: Found = serde_json::from_str(&said.out).map_err(|error| format!("{error}: {said:?}"))?;
    if case.gets {
        let canary = imds
            .state()
            .canaries
            .all()
            .remove("host-role")
            .map(|canary| canary.to_string());
        let of_the_role = found.secret.starts_with(&canary.unwrap_or_default());
        if found.method != "iam-role" || !of_the_role || found.token.is_empty() {
            return Err(format!("not the credentials of the role: {said:?}").into());
        }
    }
    judge(&imds, case, !found.key.is_empty(), &said.err)
}

fn on_cli(environment: &Environment, case: &Case) -> Result<(), Failed> {
    let (imds, said) = serve(case, "127.0.0.1:0", |imds| {
        environment.aws(&["configure", "list"], &imds.url(), case.settings)
    })?;
    let line = said
        .out
        .lines()
        .find(|line| line.trim_start().starts_with("access_key"));
    let line = line.ok_or_else(|| format!("no line for the access key: {said:?}"))?;
    judge(&imds, case, line.contains("iam-role"), &said.err)
}

const PLAIN: Case = Case {
    name: "",
    world: "[account]\nregion = \"ap-southeast-2\"\n",
    faults: &[],
    settings: &[],
    gets: true,
    claims: "{}",
};

fn region(environment: &Environment) -> Result<(), Failed> {
    let (imds, said) = serve(&PLAIN, "127.0.0.1:0", |imds| {
        environment.python(&["region"], &imds.url(), &[])
    })?;
    if said.out != r#"{"region": "ap-southeast-2"}"# {
        return Err(format!("{said:?}").into());
    }
    imds.check(&Assertion::exactly(
        1,
        matches([("target", "/latest/meta-data/placement/availability-zone/")]),
    ))?;
    Ok(())
}

fn in_a_container(environment: &Environment) -> Result<(), Failed> {
    for (authorization, gets) in [("secret", true), ("wrong", false)] {
        let case = Case {
            world: "[instance]\nhttp_tokens = \"required\"\nprofile = \"p\"\ncontainer = { path = \"/v1/credentials\", authorization = \"secret\" }\n",
            gets,
            claims: r#"{"match":{"method":"PUT"},"exactly":0}"#,
            ..PLAIN
        };
        let (imds, said) = serve(&case, "127.0.0.1:0", |imds| {
            let url = format!("{}/v1/credentials", imds.url());
            let settings = [
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", authorization),
            ];
            environment.python(&["credentials"], &imds.url(), &settings)
        })?;
        let found: Found = serde_json::from_str(&said.out)?;
        judge(
            &imds,
            &case,
            found.method == "container-role" && !found.key.is_empty(),
            &said.err,
        )?;
    }
    Ok(())
}

fn over_ipv6(environment: &Environment) -> Result<(), Failed> {
    let (imds, said) = serve(&PLAIN, "[::1]:0", |imds| {
        environment.python(&["credentials"], &imds.url(), &[])
    })?;
    judge(&imds, &PLAIN, said.out.contains("iam-role"), &said.err)
}
