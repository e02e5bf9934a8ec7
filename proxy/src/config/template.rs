//! Texts with fields (`{project}-{job}`) that become what STS is told of a session. What a template is filled with never makes STS refuse
//! it, and never makes two different sets of values the same text. Knows no file and no container.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What a template may name. All of it is what GitLab Runner or the engine says, never a variable of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The GitLab server, with its port if its job URLs have one.
    Gitlab,
    /// The runner's short token.
    Runner,
    /// The machine that the runner runs on.
    SystemId,
    /// The project's number.
    Project,
    /// The pipeline's number. Before GitLab Runner 19.0 the author chooses it.
    Pipeline,
    /// The job's number.
    Job,
    /// Branch, tag or merge request. The author chooses its name.
    Ref,
    /// What the container is to its job.
    Kind,
    /// The first twelve digits of the container's id.
    Container,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 9] = [
        Self::Gitlab,
        Self::Runner,
        Self::SystemId,
        Self::Project,
        Self::Pipeline,
        Self::Job,
        Self::Ref,
        Self::Kind,
        Self::Container,
    ];

    /// The word between the braces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Runner => "runner",
            Self::SystemId => "system_id",
            Self::Project => "project",
            Self::Pipeline => "pipeline",
            Self::Job => "job",
            Self::Ref => "ref",
            Self::Kind => "kind",
            Self::Container => "container",
        }
    }

    /// Whether the value consists of digits.
    const fn is_number(self) -> bool {
        matches!(self, Self::Project | Self::Pipeline | Self::Job)
    }
}

/// What a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Style {
    /// `RoleSessionName` and `SourceIdentity`: 2 to 64 of `[\w+=,.@-]`.
    Name,
    /// A tag's value: 0 to 256 letters, digits, spaces and `_.:/=+-@`.
    Tag,
}

impl Style {
    const fn longest(self) -> usize {
        match self {
            Self::Name => 64,
            Self::Tag => 256,
        }
    }

    const fn shortest(self) -> usize {
        match self {
            Self::Name => 2,
            Self::Tag => 0,
        }
    }

    /// Whether values keep the character. All others are written as `=` and two hexadecimal digits a byte, as in quoted-printable.
    const fn keeps(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'.' | b'-')
            || (matches!(self, Self::Tag) && byte == b'/')
    }

    /// Whether the text around values may hold the character and values never do: it tells where a value ends.
    const fn separates(self, byte: u8) -> bool {
        match self {
            Self::Name => matches!(byte, b'+' | b',' | b'@'),
            Self::Tag => matches!(byte, b'+' | b'@' | b' '),
        }
    }

    const fn separators(self) -> &'static str {
        match self {
            Self::Name => "one of + , @",
            Self::Tag => "one of + @ or a space",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Text(String),
    Field(Field),
}

/// A text with fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Template {
    parts: Vec<Part>,
    style: Style,
}

impl Default for Template {
    /// `{project}-{job}-{runner}`: who it was, for whoever reads CloudTrail.
    fn default() -> Self {
        let dash = || Part::Text("-".to_owned());
        let [project, job, runner] = [Field::Project, Field::Job, Field::Runner].map(Part::Field);
        Self {
            parts: vec![project, dash(), job, dash(), runner],
            style: Style::Name,
        }
    }
}

