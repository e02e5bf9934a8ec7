//! `IAM_ROLE`: which of the sanctioned roles a container asks for. The author of the pipeline chooses the value, so it only ever selects.

use super::Reason;

const KEY: &str = "IAM_ROLE";

/// Finds what the container selects; `None` when it selects nothing.
///
/// # Errors
/// When the value is ambiguous or may come from the image.
pub(super) fn find<'e>(env: &'e [String], image_env: &[String]) -> Result<Option<&'e str>, Reason> {
    let mut selected: Option<&str> = None;
    for value in entries(env) {
        // An entry without `=` removes the variable for the process, so that it and the engine's record disagree.
        let value = value.ok_or(Reason::SelectorWithoutValue)?;
        if selected.is_some_and(|earlier| earlier != value) {
            return Err(Reason::SelectorConflicting);
        }
        selected = Some(value);
    }
    let Some(value) = selected else { return Ok(None) };
    // The engine fills keys that the create request lacks from the image: an equal value there may be the image's.
    if entries(image_env).any(|of_image| of_image == Some(value)) {
        return Err(Reason::SelectorFromImage);
    }
    if value.is_empty() {
        return Err(Reason::SelectorEmpty);
    }
    Ok(Some(value))
}

/// The values of every entry of exactly that key; `None` for one without `=`.
fn entries(env: &[String]) -> impl Iterator<Item = Option<&str>> {
    env.iter().filter_map(|entry| match entry.split_once('=') {
        Some((KEY, value)) => Some(Some(value)),
        Some(_) => None,
        None => (entry == KEY).then_some(None),
    })
}
