//! Which runs there are, by container, cgroup, address and network namespace. It answers at once however many there are; what it
//! answers is a hint that the kernel must confirm. Pure: the payload is anything.

use std::collections::HashMap;
use std::net::IpAddr;

/// Where one run is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) container: String,
    pub(crate) started_at: String,
    pub(crate) cgroup_id: u64,
    /// The cgroups around its own, outermost first.
    pub(crate) ancestors: Vec<u64>,
    pub(crate) namespace: u64,
    pub(crate) addresses: Vec<IpAddr>,
}

#[derive(Debug)]
struct Entry<T> {
    place: Place,
    payload: T,
}

/// The runs that are known.
#[derive(Debug)]
pub(crate) struct Index<T> {
    runs: HashMap<u64, Entry<T>>,
    by_container: HashMap<String, u64>,
    by_address: HashMap<IpAddr, Vec<u64>>,
    by_namespace: HashMap<u64, Vec<u64>>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            runs: HashMap::new(),
            by_container: HashMap::new(),
            by_address: HashMap::new(),
            by_namespace: HashMap::new(),
        }
    }
}

impl<T: Clone> Index<T> {
    /// Adds a run; gives back the payload of the earlier run of the same container, if there was one.
    pub(crate) fn insert(&mut self, place: Place, payload: T) -> Option<T> {
        let displaced = self.remove(&place.container.clone());
        let cgroup_id = place.cgroup_id;
        self.by_container.insert(place.container.clone(), cgroup_id);
        self.by_namespace.entry(place.namespace).or_default().push(cgroup_id);
        for address in &place.addresses {
            self.by_address.entry(*address).or_default().push(cgroup_id);
        }
        self.runs.insert(cgroup_id, Entry { place, payload });
        displaced
    }

    /// Forgets a container, and gives back the payload of its run.
    pub(crate) fn remove(&mut self, container: &str) -> Option<T> {
        let cgroup_id = self.by_container.remove(container)?;
        let entry = self.runs.remove(&cgroup_id)?;
        forget(&mut self.by_namespace, &entry.place.namespace, cgroup_id);
        for address in &entry.place.addresses {
            forget(&mut self.by_address, address, cgroup_id);
        }
        Some(entry.payload)
    }

    /// Forgets this very run, and not a later one of the same container.
    pub(crate) fn remove_run(&mut self, container: &str, cgroup_id: u64) -> Option<T> {
        if self.by_container.get(container) == Some(&cgroup_id) {
            self.remove(container)
        } else {
            None
        }
    }

    /// The run of a container, if it is the one that started then.
    pub(crate) fn run(&self, container: &str, started_at: &str) -> Option<T> {
        let entry = self.runs.get(self.by_container.get(container)?)?;
        (entry.place.started_at == started_at).then(|| entry.payload.clone())
    }

    /// The latest known run of a container.
    pub(crate) fn latest(&self, container: &str) -> Option<T> {
        Some(self.runs.get(self.by_container.get(container)?)?.payload.clone())
    }

    /// Replaces the addresses of a container.
    pub(crate) fn move_to(&mut self, container: &str, addresses: Vec<IpAddr>) {
        let Some(cgroup_id) = self.by_container.get(container).copied() else {
            return;
        };
        let Some(entry) = self.runs.get_mut(&cgroup_id) else {
            return;
        };
        for address in &entry.place.addresses {
            forget(&mut self.by_address, address, cgroup_id);
        }
        for address in &addresses {
            self.by_address.entry(*address).or_default().push(cgroup_id);
        }
        entry.place.addresses = addresses;
    }

    /// The runs in whose namespaces a peer of this address is worth looking for.
    pub(crate) fn candidates(&self, address: IpAddr) -> Vec<T> {
        let ids = self.by_address.get(&address).map(Vec::as_slice).unwrap_or_default();
        ids.iter()
            .filter_map(|id| self.runs.get(id))
            .map(|entry| entry.payload.clone())
            .collect()
    }

    /// How many runs share a network namespace.
    pub(crate) fn count_in(&self, namespace: u64) -> usize {
        self.by_namespace.get(&namespace).map_or(0, Vec::len)
    }

    /// The runs that share a network namespace.
    pub(crate) fn inhabitants(&self, namespace: u64) -> Vec<T> {
        let ids = self.by_namespace.get(&namespace).map(Vec::as_slice).unwrap_or_default();
        ids.iter()
            .filter_map(|id| self.runs.get(id))
            .map(|entry| entry.payload.clone())
            .collect()
    }

    /// The run whose own cgroup this is, or the outermost one around it: a container below another one belongs to it (rule A6).
    pub(crate) fn owner(&self, cgroup_id: u64) -> Option<T> {
        let entry = self.runs.get(&cgroup_id)?;
        let outer = entry
            .place
            .ancestors
            .iter()
            .find_map(|ancestor| self.runs.get(ancestor));
        Some(outer.unwrap_or(entry).payload.clone())
    }