impl Template {
    /// Reads a template that may name these fields. `{rule}` becomes the name given here.
    ///
    /// # Errors
    /// What STS would refuse whatever the values are, and fields between which nothing tells where one ends.
    pub fn parse(text: &str, style: Style, fields: &[Field], rule: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (word, behind) = behind.split_once('}').ok_or("a { without its }")?;
            literal.push_str(before);
            rest = behind;
            if word == "rule" {
                literal.push_str(rule);
                continue;
            }
            let known = fields.iter().copied().find(|field| field.as_str() == word);
            let field = known.ok_or_else(|| format!("there is no {{{word}}}; there are {}", list(fields)))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(field));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        let template = Self { parts, style };
        template.check_text()?;
        template.check_seams()?;
        Ok(template)
    }

    fn check_text(&self) -> Result<(), String> {
        let mut length = 0;
        let mut least = 0;
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    let good = |c: char| u8::try_from(c).is_ok_and(|b| self.style.keeps(b) || self.style.separates(b));
                    match text.chars().find(|c| !good(*c)) {
                        Some('=') => return Err("= is how values write what STS does not take".to_owned()),
                        Some(odd) => return Err(format!("{odd:?} cannot stand here")),
                        None => length += text.len(),
                    }
                }
                Part::Field(_) => least += 1,
            }
        }
        let (shortest, longest) = (self.style.shortest(), self.style.longest());
        if length > longest {
            return Err(format!("{length} characters before any value, and STS takes {longest}"));
        }
        if length + least < shortest {
            return Err(format!(
                "may come to less than {shortest} characters, and STS takes no less"
            ));
        }
        Ok(())
    }

    /// Between two separators at most one value may be something else than a number, and numbers must not touch: then each value can be
    /// found again in the text, so that different values are different texts.
    fn check_seams(&self) -> Result<(), String> {
        let mut earlier: Option<Field> = None;
        let mut free: Option<Field> = None;
        let mut between = "";
        for part in &self.parts {
            match part {
                Part::Text(text) => between = text,
                Part::Field(field) => {
                    if between.bytes().any(|b| self.style.separates(b)) {
                        (earlier, free) = (None, None);
                    }
                    let clash = free.filter(|_| !field.is_number());
                    let touching = earlier.filter(|_| between.bytes().all(|b| b.is_ascii_digit()));
                    if let Some(other) = clash.or(touching) {
                        return Err(format!(
                            "nothing tells where {{{}}} ends and {{{}}} begins; put {} between them",
                            other.as_str(),
                            field.as_str(),
                            self.style.separators()
                        ));
                    }
                    if !field.is_number() {
                        free = Some(*field);
                    }
                    earlier = Some(*field);
                    between = "";
                }
            }
        }
        Ok(())
    }

    /// `RULE-{container}`, for containers that are of no job.
    #[must_use]
    pub fn of_container(rule: &str) -> Self {
        Self {
            parts: vec![Part::Text(format!("{rule}-")), Part::Field(Field::Container)],
            style: Style::Name,
        }
    }

    /// Whether the template names the field.
    #[must_use]
    pub fn names(&self, field: Field) -> bool {
        self.parts.contains(&Part::Field(field))
    }

    /// The fields that it names.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Field(field) => Some(*field),
        })
    }

    /// Fills the fields. What is longer than STS takes ends in `==` and half a SHA-256 of the whole text, so that it stays a text of its own.
    #[must_use]
    pub fn fill(&self, value: impl Fn(Field) -> String) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field(field) => {
                    for byte in value(*field).bytes() {
                        if self.style.keeps(byte) {
                            text.push(char::from(byte));
                        } else {
                            let _infallible = write!(text, "={byte:02X}");
                        }
                    }
                }
            }
        }
        let longest = self.style.longest();
        if text.len() > longest {
            let hash = Sha256::digest(text.as_bytes());
            // `==` stands in no text that was not cut: a value's = has digits behind it, and the text around values has none.
            text.truncate(longest.saturating_sub(2 + 2 * HASH_BYTES));
            text.push_str("==");
            for byte in hash.iter().take(HASH_BYTES) {
                let _infallible = write!(text, "{byte:02x}");
            }
        }
        text
    }
}

/// Nobody finds two texts of which as many bytes are the same: that takes some 2^64 tries.
const HASH_BYTES: usize = 16;

