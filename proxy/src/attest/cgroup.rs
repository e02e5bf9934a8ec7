//! The cgroup v2 hierarchy: where it is mounted, which directory a process is in, which directory is a container's own, and what
//! lies below it. Directories are told apart by inode number; their names say nothing (rule A6). Hierarchies of cgroup v1 show whose a process
//! is as well, but the kernel gives no socket's owner in them.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// How many directories one search may look at. A job with a writable hierarchy can make as many as it likes.
const SEARCH_DIRECTORIES: usize = 2048;

/// Hierarchies of cgroup v1 in which every runtime puts its containers, the usual first.
const OLD: [&str; 3] = ["name=systemd", "memory", "pids"];
/// Tells directories of cgroup v1 from those of v2, whose numbers are counted and never get there.
const OLD_BIT: u64 = 1 << 63;

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// What tells a hierarchy of cgroup v1 from others; absent for cgroup v2.
    controller: Option<&'static str>,
    mount: PathBuf,
    /// The cgroup that is mounted there; `/` unless a cgroup namespace or a bind mount narrows it.
    root: PathBuf,
}

impl Hierarchy {
    /// Finds the hierarchy in the text of `/proc/self/mountinfo`: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on hybrid systems.
    /// A mount of the whole hierarchy is preferred to one of a part.
    #[must_use]
    pub fn find(mountinfo: &str) -> Option<Self> {
        Self::find_mounted(mountinfo, None)
    }

    /// The same for a hierarchy of cgroup v1 in which containers are.
    #[must_use]
    pub fn find_old(mountinfo: &str) -> Option<Self> {
        OLD.iter()
            .find_map(|controller| Self::find_mounted(mountinfo, Some(controller)))
    }

    fn find_mounted(mountinfo: &str, controller: Option<&'static str>) -> Option<Self> {
        let mut found = None;
        for line in mountinfo.lines() {
            // proc_pid_mountinfo(5): id parent device root mount-point options [optional…] - type source options
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let mut words = after.split(' ');
            let is_meant = match (words.next(), controller) {
                (Some("cgroup2"), None) => true,
                (Some("cgroup"), Some(wanted)) => words.flat_map(|word| word.split(',')).any(|option| option == wanted),
                (Some(_) | None, _) => false,
            };
            if !is_meant {
                continue;
            }
            let mut fields = before.split(' ').skip(3);
            let (Some(root), Some(mount)) = (fields.next(), fields.next()) else {
                continue;
            };
            let hierarchy = Self {
                controller,
                mount: unescape(mount),
                root: unescape(root),
            };
            if root == "/" {
                return Some(hierarchy);
            }
            found.get_or_insert(hierarchy);
        }
        found
    }

    /// The path in this hierarchy in the text of `/proc/PID/cgroup`.
    #[must_use]
    pub fn path<'t>(&self, text: &'t str) -> Option<&'t str> {
        let Some(wanted) = self.controller else {
            return unified_path(text);
        };
        text.lines().find_map(|line| {
            // hierarchy-ID:controller-list:path, as in cgroups(7)
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let is_meant = controllers.split(',').any(|controller| controller == wanted);
            (is_meant && path.starts_with('/')).then_some(path)
        })
    }

    /// The number that stands for a directory of this hierarchy.
    ///
    /// # Errors
    /// The directory is gone.
    pub fn number(&self, directory: &Path) -> io::Result<u64> {
        Ok(self.mark(id(directory)?))
    }

    /// Whether this is the hierarchy of cgroup v2.
    #[must_use]
    pub const fn is_unified(&self) -> bool {
        self.controller.is_none()
    }

    const fn mark(&self, id: u64) -> u64 {
        if self.is_unified() { id } else { id | OLD_BIT }
    }

    /// The directory of the cgroup that `/proc/PID/cgroup` names. None for a path outside of what is mounted.
    #[must_use]
    pub fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        let plain = below
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        plain.then(|| self.mount.join(below))
    }
}