    /// All runs that are known.
    pub(crate) fn all(&self) -> Vec<T> {
        self.runs.values().map(|entry| entry.payload.clone()).collect()
    }

    /// The containers that are known.
    pub(crate) fn containers(&self) -> Vec<String> {
        self.by_container.keys().cloned().collect()
    }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<u64>>, key: &K, cgroup_id: u64) {
    if let Some(ids) = index.get_mut(key) {
        ids.retain(|id| *id != cgroup_id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(container: &str, cgroup_id: u64, address: &str) -> Place {
        Place {
            container: container.into(),
            started_at: format!("start-{cgroup_id}"),
            cgroup_id,
            ancestors: vec![1, 2],
            namespace: 100 + cgroup_id,
            addresses: vec![address.parse().unwrap()],
        }
    }

    fn at(index: &Index<&'static str>, address: &str) -> Vec<&'static str> {
        index.candidates(address.parse().unwrap())
    }

    #[test]
    fn a_restarted_container_is_found_at_its_new_place_only() {
        let mut index = Index::default();
        assert_eq!(index.insert(place("a", 10, "172.17.0.2"), "a1"), None);
        assert_eq!(index.insert(place("a", 11, "172.17.0.3"), "a2"), Some("a1"));
        assert_eq!(
            (at(&index, "172.17.0.2"), at(&index, "172.17.0.3")),
            (vec![], vec!["a2"])
        );
        assert_eq!((index.owner(10), index.owner(11)), (None, Some("a2")));
        assert_eq!(
            (index.run("a", "start-10"), index.run("a", "start-11")),
            (None, Some("a2"))
        );
    }

    #[test]
    fn a_late_end_of_one_run_leaves_the_next_one_alone() {
        let mut index = Index::default();
        index.insert(place("a", 10, "172.17.0.2"), "a1");
        index.insert(place("a", 11, "172.17.0.2"), "a2");
        assert_eq!(index.remove_run("a", 10), None);
        assert_eq!(at(&index, "172.17.0.2"), ["a2"]);
    }

    #[test]
    fn removing_the_former_owner_of_an_address_leaves_the_new_one() {
        let mut index = Index::default();
        index.insert(place("a", 10, "172.17.0.2"), "a");
        index.insert(place("b", 20, "172.17.0.2"), "b");
        index.remove("a");
        assert_eq!(at(&index, "172.17.0.2"), ["b"]);
    }

    #[test]
    fn an_address_moves_with_its_container() {
        let mut index = Index::default();
        index.insert(place("a", 10, "172.17.0.2"), "a");
        index.move_to("a", vec!["172.18.0.2".parse().unwrap()]);
        assert_eq!(
            (at(&index, "172.17.0.2"), at(&index, "172.18.0.2")),
            (vec![], vec!["a"])
        );
        index.move_to("a", vec![]);
        assert!(at(&index, "172.18.0.2").is_empty());
        assert_eq!(index.owner(10), Some("a"));
    }

    #[test]
    fn a_container_below_another_one_belongs_to_the_outermost() {
        let mut index = Index::default();
        index.insert(place("outer", 10, "172.17.0.2"), "outer");
        let middle = Place {
            ancestors: vec![1, 2, 10],
            ..place("middle", 20, "172.17.0.3")
        };
        index.insert(middle, "middle");
        index.insert(
            Place {
                ancestors: vec![1, 2, 10, 20],
                ..place("inner", 30, "172.17.0.4")
            },
            "inner",
        );
        assert_eq!(
            (index.owner(20), index.owner(30), index.owner(10)),
            (Some("outer"), Some("outer"), Some("outer"))
        );
    }

    #[test]
    fn containers_of_one_namespace_are_found_together() {
        let mut index = Index::default();
        index.insert(
            Place {
                namespace: 5,
                ..place("a", 10, "172.17.0.2")
            },
            "a",
        );
        index.insert(
            Place {
                namespace: 5,
                addresses: vec![],
                ..place("b", 20, "172.17.0.3")
            },
            "b",
        );
        assert_eq!(index.inhabitants(5), ["a", "b"]);
        index.remove("a");
        assert_eq!(index.inhabitants(5), ["b"]);
    }

    proptest! {
        #[test]
        fn what_is_removed_leaves_no_trace(steps in proptest::collection::vec((0_u8..3, 0_u8..4, 0_u64..6, 0_u8..4), 0..40)) {
            let mut index = Index::default();
            for (step, container, cgroup_id, address) in steps {
                let name = format!("c{container}");
                // Cgroup ids are never used twice, so each container has its own.
                let cgroup_id = u64::from(container) * 100 + cgroup_id + 10;
                let address = format!("172.17.0.{address}");
                match step {
                    0 => { index.insert(place(&name, cgroup_id, &address), ()); }
                    1 => index.move_to(&name, vec![address.parse().unwrap()]),
                    _ => { index.remove(&name); }
                }
            }
            for container in index.containers() {
                index.remove(&container);
            }
            prop_assert!(index.runs.is_empty() && index.by_address.is_empty() && index.by_namespace.is_empty());
        }
    }
}
