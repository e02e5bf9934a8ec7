//! Which cases a command line means. Pure.

use crate::case::model::Case;

/// A filter is a case's id, a family (`ROLE`), the beginning of an id, or a part of its name; upper and lower case do not matter. No filter means all.
pub fn select<'a>(cases: &'a [Case], filters: &[String]) -> Vec<&'a Case> {
    cases
        .iter()
        .filter(|case| filters.is_empty() || filters.iter().any(|filter| matches(case, filter)))
        .collect()
}

fn matches(case: &Case, filter: &str) -> bool {
    let (id, filter) = (case.id.to_lowercase(), filter.to_lowercase());
    // `NET-1` would otherwise mean NET-10 to NET-19 as well.
    let is_number = filter
        .rsplit_once('-')
        .is_some_and(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty());
    if is_number {
        id == filter
    } else {
        id.starts_with(&filter) || case.name.contains(&filter)
    }
}

/// The `k`-th of `n` parts (from 1), dealt in turn so that long families are spread.
pub fn shard<T>(items: Vec<T>, k: usize, n: usize) -> Vec<T> {
    items
        .into_iter()
        .enumerate()
        .filter(|(index, _)| index % n.max(1) + 1 == k)
        .map(|(_, item)| item)
        .collect()
}