/// `mountinfo` writes blank, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> PathBuf {
    PathBuf::from(
        field
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\012", "\n")
            .replace("\\134", "\\"),
    )
}

/// The cgroup v2 path in the text of `/proc/PID/cgroup`: the line of hierarchy 0.
#[must_use]
pub fn unified_path(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .filter(|path| path.starts_with('/'))
}

/// The container's own directory within the path of its first process: the *outermost* component that the engine named after it
/// (`<id>`, or `docker-<id>.scope` with the systemd driver). The process may have moved deeper, and what is deeper was named by the
/// container itself.
#[must_use]
pub fn own_path<'a>(path: &'a str, container_id: &str) -> Option<&'a str> {
    if container_id.len() != 64 {
        return None;
    }
    let mut end = 0;
    for component in path.split_inclusive('/') {
        end += component.len();
        let name = component.strip_suffix('/').unwrap_or(component);
        let scope = name
            .strip_suffix(".scope")
            .and_then(|name| name.rsplit_once('-'))
            .map(|(_, id)| id);
        if name == container_id || scope == Some(container_id) {
            return path.get(..end).map(|own| own.trim_end_matches('/'));
        }
    }
    None
}

/// The cgroup id of a directory: its inode number.
///
/// # Errors
/// The directory is gone.
pub fn id(directory: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(directory)?.ino())
}

/// The ids of the cgroups around a directory, outermost first, itself excluded.
#[must_use]
pub fn ancestors(hierarchy: &Hierarchy, directory: &Path) -> Vec<u64> {
    let mut ids: Vec<u64> = directory
        .ancestors()
        .skip(1)
        .take_while(|ancestor| ancestor.starts_with(&hierarchy.mount))
        .filter_map(|ancestor| hierarchy.number(ancestor).ok())
        .collect();
    ids.reverse();
    ids
}

/// Whether the text of `cgroup.events` says that a process lives in the cgroup or below it.
#[must_use]
pub fn is_populated(events: &[u8]) -> bool {
    events.split(|byte| *byte == b'\n').any(|line| line == b"populated 1")
}

