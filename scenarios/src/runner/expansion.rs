//! `$NAME` and `${NAME}` as Go's `os.Expand` reads them, with the runner's special names. Pure.

use super::job::Variable;

/// Bytes that are a whole name after `$` (`isShellSpecialVar` in Go's os package).
fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9')
}

fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// The name after a `$` and how many bytes it takes; an empty name with a length is bad syntax, which is swallowed.
fn shell_name(rest: &str) -> (&str, usize) {
    let bytes = rest.as_bytes();
    match bytes.first() {
        Some(b'{') => {
            if let (Some(&second), Some(b'}')) = (bytes.get(1), bytes.get(2))
                && is_special(second)
            {
                return (rest.get(1..2).unwrap_or_default(), 3);
            }
            match rest.find('}') {
                // `${}` is eaten whole, an unclosed `${` up to its brace.
                Some(1) => ("", 2),
                Some(end) => (rest.get(1..end).unwrap_or_default(), end + 1),
                None => ("", 1),
            }
        }
        Some(&first) if is_special(first) => (rest.get(..1).unwrap_or_default(), 1),
        Some(_) | None => {
            let length = bytes.iter().take_while(|byte| is_name(**byte)).count();
            (rest.get(..length).unwrap_or_default(), length)
        }
    }
}

/// Replaces every reference in `text` by what `value` says.
fn expand_with(text: &str, value: impl Fn(&str) -> String) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    // Each turn consumes at least the dollar.
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(rest.get(..dollar).unwrap_or_default());
        let after = rest.get(dollar + 1..).unwrap_or_default();
        let (name, length) = shell_name(after);
        if !name.is_empty() {
            expanded.push_str(&value(name));
        } else if length == 0 {
            expanded.push('$');
        }
        rest = after.get(length..).unwrap_or_default();
    }
    expanded.push_str(rest);
    expanded
}

/// The value of a name: `$$` is a dollar, other special names are nothing, of duplicates the last wins (spec/variables.go:107-124).
pub(super) fn last_value<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Variable> {
    variables.iter().rev().find(|variable| variable.key == name)
}

fn value(variables: &[Variable], name: &str, file: impl Fn(&Variable) -> String) -> String {
    if name == "$" {
        return name.to_owned();
    }
    if name.len() == 1 && name.bytes().all(is_special) {
        return String::new();
    }
    match last_value(variables, name) {
        Some(variable) if variable.file => file(variable),
        Some(variable) => variable.value.clone(),
        None => String::new(),
    }
}

/// Expands a text against variables, file variables by content.
pub(super) fn expand_value(variables: &[Variable], text: &str) -> String {
    expand_with(text, |name| value(variables, name, |variable| variable.value.clone()))
}

/// Where a file variable's content lies inside the container.
pub(super) fn file_path(temporary: &str, key: &str) -> String {
    format!("{temporary}/{key}")
}

/// Expands every variable once against the unexpanded list; raw ones stay, files are referred to by path (spec/variables.go:156-176).
pub(super) fn expand(variables: &[Variable], temporary: &str) -> Vec<Variable> {
    variables
        .iter()
        .map(|variable| {
            if variable.raw {
                return variable.clone();
            }
            let path = |other: &Variable| file_path(temporary, &other.key);
            Variable {
                value: expand_with(&variable.value, |name| value(variables, name, path)),
                ..variable.clone()
            }
        })
        .collect()
}

/// `KEY=VALUE` lines in order, duplicates kept, files as paths (spec/variables.go:38-50).
pub(super) fn string_list(variables: &[Variable], temporary: &str) -> Vec<String> {
    variables
        .iter()
        .map(|variable| {
            if variable.file {
                format!("{}={}", variable.key, file_path(temporary, &variable.key))
            } else {
                format!("{}={}", variable.key, variable.value)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Vec<Variable> {
        vec![
            Variable::new("A", "first"),
            Variable::new("A", "last"),
            Variable::new("B", "$A"),
        ]
    }

    #[test]
    fn references_read_as_in_go() {
        for (text, expanded) in [
            ("$A-${A}", "last-last"),
            ("$$A", "$A"),
            ("${$}", "$"),
            ("$", "$"),
            ("a$/b", "a$/b"),
            ("$1$@$#", ""),
            ("${}x", "x"),
            ("${A", "A"),
            ("$UNKNOWN.", "."),
            ("$B", "$A"),
            ("$é", "$é"),
            ("${é}", ""),
        ] {
            assert_eq!(expand_value(&variables(), text), expanded, "{text}");
        }
    }

    #[test]
    fn a_list_is_expanded_in_one_pass_against_itself() {
        let expanded = expand(&variables(), "/t");
        let values: Vec<&str> = expanded.iter().map(|variable| variable.value.as_str()).collect();
        assert_eq!(values, ["first", "last", "last"]);
    }

    #[test]
    fn raw_stays_and_files_are_paths() {
        let mut list = variables();
        list.push(Variable {
            raw: true,
            ..Variable::new("R", "$A")
        });
        list.push(Variable {
            file: true,
            ..Variable::new("F", "content")
        });
        list.push(Variable::new("G", "$F"));
        let lines = string_list(&expand(&list, "/t"), "/t");
        assert_eq!(lines.get(3..).unwrap(), ["R=$A", "F=/t/F", "G=/t/F"]);
    }

    proptest! {
        #[test]
        fn expansion_never_panics(text in "\\PC*", tricky in "[${}A@é0-9]*", value in "\\PC*") {
            let list = [Variable::new("A", &value)];
            let _ = expand_value(&list, &text);
            let _ = expand_value(&list, &tricky);
        }

        #[test]
        fn text_without_a_dollar_is_unchanged(text in "[^$]*") {
            prop_assert_eq!(expand_value(&variables(), &text), text);
        }

        #[test]
        fn doubled_dollars_become_one(text in "[^$]*") {
            let escaped = format!("$${text}");
            prop_assert_eq!(expand_value(&[], &escaped), format!("${text}"));
        }

        #[test]
        fn of_duplicates_the_last_wins(values in proptest::collection::vec("[^$]*", 1..5)) {
            let list: Vec<Variable> = values.iter().map(|value| Variable::new("K", value)).collect();
            prop_assert_eq!(&expand_value(&list, "$K"), values.last().unwrap());
        }
    }
}
