//! What a program needs to run: its interpreter, read from the ELF header, and its libraries, read from what the interpreter lists.
//!
//! Pure. It must not read files or start programs.

/// The type of the program header that names the interpreter (`PT_INTERP`).
const PT_INTERP: u32 = 3;

/// The interpreter that a 64-bit little-endian ELF program names; `None` for a static program or anything else.
pub(super) fn interpreter(bytes: &[u8]) -> Option<String> {
    let header = bytes.get(..64)?;
    // 64-bit (2), little-endian (1): the only kinds on which Docker hosts run in this lab.
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(header.get(32..40)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(header.get(54..56)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(header.get(56..58)?.try_into().ok()?));
    (0..count).find_map(|index| {
        let start = table.checked_add(size.checked_mul(index)?)?;
        let entry = bytes.get(start..start.checked_add(56)?)?;
        if u32::from_le_bytes(entry.get(..4)?.try_into().ok()?) != PT_INTERP {
            return None;
        }
        let offset = usize::try_from(u64::from_le_bytes(entry.get(8..16)?.try_into().ok()?)).ok()?;
        let length = usize::try_from(u64::from_le_bytes(entry.get(32..40)?.try_into().ok()?)).ok()?;
        let name = bytes.get(offset..offset.checked_add(length)?)?;
        let name = name.split(|byte| *byte == 0).next()?;
        String::from_utf8(name.to_vec()).ok()
    })
}

/// The paths in the output of `INTERPRETER --list PROGRAM`, and the names of what was not found.
pub(super) fn libraries(listing: &str) -> (Vec<String>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for line in listing.lines() {
        let line = line.trim();
        let (name, target) = line.split_once(" => ").unwrap_or((line, line));
        let path = target.split(" (").next().unwrap_or_default().trim();
        if path.starts_with('/') {
            found.push(path.to_owned());
        } else if path == "not found" {
            missing.push(name.to_owned());
        }
        // What remains is the kernel's own page (linux-vdso), which is in no file.
    }
    (found, missing)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_test_names_an_interpreter() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let interpreter = interpreter(&own).unwrap();
        assert!(
            interpreter.starts_with('/') && interpreter.contains("ld-"),
            "{interpreter}"
        );
    }

    #[test]
    fn libraries_are_read_from_the_listing_of_either_libc() {
        let listing = "\tlinux-vdso.so.1 (0x00007f0c5d38f000)\n\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00)\n\tlibgone.so.1 => not found\n\tldd (0x7f)\n";
        let (found, missing) = libraries(listing);
        assert_eq!(
            found,
            ["/lib/x86_64-linux-gnu/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"]
        );
        assert_eq!(missing, ["libgone.so.1"]);
    }

    proptest! {
        #[test]
        fn hostile_programs_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..256), listing in "\\PC*") {
            let _ = interpreter(&bytes);
            if let Some(magic) = bytes.get_mut(..6) {
                magic.copy_from_slice(b"\x7fELF\x02\x01");
            }
            let _ = interpreter(&bytes);
            let _ = libraries(&listing);
        }
    }
}