/// Whether the cgroup with this id lies below the directory: breadth first, and bounded. Not finding it within the bound is a no.
#[must_use]
pub fn contains(directory: &Path, wanted: u64) -> bool {
    let mut queue = VecDeque::from([directory.to_path_buf()]);
    let mut seen = 0_usize;
    while let Some(current) = queue.pop_front() {
        let Ok(entries) = fs::read_dir(&current) else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.ino() == wanted {
                return true;
            }
            seen += 1;
            if seen >= SEARCH_DIRECTORIES {
                return false;
            }
            queue.push_back(entry.path());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &str = "\
24 1 0:22 / /sys rw,relatime shared:2 - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw shared:11 - cgroup2 cgroup2 rw
";
    const PURE: &str = "35 24 0:31 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const NARROW: &str = "35 24 0:31 /user.slice /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";

    fn container(letter: char) -> String {
        std::iter::repeat_n(letter, 64).collect()
    }

    #[test]
    fn the_hierarchy_is_found_on_hybrid_and_on_pure_systems() {
        let directory = |text: &str, path: &str| Hierarchy::find(text).unwrap().directory(path);
        assert_eq!(
            directory(HYBRID, "/docker/x"),
            Some("/sys/fs/cgroup/unified/docker/x".into())
        );
        assert_eq!(directory(PURE, "/docker/x"), Some("/sys/fs/cgroup/docker/x".into()));
        assert_eq!(directory(NARROW, "/user.slice/x"), Some("/sys/fs/cgroup/x".into()));
        assert_eq!(directory(NARROW, "/docker/x"), None);
        assert_eq!(directory(PURE, "/../x"), None);
        assert_eq!(
            Hierarchy::find("31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
            None
        );
    }

    #[test]
    fn a_hierarchy_of_version_1_is_found_by_its_controller_and_its_directories_are_none_of_version_2() {
        let systemd = format!("{HYBRID}40 30 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n");
        let text = "12:cpu,memory:/docker/m\n9:name=systemd:/docker/s\n1:xmemory:/x\n0::/docker/u\n";
        let found = Hierarchy::find_old(&systemd).unwrap();
        assert_eq!(found.path(text), Some("/docker/s"));
        assert_eq!(
            found.directory("/docker/s"),
            Some("/sys/fs/cgroup/systemd/docker/s".into())
        );
        let memory = Hierarchy::find_old(HYBRID).unwrap();
        assert_eq!(memory.path(text), Some("/docker/m"));
        assert_eq!(memory.path("0::/docker/u\n"), None);
        assert_eq!(Hierarchy::find_old(PURE), None);
        let unified = Hierarchy::find(HYBRID).unwrap();
        assert_eq!(unified.path(text), Some("/docker/u"));
        let top = tempfile::tempdir().unwrap();
        assert_ne!(unified.number(top.path()).unwrap(), memory.number(top.path()).unwrap());
    }

    #[test]
    fn a_process_names_its_unified_cgroup_on_the_line_of_hierarchy_0() {
        assert_eq!(unified_path("12:memory:/docker/y\n0::/docker/x\n"), Some("/docker/x"));
        assert_eq!(unified_path("12:memory:/docker/y\n"), None);
    }

    #[test]
    fn the_outermost_directory_of_the_containers_name_is_its_own() {
        let (victim, attacker) = (container('a'), container('b'));
        let plain = format!("/docker/{victim}");
        assert_eq!(own_path(&plain, &victim), Some(plain.as_str()));
        let scope = format!("/system.slice/docker-{victim}.scope");
        let moved = format!("{scope}/init.scope");
        assert_eq!(own_path(&moved, &victim), Some(scope.as_str()));
        let forged = format!("/docker/{attacker}/docker-{attacker}.scope/docker-{victim}.scope");
        assert_eq!(
            own_path(&forged, &attacker),
            Some(format!("/docker/{attacker}").as_str())
        );
        assert_eq!(own_path("/docker", &victim), None);
        assert_eq!(own_path("/docker/x", "x"), None);
    }

    #[test]
    fn a_nested_directory_is_found_by_number_and_a_strange_one_is_not() {
        let top = tempfile::tempdir().unwrap();
        let own = top.path().join("own");
        let deep = own.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(top.path().join("beside")).unwrap();
        assert!(contains(&own, id(&deep).unwrap()));
        assert!(!contains(&own, id(&top.path().join("beside")).unwrap()));
    }

    #[test]
    fn a_search_ends_at_its_bound() {
        let top = tempfile::tempdir().unwrap();
        for index in 0..SEARCH_DIRECTORIES + 1 {
            fs::create_dir(top.path().join(format!("{index}"))).unwrap();
        }
        assert!(!contains(top.path(), u64::MAX));
    }

    #[test]
    fn a_cgroup_is_populated_only_if_it_says_so() {
        assert!(is_populated(b"populated 1\nfrozen 0\n"));
        assert!(!is_populated(b"populated 0\nfrozen 0\n"));
        assert!(!is_populated(b"populated 10\n"));
        assert!(!is_populated(b""));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,200}", id in "[a-f0-9]{64}") {
            let _ = Hierarchy::find(&text).and_then(|found| found.directory(&text));
            let _ = unified_path(&text);
            let _ = Hierarchy::find_old(HYBRID).and_then(|found| found.path(&text).map(str::len));
            let _ = own_path(&text, &id);
        }

        #[test]
        fn a_directory_never_leaves_the_mount(path in "(/(\\.\\.|[a-z]{1,3})){0,6}") {
            let found = Hierarchy::find(PURE).unwrap().directory(&path);
            prop_assert!(found.is_none_or(|directory| !directory.components().any(|part| part == Component::ParentDir)));
        }
    }
}
