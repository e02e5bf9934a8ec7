//! An image made of nothing but this program: its executable, the shared objects that it has mapped, and the ELF interpreter. No
//! registry is needed, and what runs in the container is exactly what serves.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

/// Where the program stands in the image.
pub const PROGRAM: &str = "/metadata-proxy";
/// Where its shared objects stand.
pub const LIBRARIES: &str = "/lib";
/// Bytes handed over at a time, and how many of those may wait: the image is never in memory as a whole.
const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 4;
/// `PT_INTERP`.
const INTERPRETER: u32 = 3;
/// A program header table larger than this is none of a Rust program.
const MOST_HEADERS: u16 = 64;

/// A file of the image: where it is here, and its path there, without the leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    source: PathBuf,
    target: PathBuf,
}

/// The image as a tar stream.
///
/// # Errors
/// The program's own files cannot be read.
pub fn stream_image() -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send> {
    let executable = Path::new("/proc/self/exe");
    let mut parts = vec![Part {
        source: executable.to_path_buf(),
        target: relative(PROGRAM),
    }];
    if let Some(interpreter) = read_interpreter(&mut File::open(executable)?)? {
        parts.push(Part {
            source: PathBuf::from(&interpreter),
            target: relative(&interpreter),
        });
        for library in libraries(&std::fs::read_to_string("/proc/self/maps")?) {
            if let Some(name) = library.file_name() {
                parts.push(Part {
                    target: relative(LIBRARIES).join(name),
                    source: library,
                });
            }
        }
    }
    let (chunks, waiting) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut sink = Sink {
            chunks: chunks.clone(),
            buffer: Vec::with_capacity(CHUNK),
        };
        if let Err(error) = write_tar(&parts, &mut sink) {
            // The reader is told, or has gone.
            let _ = chunks.blocking_send(Err(error));
        }
    });
    Ok(stream::unfold(waiting, |mut waiting| async move {
        waiting.recv().await.map(|chunk| (chunk, waiting))
    }))
}

fn write_tar(parts: &[Part], sink: &mut Sink) -> io::Result<()> {
    let mut archive = tar::Builder::new(&mut *sink);
    for part in parts {
        let mut file = File::open(&part.source)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(file.metadata()?.len());
        header.set_mode(0o755);
        header.set_cksum();
        archive.append_data(&mut header, &part.target, &mut file)?;
    }
    archive.finish()?;
    drop(archive);
    sink.flush()
}

struct Sink {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.chunks
            .blocking_send(Ok(Bytes::from(full)))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The shared objects in the text of `/proc/self/maps`, each once.
fn libraries(maps: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for line in maps.lines() {
        // address permissions offset device inode path
        let Some(start) = line.find('/') else { continue };
        let path = Path::new(line.get(start..).unwrap_or_default());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if (name.ends_with(".so") || name.contains(".so.")) && !found.iter().any(|known| known == path) {
            found.push(path.to_path_buf());
        }
    }
    found
}

/// The ELF interpreter that a 64-bit executable names; None if it is static.
fn read_interpreter(executable: &mut (impl Read + io::Seek)) -> io::Result<Option<String>> {
    let mut header = [0_u8; 64];
    executable.read_exact(&mut header)?;
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    if header.get(..5) != Some(b"\x7fELF\x02") {
        return Err(broken());
    }
    let table = u64_at(&header, 0x20).ok_or_else(broken)?;
    let size = u16_at(&header, 0x36).ok_or_else(broken)?;
    let count = u16_at(&header, 0x38).ok_or_else(broken)?.min(MOST_HEADERS);
    for index in 0..count {
        let mut entry = [0_u8; 56];
        let at = table
            .checked_add(u64::from(index) * u64::from(size))
            .ok_or_else(broken)?;
        executable.seek(io::SeekFrom::Start(at))?;
        executable.read_exact(&mut entry)?;
        if entry.get(..4) != Some(&INTERPRETER.to_ne_bytes()) {
            continue;
        }
        let (start, length) = (
            u64_at(&entry, 8).ok_or_else(broken)?,
            u64_at(&entry, 32).ok_or_else(broken)?,
        );
        let mut path = String::new();
        executable.seek(io::SeekFrom::Start(start))?;
        executable.take(length.min(4096)).read_to_string(&mut path)?;
        let path = path.trim_end_matches('\0');
        return if path.starts_with('/') {
            Ok(Some(path.to_owned()))
        } else {
            Err(broken())
        };
    }
    Ok(None)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn relative(path: &str) -> PathBuf {
    PathBuf::from(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shared_objects_are_read_from_maps_once_each() {
        let maps = "\
55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1 /usr/bin/metadata-proxy
7f0000000000-7f0000001000 r--p 00000000 fe:00 2                          /usr/lib/x86_64-linux-gnu/libc.so.6
7f0000001000-7f0000002000 r-xp 00001000 fe:00 2                          /usr/lib/x86_64-linux-gnu/libc.so.6
7f0000003000-7f0000004000 r--p 00000000 fe:00 3                          /opt/lib/libx.so
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
";
        assert_eq!(
            libraries(maps),
            [
                Path::new("/usr/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/opt/lib/libx.so")
            ]
        );
    }

    #[test]
    fn this_programs_interpreter_exists() {
        let interpreter = read_interpreter(&mut File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(interpreter.is_none_or(|path| Path::new(&path).exists()));
    }

    #[tokio::test]
    async fn the_image_holds_the_program_at_its_place() {
        let chunks: Vec<_> = stream_image().unwrap().collect().await;
        let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().to_vec()).collect();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let first = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(first.path().unwrap(), Path::new("metadata-proxy"));
        assert_eq!(first.size(), std::fs::metadata("/proc/self/exe").unwrap().len());
    }

    proptest! {
        #[test]
        fn arbitrary_files_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 64..400)) {
            bytes[..5].copy_from_slice(b"\x7fELF\x02");
            let _ = read_interpreter(&mut io::Cursor::new(bytes));
        }
    }
}
