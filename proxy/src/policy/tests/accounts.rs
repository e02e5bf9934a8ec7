//! Roles of other accounts.

use super::select_in;
use crate::policy::Reason;

const ACCOUNTS: &str = "accounts = [\"222222222222\"]\n";
const RULE: &str = r#"
[[rule]]
name = "deploy"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 20
role = "arn:aws:iam::222222222222:role/deploy"
selectable = ["deploy", "/team/deploy", "arn:aws:iam::222222222222:role/team/deploy"]
"#;

fn select(value: &str) -> Result<String, Reason> {
    select_in(&format!("{ACCOUNTS}{RULE}"), value)
}

#[test]
fn a_name_is_of_the_first_account_and_an_arn_of_its_own() {
    for (value, role) in [
        ("deploy", "arn:aws:iam::123456789012:role/deploy"),
        (
            "arn:aws:iam::222222222222:role/deploy",
            "arn:aws:iam::222222222222:role/deploy",
        ),
        ("/team/deploy", "arn:aws:iam::123456789012:role/team/deploy"),
        (
            "arn:aws:iam::222222222222:role/team/deploy",
            "arn:aws:iam::222222222222:role/team/deploy",
        ),
    ] {
        assert_eq!(select(value).as_deref(), Ok(role), "{value}");
    }
}

#[test]
fn what_is_sanctioned_in_one_account_is_not_in_another() {
    let other = RULE.replace("selectable = [\"deploy\", ", "selectable = [");
    let refused = select_in(&format!("{ACCOUNTS}{other}"), "deploy");
    assert_eq!(refused, Err(Reason::SelectorNotAllowed));
    for value in [
        "arn:aws:iam::333333333333:role/deploy",
        "arn:aws-cn:iam::222222222222:role/deploy",
        "deploy@222222222222",
        "222222222222:role/deploy",
    ] {
        assert!(select(value).is_err(), "{value}");
    }
}