fn list(fields: &[Field]) -> String {
    let words: Vec<String> = fields.iter().map(|field| format!("{{{}}}", field.as_str())).collect();
    format!("{} and {{rule}}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Field, Style, Template};

    fn name(text: &str) -> Result<Template, String> {
        Template::parse(text, Style::Name, &Field::ALL, "deploy")
    }

    fn fill(template: &Template, reference: &str) -> String {
        template.fill(|field| match field {
            Field::Gitlab => "gitlab.example.com:8443".to_owned(),
            Field::Runner => "Ab3dEf9_x".to_owned(),
            Field::SystemId => "s_0123456789ab".to_owned(),
            Field::Project => "20".to_owned(),
            Field::Pipeline => "574".to_owned(),
            Field::Job => "302".to_owned(),
            Field::Ref => reference.to_owned(),
            Field::Kind => "build".to_owned(),
            Field::Container => "0123456789ab".to_owned(),
        })
    }

    #[test]
    fn fields_become_values_and_what_sts_does_not_take_is_written_out() {
        for (template, reference, name_text, tag_text) in [
            ("{project}-{job}-{runner}", "", "20-302-Ab3dEf9_x", "20-302-Ab3dEf9_x"),
            (
                "{rule}@{ref}",
                "release/1.0",
                "deploy@release=2F1.0",
                "deploy@release/1.0",
            ),
            ("x-{ref}", "a=b+c,d@e", "x-a=3Db=2Bc=2Cd=40e", "x-a=3Db=2Bc=2Cd=40e"),
            ("x-{ref}", "ü#", "x-=C3=BC=23", "x-=C3=BC=23"),
            (
                "on-{gitlab}",
                "",
                "on-gitlab.example.com=3A8443",
                "on-gitlab.example.com=3A8443",
            ),
        ] {
            assert_eq!(fill(&name(template).unwrap(), reference), name_text);
            let tag = Template::parse(template, Style::Tag, &Field::ALL, "deploy").unwrap();
            assert_eq!(fill(&tag, reference), tag_text);
        }
        assert_eq!(name("{project}-{job}-{runner}"), Ok(Template::default()));
    }

    #[test]
    fn a_text_that_is_too_long_ends_in_a_hash_of_it() {
        let template = name("{job}-{ref}").unwrap();
        assert_eq!(fill(&template, &"x".repeat(60)), format!("302-{}", "x".repeat(60)));
        assert_eq!(
            fill(&template, &"x".repeat(61)),
            format!("302-{}==70a0a010cd58ad9f4e9ef76c06cc2787", "x".repeat(26))
        );
    }

    #[test]
    fn what_cannot_be_right_is_told() {
        for (bad, why) in [
            ("{project", "a { without its }"),
            (
                "{user}-1",
                "there is no {user}; there are {gitlab}, {runner}, {system_id}, {project}, {pipeline}, {job}, {ref}, {kind}, {container} and {rule}",
            ),
            ("a/{job}", "'/' cannot stand here"),
            ("a=b", "= is how values write what STS does not take"),
            ("ä{job}", "'ä' cannot stand here"),
            ("{job}}", "'}' cannot stand here"),
            ("", "may come to less than 2 characters, and STS takes no less"),
            ("{job}", "may come to less than 2 characters, and STS takes no less"),
            (
                "{project}{job}",
                "nothing tells where {project} ends and {job} begins; put one of + , @ between them",
            ),
            (
                "{project}1{job}",
                "nothing tells where {project} ends and {job} begins; put one of + , @ between them",
            ),
            (
                "{runner}-{ref}",
                "nothing tells where {runner} ends and {ref} begins; put one of + , @ between them",
            ),
            (
                "{runner}-{job}-{ref}",
                "nothing tells where {runner} ends and {ref} begins; put one of + , @ between them",
            ),
        ] {
            assert_eq!(name(bad), Err(why.to_owned()), "{bad}");
        }
        assert!(name(&"x".repeat(65)).unwrap_err().starts_with("65 characters"));
        for good in ["ci", "{runner},{ref}", "{project}.{ref}.{job}", "{runner}+{job}-{ref}"] {
            assert!(name(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_text_may_be_as_long_as_sts_takes() {
        assert!(name(&"a".repeat(64)).is_ok() && name(&"a".repeat(65)).is_err());
        assert!(name("aa").is_ok() && name("a").is_err() && name("a{job}").is_ok());
    }

    fn any_template() -> impl Strategy<Value = (Template, Vec<Field>)> {
        let part = prop_oneof![
            "[a-z0-9+,@.-]{0,3}",
            proptest::sample::select(Field::ALL.to_vec()).prop_map(|field| format!("{{{}}}", field.as_str()))
        ];
        proptest::collection::vec(part, 1..6)
            .prop_filter_map("no template", |parts| name(&parts.concat()).ok())
            .prop_map(|template| {
                let fields = template.fields().collect();
                (template, fields)
            })
    }

    /// Values as they are: numbers where numbers stand, and otherwise what looks like the text around them.
    fn any_values() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(
            ("[1-9][0-9]{0,2}", "[a1+,@.=-]{1,4}|[ -~ü]{1,40}|x{50,70}"),
            Field::ALL.len(),
        )
    }

    proptest! {
        #[test]
        fn whatever_the_values_are_sts_takes_the_text((template, _) in any_template(), values in any_values()) {
            let text = fill_with(&template, &values);
            prop_assert!((2..=64).contains(&text.len()), "{}", text);
            prop_assert!(text.bytes().all(crate::config::is_role_character), "{}", text);
        }

        #[test]
        fn different_values_are_different_texts((template, fields) in any_template(), one in any_values(), other in any_values()) {
            let differ = fields.iter().any(|field| pick(*field, &one) != pick(*field, &other));
            prop_assert_eq!(fill_with(&template, &one) != fill_with(&template, &other), differ);
        }

        #[test]
        fn tags_take_what_is_visible_and_no_more(text in "\\PC{0,60}", values in any_values()) {
            if let Ok(template) = Template::parse(&text, Style::Tag, &Field::ALL, "deploy") {
                let text = fill_with(&template, &values);
                prop_assert!(text.len() <= 256);
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./=+-@ ".contains(&b)), "{}", text);
            }
        }
    }

    fn pick(field: Field, values: &[(String, String)]) -> String {
        let at = Field::ALL.iter().position(|known| *known == field).unwrap();
        let (number, free) = &values[at];
        if field.is_number() {
            number.clone()
        } else {
            free.clone()
        }
    }

    fn fill_with(template: &Template, values: &[(String, String)]) -> String {
        template.fill(|field| pick(field, values))
    }
}
