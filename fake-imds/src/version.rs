//! The versions of the metadata tree. It must not know what is in the tree.

/// All versions, oldest first, as `GET /` lists them (captured 2024).
pub const ALL: [&str; 29] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "2024-04-11",
    "latest",
];

/// One of [`ALL`]; a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(usize);

impl Version {
    /// The first version.
    pub const FIRST: Self = Self(0);
    /// `latest`.
    pub const LATEST: Self = Self(ALL.len() - 1);

    /// The last that carries a day.
    pub const LAST_DATED: Self = Self(ALL.len() - 2);

    /// The version of exactly that name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().position(|known| *known == name).map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ALL.get(self.0).copied().unwrap_or_default()
    }

    /// The first version released at or after that day (`2012-01-12`), since which a category is there.
    pub fn since(day: &str) -> Self {
        // Dates sort as text, and "1.0" and "latest" sort before and after all of them.
        ALL.iter().position(|known| *known >= day).map_or(Self::LATEST, Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_release() {
        assert!(ALL.is_sorted());
        assert_eq!(Version::named("latest"), Some(Version::LATEST));
        assert_eq!(Version::named("1.0"), Some(Version::FIRST));
        assert_eq!(Version::named("LATEST"), None);
        assert_eq!(Version::since("2018-05-23"), Version::named("2018-08-17").unwrap());
        assert_eq!(Version::since("2012-01-12"), Version::named("2012-01-12").unwrap());
    }
}
