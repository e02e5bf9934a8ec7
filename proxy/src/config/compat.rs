//! Reads `[compat]`: whose users come, and what is observed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::table::{Fields, Found};
use super::{ExternalId, Home, Role};
use crate::compat::{Adopted, Compat, Mode, Profile};

pub(super) fn read(mut fields: Fields<'_, '_>, home: Option<&Home>) -> Option<Compat> {
    let home = home?;
    let parse_profile = |text: &str| Profile::parse(text).ok_or("not a proxy that is known here");
    let profile = fields.require("profile", parse_profile, "write go-metadataproxy or lyft");
    let environment_file = fields.parse(
        "environment_file",
        |text| match Path::new(text) {
            path if path.is_absolute() => Ok(PathBuf::from(path)),
            _ => Err("not an absolute path"),
        },
        "write where the earlier proxy's settings are, such as /etc/default/metadataproxy",
    );
    let given_up = fields.parse_all(
        "given_up",
        |text| {
            let setting = profile.and_then(|profile| profile.setting(text));
            match setting {
                Some(setting) if setting.can_be_given_up() => Ok(text.to_owned()),
                Some(_) => Err("it is not refused, or nobody would miss it"),
                None if profile.is_none() => Ok(text.to_owned()),
                None => Err("not a setting of that proxy"),
            }
        },
        "write names of settings that `check` refuses",
    );
    let mode = fields.parse(
        "mode",
        |text| match text {
            "enforce" => Ok(Mode::Enforce),
            "observe" => Ok(Mode::Observe),
            _ => Err("neither enforce nor observe"),
        },
        "write enforce; or observe, while you find out whom the rules would refuse",
    );
    let mode = mode.map_or(Mode::Enforce, |found| found.value);
    let parse_role = |text: &str| Role::parse(text, home);
    let role_remedy = "write a name or /path/name of aws.account, or the ARN of a role of it or of one of aws.accounts";
    let roles = fields.parse_all("observed_roles", parse_role, role_remedy);
    if mode == Mode::Observe && !fields.is_present("observed_roles") {
        fields.missing(
            "observed_roles",
            "name every role that may be given while nothing is enforced",
        );
    }
    let mut observed: BTreeMap<Role, Option<ExternalId>> = roles.into_iter().map(|found| (found.value, None)).collect();
    let external_ids = fields.entries(
        "external_ids",
        parse_role,
        role_remedy,
        ExternalId::parse,
        "write what the role's trust policy asks for",
    );
    for (found, external_id) in external_ids {
        put(&mut observed, &fields, &found, external_id);
    }
    fields.close();
    Some(Compat {
        profile: profile?,
        environment_file: environment_file.map(|found| found.value),
        given_up: given_up.into_iter().map(|found| found.value).collect(),
        mode,
        observed,
        adopted: Adopted::default(),
    })
}

fn put(
    observed: &mut BTreeMap<Role, Option<ExternalId>>,
    fields: &Fields<'_, '_>,
    found: &Found<Role>,
    external_id: ExternalId,
) {
    match observed.get_mut(&found.value) {
        Some(place) if place.is_none() => *place = Some(external_id),
        Some(_) => fields.fault(found, "has an external id already", "remove one of them"),
        None => fields.fault(
            found,
            "is none of observed_roles",
            "write it there too, or leave it out",
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::compat::{Mode, Profile};
    use crate::config::{Config, Environment};
    use crate::fixture::{HEADER, RULE};

    fn read(section: &str) -> Result<Config, String> {
        let text = format!("{HEADER}[compat]\n{section}{RULE}");
        Config::read("m.toml", &text, &Environment::default()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_profile_is_enforced_unless_the_operator_says_otherwise() {
        let config = read("profile = \"lyft\"\n").unwrap();
        let compat = config.compat.as_ref().unwrap();
        assert_eq!((compat.profile, compat.mode), (Profile::Lyft, Mode::Enforce));
        assert!(!config.is_observing() && config.warnings().is_empty());
        let text = "profile = \"go-metadataproxy\"\nenvironment_file = \"/etc/default/go-metadataproxy\"\ngiven_up = [\"STATSD_ADDR\"]\n\
                    mode = \"observe\"\nobserved_roles = [\"legacy\", \"/team/x\"]\nexternal_ids = { legacy = \"x:1\" }\n";
        let config = read(text).unwrap();
        let compat = config.compat.as_ref().unwrap();
        let given: Vec<_> = compat
            .observed
            .iter()
            .map(|(role, id)| (role.name(), id.is_some()))
            .collect();
        assert_eq!(given, [("legacy", true), ("x", false)]);
        insta::assert_snapshot!(config.warnings().join("\n"), @r###"NOTHING IS ENFORCED: compat.mode is "observe", and a container that the rules refuse is given legacy or x whenever jippi/go-metadataproxy would have given it that; each such answer is an audit record with reason "observed""###);
        let back = read(&text.replace("observe\"\n", "enforce\"\n")).unwrap();
        assert_eq!(back.warnings().len(), 1);
    }

    #[test]
    fn every_fault_of_the_section_is_told() {
        let faulty = "profile = \"kiam\"\nenvironment_file = \"settings\"\nmode = \"learn\"\nobserved_roles = [\"a b\"]\nexternal_ids = { other = \"x:1\" }\ncolour = 1\n";
        insta::assert_snapshot!(read(faulty).unwrap_err(), @r###"
        m.toml:8: compat.profile: "kiam": not a proxy that is known here
          remedy: write go-metadataproxy or lyft
        m.toml:9: compat.environment_file: "settings": not an absolute path
          remedy: write where the earlier proxy's settings are, such as /etc/default/metadataproxy
        m.toml:10: compat.mode: "learn": neither enforce nor observe
          remedy: write enforce; or observe, while you find out whom the rules would refuse
        m.toml:11: compat.observed_roles: "a b": a role is a name, /path/name or a role ARN, in letters, digits and +=,.@_-
          remedy: write a name or /path/name of aws.account, or the ARN of a role of it or of one of aws.accounts
        m.toml:12: compat.external_ids.other: is none of observed_roles
          remedy: write it there too, or leave it out
        m.toml:13: compat.colour: is not a known key
          remedy: remove it; known here: profile, environment_file, given_up, mode, observed_roles, external_ids
        "###);
        insta::assert_snapshot!(read("profile = \"lyft\"\nmode = \"observe\"\ngiven_up = [\"PORT\", \"STATSD_ADDR\"]\n").unwrap_err(), @r###"
        m.toml:7: compat.observed_roles: is missing
          remedy: name every role that may be given while nothing is enforced
        m.toml:10: compat.given_up: "PORT": it is not refused, or nobody would miss it
          remedy: write names of settings that `check` refuses
        m.toml:10: compat.given_up: "STATSD_ADDR": not a setting of that proxy
          remedy: write names of settings that `check` refuses
        "###);
    }
}
