//! What a program needs to run: its interpreter, and its libraries as the interpreter lists them. Pure.

/// The type of the program header that names the interpreter (`PT_INTERP`, System V ABI).
const PT_INTERP: u32 = 3;

/// The interpreter of a 64-bit little-endian ELF program; none for a static program or anything else.
pub(crate) fn interpreter(program: &[u8]) -> Option<String> {
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = program.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let place = |at: usize| usize::try_from(number(at, 8)?).ok();
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (place(32)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|index| {
        let entry = table.checked_add(usize::try_from(size * index).ok()?)?;
        if number(entry, 4)? != u64::from(PT_INTERP) {
            return None;
        }
        let start = place(entry.checked_add(8)?)?;
        let name = program.get(start..start.checked_add(place(entry.checked_add(32)?)?)?)?;
        let name = name.split(|byte| *byte == 0).next()?;
        String::from_utf8(name.to_vec()).ok()
    })
}

/// The paths in the output of `INTERPRETER --list PROGRAM`, and the names of what was not found.
pub(crate) fn libraries(listing: &str) -> (Vec<String>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for line in listing.lines().map(str::trim) {
        let (name, target) = line.split_once(" => ").unwrap_or((line, line));
        let target = target.split(" (").next().unwrap_or_default().trim();
        // The kernel's own page (linux-vdso) is neither: it is in no file.
        if target.starts_with('/') {
            found.push(target.to_owned());
        } else if target == "not found" {
            missing.push(name.to_owned());
        }
    }
    (found, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_names_an_interpreter() {
        let name = interpreter(&std::fs::read("/proc/self/exe").unwrap()).unwrap();
        assert!(name.starts_with('/') && name.contains("ld-"), "{name}");
    }

    #[test]
    fn broken_programs_name_none() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(interpreter(&own[..70]), None);
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
        let mut lying = own[..200].to_vec();
        lying[32..40].fill(0xff);
        assert_eq!(interpreter(&lying), None);
    }

    #[test]
    fn libraries_are_read_from_the_listing() {
        let listing = "\tlinux-vdso.so.1 (0x00007f0c5d38f000)\n\tlibc.so.6 => /lib/libc.so.6 (0x00)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00)\n\tlibgone.so.1 => not found\n";
        let (found, missing) = libraries(listing);
        assert_eq!(found, ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(missing, ["libgone.so.1"]);
    }
}
