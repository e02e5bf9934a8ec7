//! Faults as a person reads them: the piece of the file, what is wrong there, and the remedy.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::fault::{Fault, Faults};

/// Columns that a drawing takes: what tables take.
const WIDTH: usize = 100;

/// One fault and the file it is in.
#[derive(Debug)]
struct Drawing<'a> {
    fault: &'a Fault,
    source: Option<NamedSource<String>>,
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            file,
            line,
            field,
            what,
            ..
        } = self.fault;
        if self.source.is_none() {
            // Nothing is drawn that would name the file.
            f.write_str(file)?;
            if *line > 0 {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        f.write_str(what)
    }
}

impl std::error::Error for Drawing<'_> {}

impl Diagnostic for Drawing<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.fault.remedy))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| {
            let source: &dyn SourceCode = source;
            source
        })
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (start, end) = self.fault.span?;
        let label = LabeledSpan::new(Some("here".to_owned()), start, end - start);
        Some(Box::new(std::iter::once(label)))
    }
}

impl Faults {
    /// Each fault with its place in the file.
    pub fn drawn(&self, colour: bool) -> String {
        let theme = if colour {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(WIDTH)
            .with_links(false)
            .with_context_lines(1);
        let mut text = String::new();
        for fault in &self.faults {
            // Where there is no place to point at, an excerpt would say nothing.
            let source = fault.span.and_then(|_| self.sources.get(&fault.file));
            let drawing = Drawing {
                fault,
                source: source.map(|source| NamedSource::new(&fault.file, source.clone())),
            };
            if handler.render_report(&mut text, &drawing).is_err() {
                text.push_str(&fault.to_string());
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::case::{load, read};

    /// The drawings of a thoroughly broken file whose faults these fields have.
    fn drawn(fields: &[&str]) -> String {
        let mut faults = read("case.toml", "role", "ROLE-99-smallest", include_str!("broken.toml")).unwrap_err();
        faults.faults.retain(|fault| fields.contains(&fault.field.as_str()));
        assert!(faults.faults.len() >= fields.len());
        faults.drawn(false)
    }

    #[test]
    fn a_fault_is_drawn_where_it_is() {
        insta::assert_snapshot!(drawn(&["exclusiv", "rule[0].selectable[1]", "step[0].in"]), @r#"
         × exclusiv: unknown key
          ╭─[case.toml:5:1]
        4 │ doc = "   "
        5 │ exclusiv = true
          · ───────┬───────
          ·        ╰── here
        6 │ references = "one"
          ╰────
         help: did you mean `exclusive`?

         × rule[0].selectable[1]: no role `admin`
           ╭─[case.toml:17:22]
        16 │ role = "onw"
        17 │ selectable = ["own", "admin"]
           ·                      ───┬───
           ·                         ╰── here
        18 │ [[rule]]
           ╰────
         help: known are own

         × step[0].in: no place `a.biuld`
           ╭─[case.toml:40:1]
        39 │ [[step]]
        40 │ in = "a.biuld"
           · ───────┬──────
           ·        ╰── here
        41 │ do = "imds"
           ╰────
         help: did you mean `a.build`?
        "#);
    }

    #[test]
    fn what_is_missing_is_drawn_at_the_table_that_lacks_it() {
        insta::assert_snapshot!(drawn(&["job[1].variables[1].value", "step[3].in"]), @r#"
         × job[1].variables[1].value: missing
           ╭─[case.toml:36:61]
        35 │ project_of = "a"
        36 │ variables = [{ key = "IAM_ROLE", value = "${role.admin}" }, { key = "X" }]
           ·                                                             ──────┬──────
           ·                                                                   ╰── here
        37 │ services = [{ alias = "build" }]
           ╰────
         help: add it: its value; may be empty

         × step[3].in: missing
           ╭─[case.toml:55:1]
        54 │ attempt = true
        55 │ [[step]]
           · ────┬───
           ·     ╰── here
        56 │ do = "fault"
           ╰────
         help: add it: a container such as a.build, a job, host, upstream or lab
        "#);
    }

    #[test]
    fn a_value_over_several_lines_is_drawn_at_its_key() {
        insta::assert_snapshot!(drawn(&["runner.config"]), @r#"
         × runner.config: unclosed table, expected `]`
           ╭─[case.toml:23:1]
        22 │ [runner]
        23 │ config = """
           · ───┬──
           ·    ╰── here
        24 │ [runners.docker
           ╰────
         help: write the keys below one [[runners]], tables as [runners.docker]
        "#);
    }

    #[test]
    fn text_that_is_no_toml_is_drawn_too() {
        let faults = read("case.toml", "role", "ROLE-99-smallest", "title == 3\n").unwrap_err();
        insta::assert_snapshot!(faults.drawn(false), @r#"
         × extra `=`, expected nothing
          ╭─[case.toml:1:8]
        1 │ title == 3
          ·        ┬
          ·        ╰── here
          ╰────
         help: write valid TOML

         × unexpected key or value, expected newline, `#`
          ╭─[case.toml:1:10]
        1 │ title == 3
          ·          ┬
          ·          ╰── here
          ╰────
         help: write valid TOML
        "#);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("role/ROLE-98-empty");
        std::fs::create_dir_all(&missing).unwrap();
        let drawn = load(folder.path()).unwrap_err().drawn(false);
        let drawn = drawn.replace(&folder.path().display().to_string(), "cases");
        insta::assert_snapshot!(drawn, @r#"
        × cases/role/ROLE-98-empty/case.toml: cannot be read: No such file or directory (os
        │ error 2)
        help: put the scenario into FAMILY/ID-name/case.toml and make it readable
        "#);
    }

    #[test]
    fn every_fault_of_a_broken_file_can_be_drawn() {
        let faults = read("case.toml", "role", "ROLE-99-smallest", include_str!("broken.toml")).unwrap_err();
        let drawn = faults.drawn(false);
        for fault in &faults.faults {
            let first_word = fault.remedy.split(' ').next().unwrap_or_default();
            assert!(drawn.contains(&fault.field) && drawn.contains(first_word), "{fault}");
        }
        assert!(!drawn.contains('\u{1b}') && faults.drawn(true).contains('\u{1b}'));
    }
}
